# SPDX-License-Identifier: Apache-2.0
"""Groups: view sets in the layout of SynCD (arXiv 2502.01720), which trainers of customization read.

<split>/metadata.json lists the groups; each has a folder with its pictures and masks/<picture's stem>.jpg. With scores
of `aesthetic` and `dino` there is metadata_with_scores.json too. Held-out views are the split `held-out`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blendset.records import ViewRecord
from blendset_trainer.exporting.source import (
    NO_CAPTION,
    NO_SET,
    ExportSource,
    encode_json,
    group_by_view_set,
    has_passes,
    write_file,
)
from blendset_trainer.selection.files import HELD_OUT
from blendset_trainer.stages.caption_forms import SHORT
from blendset_trainer.stages.tables import read_captions, read_index, read_last_score
from blendset_trainer.synthetic_views import SYNTHESIS, read_synthesis

RIGID, DEFORMABLE = "rigid", "deformable"
"""Categories: a set whose views show one thing by exact passes, and one of a subject that may change its pose."""
METADATA, SCORED = "metadata.json", "metadata_with_scores.json"
SCORE_COLUMNS = (("aesthetic-", "score"), ("dino-", "embedding"))
"""How the names of the two scorers begin, and the column of each."""
MASK_QUALITY = 100
"""Of JPEG; so grey levels of a mask stay on their side of the middle."""


@dataclass(frozen=True)
class _Scores:
    """Aesthetic scores and unit embeddings by view id."""

    aesthetics: Mapping[str, float]
    embeddings: Mapping[str, Sequence[float]]

    def describe(self, views: Sequence[ViewRecord]) -> dict[str, Any] | None:
        """The scores of a group as SynCD's loader reads them; None where a view lacks one.

        `dino_scores` (N, N) are cosines above the diagonal, and 0 elsewhere.
        """
        ids = [view.view_id for view in views]
        if not all(view_id in self.aesthetics and view_id in self.embeddings for view_id in ids):
            return None
        vectors = np.array([self.embeddings[view_id] for view_id in ids], np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = np.triu(vectors @ vectors.T, 1)
        return {
            "aesthetics_scores": {view_id: self.aesthetics[view_id] for view_id in ids},
            "dino_scores": cosines.round(6).tolist(),
        }


def export(source: ExportSource, out: Path) -> int:
    """Write the view sets of two or more; return the number of their views. Views of no set are left out.

    A mask is the subject of a view with passes, and white where nothing tells the subject.
    """
    source = _select_in_sets(source)
    prompts = _read_prompts(source)
    source = _select_in_sets(source.select(lambda view: view.view_id in prompts, NO_CAPTION))
    scores, descriptions = _read_scores(source), _read_descriptions(source)
    for split, groups in _group_by_split(source).items():
        records: list[dict[str, Any]] = []
        scored: list[dict[str, Any]] = []
        for number, (name, views) in enumerate(groups.items()):
            images = _write_group(source, views, out / split / f"{number:06d}")
            record = _format_group(name, views, prompts, descriptions)
            records.append({"filenames": [f"{number:06d}/{image}" for image in images], **record})
            if found := scores.describe(views):
                scored.append(records[-1] | found)
        _write_records(source, out / split, records, scored)
    return len(source.views)


def _group_by_split(source: ExportSource) -> dict[str, dict[str, list[ViewRecord]]]:
    """The view sets of two or more of each split, by name; a set with held-out views is one in each split."""
    splits = source.group_by_split("train", HELD_OUT)
    return {split: group_by_view_set(views) for split, views in splits.items()}


def _select_in_sets(source: ExportSource) -> ExportSource:
    sets = [views for groups in _group_by_split(source).values() for views in groups.values()]
    members = {view.view_id for views in sets for view in views}
    return source.select(lambda view: view.view_id in members, NO_SET)


# ---- what is known of the views --------------------------------------------------------------------------------------


def _read_prompts(source: ExportSource) -> dict[str, str]:
    """Read the prompt of each view by its id: what it was generated from, else its caption."""
    prompts = dict(source.captions)
    for view in source.views:
        if SYNTHESIS in view.files:
            folder = source.dataset.rgb_path(view).parent
            prompts[view.view_id] = read_synthesis(folder).prompt or prompts.get(view.view_id, "")
    return {view_id: prompt for view_id, prompt in prompts.items() if prompt}


def _read_descriptions(source: ExportSource) -> dict[str, str]:
    """Read the short captions of whole view sets by view id."""
    index = read_index(source.dataset)
    captions = read_captions(source.dataset, index, (SHORT,), of_sets=True)[SHORT].to_pylist()
    return {view_id: text for view_id, text in zip(index["view_id"].to_pylist(), captions, strict=True) if text}


def _read_scores(source: ExportSource) -> _Scores:
    """Read the columns of the two scorers that ran last, and say in the source's notes which they are."""
    index = read_index(source.dataset)
    ids = index["view_id"].to_pylist()
    found = [read_last_score(source.dataset, index, *column) for column in SCORE_COLUMNS]
    names = [score[0] for score in found if score]
    if len(names) == len(found):
        source.notes.append(f"Scores are those of {' and '.join(names)}.")
    pairs = [zip(ids, score[1].to_pylist(), strict=True) if score else () for score in found]
    return _Scores(*({view_id: value for view_id, value in column if value is not None} for column in pairs))


def _format_group(
    name: str, views: Sequence[ViewRecord], prompts: Mapping[str, str], descriptions: Mapping[str, str]
) -> dict[str, Any]:
    """A group's record but for its files. What SynCD calls objaverse_id says of what the pictures are here."""
    subject = views[0].subject or name
    described = (descriptions.get(view.view_id, "") for view in views)
    return {
        "prompts": [prompts[view.view_id] for view in views],
        "category": RIGID if all(map(has_passes, views)) else DEFORMABLE,
        "category_description": next(filter(None, described), "") or views[0].subject_label or "object",
        "objaverse_id": f"{views[0].scene}/{subject}",
        "view_set": name,
    }


# ---- files -----------------------------------------------------------------------------------------------------------


def _write_group(source: ExportSource, views: Sequence[ViewRecord], folder: Path) -> list[str]:
    """Write the pictures and masks of a group; return the names of the pictures."""
    names = []
    for view in views:
        name, picture = source.read_upright(view)
        size = (view.camera.width, view.camera.height)
        write_file(folder / name, picture)
        write_file(folder / "masks" / f"{PurePosixPath(name).stem}.jpg", _encode_mask(_read_mask(source, view), size))
        names.append(name)
    return names


def _read_mask(source: ExportSource, view: ViewRecord) -> NDArray[np.bool_]:
    """Where the subject of a view is, (H, W); everywhere where nothing tells."""
    if not has_passes(view) or not view.subject_objects:
        return np.ones((view.camera.height, view.camera.width), np.bool_)
    return np.isin(source.read_ids(view), view.subject_objects)


def _encode_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> bytes:
    """Encode a mask (H, W) as a grey JPEG, white where it holds, in the picture's width and height."""
    file = BytesIO()
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    image.save(file, "JPEG", quality=MASK_QUALITY)
    return file.getvalue()


def _write_records(source: ExportSource, folder: Path, records: Sequence[Any], scored: Sequence[Any]) -> None:
    """Write the records of a split, and those with scores where there are any."""
    if not records:
        return
    write_file(folder / METADATA, encode_json(records))
    if scored:
        write_file(folder / SCORED, encode_json(scored))
    if len(scored) < len(records):
        source.notes.append(
            f"{len(records) - len(scored)} of {len(records)} groups in {folder.name} have no scores of both aesthetic "
            f"and dino, and stand in {METADATA} only; run 'blendset score --with aesthetic:HEAD,dino:MODEL'."
        )
