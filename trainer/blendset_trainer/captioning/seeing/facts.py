# SPDX-License-Identifier: Apache-2.0
"""What there is to say about a view, as plain data: its subject, what is around it and where, surfaces, camera, light.

Nothing is said that the pixels, the index pass and the geometry do not show; what is unclear is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blendset.exr import Passes
from blendset.records import SceneRecord, ViewRecord
from blendset_trainer.captioning.seeing.gbuffer import Picture
from blendset_trainer.captioning.seeing.entities import Mention, Telling, mentions
from blendset_trainer.captioning.seeing.relations import bearers, gap
from blendset_trainer.captioning.seeing.segments import Seen, Thing, see
from blendset_trainer.captioning.seeing.surfaces import Surface
from blendset_trainer.captioning.seeing.viewpoint import angle, distance, emptiness, is_colourless, light, light_side
from blendset_trainer.language.grammar import singular
from blendset_trainer.language.lexicon import UNREMARKABLE, noun_of

WORTH_NAMING, WORTH_DESCRIBING, WORTH_A_GLANCE = 0.004, 0.015, 0.007
"""The share of the picture that a thing with a name needs to be mentioned, one without, and one in a view of all."""
WORTH_COUNTING, MANY_SMALL = 0.0003, 5
"""Smaller things are mentioned where there are so many, each with this share."""
IN_SIGHT = 0.2
"""How much of its box in the picture a thing must fill to be recognised by what is seen of it."""
CLEARLY_THERE = 0.03
"""A thing with this share of the picture is recognised even where the frame cuts it."""
MOST_THINGS = 16
LINE = 0.05
"""Things slenderer than this (skirting, cables) are no news."""


@dataclass(frozen=True)
class SurfaceFact:
    noun: str
    colour: str
    material: str
    share: float
    lightness: float


@dataclass(frozen=True)
class Facts:
    """`angle` is where the camera looks from ("directly above", "above", "slightly above", "level", "below").

    `distance` is "close", "wide" or ""; `light` holds what is clear of "bright", "dim", "warm" and "cool"; `light_side`
    is "left", "right" or ""; `palette` is "grey" where nothing has a colour; `backdrop` is the surface around the
    subject; `emptiness` is what the background without any object is like ("" where there is little); `nouns` are all
    that may be named, singular.
    """

    subject: Mention | None
    others: tuple[Mention, ...]
    surfaces: tuple[SurfaceFact, ...]
    angle: str
    distance: str
    light: tuple[str, ...]
    light_side: str
    palette: str
    backdrop: SurfaceFact | None
    emptiness: str
    nouns: frozenset[str]


def facts_of(view: ViewRecord, scene: SceneRecord, rgb: NDArray[np.uint8], passes: Passes) -> Facts:
    """Find what there is to say. `rgb` (height, width, 3) is 8-bit sRGB of the same size as the passes."""
    seen = see(view, scene, rgb, passes)
    subject = seen.subject
    things = [each for each in _worth_saying(seen) if not _is_part_of(each, subject)]
    said = [*things, *([subject] if subject else [])]
    telling = Telling(seen, bearers(seen.picture, said, seen.surfaces))
    shown, colourless = seen.picture.ids > 0, is_colourless(rgb)
    return Facts(
        subject=telling.mention([subject], "") if subject else None,
        others=tuple(mentions(things, telling)),
        surfaces=tuple(_surface_fact(each) for each in seen.surfaces if each.share > 0.02),
        angle=angle(seen.picture),
        distance=distance(subject),
        light=light(rgb, shown),
        light_side=light_side(seen.picture) if colourless else "",
        palette="grey" if colourless else "",
        backdrop=_backdrop(seen),
        emptiness=emptiness(rgb, shown),
        nouns=visible_nouns(view, seen.surfaces),
    )


def visible_nouns(view: ViewRecord, surfaces: Iterable[Surface] = ()) -> frozenset[str]:
    """The nouns (singular) of everything that the index pass shows, whatever its size, and of the surfaces."""
    labels = [view.subject_label, *(each.label for each in view.visible_objects)]
    return frozenset({singular(noun_of(label)) for label in labels} | {each.noun for each in surfaces}) - {""}


# ---- what is worth saying --------------------------------------------------------------------------------------------


def _worth_saying(seen: Seen) -> list[Thing]:
    """Things large enough to be recognised, and small ones of which there are many (the books of a shelf)."""
    remarkable = [each for each in seen.things if each.noun.split(" ")[-1] not in UNREMARKABLE and not _is_line(each)]
    large = [each for each in remarkable if _is_recognised(each, seen)][:MOST_THINGS]
    small = [each for each in remarkable if each.noun and WORTH_COUNTING < each.share <= WORTH_NAMING]
    for noun in dict.fromkeys(each.noun for each in small):
        alike = [each for each in small if each.noun == noun]
        if len(alike) >= MANY_SMALL and sum(each.share for each in alike) > WORTH_NAMING:
            large += alike
    return large


def _is_line(each: Thing) -> bool:
    size = np.sort(each.box[1] - each.box[0])
    return bool(size[1] < LINE * size[2])


def _is_recognised(each: Thing, seen: Seen) -> bool:
    nameless = WORTH_DESCRIBING if seen.subject else WORTH_A_GLANCE
    return each.share > (WORTH_NAMING if each.noun else nameless) and _share_in_sight(each, seen.picture) > IN_SIGHT


def _share_in_sight(each: Thing, picture: Picture) -> float:
    """How much of the place that its box takes in the picture and beyond is filled by the box of what is seen of it."""
    if each.share > CLEARLY_THERE:
        return 1.0
    corners = np.array(
        [[each.box[i, 0], each.box[j, 1], each.box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    )
    pixels, depth = picture.camera.project(corners)
    if (depth <= 0).any():  # it runs past the camera
        return 0.0
    size = np.array([picture.camera.width, picture.camera.height])
    whole = np.prod(np.ptp(pixels / size, axis=0))
    left, top, right, bottom = each.frame
    return float((right - left) * (bottom - top) / max(whole, 1e-9))


def _is_part_of(each: Thing, subject: Thing | None) -> bool:
    """Whether it is a piece of the subject that was not grouped with it: of its name, small and near."""
    if subject is None or each.noun != subject.noun or not each.noun:
        return False
    return bool(each.share < 0.3 * subject.share and gap(each, subject) < 0.01 * subject.size)


def _surface_fact(each: Surface) -> SurfaceFact:
    """A wall that light makes blue here and white there is light blue."""
    first, _, second = each.colour.partition(" and ")
    colour = f"light {second if first == 'white' else first}" if "white" in (first, second) and second else first
    return SurfaceFact(each.noun, colour, each.material, each.share, each.lightness)


def _backdrop(seen: Seen) -> SurfaceFact | None:
    """The wall (or other upright surface) that most of the subject is seen against: beside and above its pixels."""
    if seen.subject is None:
        return None
    mask = seen.subject.mask
    reach = max(2, mask.shape[1] // 40)
    around = np.zeros_like(mask)
    around[:, reach:] |= mask[:, :-reach]
    around[:, :-reach] |= mask[:, reach:]
    around[:-reach] |= mask[reach:]
    around &= ~mask
    behind = next(
        (each for each in seen.surfaces if each.noun == "wall" and (each.mask & around).sum() > 0.4 * around.sum()),
        None,
    )
    return _surface_fact(behind) if behind else None
