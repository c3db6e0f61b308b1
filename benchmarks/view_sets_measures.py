# SPDX-License-Identifier: Apache-2.0
"""Whether the pictures of view sets agree, whether they are good pictures, and whether sets still differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from ray_traced import GROUND
from skimage.color import rgb2lab
from view_sets_model import DARKEST, OBJECTS, compute_shade, paint

from blendset.cameras import Array
from blendset.correspondence import ViewGeometry, correspond

Pictures = NDArray[np.float32]
"""(sets, views, H, W, 3) in 0..1."""
SPREAD = (1 - DARKEST) / np.sqrt(12)
"""The deviation of the colours that a model is trained on."""
METRICS = ("subject's residual", "ground's residual", "flaw", "sharpness", "spread")


@dataclass(frozen=True, eq=False)
class SetMeasures:
    """The measures of S sets, of which `METRICS` are computed."""

    differences: Array
    """(S, objects): colour differences (CIE76) between a view and the warps of its siblings, summed up over pixels."""
    compared: Array
    """(S, objects): the number of those pixels."""
    flaws: Array
    """(S,): mean colour difference of the pictures to the nearest ray-traced ones."""
    edges: Array
    """(S, 2): mean squared slope of lightness in the pictures, and in the nearest ray-traced ones."""
    colours: Array
    """(S, views, objects, 3): the colours of the objects in the nearest ray-traced ones."""

    @classmethod
    def from_pictures(cls, sets: Sequence[Sequence[ViewGeometry]], pictures: Pictures) -> SetMeasures:
        """Measure pictures (sets, views, H, W, 3) of view sets."""
        measures = [_measure_set(views, drawn) for views, drawn in zip(sets, pictures, strict=True)]
        return cls(*map(np.array, zip(*measures, strict=True)))

    @property
    def sets(self) -> int:
        """The number of sets, S."""
        return len(self.flaws)

    def compute_metrics(self, sets: NDArray[np.intp]) -> Array:
        """`METRICS` (5,) over the sets with these numbers."""
        differences, compared = self.differences[sets].sum(axis=0), self.compared[sets].sum(axis=0)
        subject = np.arange(1, OBJECTS + 1) != GROUND
        drawn, nearest = self.edges[sets].sum(axis=0)
        return np.array(
            [
                differences[subject].sum() / compared[subject].sum(),
                differences[~subject].sum() / compared[~subject].sum(),
                self.flaws[sets].mean(),
                drawn / nearest,
                np.nanmean(np.nanstd(self.colours[sets], axis=0)) / SPREAD,
            ]
        )

    def compute_by_object(self) -> Array:
        """The mean colour difference (objects,) of each object."""
        return np.asarray(self.differences.sum(axis=0) / self.compared.sum(axis=0))


def _measure_set(views: Sequence[ViewGeometry], pictures: Pictures) -> tuple[Array, Array, float, Array, Array]:
    colours = [fit_palette(view, picture) for view, picture in zip(views, pictures, strict=True)]
    traced = np.array([paint(view, palette) for view, palette in zip(views, colours, strict=True)])
    drawn, nearest = rgb2lab(pictures), rgb2lab(traced)
    flaw = float(np.linalg.norm(drawn - nearest, axis=-1).mean())
    return (
        *compute_residuals(views, drawn),
        flaw,
        np.array([measure_sharpness(drawn), measure_sharpness(nearest)]),
        np.array(colours),
    )


def compute_residuals(views: Sequence[ViewGeometry], lab: Array) -> tuple[Array, Array]:
    """By object, colour differences summed up over pixels and the number of pixels, (objects,) each: every view of a
    set against the warps of its siblings. `lab` (views, H, W, 3) are CIELAB.
    """
    sums, counts = np.zeros((2, OBJECTS + 1))
    for target, source in permutations(range(len(views)), 2):
        match = correspond(views[target], views[source])
        difference = np.linalg.norm(lab[target] - match.warp(lab[source]), axis=-1)[match.visible]
        ids = views[target].passes.id[match.visible]
        sums += np.bincount(ids, difference, len(sums))
        counts += np.bincount(ids, minlength=len(counts))
    return sums[1:], counts[1:]


def fit_palette(view: ViewGeometry, picture: Array) -> Array:
    """The colours (objects, 3) with which the ray tracer comes nearest to a picture; nan for objects out of view."""
    light, ids = compute_shade(view), view.passes.id
    masks = [(ids == number)[..., None] * light[..., None] for number in range(1, OBJECTS + 1)]
    with np.errstate(invalid="ignore"):
        return np.array([(picture * mask).sum(axis=(0, 1)) / (mask**2).sum() for mask in masks])


def measure_sharpness(lab: Array) -> float:
    """The mean squared difference in lightness between neighbours in pictures (N, H, W, 3), which a blur lowers."""
    return float(sum((np.diff(lab[..., 0], axis=axis) ** 2).mean() for axis in (1, 2)))


def compute_by_seed(measured: SetMeasures, seeds: int) -> Array:
    """`METRICS` of each model (seeds, metrics)."""
    return np.stack([measured.compute_metrics(numbers) for numbers in np.arange(measured.sets).reshape(seeds, -1)])


def bootstrap(statistic: Callable[[NDArray[np.intp]], Array], sets: int, rounds: int = 2000) -> Array:
    """A statistic (metrics,) of all sets and the ends of its 95 % interval, (3, metrics), by a bootstrap over sets."""
    random = np.random.default_rng(0)
    resampled = [statistic(random.integers(sets, size=sets)) for _ in range(rounds)]
    return np.stack([statistic(np.arange(sets)), *np.quantile(resampled, (0.025, 0.975), axis=0)])
