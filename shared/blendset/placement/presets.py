# SPDX-License-Identifier: Apache-2.0
"""The presets of camera placement: their names, how each proposes cameras, and what becomes of the proposals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Placement = Literal["around subjects", "blendfusion", "random", "anchor sweep", "orbit", "scene cameras"]


@dataclass(frozen=True)
class Preset:
    """How cameras are placed.

    `placement` is the way that candidates are proposed, and `count` a number that it takes: the views of an orbit, or
    the cells of a grid along each axis. `scene_views` adds views of the scene itself; with `whole_sets` a view set is
    accepted or rejected as a whole. With `render_all` the gates screen the candidates for the funnel only: all of them
    are rendered (or a sample, where fewer are asked for), at the scene's own exposure and without previews.
    """

    placement: Placement
    count: int = 1
    scene_views: bool = False
    whole_sets: bool = False
    render_all: bool = False


PRESETS: dict[str, Preset] = {
    "blendset": Preset("around subjects", scene_views=True),
    "blendfusion": Preset("blendfusion", render_all=True),
    "random": Preset("random", render_all=True),
    "random-grid": Preset("random", 4, render_all=True),
    "anchor-sweep": Preset("anchor sweep", render_all=True),
    "anchor-sweep-grid": Preset("anchor sweep", 4, render_all=True),
    "orbit-4": Preset("orbit", 4, whole_sets=True),
    "orbit-21": Preset("orbit", 21, whole_sets=True),
    "scene-cameras": Preset("scene cameras", render_all=True),
}
"""By name, as `--preset` takes them."""
