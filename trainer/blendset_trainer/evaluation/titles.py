# SPDX-License-Identifier: Apache-2.0
"""What figures are called in documents: the names that the field knows them by."""

from __future__ import annotations

from collections.abc import Mapping

TITLES_OF_SCORERS: Mapping[tuple[str, str], str] = {
    ("aesthetic-", "score"): "Aesthetic score",
    ("appearance", "contrast"): "Contrast",
    ("clip-", "similarity"): "CLIPScore",
    ("consistency", "silhouette"): "Silhouette on edges",
    ("depth-agreement-", "agreement"): "Depth agreement",
    ("depth-agreement-", "relative_error"): "Depth error",
    ("dino-", "set_mean"): "DINO similarity in the set",
    ("geometry", "agreement"): "Geometric agreement",
    ("geometry", "covisible"): "Points that two views show",
    ("image-reward-", "score"): "ImageReward",
    ("image-stats", "mean"): "Mean grey",
    ("image-stats", "variance"): "Variance of grey",
    ("inception", "frechet"): "FID",
    ("masked-clip-", "references"): "M-CLIP, identity",
    ("masked-dino-", "references"): "M-DINO, identity",
    ("mask-agreement-", "iou"): "Mask IoU",
    ("preference-", "cosine"): "Preference, cosine",
    ("preference-", "score"): "Preference score",
    ("records", "directions"): "Directions covered",
    ("records", "duplicates"): "Look-alikes",
    ("records", "labels"): "Labels, effective number",
    ("records", "lights"): "Light levels, effective number",
    ("tifa-", "score"): "TIFA",
    ("vlm-filter-", "good"): "Good by the model's filter",
    ("vlm-quality-", "score"): "Quality by the model",
}
"""By what the scorer's name begins with, and the column."""
TITLES: Mapping[str, str] = {
    "clipped_fraction": "Blown out pixels",
    "cmmd": "CMMD",
    "coverage": "Coverage",
    "dark_fraction": "Dark pixels",
    "delta_e": "Colour difference",
    "density": "Density",
    "fireflies": "Fireflies",
    "frechet": "Fréchet distance",
    "geometric": "GeometricScore",
    "high_frequency": "Power at high frequencies",
    "iou": "IoU",
    "kid": "KID",
    "magenta": "Missing textures",
    "mmd2": "MMD²",
    "p_bad": "Probability of bad",
    "p_good": "Probability of good",
    "p_match": "Probability of a match",
    "p_no": "Probability of no",
    "p_yes": "VQAScore",
    "precision": "Precision",
    "recall": "Recall",
    "retrieval": "CLIP-R",
    "ssim": "SSIM",
    "subject_contrast": "Contrast with background",
    "subject_delta_e": "Colour difference of the subject",
    "subject_deviation": "Contrast within the subject",
    "subject_mean": "Mean grey of the subject",
    "truncated": "Captions read in part",
    "vendi": "Vendi score",
    "worst_delta_e": "Colour difference of the worst object",
}
"""By the column, of whatever scorer."""
GROUPS: Mapping[str, str] = {"": "Of several scorers", "records": "Coverage, from the records"}
"""Of figures that no scorer is behind alone."""


def name_figure(scorer: str, name: str) -> str:
    """Return the field's name for a figure, from its scorer and its full name; of others the column as words."""
    column = name.removeprefix(f"{scorer}.")
    for (prefix, known), title in TITLES_OF_SCORERS.items():
        if known == column and scorer.startswith(prefix):
            return title
    words = column.replace("_", " ").replace("-", " ")
    return TITLES.get(column) or words[:1].upper() + words[1:]


def name_scorer(scorer: str) -> str:
    """Return the heading of a scorer's figures."""
    return GROUPS.get(scorer, scorer)
