# SPDX-License-Identifier: Apache-2.0
"""The order of samples: an endless stream that is a function of the seed, the sources and their shares.

It does not know processes, steps or where a run stopped; those only choose a part of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blendset.errors import BlendsetError
from blendset.randomness import make_philox_key

Integers = NDArray[np.int64]
CHUNK = 1 << 16
"""Samples drawn at a time. The stream does not depend on it."""


class SampleRef(NamedTuple):
    """A sample: the number of its source, its number there, and how many times the source had been gone through."""

    source: int
    sample: int
    repeat: int


def interleave_sources(shares: Sequence[float], start: int, stop: int) -> tuple[Integers, Integers]:
    """The source of each draw from `start` to `stop`, and its number among its source's draws, from 0; (n,) each.

    The j-th draw of source k is due at (j + 1/2) / share_k and draws come as they are due, the first source first. Of n
    draws source k has n * share_k, give or take half of the number of the other sources, and never more than 1 off
    where there are at most three. Shares add up to 1; one that is 0 has no draws.
    """
    live = np.flatnonzero(shares)
    share = np.asarray(shares, dtype=np.float64)[live]
    margin = len(live) + 1  # how far from n the due time of the n-th draw can be
    first = np.floor(np.maximum(share * (start - margin) - 0.5, 0)).astype(np.int64)
    last = np.ceil(share * (stop + margin) + 1).astype(np.int64)
    turns = [np.arange(low, high) for low, high in zip(first, last, strict=True)]
    due = np.concatenate([(turn + 0.5) / part for turn, part in zip(turns, share, strict=True)])
    window = np.argsort(due, kind="stable")[start - first.sum() : stop - first.sum()]
    return np.repeat(live, last - first)[window], np.concatenate(turns)[window]


def make_permutation(size: int, seed: int, *identity: str | int) -> Integers:
    """A permutation (size,) of the numbers below `size` that no version of NumPy changes."""
    raw = np.random.Philox(key=make_philox_key(seed, *identity)).random_raw(size)
    return np.argsort(raw, kind="stable")


class Sampler:
    """The stream of samples of several sources, cut into micro-batches of one bucket (image size) each.

    `buckets` has by source name the bucket number of each sample, (samples,); `shares` the source's share of the
    stream. A source's samples come each once before any comes again, in an order that depends on source and repeat
    alone. A micro-batch is complete when its bucket has enough samples; the rest waits. A bucket that has fewer samples
    than a micro-batch takes does not wait: see `_RareBuckets`. Raises BlendsetError where a source with a share has no
    samples.
    """

    def __init__(
        self, buckets: Mapping[str, Integers], shares: Mapping[str, float], *, micro_batch: int, seed: int
    ) -> None:
        for name, share in shares.items():
            if share > 0 and not len(buckets[name]):
                raise BlendsetError(f"Source '{name}' has a share of the training but no samples; choose more views.")
        self.names = tuple(buckets)
        self._buckets = tuple(buckets.values())
        self._shares = [shares[name] for name in self.names]
        self._micro_batch, self._seed = micro_batch, seed
        self._permutations: dict[int, tuple[int, Integers]] = {}

    def iterate_micro_batches(self, start: int = 0) -> Iterator[tuple[SampleRef, ...]]:
        """The micro-batches from number `start` on, without end."""
        passed = 0
        for complete in self._iterate_chunks():
            for micro_batch in complete[max(start - passed, 0) :]:
                yield tuple(SampleRef(*row) for row in micro_batch[:, :3].tolist())
            passed += len(complete)

    def count_visits(self, micro_batches: int) -> list[Integers]:
        """How often the first so many micro-batches hold each sample, (samples,) for each source."""
        visits = [np.zeros(len(numbers), dtype=np.int64) for numbers in self._buckets]
        for complete in self._iterate_chunks():
            rows = complete[:micro_batches].reshape(-1, 4)
            for source, numbers in enumerate(visits):
                numbers += np.bincount(rows[rows[:, 0] == source, 1], minlength=len(numbers))
            micro_batches -= len(complete)
            if micro_batches <= 0:
                break
        return visits

    def _iterate_chunks(self) -> Iterator[Integers]:
        """The micro-batches (count, size, 4) of source, sample, repeat and bucket, many at a time, without end."""
        rare = _RareBuckets(self._buckets, self._shares, self._micro_batch)
        waiting = np.zeros((0, 4), dtype=np.int64)
        for position in count(0, CHUNK):
            rows = rare.fill(self._make_rows(position, position + CHUNK))
            complete, waiting = _cut_micro_batches(np.concatenate([waiting, rows]), self._micro_batch)
            yield complete

    def _make_rows(self, start: int, stop: int) -> Integers:
        """Rows (stop - start, 4) of source, sample, repeat and bucket."""
        sources, turns = interleave_sources(self._shares, start, stop)
        rows = np.stack([sources, turns, turns, turns], axis=1)
        for source in np.unique(sources).tolist():
            of_source = sources == source
            repeats, positions = np.divmod(turns[of_source], len(self._buckets[source]))
            samples = self._look_up_samples(source, repeats, positions)
            rows[of_source, 1:] = np.stack([samples, repeats, self._buckets[source][samples]], axis=1)
        return rows

    def _look_up_samples(self, source: int, repeats: Integers, positions: Integers) -> Integers:
        """The samples at these positions of a source's permutations; `repeats` ascends."""
        starts = np.flatnonzero(np.diff(repeats, prepend=-1))
        parts = np.split(positions, starts[1:])
        return np.concatenate(
            [
                self._shuffle_source(source, repeat)[part]
                for repeat, part in zip(repeats[starts].tolist(), parts, strict=True)
            ]
        )

    def _shuffle_source(self, source: int, repeat: int) -> Integers:
        """A source's permutation in one repeat. The last one is cached, for most chunks go on in it."""
        cached = self._permutations.get(source)
        if cached is None or cached[0] != repeat:
            size, name = len(self._buckets[source]), self.names[source]
            cached = self._permutations[source] = repeat, make_permutation(size, self._seed, "order", name, repeat)
        return cached[1]


class _RareBuckets:
    """Buckets with fewer samples than a micro-batch takes, which would wait for several repeats, or for ever.

    Where a sample of one is due, its micro-batch is filled up with the next visits of the bucket's samples, those first
    that are due first. Visits that came so before their time are left out when it comes.
    """

    def __init__(self, buckets: Sequence[Integers], shares: Sequence[float], micro_batch: int) -> None:
        live = [source for source, share in enumerate(shares) if share > 0]
        numbers, counts = np.unique(np.concatenate([buckets[source] for source in live]), return_counts=True)
        self._numbers, self._size = numbers[counts < micro_batch], micro_batch
        self._periods = {source: len(buckets[source]) / shares[source] for source in live}
        self._members = {
            number: [(source, int(sample)) for source in live for sample in np.flatnonzero(buckets[source] == number)]
            for number in self._numbers.tolist()
        }
        self._visits = {member: 0 for members in self._members.values() for member in members}

    def fill(self, rows: Integers) -> Integers:
        """The rows (n, 4) of a part of the stream, with whole micro-batches in place of samples of rare buckets."""
        parts, start = [], 0
        for position in np.flatnonzero(np.isin(rows[:, 3], self._numbers)).tolist():
            parts += [rows[start:position], self._take(*rows[position].tolist())]
            start = position + 1
        return np.concatenate([*parts, rows[start:]]) if parts else rows

    def _take(self, source: int, sample: int, repeat: int, bucket: int) -> Integers:
        """The micro-batch (size, 4) that begins with a sample; (0, 4) where the sample has come before its time."""
        if repeat < self._visits[source, sample]:
            return np.zeros((0, 4), dtype=np.int64)
        rows, member = [], (source, sample)
        for _ in range(self._size):
            rows.append((*member, self._visits[member], bucket))
            self._visits[member] += 1
            member = min(self._members[bucket], key=lambda each: self._visits[each] * self._periods[each[0]])
        return np.array(rows, dtype=np.int64)


def _cut_micro_batches(rows: Integers, size: int) -> tuple[Integers, Integers]:
    """Micro-batches (count, size, 4) in the order in which they fill up, and the rows (n, 4) that wait."""
    bucket = rows[:, 3].astype(np.int16)  # which NumPy sorts several times as fast
    together = np.argsort(bucket, kind="stable")
    begins = np.flatnonzero(np.diff(bucket[together], prepend=-1))
    counts = np.diff(begins, append=len(bucket))
    rank = np.arange(len(bucket)) - np.repeat(begins, counts)
    full = rank < np.repeat(counts // size * size, counts)
    numbers = together[full].reshape(-1, size)
    return rows[numbers[np.argsort(numbers[:, -1])]], rows[np.sort(together[~full])]
