# SPDX-License-Identifier: Apache-2.0
"""Odd values for settings, derived from what each setting declares: its type, its bounds, its choices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

from blendset.options import is_section

WRONG_SHAPES: tuple[Any, ...] = (
    True, "", "x", "-1", "x" * 5000, "a\nb", "../..", "ä/☃", -1, 0, 1, 0.5, 2**31, 2**63, 10**400, 1e308, -1e308,
    5e-324, math.nan, math.inf, -math.inf, [], {}, [[]], [{}], [1, "a"], {"a": 1}, {"": {}},
)  # fmt: skip
"""Values of every type that TOML has, at the ends of their range."""


def list_options(
    kind: Any, at: tuple[Any, ...] = ()
) -> Iterator[tuple[tuple[Any, ...], dataclasses.Field[Any] | None]]:
    """The path of each option of a class of settings, with its field; of each section, with None."""
    hints = get_type_hints(kind)
    for described in dataclasses.fields(kind):
        here, hint = (*at, described.name), hints[described.name]
        inner = hint if is_section(hint) else (get_args(hint) or (None,))[0] if get_origin(hint) is tuple else None
        if not is_section(inner):
            yield here, described
            continue
        yield here, None
        yield from list_options(inner, here if inner is hint else (*here, 0))


def list_odd_values(described: dataclasses.Field[Any] | None) -> list[Any]:
    """Values at and beyond the bounds of an option, one that is no choice, and values of other types."""
    limits = described.metadata if described else {}
    values: list[Any] = []
    for bound in (limits.get("at_least"), limits.get("at_most")):
        if bound is not None:
            values += [bound, bound - 1, bound + 1, math.nextafter(bound, -math.inf), math.nextafter(bound, math.inf)]
    values += [f"{choice}x" for choice in list(limits.get("choices", ()))[:1]]
    values += [[value] for value in values] + [[value, value] for value in values]
    return [*values, *WRONG_SHAPES]


def set_value(table: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy of a table with another value at a path; what is missing on the way is made."""
    key, *rest = path
    if isinstance(key, int):
        raise TypeError("a table has names, no numbers")
    if not rest:
        return table | {key: value}
    if rest[0] == 0:
        first, *others = table.get(key) or [{}]
        return table | {key: [set_value(first, tuple(rest[1:]), value), *others]}
    return table | {key: set_value(table.get(key) or {}, tuple(rest), value)}
