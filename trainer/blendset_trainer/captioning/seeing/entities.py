# SPDX-License-Identifier: Apache-2.0
"""Entities: what a caption refers to with one noun phrase, an object or several of a kind in one relation.

An object without a name is called by its shape; where no plain word fits, captions leave it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from blendset_trainer.captioning.seeing.relations import find_relation, hangs_on_wall
from blendset_trainer.captioning.seeing.segments import ObjectSegment, ViewSegmentation, are_alike
from blendset_trainer.captioning.seeing.shapes import SLAB_NOUNS
from blendset_trainer.captioning.seeing.surfaces import Surface
from blendset_trainer.language.lexicon import SEE_THROUGH_WORDS

MIN_ALIKE = 5
"""In a view of the scene, more objects than this that are alike are described as such."""
VAGUE_NOUNS = frozenset(("form", "shape", "structure"))
"""Objects that share one of these nouns need have nothing else in common."""
MAX_FAINT_SHARE, MAX_DARK_LIGHTNESS = 0.03, 22
"""An object with a smaller share of the picture and a lower lightness is too dark for its colour to show."""
PALE_COLOURS = frozenset(("white", "cream", "beige", "grey", "light grey"))
"""Colours that light turns into each other."""


@dataclass(frozen=True)
class Entity:
    """An object, or several of a kind that stand in one relation to the subject.

    Where it `is_named`, `noun` comes from its label, else it is a word for its shape, with `premodifier` before the
    colour ("tall"), `postmodifier` behind the noun ("on its side") and `arrangement` "row" or "stack" where it is one.
    It `is_alike` where it has the shape and size of the subject, or of many others in a view of the scene.
    `relation` to the subject is "under" (it bears the subject), "over" (the subject hangs over it), "on", "in",
    "above", "below", "left", "right", "front", "behind", "beside", "background", "foreground", or "" where it is not
    clear. `support` is the noun of what bears it. What `is_on_wall` hangs there. What `is_upright_panel` (a door, a
    painting) is never said to stand on the floor. A subject that is a part has the noun of its thing as `whole`.
    `share` is of the picture, 0 to 1; `lightness` is CIELAB's; `centre` is from the left and from the top, 0 to 1;
    `bbox` is the left, top, right and bottom edge of the largest object, 0 to 1.
    """

    noun: str
    is_named: bool
    count: int
    colour: str
    material: str
    share: float
    lightness: float
    centre: tuple[float, float]
    premodifier: str = ""
    postmodifier: str = ""
    arrangement: str = ""
    is_alike: bool = False
    is_upright_panel: bool = False
    is_on_wall: bool = False
    bbox: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    relation: str = ""
    support: str = ""
    whole: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether the edge of the picture cuts it off."""
        return min(self.bbox[:2]) <= 0 or max(self.bbox[2:]) >= 1

    @property
    def is_descriptive(self) -> bool:
        """Whether its noun says what it looks like."""
        return self.is_named or self.is_alike or self.noun not in VAGUE_NOUNS or self.premodifier.endswith("-like")


@dataclass(frozen=True)
class EntityBuilder:
    """Builds the entities of one view; `supports` says what bears each segment, where that is known."""

    segmentation: ViewSegmentation
    supports: Mapping[ObjectSegment, ObjectSegment | Surface]

    def find_relation(self, segment: ObjectSegment) -> str:
        """Its relation to the subject (see `Entity`); "" in a view of the scene."""
        if not self.segmentation.subject:
            return ""
        found = find_relation(segment, self.segmentation.subject, self.supports)
        return "behind" if found == "background" and self.is_alike(segment) else found

    def find_support_noun(self, segment: ObjectSegment) -> str:
        """What that is called that bears it; "" where it is not known."""
        support = self.supports.get(segment)
        return self.find_noun([support]) if isinstance(support, ObjectSegment) else support.noun if support else ""

    def find_noun(self, segments: Sequence[ObjectSegment]) -> str:
        """What the segments are called, or the word for their shape; a slab that is fixed to a wall is a ledge."""
        noun = segments[0].noun or _get_common({segment.shape.noun for segment in segments}) or "structure"
        return "ledge" if noun in SLAB_NOUNS and self.are_on_wall(segments) else noun

    def are_on_wall(self, segments: Sequence[ObjectSegment]) -> bool:
        """Whether all of them hang on a wall, and nothing else bears them."""
        gbuffer, surfaces = self.segmentation.gbuffer, self.segmentation.surfaces
        return all(segment not in self.supports and hangs_on_wall(gbuffer, segment, surfaces) for segment in segments)

    def is_alike(self, segment: ObjectSegment) -> bool:
        """Whether it has no name and the size of the subject; in a view of the scene, the size of many others."""
        if self.segmentation.subject:
            return segment is not self.segmentation.subject and are_alike(segment, self.segmentation.subject)
        return sum(are_alike(segment, other) for other in self.segmentation.objects) > MIN_ALIKE

    def count_objects(self, segments: Sequence[ObjectSegment]) -> int:
        """How many they are; of many alike in a view of the scene, those too small to be salient count too."""
        if self.segmentation.subject or not self.is_alike(segments[0]):
            return len(segments)
        return sum(are_alike(segments[0], segment) for segment in self.segmentation.objects)

    def find_colour(self, segments: Sequence[ObjectSegment]) -> str:
        """The colour that all have; "" where it is not sure: for something dark and small, or with many pale parts."""
        colour = _get_common({segment.colour for segment in segments})
        dark = colour == "black" and all(
            segment.share < MAX_FAINT_SHARE and segment.lightness < MAX_DARK_LIGHTNESS for segment in segments
        )
        pale_parts = colour in PALE_COLOURS and any(segment.has_many_materials for segment in segments)
        return "" if dark or pale_parts else colour

    def build(self, segments: Sequence[ObjectSegment], relation: str) -> Entity:
        """One entity of segments that stand in one relation to the subject."""
        first = max(segments, key=lambda segment: segment.share)
        material = _get_common({segment.material for segment in segments})
        see_through = SEE_THROUGH_WORDS & {*first.noun.split(), material}
        return Entity(
            noun=self.find_noun(segments),
            is_named=bool(first.noun),
            count=self.count_objects(segments),
            colour="" if see_through else self.find_colour(segments),
            material=material,
            share=sum(segment.share for segment in segments),
            lightness=first.lightness,
            centre=(
                float(np.mean([segment.centroid[0] for segment in segments])),
                float(np.mean([segment.centroid[1] for segment in segments])),
            ),
            premodifier=_get_common({segment.shape.premodifier for segment in segments}),
            postmodifier=_get_common({segment.shape.postmodifier for segment in segments}),
            arrangement=_get_common({segment.shape.arrangement for segment in segments}),
            is_alike=all(self.is_alike(segment) for segment in segments),
            is_upright_panel=all(_is_upright_panel(segment) for segment in segments),
            is_on_wall=self.are_on_wall(segments),
            bbox=first.bbox,
            relation=relation,
            support=_get_common({self.find_support_noun(segment) for segment in segments}),
            whole=first.whole,
        )


def aggregate_entities(segments: Sequence[ObjectSegment], builder: EntityBuilder) -> Iterator[Entity]:
    """Aggregate objects of one kind in one relation into entities, the largest in the picture first."""

    def make_key(segment: ObjectSegment) -> tuple[str, str, str, bool]:
        support = "" if builder.segmentation.subject or not segment.noun else builder.find_support_noun(segment)
        alike = builder.is_alike(segment)
        has_plain_shape = not builder.segmentation.subject and segment.shape.noun not in VAGUE_NOUNS
        premodifier = "" if has_plain_shape else segment.shape.premodifier
        colour = "" if segment.colour in PALE_COLOURS else segment.colour
        shape = "" if alike else f"{premodifier} {builder.find_noun([segment])} {segment.shape.arrangement} {colour}"
        return segment.noun or shape, builder.find_relation(segment), support, alike

    groups = [(key, list(members)) for key, members in groupby(sorted(segments, key=make_key), key=make_key)]
    yield from sorted((builder.build(members, key[1]) for key, members in groups), key=lambda entity: -entity.share)


def _get_common(words: set[str]) -> str:
    """The only word of a set; "" where there are several."""
    return words.pop() if len(words) == 1 else ""


def _is_upright_panel(segment: ObjectSegment) -> bool:
    size = segment.box[1] - segment.box[0]
    wide, deep, high = *sorted(size[:2], reverse=True), size[2]
    return bool(deep < 0.15 * high and deep < 0.25 * wide)
