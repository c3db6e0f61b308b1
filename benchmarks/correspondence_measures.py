# SPDX-License-Identifier: Apache-2.0
"""How exact correspondences are: against rays where the scene is known in closed form, else against the other view's
own positions; and what SynCD's rule makes of the same pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import ray_traced
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.correspondence import Correspondence, ViewGeometry, correspond
from blendset.masks import Mask
from blendset.tokens import assign_tokens, label_tokens, pool_correspondence

TOKEN = 8
"""Pixels across a latent of the usual autoencoders."""
SYNCD_TOLERANCE = 0.01
"""Of the object's longest side (arXiv 2502.01720; gen_corresp.py, objects in a unit cube)."""
SAME_POINT = 1.5
"""Pixels between points that are one, where no ray tells."""


@dataclass(frozen=True)
class Exactness:
    """What a rule takes of one view for another: shares in 0..1, errors in pixels of the target."""

    pixels_kept: float
    """Of the pixels that the source truly sees."""
    mean_error: float
    """How far what is taken stands from where it should, in space."""
    high_error: float
    """The 95th percentile of the same."""
    unseen: float
    """Share of what is taken that the source does not see."""


@dataclass(frozen=True)
class Comparison:
    """Our rule and SynCD's on the same pair, and what ours leaves of tokens."""

    ours: Exactness
    syncd: Exactness
    tokens_kept: float


def compare_rules(target: ViewGeometry, source: ViewGeometry, truth: Mask, unit: float) -> Comparison:
    """`truth` (H, W) is what the source truly sees, `unit` the longest side of what SynCD would call the object."""
    match, positions = correspond(target, source), np.nan_to_num(source.positions)
    syncd = apply_syncd_rule(target, source, match.coordinates, SYNCD_TOLERANCE * unit)
    return Comparison(
        compute_exactness(target, match.visible, match.warp(positions), truth),
        compute_exactness(target, syncd, positions[_find_nearest_pixels(match.coordinates, source)], truth),
        compute_tokens_kept(target, source, match, truth),
    )


def compute_exactness(target: ViewGeometry, taken: Mask, warped: Array, truth: Mask) -> Exactness:
    """Of the pixels (H, W) that are taken, and the source's positions (H, W, 3) as they arrive."""
    away = np.linalg.norm(warped - target.positions, axis=-1)[taken]
    error = away * target.camera.focal_length_px / target.passes.depth[taken]
    return Exactness(taken[truth].mean(), error.mean(), np.quantile(error, 0.95), (~truth)[taken].mean())


def average_comparisons(pairs: Iterable[Comparison]) -> Comparison:
    """Over pairs, each counting alike."""
    every = list(pairs)
    ours, syncd = (
        Exactness(*np.mean([astuple(getattr(each, rule)) for each in every], axis=0)) for rule in ("ours", "syncd")
    )
    return Comparison(ours, syncd, float(np.mean([each.tokens_kept for each in every])))


def apply_syncd_rule(target: ViewGeometry, source: ViewGeometry, pixels: Array, tolerance: float) -> Mask:
    """What SynCD would take (H, W): the nearest pixel's depth, compared with an absolute tolerance."""
    source_depth = source.passes.depth[_find_nearest_pixels(pixels, source)]
    _, depth = source.camera.project(target.positions.reshape(-1, 3))
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0) & (pixels < [source.camera.width, source.camera.height])).all(axis=-1)
        return np.asarray(inside & (np.abs(source_depth - depth.reshape(source_depth.shape)) < tolerance))


def compute_tokens_kept(target: ViewGeometry, source: ViewGeometry, match: Correspondence, truth: Mask) -> float:
    """Of the tokens of which at least half is truly visible and of one object, the share that is so in the warp too."""
    height, width = truth.shape
    grid = height // TOKEN, width // TOKEN
    tokens = assign_tokens(truth.shape, grid)
    own = truth & (target.passes.id == label_tokens(target.passes.id, grid)[tokens].reshape(truth.shape))
    visible = np.bincount(tokens, own.ravel()) / TOKEN**2 >= 0.5
    return float((pool_correspondence(match, target.passes.id, source.passes.id, grid).alpha[visible] >= 0.5).mean())


def compare_traced_pairs(angle: float, elevation: float, starts: Sequence[float]) -> Iterator[Comparison]:
    """Pairs of the ray-traced scene, exactly this many degrees apart at one elevation, by azimuth."""
    turn = 2 * np.degrees(np.arcsin(np.sin(np.radians(angle / 2)) / np.cos(np.radians(elevation))))
    for start in starts:
        target, source = (
            ray_traced.trace_geometry(ray_traced.make_camera(start + way, elevation)) for way in (0, turn)
        )
        yield compare_rules(target, source, compute_traced_truth(target, source), ray_traced.SUBJECT_SIDE)


def compute_traced_truth(target: ViewGeometry, source: ViewGeometry) -> Mask:
    """What a camera of the ray-traced scene sees of a view's points, by casting rays at them."""
    visible = ray_traced.is_visible(source.camera, target.positions.reshape(-1, 3)).reshape(target.passes.id.shape)
    return np.asarray(visible & (target.passes.id > 0))


def compute_rendered_truth(target: ViewGeometry, source: ViewGeometry) -> Mask:
    """Where the source's nearest pixel shows the same side of the same object within 1.5 of its own pixels in space."""
    pixels, _ = source.camera.project(target.positions.reshape(-1, 3))
    pixels = pixels.reshape(*target.passes.id.shape, 2)
    nearest = _find_nearest_pixels(pixels, source)
    away = np.linalg.norm(source.positions[nearest] - target.positions, axis=-1)
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0) & (pixels < [source.camera.width, source.camera.height])).all(axis=-1)
        near = away < SAME_POINT * source.passes.depth[nearest] / source.camera.focal_length_px
    same_side = (source.passes.normal[nearest] * target.passes.normal).sum(axis=-1) > 0
    return np.asarray(inside & near & same_side & (source.passes.id[nearest] == target.passes.id))


def _find_nearest_pixels(pixels: Array, source: ViewGeometry) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns (H, W) of the pixels that places (H, W, 2) lie in."""
    last = np.array([source.camera.width, source.camera.height]) - 1
    columns, rows = np.clip(np.nan_to_num(pixels), 0, last).astype(np.intp).transpose(2, 0, 1)
    return rows, columns
