# SPDX-License-Identifier: Apache-2.0
"""What a figure is: its name, the model behind it, its scale, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from blendset_trainer.stages.stage import SHARE, Column, Stage

HIGHER, LOWER = "higher", "lower"
BETTER: Mapping[str, str] = {
    **dict.fromkeys(("similarity", "cosine", "score", "p_yes", "p_match", "p_good", "good", "retrieval"), HIGHER),
    **dict.fromkeys(("precision", "recall", "density", "coverage", "vendi", "references", "geometric"), HIGHER),
    **dict.fromkeys(("set_mean", "ssim", "silhouette", "agreement", "iou", "subject_cosine"), HIGHER),
    **dict.fromkeys(("mmd2", "kid", "cmmd", "frechet", "delta_e", "subject_delta_e", "worst_delta_e"), LOWER),
    **dict.fromkeys(("relative_error", "fireflies", "magenta", "duplicates"), LOWER),
}
"""Columns of which it is known which way is better; of the others (brightness, say) more is neither."""
UNMEASURED = {"tokens", "worst_object", "questions"}
"""Columns of whole numbers that are no measure of a picture."""
RETRIEVAL = "retrieval"
SET_SCALES = {
    "mmd2": "MMD², Gaussian kernel, unbiased",
    "kid": "MMD², cubic kernel, unbiased",
    "cmmd": "a thousandfold MMD², sigma 10, biased as published",
    "frechet": "Fréchet distance",
    "precision": SHARE,
    "recall": SHARE,
    "density": "1 where the sets are alike",
    "coverage": SHARE,
    "vendi": "effective number of pictures",
}
"""Figures of a whole set, in the features of a scorer."""


@dataclass(frozen=True, order=True)
class Metric:
    """A figure: the stage that computes it ("records" where none does) with the revision of its weights, the column and
    its scale. Where it `is_truth`, each picture's value is 1 or 0, and the mean is a share.
    """

    scorer: str
    column: str
    revision: str = ""
    scale: str = ""
    is_truth: bool = False

    @property
    def name(self) -> str:
        """The name that tables show, such as "clip-vit-l-14.similarity"."""
        return f"{self.scorer}.{self.column}"

    @property
    def better(self) -> str:
        """HIGHER, LOWER, or "" where neither is."""
        return BETTER.get(self.column, "")


def list_metrics(stage: Stage) -> list[Metric]:
    """Return the figures of single pictures that a stage computes: its columns of numbers, and those of truths."""
    return [
        Metric(stage.name, name, stage.revision, column.scale, bool(pa.types.is_boolean(column.type)))
        for name, column in stage.columns.items()
        if _is_measure(column) and name not in UNMEASURED
    ]


def has_embedding(stage: Stage) -> bool:
    """Whether a stage computes features, in which sets can be compared."""
    return "embedding" in stage.columns


def _is_measure(column: Column) -> bool:
    kind = column.type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))
