# SPDX-License-Identifier: Apache-2.0
"""What a run will see of its samples, before its first step: how often each, and how much of each the crop keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blendset_trainer.readers.findings import NAMED, Finding
from blendset_trainer.training.data.sampler import Integers, Sampler
from blendset_trainer.training.data.sources import Source
from blendset_trainer.training.data.transforms import Bucket, compute_cell_size, find_nearest_buckets

MAX_COUNTED = 20_000_000
"""Samples of a run up to which they are counted, which takes seconds."""
MUCH_CROPPED, MUCH_ENLARGED = 0.75, 2.0
"""The share of a picture that is kept, and the factor of its side, beyond which a person is told."""
NAMED_SIZES = 4

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceForecast:
    """What a run will see of a source; arrays are (samples,). `planned` is how often it goes through the source.

    `visits` is how often it sees each sample, None where there are too many to count; `kept` the share of a picture's
    area that the crop keeps; `scale` how many pixels of a side become of one; `sizes` the samples of each bucket.
    """

    source: Source
    planned: float
    visits: Integers | None
    kept: Numbers
    scale: Numbers
    sizes: Mapping[Bucket, int]

    def __str__(self) -> str:
        by_count = sorted(self.sizes.items(), key=lambda item: -item[1])
        named = [f"{width}x{height}: {count:,}" for (width, height), count in by_count[:NAMED_SIZES]]
        if len(by_count) > NAMED_SIZES:
            named.append(f"{len(by_count) - NAMED_SIZES} more")
        plural = "s" if len(by_count) > 1 else ""
        times = "" if self.visits is None else f", each seen {_format_span(self.visits)} times"
        kept = _format_span(np.floor(self.kept * 100).astype(np.int64))
        return (
            f"{len(self.kept):,} samples{times} ({self.planned:.3g} planned), in {len(by_count)} size{plural} "
            f"({', '.join(named)}); the crop keeps {kept} % of a picture"
        )

    def list_findings(self) -> Iterator[Finding]:
        """What a person would want to know of some of the samples."""
        if self.visits is not None:
            yield from self._list_visit_findings(self.visits)
        yield from self._find(
            "cropped by more than a quarter",
            self.kept < MUCH_CROPPED,
            lambda number: f" keeps {math.floor(self.kept[number] * 100)} %",
        )
        yield from self._find(
            "enlarged to more than twice their size",
            self.scale > MUCH_ENLARGED,
            lambda number: f" {self.scale[number]:.2g} times",
            matters=False,
        )

    def _list_visit_findings(self, visits: Integers) -> Iterator[Finding]:
        """What is to be said of how often the run sees samples: `visits` (samples,)."""
        whole, never = math.floor(self.planned), visits == 0
        if not whole:
            yield from self._find("never seen, for the run is shorter than one pass", never, matters=False)
            return

        def format_times(number: int) -> str:
            return f" {visits[number]} times"

        rarely, often = ~never & (visits < whole), visits > math.ceil(self.planned) + 1
        yield from self._find("never seen, for the run ends before their micro-batch is full", never)
        yield from self._find("seen less often than planned, for the run ends before", rarely, format_times, False)
        yield from self._find("seen more often than planned, to fill a micro-batch", often, format_times, False)

    def _find(
        self, what: str, which: NDArray[np.bool_], describe: Callable[[int], str] = lambda _: "", matters: bool = True
    ) -> Iterator[Finding]:
        """The finding that something is so of the samples `which` (samples,); `describe` says more of one."""
        numbers = np.flatnonzero(which).tolist()
        if numbers:
            first = [f"{self.source[number].id}{describe(number)}" for number in numbers[:NAMED]]
            yield Finding(what, len(numbers), tuple(first), matters)


def forecast_sources(
    sources: Sequence[Source],
    shares: Mapping[str, float],
    buckets: Sequence[Bucket],
    *,
    samples: int,
    micro_batch: int,
    seed: int,
) -> list[SourceForecast]:
    """What a run of so many samples will see of each source. Raises BlendsetError as `Sampler` does."""
    numbers = {source.name: find_nearest_buckets(source.sizes, buckets) for source in sources}
    sampler = Sampler(numbers, shares, micro_batch=micro_batch, seed=seed)
    visits = sampler.count_visits(samples // micro_batch) if samples <= MAX_COUNTED else [None] * len(sources)
    return [
        _forecast_source(
            source, samples * shares[source.name] / max(len(source), 1), counted, numbers[source.name], buckets
        )
        for source, counted in zip(sources, visits, strict=True)
    ]


def _forecast_source(
    source: Source, planned: float, visits: Integers | None, numbers: Integers, buckets: Sequence[Bucket]
) -> SourceForecast:
    cells = np.array([compute_cell_size(bucket, source.settings.layout) for bucket in buckets])[numbers]
    factors = cells / source.sizes
    scale = factors.max(axis=1)
    counts = np.bincount(numbers, minlength=len(buckets)).tolist()
    sizes = {bucket: count for bucket, count in zip(buckets, counts, strict=True) if count}
    return SourceForecast(source, planned, visits, factors.min(axis=1) / scale, scale, sizes)


def _format_span(values: Integers) -> str:
    """The lowest and highest of some numbers in words."""
    low, high = int(values.min(initial=values[0])), int(values.max(initial=values[0]))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
