# SPDX-License-Identifier: Apache-2.0
"""The shape of an object without a name, in plain words: a low block, a row of cylinders, a square frame.

It is read off the visible pixels and the object's box; what fits no plain word is a "structure".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage.measure import label, regionprops
from skimage.morphology import convex_hull_image

from blendset.cameras import Array
from blendset.masks import Mask, find_bounding_slices
from blendset_trainer.captioning.seeing.gbuffer import GBuffer

MIN_BOX_SHARE, MIN_SOLIDITY = 0.65, 0.55
"""The least share of a box's normals along its axes, and the least solidity of its mask (its area over its hull's)."""
MIN_CURVED_SHARE = 0.3
"""The least share of normals between level and upright that makes an object rounded."""
LARGE_SHARE, SMALL_EXTENT = 0.2, 0.05
"""A large object has a greater share of the picture; a small one is shorter than this share of all that is in sight."""
MIN_ROW_PIECES = 3
"""Fewer like pieces form no row or stack."""
ROW_NOUNS = frozenset("cylinder ball cone disc block".split())
"""Shapes that form rows and stacks."""
SLAB_NOUNS = frozenset(("board", "slab"))
"""Shapes that things lie on."""
MIN_HOLLOW_SHARE = 0.15
"""The least share of normals that face the upright axis where the camera looks into a bowl."""
MIN_PIXELS = 20
"""Fewer pixels say nothing of an outline, or of the depth of an object's middle."""
TOP_HEIGHT = 0.25
"""The share of an object's height that is its top."""


@dataclass(frozen=True)
class Shape:
    """A noun and what modifies it: "tall" + colour + "structure" + "with a rounded top".

    `arrangement` is "row" or "stack" where the object consists of several pieces of that noun.
    """

    noun: str = ""
    premodifier: str = ""
    postmodifier: str = ""
    arrangement: str = ""


def describe_shape(gbuffer: GBuffer, mask: Mask, box: Array) -> Shape:
    """Describe the visible part of an object by its mask (H, W) and its box (2, 3) in world units."""
    pieces = _split_pieces(gbuffer, mask)
    if pieces:
        first = max(pieces, key=np.count_nonzero)
        extent = _compute_extent(gbuffer, first)
        single = _describe_single(gbuffer, first, extent)
        centres = np.array([gbuffer.positions[piece].mean(axis=0) for piece in pieces])
        spread, width = np.ptp(centres[:, :2], axis=0).max(), (extent[1] - extent[0])[:2].max()
        sides = gbuffer.normals[first][np.abs(gbuffer.normals[first][:, 2]) < 0.3]
        noun = "disc" if single.noun in SLAB_NOUNS and len(sides) and has_even_azimuths(sides) else single.noun
        if noun in ROW_NOUNS:
            return Shape(noun, arrangement="row" if spread > width else "stack")
    return _describe_single(gbuffer, mask, box)


def _describe_single(gbuffer: GBuffer, mask: Mask, box: Array) -> Shape:
    """Describe the pixels of a mask (H, W) as one piece; `box` is (2, 3)."""
    size, normals = box[1] - box[0], gbuffer.normals[mask]
    wide, deep, high = float(size[:2].max()), float(size[:2].min()), float(size[2])
    low, middle, longest = (max(float(side), 1e-9) for side in np.sort(size))
    box_share = compute_box_share(normals)
    size_word = _choose_size_word(wide, high, float(mask.mean()), float(np.linalg.norm(size)), gbuffer.extent)
    if middle < 0.2 * longest and high == longest:
        return Shape("post", "tall")
    if middle < 0.2 * longest:
        return Shape("bar" if box_share > MIN_BOX_SHARE else "rod", "long")
    if _is_frame(gbuffer, mask, box):
        return Shape("frame", "square" if middle > 0.8 * longest else "tall" if high == longest else "oblong")
    if low < 0.06 * longest or (high > low and low < 0.25 * middle):
        return Shape("panel", "flat") if high > low else Shape("board", "flat")
    is_round = deep > 0.8 * wide
    may_be_bowl = is_round and high < 0.6 * wide and box_share <= MIN_BOX_SHARE
    if may_be_bowl and _compute_hollow_share(gbuffer, mask, box) > MIN_HOLLOW_SHARE:
        word = "shallow" if high < 0.35 * wide else "large" if mask.mean() > LARGE_SHARE else ""
        return Shape("form", f"{word} bowl-like".strip())
    if box_share <= MIN_BOX_SHARE and has_level_axis(normals):
        return Shape("cylinder", postmodifier="on its side")
    solid = _match_solid(normals, is_round, (low, middle, longest), box_share, size_word)
    return solid or _describe_compound(gbuffer, mask, size_word, high < 0.25 * wide)


def _match_solid(
    normals: Array, is_round: bool, sizes: tuple[float, float, float], box_share: float, size_word: str
) -> Shape | None:
    """A cone, cylinder, disc or ball, or None. `normals` are (N, 3), `sizes` of the box ascend."""
    sides, slopes = normals[np.abs(normals[:, 2]) < 0.3], np.abs(normals[:, 2])
    curved_share = float(np.mean((slopes > 0.3) & (slopes < 0.92)))
    if is_round and curved_share > 0.8 and slopes.std() < 0.15:
        return Shape("cone", "blunt")
    if (
        is_round
        and box_share <= MIN_BOX_SHARE
        and len(sides) > 0.35 * len(normals)
        and curved_share < MIN_CURVED_SHARE
        and has_even_azimuths(sides)
    ):
        return Shape("cylinder" if size_word != "low" else "disc", "tall" if size_word == "tall" else "")
    if is_round and box_share < 0.45 and curved_share > MIN_CURVED_SHARE:
        return Shape("ball") if sizes[0] > 0.85 * sizes[2] else Shape("shape", f"{size_word} round".strip())
    return None


def _describe_compound(gbuffer: GBuffer, mask: Mask, size_word: str, is_thin: bool) -> Shape:
    """A block, where the normals and the outline are a box's, else a structure with what is plain about it."""
    normals = gbuffer.normals[mask]
    box_share, solidity = compute_box_share(normals), _compute_solidity(mask)
    if size_word != "low" and ((solidity < 0.92 and has_rounded_top(gbuffer, mask)) or has_rounded_outline(mask)):
        return Shape("structure", size_word, "with a rounded top")
    if solidity < 0.8 and _has_legs(mask):
        return Shape("structure", "table-like")
    if (
        (box_share > MIN_BOX_SHARE and solidity > MIN_SOLIDITY)
        or box_share > 0.9
        or (box_share > 0.5 and solidity > 0.95)
    ):
        return Shape("slab" if is_thin else "block", "" if is_thin else size_word)
    form = "rounded" if _compute_curved_share(normals) > MIN_CURVED_SHARE else "angular" if box_share > 0.5 else ""
    return Shape("shape" if solidity > 0.8 else "structure", f"{size_word} {form}".strip())


def has_rounded_top(gbuffer: GBuffer, mask: Mask) -> bool:
    """Whether normals curve in the upper third of a mask (H, W) but not in its lower half."""
    rows, _ = find_bounding_slices(mask)
    height = rows.stop - rows.start
    top, foot = mask.copy(), mask.copy()
    top[rows.start + max(2, height // 3) :] = False
    foot[: rows.start + height // 2] = False
    above, below = _compute_curved_share(gbuffer.normals[top]), _compute_curved_share(gbuffer.normals[foot])
    return above > MIN_CURVED_SHARE and above > below + 0.12


def has_rounded_outline(mask: Mask) -> bool:
    """Whether the upper outline of a mask (H, W) is near a parabola, as that of an arch from the side."""
    crop = mask[find_bounding_slices(mask)]
    edge = crop.argmax(axis=0).astype(float)
    top = TOP_HEIGHT * len(crop)
    columns = np.flatnonzero(edge < top)
    if len(columns) < max(MIN_PIXELS, 0.9 * len(edge)) or np.ptp(columns) >= len(columns):
        return False
    abscissae = np.linspace(-1, 1, len(columns))
    curve = np.polyfit(abscissae, edge[columns], 2)
    deviation = np.sqrt(np.mean((edge[columns] - np.polyval(curve, abscissae)) ** 2))
    drop = edge[columns[[0, -1]]].min() - edge.min()
    return bool(deviation < 0.06 * top and drop > 0.45 * top and abs(curve[1]) < 0.8 * curve[0])


def _compute_hollow_share(gbuffer: GBuffer, mask: Mask, box: Array) -> float:
    """The share of pixels that face the upright axis of an object, as the inner side of a bowl does."""
    outward = (gbuffer.positions[mask] - box.mean(axis=0))[:, :2]
    normals = gbuffer.normals[mask][:, :2]
    lengths = np.linalg.norm(outward, axis=1) * np.linalg.norm(normals, axis=1)
    steep = np.linalg.norm(normals, axis=1) > 0.3
    return float(np.mean(steep & ((outward * normals).sum(axis=1) < -0.5 * lengths)))


def has_level_axis(normals: Array) -> bool:
    """Whether normals (N, 3) turn about a level axis, as those of a cylinder on its side do."""
    variances, axes = np.linalg.eigh(normals.T @ normals / len(normals))
    is_across = np.abs(normals @ axes[:, 0]) < 0.2
    return bool(variances[0] < 0.04 and variances[1] > 0.15 and abs(axes[2, 0]) < 0.3 and is_across.mean() > 0.85)


def _compute_curved_share(normals: Array) -> float:
    """The share of normals (N, 3) that are neither level nor upright."""
    slopes = np.abs(normals[:, 2])
    return float(np.mean((slopes > 0.3) & (slopes < 0.92)))


def _choose_size_word(wide: float, high: float, share: float, diagonal: float, extent: float) -> str:
    """ "tall", "low", "large", "small" or "", for a box in world units, its share of the picture and all in sight."""
    if high > 1.6 * wide:
        return "tall"
    if high < 0.35 * wide:
        return "low"
    return "large" if share > LARGE_SHARE else "small" if diagonal < SMALL_EXTENT * extent else ""


def compute_box_share(normals: Array) -> float:
    """The share of normals (N, 3) along at most three directions at right angles, as a box's are."""
    remaining, directions = normals, np.zeros((0, 3))
    for _ in range(3):
        free = remaining[(np.abs(remaining @ directions.T) < 0.35).all(axis=1)]
        if not len(free):
            break
        cells, counts = np.unique(np.round(free / 0.2).astype(int), axis=0, return_counts=True)
        direction = cells[counts.argmax()] / max(float(np.linalg.norm(cells[counts.argmax()])), 1e-9)
        directions = np.vstack([directions, direction])
        remaining = remaining[remaining @ direction < 0.96]
    return 1 - len(remaining) / max(len(normals), 1)


def has_even_azimuths(sides: Array) -> bool:
    """Whether level normals (N, 3) turn evenly, as a cylinder's do: no direction has much more than another."""
    azimuths = np.degrees(np.arctan2(sides[:, 1], sides[:, 0])) % 360
    shares = np.bincount((azimuths / 20).astype(int), minlength=18) / len(sides)
    return bool(shares.max() < 0.3 and np.count_nonzero(shares > 0.05) >= 5)


def _compute_solidity(mask: Mask) -> float:
    """Area of a mask (H, W) over the area of its convex hull; 1 for a box, less for what has holes, as a table."""
    crop = mask[find_bounding_slices(mask)]
    if min(crop.shape) < 3:
        return 1.0  # a line has no hull
    return float(np.count_nonzero(crop)) / max(int(np.count_nonzero(convex_hull_image(crop))), 1)


def _has_legs(mask: Mask) -> bool:
    """Whether a mask (H, W) is broad at its top and narrow below, evenly so, in two or more legs."""
    crop = mask[find_bounding_slices(mask)]
    if len(crop) < 12:
        return False
    widths, low = crop.mean(axis=1), crop[len(crop) // 2 :]
    legs = (np.diff(low.astype(int), axis=1) == 1).sum(axis=1) + low[:, 0]
    low_widths = low.mean(axis=1)[: -len(low) // 8]
    is_even = low_widths[: len(low_widths) // 2].mean() < 1.5 * low_widths[len(low_widths) // 2 :].mean()
    return bool(widths[: len(crop) // 5].max() > 0.95 and low_widths.max() < 0.5 and is_even and np.median(legs) >= 2)


def _is_frame(gbuffer: GBuffer, mask: Mask, box: Array) -> bool:
    """Whether an upright flat object is open in its middle, while its rim is at its front."""
    size = box[1] - box[0]
    thin = int(size[:2].argmin())
    if size[thin] > 0.5 * np.delete(size, thin).min():
        return False
    positions = (gbuffer.positions[mask] - box[0]) / np.maximum(size, 1e-9)
    faces_camera = gbuffer.camera.position[thin] > box[:, thin].mean()
    depths = 1 - positions[:, thin] if faces_camera else positions[:, thin]
    off_centre = np.abs(np.delete(positions, thin, axis=1) - 0.5)
    middle, rim = (off_centre < 0.2).all(axis=1), (off_centre > 0.4).any(axis=1)
    if min(np.count_nonzero(middle), np.count_nonzero(rim)) < MIN_PIXELS:
        return False
    return bool(np.median(depths[middle]) > 0.3 and np.median(depths[rim]) < 0.35)


# ---- several in one --------------------------------------------------------------------------------------------------


def _split_pieces(gbuffer: GBuffer, mask: Mask) -> list[Mask]:
    """The masks (H, W) of the like pieces that one object consists of; none where they are not alike.

    Pieces part where the surface's own depth is discontinuous; what an occluder cuts apart is no piece.
    """
    inner = mask & ~_find_depth_discontinuities(gbuffer, mask)
    regions = [region for region in regionprops(label(inner, connectivity=1)) if region.area > 0.02 * inner.sum()]
    if len(regions) < MIN_ROW_PIECES:
        return []
    masks = []
    for region in regions:
        piece = np.zeros_like(mask)
        piece[tuple(region.coords.T)] = True
        masks.append(piece)
    sizes = np.array([np.linalg.norm(np.ptp(gbuffer.positions[piece], axis=0)) for piece in masks])
    alike = [piece for piece, size in zip(masks, sizes, strict=True) if size > 0.5 * sizes.max()]
    alike_share = sum(int(piece.sum()) for piece in alike) / max(int(inner.sum()), 1)
    return alike if len(alike) >= MIN_ROW_PIECES and alike_share > 0.8 else []


def _find_depth_discontinuities(gbuffer: GBuffer, mask: Mask) -> Mask:
    """Pixels of a mask (H, W) whose depth differs from a neighbour's by much more than one pixel's size there."""
    jumps = np.zeros_like(mask)
    tolerance = 6 * gbuffer.depths / max(gbuffer.camera.focal_length_px, 1e-9)
    for axis in (0, 1):
        difference = np.abs(np.diff(gbuffer.depths, axis=axis))
        limit = np.minimum(
            *(np.take(tolerance, range(start, tolerance.shape[axis] - 1 + start), axis) for start in (0, 1))
        )
        jump = difference > limit
        jumps[(slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))] |= jump
    return jumps & mask


def _compute_extent(gbuffer: GBuffer, mask: Mask) -> Array:
    """The box (2, 3) of visible pixels; as deep as it is wide, since the back of something round is hidden."""
    positions = gbuffer.positions[mask]
    box = np.stack([positions.min(axis=0), positions.max(axis=0)])
    width = float((box[1] - box[0])[:2].max())
    return np.stack([box[0], np.maximum(box[1], box[0] + [width, width, 0])])
