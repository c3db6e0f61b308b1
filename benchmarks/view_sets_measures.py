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
from view_sets_model import DARKEST, OBJECTS, painted, shade

from blendset.cameras import Array
from blendset.correspondence import ViewGeometry, correspond

Pictures = NDArray[np.float32]
"""(sets, views, H, W, 3) in 0..1."""
SPREAD = (1 - DARKEST) / np.sqrt(12)
"""The deviation of the colours that a model is trained on."""
FIGURES = ("subject's residual", "ground's residual", "flaw", "sharpness", "spread")


@dataclass(frozen=True, eq=False)
class Measured:
    """What `FIGURES` are made of, of S sets."""

    differences: Array
    """(S, objects): colour differences CIE76 of all that a view and the warp of a sibling both show, summed up."""
    compared: Array
    """(S, objects): over how many pixels."""
    flaws: Array
    """(S,): mean colour difference of pictures to the nearest ones that a ray tracer would give."""
    edges: Array
    """(S, 2): mean squared slope of lightness in pictures, and in those."""
    colours: Array
    """(S, views, objects, 3): that objects have in those."""

    @classmethod
    def of(cls, sets: Sequence[Sequence[ViewGeometry]], pictures: Pictures) -> Measured:
        each = [_of_set(views, drawn) for views, drawn in zip(sets, pictures, strict=True)]
        return cls(*map(np.array, zip(*each, strict=True)))

    @property
    def sets(self) -> int:
        return len(self.flaws)

    def figures(self, sets: NDArray[np.intp]) -> Array:
        """`FIGURES` over these sets, by number."""
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

    def by_object(self) -> Array:
        """Mean colour difference (objects,)."""
        return np.asarray(self.differences.sum(axis=0) / self.compared.sum(axis=0))


def _of_set(views: Sequence[ViewGeometry], pictures: Pictures) -> tuple[Array, Array, float, Array, Array]:
    colours = [palette_of(view, picture) for view, picture in zip(views, pictures, strict=True)]
    traced = np.array([painted(view, palette) for view, palette in zip(views, colours, strict=True)])
    drawn, nearest = rgb2lab(pictures), rgb2lab(traced)
    flaw = float(np.linalg.norm(drawn - nearest, axis=-1).mean())
    return *residuals(views, drawn), flaw, np.array([slope(drawn), slope(nearest)]), np.array(colours)


def residuals(views: Sequence[ViewGeometry], lab: Array) -> tuple[Array, Array]:
    """By object, colour differences summed up and pixels (objects,): each view against the warps of its siblings."""
    sums, counts = np.zeros((2, OBJECTS + 1))
    for target, source in permutations(range(len(views)), 2):
        match = correspond(views[target], views[source])
        difference = np.linalg.norm(lab[target] - match.warp(lab[source]), axis=-1)[match.visible]
        ids = views[target].passes.id[match.visible]
        sums += np.bincount(ids, difference, len(sums))
        counts += np.bincount(ids, minlength=len(counts))
    return sums[1:], counts[1:]


def palette_of(view: ViewGeometry, picture: Array) -> Array:
    """The colours (objects, 3) that objects would need for the ray tracer to come nearest; nan of what is not seen."""
    light, ids = shade(view), view.passes.id
    masks = [(ids == number)[..., None] * light[..., None] for number in range(1, OBJECTS + 1)]
    with np.errstate(invalid="ignore"):
        return np.array([(picture * mask).sum(axis=(0, 1)) / (mask**2).sum() for mask in masks])


def slope(lab: Array) -> float:
    """Mean squared difference in lightness between neighbours in pictures (N, H, W, 3), which a blur lowers."""
    return float(sum((np.diff(lab[..., 0], axis=axis) ** 2).mean() for axis in (1, 2)))


def by_seed(measured: Measured, seeds: int) -> Array:
    """`FIGURES` of each model (seeds, figures)."""
    return np.stack([measured.figures(each) for each in np.arange(measured.sets).reshape(seeds, -1)])


def with_interval(statistic: Callable[[NDArray[np.intp]], Array], sets: int, rounds: int = 2000) -> Array:
    """A statistic (figures,) of all sets and the ends of its 95 % interval (3, figures), by a bootstrap over sets."""
    random = np.random.default_rng(0)
    drawn = [statistic(random.integers(sets, size=sets)) for _ in range(rounds)]
    return np.stack([statistic(np.arange(sets)), *np.quantile(drawn, (0.025, 0.975), axis=0)])
