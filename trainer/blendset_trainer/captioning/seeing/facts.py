# SPDX-License-Identifier: Apache-2.0
"""The facts about a view, as plain data: its subject, what is around it and where, surfaces, camera and light.

Facts hold only what the pixels, the index pass and the geometry show; what is unclear is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blendset.exr import Passes
from blendset.records import SceneRecord, ViewRecord
from blendset_trainer.captioning.seeing.entities import Entity, EntityBuilder, aggregate_entities
from blendset_trainer.captioning.seeing.gbuffer import GBuffer
from blendset_trainer.captioning.seeing.relations import compute_gap, find_supports
from blendset_trainer.captioning.seeing.segments import ObjectSegment, ViewSegmentation, segment_view
from blendset_trainer.captioning.seeing.surfaces import Surface
from blendset_trainer.captioning.seeing.viewpoint import (
    describe_background,
    describe_light,
    find_camera_angle,
    find_distance,
    find_light_side,
    is_colourless,
)
from blendset_trainer.language.grammar import singularize
from blendset_trainer.language.lexicon import UNREMARKABLE_NOUNS, extract_noun
from blendset_trainer.things import label_parts

MIN_NAMED_SHARE, MIN_NAMELESS_SHARE, MIN_SCENE_SHARE = 0.004, 0.015, 0.007
"""The share of the picture that makes an object salient: one with a name, one without, and one without a name in a
view of the scene."""
MIN_SMALL_SHARE, MIN_SMALL_COUNT = 0.0003, 5
"""Smaller objects are salient where there are so many of a name, each with this share."""
MIN_VISIBLE_SHARE = 0.2
"""The share of its projected box that an object's visible part must fill to be recognized."""
CLEAR_SHARE = 0.03
"""An object with this share of the picture is recognized even where the frame cuts it."""
MAX_OBJECTS = 16
"""The most objects that are salient by their size."""
MAX_LINE_WIDTH = 0.05
"""An object whose second side is a smaller share of its longest is a line (skirting, a cable), and never salient."""


@dataclass(frozen=True)
class SurfaceFact:
    """A floor, wall, ceiling, ...: `share` is of the picture, 0 to 1, `lightness` CIELAB's."""

    noun: str
    colour: str
    material: str
    share: float
    lightness: float


@dataclass(frozen=True)
class Facts:
    """What is known of one view.

    `subject` is None in a view of the scene. `angle` is where the camera looks from ("directly above", "above",
    "slightly above", "level", "below"); `distance` is "close", "wide" or ""; `light` holds what is clear of "bright",
    "dim", "warm" and "cool"; `light_side` is "left", "right" or ""; `palette` is "grey" where nothing has a colour;
    `backdrop` is the wall behind the subject; `background` is "dark", "pale" or "plain" where much of the picture shows
    no object, else ""; `nouns` are all that a caption may use, singular.
    """

    subject: Entity | None
    others: tuple[Entity, ...]
    surfaces: tuple[SurfaceFact, ...]
    angle: str
    distance: str
    light: tuple[str, ...]
    light_side: str
    palette: str
    backdrop: SurfaceFact | None
    background: str
    nouns: frozenset[str]


def extract_facts(view: ViewRecord, scene: SceneRecord, rgb: NDArray[np.uint8], passes: Passes) -> Facts:
    """Find the facts about a view. `rgb` (H, W, 3) is 8-bit sRGB of the same size as the passes."""
    segmentation = segment_view(view, scene, rgb, passes)
    subject = segmentation.subject
    salient = [segment for segment in _select_salient(segmentation) if not _is_part_of(segment, subject)]
    described = [*salient, *([subject] if subject else [])]
    builder = EntityBuilder(segmentation, find_supports(segmentation.gbuffer, described, segmentation.surfaces))
    covered, colourless = segmentation.gbuffer.ids > 0, is_colourless(rgb)
    return Facts(
        subject=builder.build([subject], "") if subject else None,
        others=tuple(aggregate_entities(salient, builder)),
        surfaces=tuple(_build_surface_fact(surface) for surface in segmentation.surfaces if surface.share > 0.02),
        angle=find_camera_angle(segmentation.gbuffer),
        distance=find_distance(subject),
        light=describe_light(rgb, covered),
        light_side=find_light_side(segmentation.gbuffer) if colourless else "",
        palette="grey" if colourless else "",
        backdrop=_find_backdrop(segmentation),
        background=describe_background(rgb, covered),
        nouns=find_visible_nouns(view, scene, segmentation.surfaces),
    )


def find_visible_nouns(view: ViewRecord, scene: SceneRecord, surfaces: Iterable[Surface] = ()) -> frozenset[str]:
    """The nouns (singular) of all things and parts that the index pass shows, whatever their size, and of surfaces."""
    things = label_parts(scene)
    labels = [view.subject_label, *(entry.label for entry in view.visible_objects)]
    labels += [things.get(entry.id, "") for entry in view.visible_objects]
    return frozenset(
        {singularize(extract_noun(label)) for label in labels} | {surface.noun for surface in surfaces}
    ) - {""}


# ---- what is salient -------------------------------------------------------------------------------------------------


def _select_salient(segmentation: ViewSegmentation) -> list[ObjectSegment]:
    """Select objects large enough to be recognized, and small ones of which there are many (the books of a shelf)."""
    remarkable = [
        segment
        for segment in segmentation.objects
        if segment.noun.split(" ")[-1] not in UNREMARKABLE_NOUNS and not _is_line(segment)
    ]
    large = [segment for segment in remarkable if _is_recognizable(segment, segmentation)][:MAX_OBJECTS]
    small = [segment for segment in remarkable if segment.noun and MIN_SMALL_SHARE < segment.share <= MIN_NAMED_SHARE]
    for noun in dict.fromkeys(segment.noun for segment in small):
        alike = [segment for segment in small if segment.noun == noun]
        if len(alike) >= MIN_SMALL_COUNT and sum(segment.share for segment in alike) > MIN_NAMED_SHARE:
            large += alike
    return large


def _is_line(segment: ObjectSegment) -> bool:
    size = np.sort(segment.box[1] - segment.box[0])
    return bool(size[1] < MAX_LINE_WIDTH * size[2])


def _is_recognizable(segment: ObjectSegment, segmentation: ViewSegmentation) -> bool:
    nameless = MIN_NAMELESS_SHARE if segmentation.subject else MIN_SCENE_SHARE
    return (
        segment.share > (MIN_NAMED_SHARE if segment.noun else nameless)
        and _compute_visible_share(segment, segmentation.gbuffer) > MIN_VISIBLE_SHARE
    )


def _compute_visible_share(segment: ObjectSegment, gbuffer: GBuffer) -> float:
    """The share of its projected box, in the picture and beyond, that the bounding box of its visible pixels fills."""
    if segment.share > CLEAR_SHARE:
        return 1.0
    corners = np.array(
        [[segment.box[i, 0], segment.box[j, 1], segment.box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    )
    pixels, depth = gbuffer.camera.project(corners)
    if (depth <= 0).any():  # it runs past the camera
        return 0.0
    size = np.array([gbuffer.camera.width, gbuffer.camera.height])
    projected_area = np.prod(np.ptp(pixels / size, axis=0))
    left, top, right, bottom = segment.bbox
    return float((right - left) * (bottom - top) / max(projected_area, 1e-9))


def _is_part_of(segment: ObjectSegment, subject: ObjectSegment | None) -> bool:
    """Whether it is a part of the subject that was not grouped with it: of its name, small and near."""
    if subject is None or segment.noun != subject.noun or not segment.noun:
        return False
    return bool(segment.share < 0.3 * subject.share and compute_gap(segment, subject) < 0.01 * subject.diagonal)


def _build_surface_fact(surface: Surface) -> SurfaceFact:
    """The fact of a surface; a wall that light makes blue here and white there is light blue."""
    first, _, second = surface.colour.partition(" and ")
    colour = f"light {second if first == 'white' else first}" if "white" in (first, second) and second else first
    return SurfaceFact(surface.noun, colour, surface.material, surface.share, surface.lightness)


def _find_backdrop(segmentation: ViewSegmentation) -> SurfaceFact | None:
    """The wall that lies beside and above most of the subject's pixels."""
    if segmentation.subject is None:
        return None
    mask = segmentation.subject.mask
    reach = max(2, mask.shape[1] // 40)
    around = np.zeros_like(mask)
    around[:, reach:] |= mask[:, :-reach]
    around[:, :-reach] |= mask[:, reach:]
    around[:-reach] |= mask[reach:]
    around &= ~mask
    behind = next(
        (
            surface
            for surface in segmentation.surfaces
            if surface.noun == "wall" and (surface.mask & around).sum() > 0.4 * around.sum()
        ),
        None,
    )
    return _build_surface_fact(behind) if behind else None
