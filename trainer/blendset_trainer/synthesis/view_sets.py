# SPDX-License-Identifier: Apache-2.0
"""View sets for a generator: which views make one, and their depth and object ids as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from blendset.cameras import Camera
from blendset.correspondence import ViewGeometry, choose_view_sets
from blendset.dataset import PASSES, VIEW_RECORD, Dataset
from blendset.errors import BlendsetError
from blendset.exr import Passes, read_passes
from blendset.records import ViewRecord, read_record


def find_view_sets(
    dataset: Dataset, views: Sequence[ViewRecord], size: int, covisible: float
) -> Iterator[tuple[ViewRecord, ...] | BlendsetError]:
    """Sets of `size` views of one subject, in which each view shares at least `covisible` (0 to 1) of the subject with
    an earlier one. For a subject that has no set, a BlendsetError that says why.
    """
    for (scene, name), group in groupby(sorted(views, key=_get_subject), key=_get_subject):
        members = [view for view in group if PASSES in view.files]
        what = f"{name or 'the whole scene'} of {scene}"
        if len(members) < max(size, 2):
            yield BlendsetError(
                f"There are {len(members)} views with passes of {what}, and a set needs {max(size, 2)}; "
                "render more of them (--preset orbit-4)."
            )
            continue
        if len({(view.camera.width, view.camera.height) for view in members}) > 1:
            yield BlendsetError(f"The views of {what} are of several sizes; make a --selection of those of one size.")
            continue
        geometries = [load_geometry(dataset, scene, view.view_id) for view in members]
        objects = members[0].subject_objects
        if not any(view.mask_objects(objects).any() for view in geometries):
            yield BlendsetError(f"The masks of {what} cover nothing: no view shows it; choose other views.")
            continue
        sets = choose_view_sets(geometries, size, objects, covisible)
        if not sets:
            yield BlendsetError(
                f"No {size} views of {what} each share {covisible:.0%} of it with another; render views that are "
                "nearer together, or lower --covisible (0 takes any)."
            )
        yield from (tuple(members[number] for number in numbers) for numbers in sets)


def _get_subject(view: ViewRecord) -> tuple[str, str]:
    return view.scene, view.subject


def load_geometry(dataset: Dataset, scene: str, view_id: str) -> ViewGeometry:
    """Read the camera and the passes of a view."""
    folder = dataset.view_folder(scene, view_id)
    record = read_record(folder / VIEW_RECORD, ViewRecord)
    return ViewGeometry(Camera.from_record(record.camera), read_passes(folder / PASSES))


def compute_disparity(passes: Sequence[Passes]) -> Tensor:
    """1 / depth of N views as images (N, 3, H, W) in 0..1, with one range for all of them; 0 where there is no surface.

    SynCD gives each image a range of its own, which makes one object's grey differ from view to view.
    """
    inverse = np.stack([np.where(np.isfinite(view.depth), 1 / view.depth, 0.0) for view in passes])
    surface = inverse[inverse > 0]
    low, high = (float(surface.min()), float(surface.max())) if surface.size else (0.0, 1.0)
    scaled = np.where(inverse > 0, (inverse - low) / max(high - low, 1e-9), 0.0).astype(np.float32)
    return torch.from_numpy(scaled)[:, None].expand(-1, 3, -1, -1).contiguous()


def build_object_ids(views: Sequence[ViewGeometry], objects: Sequence[int], share: str) -> Tensor:
    """Object ids (1, N, H, W) of N views, as `ViewSets` takes them, 0 for none.

    All `objects` of the subject are one object, and in mode "foreground" (`share`) there is no other. BlendsetError
    where no view shows the subject.
    """
    ids = np.stack([view.passes.id for view in views]).astype(np.int64)
    subject = np.isin(ids, list(objects)) if objects else ids > 0
    if not subject.any():
        raise BlendsetError("The masks of the view set cover nothing: no view shows its subject; choose other views.")
    ids = np.where(subject, objects[0] if objects else 1, 0 if share == "foreground" else ids)
    return torch.from_numpy(ids)[None]
