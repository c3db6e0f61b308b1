# SPDX-License-Identifier: Apache-2.0
"""What a thing without a name looks like, in the words of someone who does not know what it is: a low block, a row of
cylinders, a square frame. Told from its visible pixels and its box; what fits no plain word is a "structure".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage.measure import label, regionprops
from skimage.morphology import convex_hull_image

from blendset.cameras import Array
from blendset_trainer.captioning.seeing.gbuffer import Mask, Picture, bounding

BOXY, SOLID = 0.65, 0.55
"""The share of a box's normals that keep to its directions, and how much of its outline's hull it covers at least."""
CURVED = 0.3
"""The share of normals between level and upright that makes a thing rounded."""
LARGE, SMALL = 0.2, 0.05
"""A large thing takes so much of the picture; a small one is so short against all that is in sight."""
LEAST_ROW = 3
"""Fewer like pieces are no row."""
PLAIN = frozenset("cylinder ball cone disc block".split())
"""What is told to be in rows and stacks."""
SLABS = frozenset(("board", "slab"))
"""What things lie on."""
HOLLOW = 0.15
"""The share of normals that turn to the upright axis where one looks into a bowl."""
LEAST_PIXELS = 20
"""Fewer tell nothing of an outline, or of where the middle of a thing is."""
TOP = 0.25
"""How much of a thing's height is its top."""


@dataclass(frozen=True)
class Shape:
    """ "a tall" + colour + "structure" + "with a rounded top"; `several` is "row" or "stack" where it is one."""

    noun: str = ""
    manner: str = ""
    tail: str = ""
    several: str = ""


def shape_of(picture: Picture, mask: Mask, box: Array) -> Shape:
    """What is seen of one thing, by its mask and its box (2, 3) in the world."""
    pieces = _pieces(picture, mask)
    if pieces:
        first = max(pieces, key=np.count_nonzero)
        extent = _extent(picture, first)
        one = _one(picture, first, extent)
        places = np.array([picture.positions[each].mean(axis=0) for each in pieces])
        across, wide = np.ptp(places[:, :2], axis=0).max(), (extent[1] - extent[0])[:2].max()
        sides = picture.normals[first][np.abs(picture.normals[first][:, 2]) < 0.3]
        noun = "disc" if one.noun in SLABS and len(sides) and go_round(sides) else one.noun
        if noun in PLAIN:
            return Shape(noun, several="row" if across > wide else "stack")
    return _one(picture, mask, box)


def _one(picture: Picture, mask: Mask, box: Array) -> Shape:
    size, normals = box[1] - box[0], picture.normals[mask]
    wide, deep, high = float(size[:2].max()), float(size[:2].min()), float(size[2])
    low, middle, longest = (max(float(each), 1e-9) for each in np.sort(size))
    flat, manner = (
        flatness(normals),
        _manner(wide, high, float(mask.mean()), float(np.linalg.norm(size)), picture.reach),
    )
    if middle < 0.2 * longest:
        return Shape("post", "tall") if high == longest else Shape("bar" if flat > BOXY else "rod", "long")
    if _is_frame(picture, mask, box):
        return Shape("frame", "square" if middle > 0.8 * longest else "tall" if high == longest else "oblong")
    if low < 0.06 * longest or (high > low and low < 0.25 * middle):
        return Shape("panel", "flat") if high > low else Shape("board", "flat")
    if deep > 0.8 * wide and high < 0.6 * wide and flat <= BOXY and _share_hollow(picture, mask, box) > HOLLOW:
        return Shape(
            "form", f"{'shallow' if high < 0.35 * wide else 'large' if mask.mean() > LARGE else ''} bowl-like".strip()
        )
    if flat <= BOXY and lies_round(normals):
        return Shape("cylinder", tail="on its side")
    return _solid(normals, deep > 0.8 * wide, (low, middle, longest), flat, manner) or _compound(
        picture, mask, manner, high < 0.25 * wide
    )


def _solid(normals: Array, is_round: bool, sizes: tuple[float, float, float], flat: float, manner: str) -> Shape | None:
    """A plain solid, None for what is none. `sizes` ascend."""
    sides, slopes = normals[np.abs(normals[:, 2]) < 0.3], np.abs(normals[:, 2])
    curved = float(np.mean((slopes > 0.3) & (slopes < 0.92)))
    if is_round and curved > 0.8 and slopes.std() < 0.15:
        return Shape("cone", "blunt")
    if is_round and flat <= BOXY and len(sides) > 0.35 * len(normals) and curved < CURVED and go_round(sides):
        return Shape("cylinder" if manner != "low" else "disc", "tall" if manner == "tall" else "")
    if is_round and flat < 0.45 and curved > CURVED:
        return Shape("ball") if sizes[0] > 0.85 * sizes[2] else Shape("shape", f"{manner} round".strip())
    return None


def _compound(picture: Picture, mask: Mask, manner: str, thin: bool) -> Shape:
    """A block, where the normals and the outline are a box's, else a structure with what is plain about it."""
    normals = picture.normals[mask]
    flat, fill = flatness(normals), _fill(mask)
    if manner != "low" and ((fill < 0.92 and has_rounded_top(picture, mask)) or has_rounded_outline(mask)):
        return Shape("structure", manner, "with a rounded top")
    if fill < 0.8 and _has_legs(mask):
        return Shape("structure", "table-like")
    if (flat > BOXY and fill > SOLID) or flat > 0.9 or (flat > 0.5 and fill > 0.95):
        return Shape("slab" if thin else "block", "" if thin else manner)
    kind = "rounded" if _share_curved(normals) > CURVED else "angular" if flat > 0.5 else ""
    return Shape("shape" if fill > 0.8 else "structure", f"{manner} {kind}".strip())


def has_rounded_top(picture: Picture, mask: Mask) -> bool:
    """Whether the upper third turns over while the lower half does not."""
    rows, _ = bounding(mask)
    height = rows.stop - rows.start
    top, foot = mask.copy(), mask.copy()
    top[rows.start + max(2, height // 3) :] = False
    foot[: rows.start + height // 2] = False
    above, below = _share_curved(picture.normals[top]), _share_curved(picture.normals[foot])
    return above > CURVED and above > below + 0.12


def has_rounded_outline(mask: Mask) -> bool:
    """Whether the upper outline is one even curve, as that of an arch seen from the side: near a parabola."""
    part = mask[bounding(mask)]
    edge = part.argmax(axis=0).astype(float)
    reach = TOP * len(part)
    columns = np.flatnonzero(edge < reach)
    if len(columns) < max(LEAST_PIXELS, 0.9 * len(edge)) or np.ptp(columns) >= len(columns):
        return False
    across = np.linspace(-1, 1, len(columns))
    curve = np.polyfit(across, edge[columns], 2)
    rough = np.sqrt(np.mean((edge[columns] - np.polyval(curve, across)) ** 2))
    drop = edge[columns[[0, -1]]].min() - edge.min()
    return bool(rough < 0.06 * reach and drop > 0.45 * reach and abs(curve[1]) < 0.8 * curve[0])


def _share_hollow(picture: Picture, mask: Mask, box: Array) -> float:
    """The share of pixels that face the upright axis of a thing, as the inner side of a bowl does."""
    out = (picture.positions[mask] - box.mean(axis=0))[:, :2]
    sides = picture.normals[mask][:, :2]
    lengths = np.linalg.norm(out, axis=1) * np.linalg.norm(sides, axis=1)
    steep = np.linalg.norm(sides, axis=1) > 0.3
    return float(np.mean(steep & ((out * sides).sum(axis=1) < -0.5 * lengths)))


def lies_round(normals: Array) -> bool:
    """Whether normals turn about a level axis, as those of a cylinder on its side do."""
    spread, axes = np.linalg.eigh(normals.T @ normals / len(normals))
    across = np.abs(normals @ axes[:, 0]) < 0.2
    return bool(spread[0] < 0.04 and spread[1] > 0.15 and abs(axes[2, 0]) < 0.3 and across.mean() > 0.85)


def _share_curved(normals: Array) -> float:
    slopes = np.abs(normals[:, 2])
    return float(np.mean((slopes > 0.3) & (slopes < 0.92)))


def _manner(wide: float, high: float, share: float, diagonal: float, reach: float) -> str:
    if high > 1.6 * wide:
        return "tall"
    if high < 0.35 * wide:
        return "low"
    return "large" if share > LARGE else "small" if diagonal < SMALL * reach else ""


def flatness(normals: Array) -> float:
    """Share of normals that keep to at most three directions at right angles, as a box's do."""
    left, found = normals, np.zeros((0, 3))
    for _ in range(3):
        free = left[(np.abs(left @ found.T) < 0.35).all(axis=1)]
        if not len(free):
            break
        cells, counts = np.unique(np.round(free / 0.2).astype(int), axis=0, return_counts=True)
        direction = cells[counts.argmax()] / max(float(np.linalg.norm(cells[counts.argmax()])), 1e-9)
        found = np.vstack([found, direction])
        left = left[left @ direction < 0.96]
    return 1 - len(left) / max(len(normals), 1)


def go_round(sides: Array) -> bool:
    """Whether upright surfaces (N, 3) turn evenly, as a cylinder's do: no direction has much more than another."""
    turns = np.degrees(np.arctan2(sides[:, 1], sides[:, 0])) % 360
    shares = np.bincount((turns / 20).astype(int), minlength=18) / len(sides)
    return bool(shares.max() < 0.3 and np.count_nonzero(shares > 0.05) >= 5)


def _fill(mask: Mask) -> float:
    """The share of the hull of its outline that a mask covers: a box with holes, such as a table, is no box."""
    part = mask[bounding(mask)]
    if min(part.shape) < 3:
        return 1.0  # a line has no hull
    return float(np.count_nonzero(part)) / max(int(np.count_nonzero(convex_hull_image(part))), 1)


def _has_legs(mask: Mask) -> bool:
    """Whether it is broad at its top, and below that narrow, evenly so, in two or more places."""
    part = mask[bounding(mask)]
    if len(part) < 12:
        return False
    cover, low = part.mean(axis=1), part[len(part) // 2 :]
    legs = (np.diff(low.astype(int), axis=1) == 1).sum(axis=1) + low[:, 0]
    below = low.mean(axis=1)[: -len(low) // 8]
    even = below[: len(below) // 2].mean() < 1.5 * below[len(below) // 2 :].mean()
    return bool(cover[: len(part) // 5].max() > 0.95 and below.max() < 0.5 and even and np.median(legs) >= 2)


def _is_frame(picture: Picture, mask: Mask, box: Array) -> bool:
    """Whether an upright flat thing is hollow in its middle, where its rim is at its front."""
    size = box[1] - box[0]
    thin = int(size[:2].argmin())
    if size[thin] > 0.5 * np.delete(size, thin).min():
        return False
    places = (picture.positions[mask] - box[0]) / np.maximum(size, 1e-9)
    front = picture.camera.position[thin] > box[:, thin].mean()
    sunk = 1 - places[:, thin] if front else places[:, thin]
    across = np.abs(np.delete(places, thin, axis=1) - 0.5)
    middle, rim = (across < 0.2).all(axis=1), (across > 0.4).any(axis=1)
    if min(np.count_nonzero(middle), np.count_nonzero(rim)) < LEAST_PIXELS:
        return False
    return bool(np.median(sunk[middle]) > 0.3 and np.median(sunk[rim]) < 0.35)


# ---- several in one --------------------------------------------------------------------------------------------------


def _pieces(picture: Picture, mask: Mask) -> list[Mask]:
    """The like pieces that one object consists of, seen apart from each other; none where they are not alike.

    They part where the surface jumps in depth; what only something nearer cuts apart is no piece.
    """
    inner = mask & ~_jumps(picture, mask)
    found = [each for each in regionprops(label(inner, connectivity=1)) if each.area > 0.02 * inner.sum()]
    if len(found) < LEAST_ROW:
        return []
    masks = []
    for each in found:
        piece = np.zeros_like(mask)
        piece[tuple(each.coords.T)] = True
        masks.append(piece)
    sizes = np.array([np.linalg.norm(np.ptp(picture.positions[each], axis=0)) for each in masks])
    alike = [each for each, size in zip(masks, sizes, strict=True) if size > 0.5 * sizes.max()]
    covered = sum(int(each.sum()) for each in alike) / max(int(inner.sum()), 1)
    return alike if len(alike) >= LEAST_ROW and covered > 0.8 else []


def _jumps(picture: Picture, mask: Mask) -> Mask:
    """Pixels of a mask behind whose neighbour in the mask the surface is much farther than one pixel's step."""
    jumps = np.zeros_like(mask)
    step = 6 * picture.depths / max(picture.camera.focal_length_px, 1e-9)
    for axis in (0, 1):
        gap = np.abs(np.diff(picture.depths, axis=axis))
        near = np.minimum(*(np.take(step, range(start, step.shape[axis] - 1 + start), axis) for start in (0, 1)))
        cut = gap > near
        jumps[(slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))] |= cut
    return jumps & mask


def _extent(picture: Picture, mask: Mask) -> Array:
    """The box of what is seen; deep enough for something round, since its back cannot be seen."""
    places = picture.positions[mask]
    box = np.stack([places.min(axis=0), places.max(axis=0)])
    wide = float((box[1] - box[0])[:2].max())
    return np.stack([box[0], np.maximum(box[1], box[0] + [wide, wide, 0])])
