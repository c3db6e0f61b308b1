# SPDX-License-Identifier: Apache-2.0
"""What a stage that works on whole view sets shares: which views belong together, and the pairs among them."""

from __future__ import annotations

from collections.abc import Sequence

from blendset_trainer.stages import View


def set_places(views: Sequence[View]) -> list[list[int]]:
    """The places in `views` of each view set, in the set's own order; a view of no set stands alone."""
    sets: dict[tuple[str, ...], list[int]] = {}
    for place, view in enumerate(views):
        name = (view.record.view_set,) if view.record.view_set else ("", view.record.view_id)
        sets.setdefault((view.record.scene, *name), []).append(place)
    return [sorted(places, key=lambda place: views[place].record.view_index) for places in sets.values()]
