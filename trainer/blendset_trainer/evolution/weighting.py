# SPDX-License-Identifier: Apache-2.0
"""Distribution-based weighting (our form): pictures that are far from the trusted ones train less.

RSIDiff (arXiv 2502.09963) penalizes samples that lie outside of the distribution; its formula is not published.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blendset.errors import BlendsetError
from blendset_trainer.evaluation.statistics.kernels import Features, compute_square_distances
from blendset_trainer.evolution.settings import MAHALANOBIS, WeightSettings

Values = NDArray[np.float64]
K = 5
"""Which nearest trusted picture a distance is to."""


def compute_weights(features: Features, trusted: Features, settings: WeightSettings) -> Values:
    """Return weights (N,) of mean 1 of pictures by their features (N, D), from those of trusted ones (M, D).

    With d² the squared distance of a picture and m the median of the trusted ones' own, a weight is
    exp(-max(0, d² / m - 1) / temperature), at least `lowest`. Raises BlendsetError for too few trusted pictures.
    """
    if len(trusted) <= K:
        raise BlendsetError(
            f"There are {len(trusted)} trusted pictures, too few to tell what is far from them; give {K + 1} or more."
        )
    measure = _measure_mahalanobis if settings.distance == MAHALANOBIS else _measure_neighbours
    distances, own = measure(features, trusted)
    excess = np.maximum(distances / max(float(np.median(own)), 1e-12) - 1, 0)
    weights = np.maximum(np.exp(-excess / settings.temperature), settings.lowest)
    return np.asarray(weights / weights.mean())


def _measure_mahalanobis(features: Features, trusted: Features) -> tuple[Values, Values]:
    """Squared Mahalanobis distances of both sets to the middle of the trusted one, by its shrunk covariance."""
    mean = trusted.mean(axis=0)
    values, vectors = np.linalg.eigh(shrink_covariance(trusted))

    def measure(rows: Features) -> Values:
        along = (rows - mean) @ vectors
        return np.asarray((along**2 / np.maximum(values, 1e-12)).sum(axis=1))

    return measure(features), measure(trusted)


def _measure_neighbours(features: Features, trusted: Features) -> tuple[Values, Values]:
    """Squared distances of both sets to their K-th nearest trusted picture, which is never the picture itself."""
    own = compute_square_distances(trusted, trusted)
    np.fill_diagonal(own, np.inf)
    across = compute_square_distances(features, trusted)
    return np.partition(across, K - 1, axis=1)[:, K - 1], np.partition(own, K - 1, axis=1)[:, K - 1]


def shrink_covariance(features: Features) -> Values:
    """Return the covariance (D, D) of features (N, D), shrunk to a multiple of the identity by Ledoit and Wolf's rule
    (2004, doi 10.1016/S0047-259X(03)00096-4), so that it has an inverse with fewer pictures than dimensions too."""
    count, width = features.shape
    centred = features - features.mean(axis=0)
    covariance = centred.T @ centred / count
    scale = np.trace(covariance) / width
    spread = ((covariance - scale * np.eye(width)) ** 2).sum()
    noise = ((centred**2).sum(axis=1) ** 2).sum() / count**2 - (covariance**2).sum() / count
    share = min(max(noise / spread, 0.0), 1.0) if spread else 1.0
    return np.asarray((1 - share) * covariance + share * scale * np.eye(width))
