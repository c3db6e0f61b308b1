# SPDX-License-Identifier: Apache-2.0
"""From plain data to typed dataclasses and back, without guessing: "3" is no number, and null is no name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cattrs


def _make_exact_hook(kind: type[Any]) -> Callable[[Any, Any], Any]:
    """Return a hook that refuses what cattrs would convert."""

    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}, found {value!r}")
        return value

    return check


def _structure_number(value: Any, _: Any) -> float:
    """Take a finite number; a whole number will do for a float."""
    try:
        if type(value) in (int, float) and math.isfinite(number := float(value)):
            return number
    except OverflowError:  # a whole number beyond every float
        pass
    raise TypeError(f"expected a number, found {value!r}")


strict_converter = cattrs.Converter(forbid_extra_keys=True)
"""Refuses unknown keys, and values that are not of the very type of their field."""
strict_converter.register_structure_hook(float, _structure_number)
for _kind in (bool, int, str):
    strict_converter.register_structure_hook(_kind, _make_exact_hook(_kind))
