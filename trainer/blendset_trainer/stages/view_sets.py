# SPDX-License-Identifier: Apache-2.0
"""What a stage that works on whole view sets shares: which views belong together, and the pairs among them."""

from __future__ import annotations

from collections.abc import Sequence

from blendset.cameras import Camera
from blendset.correspondence import ViewGeometry
from blendset.errors import BlendsetError
from blendset_trainer.stages.stage import View


def group_by_view_set(views: Sequence[View]) -> list[list[int]]:
    """The places in `views` of each view set, in the set's own order; a view of no set stands alone."""
    sets: dict[tuple[str, ...], list[int]] = {}
    for place, view in enumerate(views):
        name = (view.record.view_set,) if view.record.view_set else ("", view.record.view_id)
        sets.setdefault((view.record.scene, *name), []).append(place)
    return [sorted(places, key=lambda place: views[place].record.view_index) for places in sets.values()]


def size_mismatch(view: View) -> BlendsetError | None:
    """Why the picture of a view cannot be held against its passes; None where it can, or where there are none."""
    if not view.has_passes or view.rgb.shape[:2] == view.ids.shape:
        return None
    (height, width), (rows, columns) = view.rgb.shape[:2], view.ids.shape
    return BlendsetError(
        f"{view.folder} holds a picture of {width} x {height} pixels and passes of {columns} x {rows}; "
        "make the picture in the size of the passes."
    )


def build_set_geometries(views: Sequence[View]) -> list[dict[int, ViewGeometry]]:
    """The geometry of each set's views by their places, of those that have passes which fit their picture."""
    return [
        {
            place: ViewGeometry(Camera.from_record(views[place].record.camera), views[place].passes)
            for place in places
            if views[place].has_passes and size_mismatch(views[place]) is None
        }
        for places in group_by_view_set(views)
    ]
