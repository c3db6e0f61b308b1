# SPDX-License-Identifier: Apache-2.0
"""What `--search cfg-scale=3,5,7 steps=30,60` means: the values of options, and every combination of them.

Nothing here imports torch, so that a command line is refused before the models' libraries are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from blendset.errors import SettingsError
from blendset.options import find_nearest

SEARCHABLE: Mapping[str, type[Any]] = {
    "model": str,
    "steps": int,
    "cfg_scale": float,
    "embedded_guidance": float,
    "negative_prompt": str,
    "precision": str,
    "width": int,
    "height": int,
}
"""The options that decide how one picture of a prompt looks, and the type of their values."""
Choice = dict[str, Any]
"""Values of options by their names, as the settings take them."""


def parse_grid(words: Sequence[str], known: Sequence[str]) -> list[Choice]:
    """Return every combination of the values in words such as "steps=30,60", the last word's values changing first.

    `known` are the names of all options. Raises SettingsError for an option that there is not, or that cannot be
    searched, and for one with fewer than two values.
    """
    values: dict[str, list[Any]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        option = name.strip().lstrip("-").replace("-", "_")
        if not equals:
            raise SettingsError(f"--search is '{word}'; write it as NAME=VALUE,VALUE, such as steps=30,60.")
        if option not in SEARCHABLE:
            raise _make_name_error(name, option, known)
        if option in values:
            raise SettingsError(f"--search names '{name}' twice; give all its values in one word.")
        values[option] = _parse_values(word, name, text, SEARCHABLE[option])
    return [dict(sorted(zip(values, chosen, strict=True))) for chosen in product(*values.values())]


def describe_options(options: Choice) -> str:
    """Options as a command line has them."""
    return " ".join(f"{name.replace('_', '-')}={value:g}" if isinstance(value, float) else
                    f"{name.replace('_', '-')}={value}" for name, value in options.items())  # fmt: skip


def _parse_values(word: str, name: str, text: str, kind: type[Any]) -> list[Any]:
    """The values of one option; SettingsError where there are fewer than two, or one of them twice."""
    try:
        values = [kind(part.strip()) for part in text.split(",")]
    except ValueError as error:
        what = "whole numbers" if kind is int else "numbers"
        raise SettingsError(f"--search is '{word}', whose values must be {what}.") from error
    if len(values) < 2:
        raise SettingsError(f"--search {word} has one value; give several, or write --{name} {text} without a search.")
    if len(set(values)) < len(values):
        raise SettingsError(f"--search {word} names a value twice; give each once.")
    return values


def _make_name_error(name: str, option: str, known: Sequence[str]) -> SettingsError:
    """The error for an option that there is not, or that does not change how one picture looks."""
    names = [each.replace("_", "-") for each in SEARCHABLE]
    if option in known:
        return SettingsError(f"'{name}' cannot be searched; --search takes {', '.join(names)}.")
    near = find_nearest(name, names)
    cure = f"did you mean {near}?" if near else f"give one of {', '.join(names)}."
    return SettingsError(f"There is no option '{name}' to search; {cure}")
