# SPDX-License-Identifier: Apache-2.0
"""Registries: what users can name, ours by a table and other packages' by their entry points.

What a name stands for is imported only when it is used. Entry points are read once, when a registry first needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from typing import Any

from blendset.errors import BlendsetError

PREFIX = "blendset."
"""How the groups of entry points are called: "blendset.scorers"."""
OURS = "blendset-trainer"


@dataclass(frozen=True)
class Extension:
    """What a name stands for: `target` ("module:name"), and the installed package that brings it.

    `argument` is what must follow a colon behind the name ("MODEL"), "" where nothing may.
    """

    target: str
    argument: str = ""
    package: str = OURS


class Registry(Mapping[str, Extension]):
    """Extensions of one kind by name: those of `table` in its order, then those that other packages bring, sorted.

    A key of the table, and the name of an entry point, is a name with its argument: "clip:MODEL". What it stands for is
    "module:name". Without a `group` of entry points there are only ours.
    """

    def __init__(self, kind: str, table: Mapping[str, str], group: str = "") -> None:
        self.kind = kind
        self.table = dict(table)
        self.group = group

    def __getitem__(self, name: str) -> Extension:
        found = [extension for key, extension in self._list_extensions() if key == name]
        if not found:
            raise KeyError(name)
        if len(found) > 1:
            packages = " and in ".join(extension.package for extension in found)
            raise BlendsetError(f"The {self.kind} '{name}' is in {packages}; uninstall one, or rename what it brings.")
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._list_extensions()))

    def __len__(self) -> int:
        return len(dict(self._list_extensions()))

    def __contains__(self, name: object) -> bool:
        return name in dict(self._list_extensions())

    def __bool__(self) -> bool:
        return True  # without a look at entry points

    def format_choices(self) -> str:
        """Return every name as it is written, separated by commas."""
        return ", ".join(self.usages.values())

    @property
    def usages(self) -> dict[str, str]:
        """How each name is written, with its argument: "clip:MODEL" for "clip"."""
        return {
            name: f"{name}:{extension.argument}" if extension.argument else name
            for name, extension in self._list_extensions()
        }

    def load(self, name: str) -> Any:
        """Import what a name stands for.

        Raises KeyError for an unknown name, and BlendsetError where two packages bring the name, or where the other
        package that brings it is broken.
        """
        extension = self[name]
        with self._blame_package(name, extension.package):
            return resolve_name(extension.target)

    def make(self, name: str, *arguments: str) -> Any:
        """Import what a name stands for and call it. Raises what `load` raises, and whatever the call raises."""
        make = self.load(name)
        with self._blame_package(name, self[name].package):
            return make(*arguments)

    def load_all(self) -> dict[str, Any]:
        """Import everything by name, but for what other packages bring and cannot be used, and names that two bring."""
        loaded = {}
        for name in self:
            with suppress(BlendsetError):
                loaded[name] = self.load(name)
        return loaded

    @contextmanager
    def _blame_package(self, name: str, package: str) -> Iterator[None]:
        """Turn what another package raises into a BlendsetError of one sentence; ours keeps its traceback."""
        try:
            yield
        except Exception as error:
            if package == OURS or isinstance(error, BlendsetError):
                raise
            reason = f"{type(error).__name__}: {error}".rstrip(".")
            raise BlendsetError(
                f"The {self.kind} '{name}' of the package {package} cannot be used ({reason}); update or uninstall it."
            ) from error

    def _list_extensions(self) -> list[tuple[str, Extension]]:
        return self._list_own() + (list_entry_points().get(self.group, []) if self.group else [])

    def _list_own(self) -> list[tuple[str, Extension]]:
        return [_make_extension(key, target, OURS) for key, target in self.table.items()]


def _make_extension(key: str, target: str, package: str) -> tuple[str, Extension]:
    """A name and what it stands for, from "clip:MODEL" and "module:name"."""
    name, _, argument = key.partition(":")
    return name, Extension(target, argument, package)


@cache
def list_entry_points() -> dict[str, list[tuple[str, Extension]]]:
    """Read the entry points of all installed packages whose group begins with PREFIX: by group, sorted by name.

    A package whose metadata cannot be read is passed over.
    """
    from importlib import metadata  # its import takes longer than the reading, and `blendset --help` needs neither

    found: dict[str, dict[tuple[str, str], Extension]] = {}
    for distribution in metadata.distributions():
        try:
            if PREFIX not in (distribution.read_text("entry_points.txt") or ""):
                continue
            package = distribution.metadata["Name"]
            points = [point for point in distribution.entry_points if point.group.startswith(PREFIX)]
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is not ours to mend
            continue
        for point in points:
            name, extension = _make_extension(point.name, point.value.partition("[")[0].strip(), package)
            found.setdefault(point.group, {}).setdefault((name, package), extension)
    return {
        group: [(name, extension) for (name, _), extension in sorted(points.items(), key=lambda item: item[0])]
        for group, points in found.items()
    }
