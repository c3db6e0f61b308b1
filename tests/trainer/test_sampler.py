# SPDX-License-Identifier: Apache-2.0
"""The order of samples: shares kept exactly, each sample once before any again, and the same stream whoever asks."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blendset.errors import BlendsetError
from blendset.randomness import sample_uniform
from blendset_trainer.diffusion.randomness import make_generator
from blendset_trainer.training.data.sampler import CHUNK, Sampler, interleave_sources

SHARES = {"renders": 0.7, "grids": 0.25, "photos": 0.05}


def an_order(seed: int = 0, **changes: int) -> Sampler:
    """Three sources of 1,000, 90 and 7 samples in four buckets."""
    sizes = {"renders": 1000, "grids": 90, "photos": 7} | changes
    buckets = {name: np.arange(size) * 7 % 4 for name, size in sizes.items()}
    return Sampler(buckets, SHARES, micro_batch=6, seed=seed)


def test_shares_are_kept_at_every_point_of_the_stream() -> None:
    sources, turns = interleave_sources(list(SHARES.values()), 0, 10_000)
    counts = np.cumsum(sources[:, None] == np.arange(3), axis=0)
    exact = np.arange(1, 10_001)[:, None] * np.array(list(SHARES.values()))
    assert np.abs(counts - exact).max() <= 1 + 1e-9
    for source in range(3):
        assert (turns[sources == source] == np.arange((sources == source).sum())).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.001, 1), min_size=1, max_size=6),
    st.integers(0, 10**9),
    st.integers(1, 200),
    st.integers(1, 200),
)
def test_any_part_of_the_stream_is_a_part_of_the_whole(weights: list[float], start: int, one: int, two: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    whole = interleave_sources(shares, start, start + one + two)
    parts = interleave_sources(shares, start, start + one), interleave_sources(shares, start + one, start + one + two)
    for column in (0, 1):
        assert (whole[column] == np.concatenate([part[column] for part in parts])).all()
    off = (start + one) * np.array(shares) - [
        (parts[1][1][parts[1][0] == source].min() if (parts[1][0] == source).any() else np.nan)
        for source in range(len(shares))
    ]
    assert np.nanmax(np.abs(off), initial=0) <= max(1, (len(shares) - 1) / 2) + 1e-6


def test_a_source_without_a_share_never_comes() -> None:
    assert set(interleave_sources([0.5, 0.0, 0.5], 0, 100)[0].tolist()) == {0, 2}


def test_each_sample_comes_once_before_any_comes_again() -> None:
    drawn = [draw for batch in islice(an_order().iterate_micro_batches(), 3000) for draw in batch]
    for source, size in enumerate((1000, 90, 7)):
        repeats = Counter(draw.repeat for draw in drawn if draw.source == source)
        seen = Counter((draw.repeat, draw.sample) for draw in drawn if draw.source == source)
        assert set(seen.values()) == {1}
        assert len(repeats) > 2 and list(repeats.values())[: len(repeats) // 2] == [size] * (len(repeats) // 2)


def test_visits_and_seeds_shuffle_anew() -> None:
    def first_visits(order: Sampler) -> list[list[int]]:
        drawn = [draw for batch in islice(order.iterate_micro_batches(), 200) for draw in batch if draw.source == 2]
        return [[draw.sample for draw in drawn if draw.repeat == repeat] for repeat in (0, 1)]

    one, other = first_visits(an_order(seed=1)), first_visits(an_order(seed=2))
    assert one[0] != one[1] and one[0] != other[0]


def test_a_micro_batch_has_one_bucket() -> None:
    for batch in islice(an_order().iterate_micro_batches(), 500):
        assert len(batch) == 6
        assert len({draw.sample * 7 % 4 for draw in batch}) == 1


def test_starting_at_a_micro_batch_is_going_there() -> None:
    beyond_a_chunk = CHUNK // 6 + 100
    gone = list(islice(an_order().iterate_micro_batches(), beyond_a_chunk + 50))
    for start in (0, 1, 37, CHUNK // 6 - 2, beyond_a_chunk):
        assert list(islice(an_order().iterate_micro_batches(start), 50)) == gone[start : start + 50]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_one_stream(processes: int) -> None:
    def part(rank: int) -> list[tuple[int, object]]:
        numbered = enumerate(islice(an_order().iterate_micro_batches(), 400))
        return [(number, batch) for number, batch in numbered if number % processes == rank]

    together = sorted((row for rank in range(processes) for row in part(rank)), key=lambda row: row[0])
    assert [batch for _, batch in together] == list(islice(an_order().iterate_micro_batches(), 400))


def test_another_source_does_not_change_the_order_within_one() -> None:
    def of_renders(order: Sampler) -> list[int]:
        return [
            draw.sample for batch in islice(order.iterate_micro_batches(), 600) for draw in batch if draw.source == 0
        ]

    def in_bucket(samples: list[int], bucket: int) -> list[int]:
        return [sample for sample in samples if sample * 7 % 4 == bucket]

    one, other = of_renders(an_order()), of_renders(an_order(photos=70, grids=13))
    for bucket in range(4):
        mine, its = in_bucket(one, bucket), in_bucket(other, bucket)
        shorter = min(len(mine), len(its))
        assert shorter > 100 and mine[:shorter] == its[:shorter]


def test_the_stream_is_the_one_it_always_was() -> None:
    """Another NumPy, platform or refactoring must not change what a resumed run sees."""
    batches = list(islice(an_order(seed=3).iterate_micro_batches(), 1))
    golden = [(0, 796, 0), (1, 56, 0), (0, 552, 0), (1, 60, 0), (0, 396, 0), (0, 344, 0)]
    assert [tuple(draw) for draw in batches[0]] == golden


def test_an_empty_source_with_a_share_is_refused() -> None:
    with pytest.raises(BlendsetError, match="Source 'photos' has a share of the training but no samples"):
        an_order(photos=0)


# --- draws ---


def test_draws_are_even_and_differ_by_every_part_of_their_identity() -> None:
    drawn = np.array([sample_uniform(0, "level", f"view-{number}", 3) for number in range(4000)])
    assert drawn.min() >= 0 and drawn.max() < 1
    assert np.abs(np.histogram(drawn, 10, (0, 1))[0] - 400).max() < 100
    alike = [
        sample_uniform(0, "a", 1),
        sample_uniform(1, "a", 1),
        sample_uniform(0, "a", 2),
        sample_uniform(0, "a", "1"),
        sample_uniform(0, "a1"),
    ]
    assert len(set(alike)) == len(alike)


def test_draws_are_the_ones_they_always_were() -> None:
    assert sample_uniform(7, "level", "chair-0001", 2) == 0.449798969144233
    assert make_generator(7, "noise", "chair-0001", 2).initial_seed() == 8310969
