# SPDX-License-Identifier: Apache-2.0
"""Makes sets of pictures comparable: the same units with equally many pictures each, or as many units of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from blendset_trainer.evaluation.measurement import Measurement, draw, make_keys
from blendset_trainer.evaluation.settings import PICTURE
from blendset_trainer.evaluation.statistics.kernels import Mask

LEAST_COMMON = 0.5
"""Share of the units of the smallest set that all sets have, from which on the sets are paired."""


def align(sets: Sequence[Measurement], seed: int) -> tuple[list[Measurement], bool, list[str]]:
    """Return the sets over what can be compared, whether they are paired, and sentences about what was left out.

    Paired sets keep the units that all have, each with as many pictures as the set with the fewest. Others keep as many
    pictures as the smallest, drawn at random. Sets over different kinds of units are compared over pictures.
    """
    kinds = sorted({measured.unit for measured in sets})
    if len(kinds) > 1:  # only where none was asked for
        sets = [replace(measured, unit=PICTURE, keys=make_keys(measured.index, PICTURE)) for measured in sets]
        aligned, is_paired, notes = align(sets, seed)
        return (
            aligned,
            is_paired,
            [f"Intervals are over pictures, for the sets have {' and '.join(f'{kind}s' for kind in kinds)}", *notes],
        )
    names = [set(measured.keys) for measured in sets]
    common = set.intersection(*names)
    if len(common) >= max(2, LEAST_COMMON * min(map(len, names))):
        left = max(len(set.union(*names)) - len(common), 0)
        notes = [f"{left} {sets[0].unit}s are not in all sets and do not count"] if left else []
        return _pair(sets, common), True, notes
    count = min(measured.count for measured in sets)
    notes = [f"{measured.title}: {count} of {measured.count} pictures, as many as of the smallest set"
             for measured in sets if measured.count > count]  # fmt: skip
    return [measured.take(draw(measured.keys, count, seed)) for measured in sets], False, notes


def _pair(sets: Sequence[Measurement], common: set[str]) -> list[Measurement]:
    counts = [Counter(measured.keys) for measured in sets]
    fewest = {name: min(count[name] for count in counts) for name in common}
    return [measured.take(_keep_first(measured, fewest)) for measured in sets]


def _keep_first(measured: Measurement, fewest: dict[str, int]) -> Mask:
    """A mask (N,) of the first so many pictures of each unit."""
    numbers = Counter[str]()
    mask = np.zeros(measured.count, bool)
    for row, key in enumerate(measured.keys):
        mask[row] = numbers[key] < fewest.get(key, 0)
        numbers[key] += 1
    return mask
