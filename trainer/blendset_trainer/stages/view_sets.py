# SPDX-License-Identifier: Apache-2.0
"""View sets for stages that compare the views of a set: which views belong together, and their geometry."""

from __future__ import annotations

from collections.abc import Sequence

from blendset.cameras import Camera
from blendset.correspondence import ViewGeometry
from blendset.errors import BlendsetError
from blendset.naming import name_view_set
from blendset_trainer.stages.stage import View


def group_by_view_set(views: Sequence[View]) -> list[list[int]]:
    """Return, for each view set, the positions of its views in `views`, sorted by view index.

    A view of no set is a set of its own.
    """
    sets: dict[str, list[int]] = {}
    for position, view in enumerate(views):
        record = view.record
        sets.setdefault(name_view_set(record.scene, record.view_set, record.view_id), []).append(position)
    return [sorted(positions, key=lambda position: views[position].record.view_index) for positions in sets.values()]


def size_mismatch(view: View) -> BlendsetError | None:
    """Return the error for a view whose picture and passes differ in size; None where they agree or there are none."""
    if not view.has_passes or view.rgb.shape[:2] == view.ids.shape:
        return None
    (height, width), (rows, columns) = view.rgb.shape[:2], view.ids.shape
    return BlendsetError(
        f"{view.folder} holds a picture of {width} x {height} pixels and passes of {columns} x {rows}; "
        "make the picture in the size of the passes."
    )


def build_set_geometries(views: Sequence[View]) -> list[dict[int, ViewGeometry]]:
    """Return, for each view set, the geometry of its views by their positions in `views`.

    Views without passes, and views whose passes differ in size from their picture, are left out.
    """
    return [
        {
            position: ViewGeometry(Camera.from_record(views[position].record.camera), views[position].passes)
            for position in positions
            if views[position].has_passes and size_mismatch(views[position]) is None
        }
        for positions in group_by_view_set(views)
    ]
