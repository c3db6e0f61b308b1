# SPDX-License-Identifier: Apache-2.0
"""Which pictures of which systems are set beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from blendset.errors import BlendsetError

Pool = dict[str, list[tuple[Path, Path]]]
"""For each unit the pairs of pictures of two systems that are not chosen yet."""


@dataclass(frozen=True)
class VotePicture:
    """A picture, and the system that made it."""

    system: str
    path: Path


@dataclass(frozen=True)
class PicturePair:
    """Two pictures of one unit, by two systems. A unit is what was sampled: a prompt or a subject.

    `references` are pictures of the subject, which voters see too.
    """

    unit: str
    prompt: str
    one: VotePicture
    other: VotePicture
    references: tuple[Path, ...] = ()


def choose_pairs(
    systems: Mapping[str, Mapping[str, Sequence[Path]]],
    prompts: Mapping[str, str],
    count: int,
    seed: int,
    references: Mapping[str, Sequence[Path]] | None = None,
) -> list[PicturePair]:
    """Choose `count` pairs, or all where there are fewer, from the pictures of each unit of each system.

    All pairs of systems come equally often, and so do the units, as far as there are pictures. Of a unit the first
    picture of one system meets the first of the other, and so on. A unit without a prompt has "". `references` are
    pictures of a unit's subject. Raises BlendsetError for fewer than two systems, and where two of them have no unit in
    common.
    """
    if len(systems) < 2:
        raise BlendsetError("A vote needs two systems or more; give the pictures of another.")
    rng = np.random.default_rng(seed)
    pools = {(one, other): _match_pictures(systems, one, other, rng) for one, other in combinations(systems, 2)}
    names = [list(pools)[number] for number in rng.permutation(len(pools))]
    system_uses, unit_uses, chosen = Counter[tuple[str, str]](), Counter[str](), list[PicturePair]()
    while len(chosen) < count and (open_names := [name for name in names if pools[name]]):
        name = min(open_names, key=system_uses.__getitem__)
        pool = pools[name]
        unit = min(pool, key=unit_uses.__getitem__)
        one, other = pool[unit].pop(0)
        if not pool[unit]:
            del pool[unit]
        system_uses[name] += 1
        unit_uses[unit] += 1
        pair = VotePicture(name[0], one), VotePicture(name[1], other)
        chosen.append(PicturePair(unit, prompts.get(unit, ""), *pair, tuple((references or {}).get(unit, ()))))
    return chosen


def _match_pictures(
    systems: Mapping[str, Mapping[str, Sequence[Path]]], one: str, other: str, rng: np.random.Generator
) -> Pool:
    """The pairs of pictures of two systems by unit, the units in random order."""
    common = sorted(unit for unit in systems[one] if unit in systems[other])
    pool = {unit: list(zip(systems[one][unit], systems[other][unit], strict=False)) for unit in common}
    units = [unit for unit in common if pool[unit]]
    if not units:
        raise BlendsetError(f"{one} and {other} have pictures of no common unit; make both from the same prompts.")
    return {units[number]: pool[units[number]] for number in rng.permutation(len(units))}
