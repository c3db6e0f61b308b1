# SPDX-License-Identifier: Apache-2.0
"""Panoptic segments of a view, as a person would count them: objects, and floor, walls and ceiling apart.

A scene's object is often a part (a chair's leg): parts are joined. Only what the index pass shows counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.exr import Passes
from blendset.masks import Mask, find_bounding_slices
from blendset.records import SceneObjectRecord, SceneRecord, ViewRecord
from blendset_trainer.captioning.seeing.gbuffer import GBuffer, build_gbuffer
from blendset_trainer.captioning.seeing.materials import find_material, name_paint_colour
from blendset_trainer.captioning.seeing.shapes import SLAB_NOUNS, Shape, describe_shape
from blendset_trainer.captioning.seeing.surfaces import Surface, find_surfaces, is_surface
from blendset_trainer.language.lexicon import extract_noun

MIN_BODY_SHARE = 0.6
"""A part with more than this share of a segment's pixels is its body."""
SIZE_WORDS = frozenset("large small tall low".split())
"""What one of several alike may be and the others not, since it depends on the view."""
MAX_PARTS = 400
"""More visible parts of one label than this are a scatter: they are not told apart."""


@dataclass(frozen=True, eq=False)
class ObjectSegment:
    """One visible object. `noun` comes from its label; where there is none, `shape` says what it looks like.

    `mask` is (H, W); `box` (2, 3) is its lowest and highest corner in world units; `depth` (world units) and
    `lightness` (CIELAB) are medians over its pixels. It `has_many_materials` where its parts differ in material. Of a
    subject that is a part of a thing in sight, `whole` is the noun of that thing.
    """

    noun: str
    shape: Shape
    ids: frozenset[int]
    mask: Mask
    box: Array
    colour: str
    material: str
    depth: float
    lightness: float
    has_many_materials: bool
    whole: str = ""

    @cached_property
    def share(self) -> float:
        """Its share of the picture, 0 to 1."""
        return float(self.mask.mean())

    @cached_property
    def bbox(self) -> tuple[float, float, float, float]:
        """Its left, top, right and bottom edge in the picture, 0 to 1."""
        rows, columns = find_bounding_slices(self.mask)
        height, width = self.mask.shape
        return columns.start / width, rows.start / height, columns.stop / width, rows.stop / height

    @cached_property
    def centroid(self) -> tuple[float, float]:
        """The mean position of its pixels, from the left and from the top, 0 to 1."""
        rows, columns = np.nonzero(self.mask)
        return float((columns.mean() + 0.5) / self.mask.shape[1]), float((rows.mean() + 0.5) / self.mask.shape[0])

    @cached_property
    def diagonal(self) -> float:
        """The diagonal of its box, in world units."""
        return float(np.linalg.norm(self.box[1] - self.box[0]))


@dataclass(frozen=True, eq=False)
class ViewSegmentation:
    """Everything in sight: the subject (None in a view of the scene), other objects and surfaces, largest first."""

    gbuffer: GBuffer
    subject: ObjectSegment | None
    objects: tuple[ObjectSegment, ...]
    surfaces: tuple[Surface, ...]


def segment_view(view: ViewRecord, scene: SceneRecord, rgb: NDArray[np.uint8], passes: Passes) -> ViewSegmentation:
    """Segment a view into objects and surfaces. `rgb` (H, W, 3) is 8-bit sRGB of the same size as the passes."""
    gbuffer = build_gbuffer(view, rgb, passes)
    records = {record.id: record for record in scene.objects}
    visible = [records[entry.id] for entry in view.visible_objects if entry.id in records]
    subject_ids = frozenset(view.subject_objects)
    wholes = {records[number].thing for number in subject_ids if number in records} - {""}
    if subject_ids and not wholes and not extract_noun(view.subject_label):
        subject_ids = _remove_load(gbuffer, subject_ids, records)
    beside = [record for record in visible if record.id not in subject_ids]
    rest = [record for record in beside if record.thing in wholes and not record.structural]
    apart = [record for record in beside if record.thing not in wholes or record.structural]
    others = [_name_by_thing(record) for record in apart]
    surface_records = [record for record in others if is_surface(record, scene)]
    standing = [record for record in others if record not in surface_records]
    subject_parts = [record for record in visible if record.id in subject_ids]
    subject = _build_segment(gbuffer, extract_noun(view.subject_label), subject_parts, visible) if subject_ids else None
    if subject:
        subject = replace(subject, whole=_find_whole(subject, rest))
    candidates = (
        _build_segment(gbuffer, extract_noun(parts[0].label), parts, visible) for parts in _group_records(standing)
    )
    segments = sorted((segment for segment in candidates if segment), key=lambda segment: -segment.share)
    all_segments = [*segments, *([subject] if subject else [])]
    return ViewSegmentation(
        gbuffer,
        _unify_shape(subject, all_segments) if subject else None,
        tuple(_unify_shape(segment, all_segments) for segment in segments),
        tuple(sorted(find_surfaces(gbuffer, surface_records), key=lambda surface: -surface.share)),
    )


def _build_segment(
    gbuffer: GBuffer, noun: str, parts: Sequence[SceneObjectRecord], visible: Iterable[SceneObjectRecord]
) -> ObjectSegment | None:
    """The segment that these parts make together; None where no pixel shows them."""
    mask = np.isin(gbuffer.ids, [part.id for part in parts])
    if not mask.any():
        return None
    low, high = [part.bounds_min for part in parts], [part.bounds_max for part in parts]
    box = np.stack([np.min(low, axis=0), np.max(high, axis=0)])
    return ObjectSegment(
        noun=noun,
        shape=Shape() if noun else describe_shape(gbuffer, mask, box),
        ids=frozenset(part.id for part in parts),
        mask=mask,
        box=box,
        colour=name_paint_colour(gbuffer, mask, parts, visible),
        material=find_material(gbuffer, mask, parts),
        depth=float(np.median(gbuffer.depths[mask])),
        lightness=float(np.median(gbuffer.lab[mask][:, 0])),
        has_many_materials=len({part.materials for part in parts}) > 1,
    )


def are_alike(one: ObjectSegment, other: ObjectSegment) -> bool:
    """Whether two objects have no name, colours that may be one, and one size, turned about the upright axis or not."""
    if one.noun or other.noun or len({one.colour, other.colour} - {"", "grey", "light grey", "white"}) > 1:
        return False
    sizes = [segment.box[1] - segment.box[0] for segment in (one, other)]
    sorted_sizes = [np.array([*np.sort(size[:2]), size[2]]) for size in sizes]
    return bool(np.abs(sorted_sizes[0] - sorted_sizes[1]).max() < 0.1 * min(one.diagonal, other.diagonal))


def _unify_shape(segment: ObjectSegment, segments: Sequence[ObjectSegment]) -> ObjectSegment:
    """A segment with the shape that most pixels of all objects like it show, since one view of it may be poor."""
    shares: dict[Shape, float] = defaultdict(float)
    for other in [other for other in segments if are_alike(segment, other)]:
        shares[replace(other.shape, premodifier="")] += other.share
    if len(shares) < 2:
        return segment
    best = max(shares, key=lambda shape: shares[shape])
    keeps = best.noun == segment.shape.noun or segment.shape.premodifier in SIZE_WORDS
    return replace(segment, shape=replace(best, premodifier=segment.shape.premodifier if keeps else ""))


def _remove_load(gbuffer: GBuffer, ids: frozenset[int], records: Mapping[int, SceneObjectRecord]) -> frozenset[int]:
    """Of a subject that is a slab with things on it, the slab's id alone: the things are segments of their own."""
    counts = {number: int(np.count_nonzero(gbuffer.ids == number)) for number in sorted(ids)}
    largest = max(counts, key=lambda number: counts[number])
    if counts[largest] <= MIN_BODY_SHARE * sum(counts.values()) or largest not in records:
        return ids
    box = np.array([records[largest].bounds_min, records[largest].bounds_max])
    return frozenset((largest,)) if describe_shape(gbuffer, gbuffer.ids == largest, box).noun in SLAB_NOUNS else ids


def _find_whole(subject: ObjectSegment, rest: Sequence[SceneObjectRecord]) -> str:
    """The noun of the thing that a subject and the rest of its parts in sight make; "" where that says no more."""
    noun = extract_noun(rest[0].thing_label) if rest else ""
    return "" if set(noun.split()) <= set(subject.noun.split()) else noun


# ---- joining objects -------------------------------------------------------------------------------------------------


def _name_by_thing(record: SceneObjectRecord) -> SceneObjectRecord:
    """A record with the label of the thing that it is part of; walls and the like keep their own."""
    return replace(record, label=record.thing_label) if record.thing and not record.structural else record


def _group_records(records: Iterable[SceneObjectRecord]) -> Iterator[list[SceneObjectRecord]]:
    """Group parts into objects: of one thing, else of one label and collection, one instance, and touching."""
    groups: dict[tuple[str, ...], list[SceneObjectRecord]] = defaultdict(list)
    for record in records:
        instance = "" if _is_asset(record) else record.instance_of
        alone = (record.label or f"\0{record.id}", record.collection, instance)
        groups[(record.thing,) if record.thing else alone].append(record)
    for members in groups.values():
        is_one = bool(members[0].thing) or len(members) > MAX_PARTS
        yield from [members] if is_one else _group_touching(members)


def _is_asset(record: SceneObjectRecord) -> bool:
    """Whether its collection has its name: then that collection holds the parts of one object."""
    return bool(record.label) and extract_noun(record.label) == extract_noun(record.collection)


def _group_touching(records: Sequence[SceneObjectRecord]) -> Iterator[list[SceneObjectRecord]]:
    """Connected components of parts whose boxes touch."""
    low = np.array([record.bounds_min for record in records])
    high = np.array([record.bounds_max for record in records])
    diagonals = np.linalg.norm(high - low, axis=1)
    # within an asset parts may lie apart: a lamp's shade need not touch its foot
    slack = (0.3 * diagonals.max() if _is_asset(records[0]) else 0.02 * diagonals.min()) + 1e-6
    touch = ((low[:, None] <= high[None] + slack) & (high[:, None] >= low[None] - slack)).all(axis=2)
    remaining = set(range(len(records)))
    while remaining:
        reached, front = set(), {min(remaining)}
        while front:
            reached |= front
            front = set(np.flatnonzero(touch[sorted(front)].any(axis=0)).tolist()) - reached
        remaining -= reached
        yield [records[index] for index in sorted(reached)]
