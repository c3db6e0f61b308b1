# SPDX-License-Identifier: Apache-2.0
"""The Fréchet distance between two sets of features, which is FID (Heusel et al., arXiv 1706.08500) where the features
are Inception's. Its bias is larger than what it measures below some thousand pictures, so it has a least number.
"""

from __future__ import annotations

import numpy as np

from blendset_trainer.evaluation.statistics.kernels import Features, Mask, Statistic

LEAST_PICTURES = 2000
"""With fewer pictures, on either side, there is no Fréchet distance: at 100 it calls identical sets 379 apart, and
finds a set that lost a fifth of its spread nearer."""


def prepare_frechet(features: Features, trusted: Features) -> Statistic:
    """Return the Fréchet distance of features (N, D) to trusted ones (M, D)."""
    mean, covariance = trusted.mean(axis=0), np.cov(trusted, rowvar=False)

    def compute(counts: Mask) -> float:
        chosen = features[counts]
        return compute_frechet(chosen.mean(axis=0), np.cov(chosen, rowvar=False), mean, covariance)

    return compute


def compute_frechet(mean: Features, covariance: Features, other_mean: Features, other_covariance: Features) -> float:
    """Return |m - m'|² + tr(C + C' - 2 (C C')^½) of means (D,) and covariances (D, D)."""
    shift = ((mean - other_mean) ** 2).sum()
    common = np.sqrt(np.maximum(np.linalg.eigvals(covariance @ other_covariance).real, 0)).sum()
    return float(shift + np.trace(covariance) + np.trace(other_covariance) - 2 * common)
