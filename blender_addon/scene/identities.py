# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instances are one thing, told by Blender's numbers for them.

A path numbers an instance on each level, the outermost first: the point of a scatterer, then the object of the
collection that stands there. Members of a collection differ on the last level alone, and move together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Path = tuple[int, ...]
SAME = 1e-4
"""Difference of matrix elements, as a share of the largest one, up to which two are the same."""


class Instance(Protocol):
    """What names an instance: the full names of its object and of what instances it, and its path."""

    @property
    def original(self) -> str:
        """Full name of the object."""

    @property
    def instance_of(self) -> str:
        """Full name of what instances it."""

    @property
    def path(self) -> Path:
        """Its numbers."""


def number_repeated(paths: Sequence[Path]) -> list[Path]:
    """Paths that are unique: where a file numbers two instances alike, the later ones get a level of their own."""
    if len(set(paths)) == len(paths):
        return list(paths)
    counts: Counter[Path] = Counter()
    unique = []
    for path in paths:
        unique.append((-counts[path], *path) if counts[path] else path)
        counts[path] += 1
    return unique


def find_owner(path: Path, alike: Collection[Path], known: Collection[Path]) -> Path:
    """The path of the instance that makes this one of its own geometry, else this path.

    `known` are all paths of the same object, `alike` those of the same geometry. What a member of a collection makes
    lies in its path, or, where nodes have instanced the collection, in the number behind its own.
    """
    for level in range(1, len(path)):
        if path[:level] in known:
            return path[:level]
    for level in range(1, len(path)):
        before = (*path[: level - 1], path[level - 1] - 1)
        if before in known and before not in alike:
            return before
    return path


def name_group(instancer: str, path: Path, instancers: Mapping[tuple[str, Path], str]) -> str:
    """The name of the group at a path: of collection instances within each other, or of what is scattered."""
    names = [instancers.get((instancer, path[: level + 1])) for level in range(len(path))]
    if all(names):
        return "/".join([instancer, *(name for name in names if name)])
    return f"{instancer}#{'.'.join(map(str, path))}"


def is_rigid(
    originals: Sequence[str], matrices: Sequence[NDArray[np.float64]], at_home: Mapping[str, NDArray[np.float64]]
) -> bool:
    """Whether objects, each there once, stand to each other as they do in the collection that they come from.

    `matrices` (4, 4) are where they stand; `at_home` has, by name, where they stand in their own collection.
    """
    if len(set(originals)) < len(originals):
        return False
    first = at_home[originals[0]]
    if abs(np.linalg.det(first)) < np.finfo(np.float32).tiny:
        return False
    shift = matrices[0] @ np.linalg.inv(first)
    return all(
        np.abs(shift @ at_home[name] - matrix).max() <= SAME * max(np.abs(matrix).max(), np.abs(shift).max())
        for name, matrix in zip(originals[1:], matrices[1:], strict=True)
    )
