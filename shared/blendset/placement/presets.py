# SPDX-License-Identifier: Apache-2.0
"""The presets of camera placement: their names, how each proposes cameras, and what becomes of the proposals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """How cameras are placed.

    `proposer` is the function that proposes candidates, "module:name" in this package, and `count` a number that it
    reads: the views of an orbit, or the cells of a grid along each axis. `scene_views` adds views of the scene itself;
    with `whole_sets` a view set is accepted or rejected as a whole. With `render_all` the gates screen the candidates
    for the funnel only: all of them are rendered (or a sample, where fewer are asked for), at the scene's own exposure
    and without previews.
    """

    proposer: str
    count: int = 1
    scene_views: bool = False
    whole_sets: bool = False
    render_all: bool = False


PRESETS: dict[str, Preset] = {
    "blendset": Preset("candidates:propose_around_subjects", scene_views=True),
    "blendfusion": Preset("candidates:propose_blendfusion", render_all=True),
    "random": Preset("candidates:propose_random_views", render_all=True),
    "random-grid": Preset("candidates:propose_random_views", 4, render_all=True),
    "anchor-sweep": Preset("candidates:propose_anchor_sweep", render_all=True),
    "anchor-sweep-grid": Preset("candidates:propose_anchor_sweep", 4, render_all=True),
    "orbit-4": Preset("candidates:propose_orbits", 4, whole_sets=True),
    "orbit-21": Preset("candidates:propose_orbits", 21, whole_sets=True),
    "scene-cameras": Preset("candidates:propose_scene_cameras", render_all=True),
}
"""By name, as `--preset` takes them. docs/extending.md shows how to add one."""
