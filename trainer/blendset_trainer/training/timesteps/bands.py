# SPDX-License-Identifier: Apache-2.0
"""Bands of noise levels that sources may train, and their weights on the cells of a base density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.densities import BaseDensity, sort_unique


@dataclass(frozen=True)
class Band:
    """Noise levels that a source may train, as log-SNR; a level on a boundary belongs to the noisier side.

    Where other sources train too, weights decide who how often. A soft edge is the log-SNR over which the weight fades,
    half of it on each side of the boundary.
    """

    cleanest: float = torch.inf
    noisiest: float = -torch.inf
    weight: float = 1.0
    soft_edge: float = 0.0


@dataclass(frozen=True)
class SourcePolicy:
    """What a source may train. `offset` moves its density along the log-SNR axis; below 0 is noisier."""

    source: str
    bands: tuple[Band, ...]
    offset: float = 0.0


def list_boundaries(policies: Sequence[SourcePolicy]) -> Tensor:
    """The log-SNR wherever a band begins, ends or fades, (n,)."""
    bands = [band for policy in policies for band in policy.bands]
    boundaries = [end + side * band.soft_edge / 2 for band in bands for end in _band_ends(band) for side in (-1, 0, 1)]
    return torch.tensor(boundaries, dtype=torch.float64)


def find_cuts(policies: Sequence[SourcePolicy], base: BaseDensity) -> Tensor:
    """The fractions of the base at all boundaries of bands, or at its quarters where there are none, (bands + 1,)."""
    ends = [end for policy in policies for band in policy.bands for end in _band_ends(band)]
    cuts = sort_unique(base.cdf_at_edge(torch.tensor([torch.inf, -torch.inf, *ends], dtype=torch.float64)))
    if len(cuts) > 2:
        return cuts
    quarters = base.cdf_at_edge(base.axis.log_snr(base.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))))
    return sort_unique(cuts, quarters)


def _band_ends(band: Band) -> tuple[float, float]:
    """The cleanest and the noisiest log-SNR of a band."""
    return band.cleanest, band.noisiest


def compute_source_weights(policy: SourcePolicy, base: BaseDensity) -> Tensor:
    """The weight of a source in each cell, before it is compared with other sources', (N,)."""
    windows = [_compute_window(policy.source, band, base) for band in policy.bands]
    hard = [window > 0 for window, band in zip(windows, policy.bands, strict=True) if not band.soft_edge]
    if bool((sum(hard, torch.zeros(1)) > 1).any()):
        raise BlendsetError(f"Bands of source '{policy.source}' overlap; let one end where the next begins.")
    weights = torch.stack([band.weight * window for window, band in zip(windows, policy.bands, strict=True)]).sum(0)
    shifted = base.cdf(-base.edges - policy.offset).diff()
    return weights * shifted / base.cumulative.diff() if policy.offset else weights


def _compute_window(source: str, band: Band, base: BaseDensity) -> Tensor:
    """1 in cells inside the band, 0 outside, between 0 and 1 on a soft edge, (N,)."""
    first, last = base.cdf_at_edge(torch.tensor(_band_ends(band), dtype=torch.float64))
    if first >= last:
        raise BlendsetError(
            f"The band of source '{source}' from log-SNR {band.cleanest:.4g} down to {band.noisiest:.4g} holds no "
            f"noise level of {base.axis.name}; widen it."
        )
    if not band.soft_edge:
        return torch.logical_and(base.cumulative[:-1] >= first, base.cumulative[:-1] < last).double()
    log_snr = base.cell_log_snr
    inside = torch.minimum(band.cleanest - log_snr, log_snr - band.noisiest).nan_to_num(nan=torch.inf)
    return (inside / band.soft_edge + 0.5).clamp(0, 1)
