# SPDX-License-Identifier: Apache-2.0
"""Distances between two sets of features by kernels (maximum mean discrepancy), and the diversity of one set.

Each function prepares what does not change, and returns a function of which pictures (N,) of the measured set count.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

Features = NDArray[np.float64]
"""(N, D), one row per picture."""
Mask = NDArray[np.bool_]
Statistic = Callable[[Mask], float]
"""A figure of a set of N pictures, of which a mask (N,) says which count."""
CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0
"""Bandwidth and factor of CMMD (Jayasumana et al., arXiv 2401.09603)."""
MOST_FOR_MEDIAN = 2000
"""Of the trusted pictures, for the bandwidth."""


def prepare_mmd2(features: Features, trusted: Features) -> Statistic:
    """Return MMD² of a Gaussian kernel, unbiased (Gretton et al., JMLR 13, 2012), between features (N, D) and trusted
    ones (M, D).

    The bandwidth is the median distance between the trusted, so that it is the same for all that is compared with them.
    """
    sigma = compute_bandwidth(trusted)
    return _prepare_unbiased(features, trusted, lambda one, two: compute_gaussian_kernel(one, two, sigma))


def prepare_kid(features: Features, trusted: Features) -> Statistic:
    """Return KID, unbiased MMD² of the kernel (x·y / D + 1)³ (Bińkowski et al., arXiv 1801.01401), between features
    (N, D) and trusted ones (M, D), of all pictures at once.
    """
    return _prepare_unbiased(features, trusted, lambda one, two: (one @ two.T / one.shape[1] + 1) ** 3)


def prepare_cmmd(features: Features, trusted: Features) -> Statistic:
    """Return CMMD between unit vectors (N, D) and (M, D), a thousandfold, as its reference code has it: the biased
    estimator, in which each picture meets itself too.
    """
    kernel = compute_gaussian_kernel(features, features, CMMD_SIGMA)
    across = compute_gaussian_kernel(features, trusted, CMMD_SIGMA).mean(axis=1)
    within = compute_gaussian_kernel(trusted, trusted, CMMD_SIGMA).mean()

    def compute(counts: Mask) -> float:
        weights = counts / counts.sum()
        return float(CMMD_SCALE * (weights @ kernel @ weights + within - 2 * weights @ across))

    return compute


def prepare_vendi(features: Features) -> Statistic:
    """Return the Vendi score of features (N, D): the exponential of the entropy of the eigenvalues of their cosines
    (Friedman and Dieng, arXiv 2210.02410). It grows with the number of pictures.
    """
    units = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)

    def compute(counts: Mask) -> float:
        chosen = units[counts]
        gram = chosen.T @ chosen if chosen.shape[0] > chosen.shape[1] else chosen @ chosen.T
        shares = np.linalg.eigvalsh(gram / len(chosen))
        shares = shares[shares > 1e-12]
        return float(np.exp(-(shares * np.log(shares)).sum()))

    return compute


def compute_bandwidth(trusted: Features) -> float:
    """Return the median distance between features (M, D), of the first MOST_FOR_MEDIAN; 1 where all are the same."""
    return float(np.median(pdist(trusted[:MOST_FOR_MEDIAN]))) or 1.0


def compute_gaussian_kernel(one: Features, other: Features, sigma: float) -> Features:
    """Return exp(-|x - y|² / 2 sigma²) (N, M) of features (N, D) and (M, D)."""
    return np.asarray(np.exp(compute_square_distances(one, other) / (-2 * sigma**2)))


def compute_square_distances(one: Features, other: Features) -> Features:
    """Return the squares of the distances (N, M) between features (N, D) and (M, D)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.maximum(squares, 0))


def _prepare_unbiased(
    features: Features, trusted: Features, compute_kernel: Callable[[Features, Features], Features]
) -> Statistic:
    kernel = compute_kernel(features, features)
    np.fill_diagonal(kernel, 0)
    across = compute_kernel(features, trusted).mean(axis=1)
    among = compute_kernel(trusted, trusted)
    within = float((among.sum() - np.trace(among)) / (len(trusted) * (len(trusted) - 1)))

    def compute(counts: Mask) -> float:
        weights = counts.astype(np.float64)
        count = weights.sum()
        return float(weights @ kernel @ weights / (count * (count - 1)) + within - 2 * weights @ across / count)

    return compute
