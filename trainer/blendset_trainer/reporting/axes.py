# SPDX-License-Identifier: Apache-2.0
"""Axes, where values with intervals lie on them, and numbers with no more digits than their intervals bear."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from blendset_trainer.evaluation.statistics.estimates import Estimate

MAX_STEPS = 4
"""Of an axis, so that its labels stand apart on a telephone."""
RANGE = re.compile(r"(-?\d+(?:\.\d+)?) to (\d+(?:\.\d+)?)")
TRUTHS = ("true or false", "whether ")
"""How the scale of a column of truths begins, whose mean is a share."""
SMALLEST = 1e-3
"""Where all numbers of a figure are below this, they are written in units of a power of ten."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Tick:
    """A line across an axis: where, in percent of its length, and its number; `anchor` is SVG's of that text. The one
    at the origin stands out.
    """

    at: float
    text: str
    anchor: str
    is_origin: bool


@dataclass(frozen=True)
class Mark:
    """A value with its interval on an axis, each in percent of its length."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Axis:
    """The numbers of an axis from one end to the other, at least two, in equal steps. A line stands out at `origin`."""

    numbers: tuple[float, ...]
    origin: float = 0.0

    def locate(self, value: float) -> float:
        """Return where a value lies, in percent of the axis."""
        low, high = self.numbers[0], self.numbers[-1]
        return round(100 * (value - low) / (high - low), 2)

    def mark(self, estimate: Estimate) -> Mark:
        """Return where a value and its interval lie."""
        return Mark(*map(self.locate, list_numbers(estimate)))

    @property
    def ticks(self) -> list[Tick]:
        """The lines across; the ends and the origin have their numbers."""
        texts = format_numbers(self.numbers, self.numbers[1] - self.numbers[0])
        anchors = {0: "start", len(self.numbers) - 1: "end"}
        return [
            Tick(
                self.locate(number),
                "" if index not in anchors and number != self.origin else text if number else "0",
                anchors.get(index, "middle"),
                number == self.origin,
            )
            for index, (number, text) in enumerate(zip(self.numbers, texts, strict=True))
        ]


def choose_axis(numbers: Sequence[float]) -> Axis:
    """Return an axis of round numbers that holds all of these."""
    low, high = min(numbers), max(numbers)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    exponent = math.floor(math.log10((high - low) / MAX_STEPS))
    for factor in (1, 2, 5, 10, 20):
        step = factor * 10.0**exponent
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= MAX_STEPS:
            break
    return Axis(tuple(float(f"{number * step:.12g}") for number in range(first, last + 1)))


def choose_scale_axis(scale: str, estimates: Sequence[Estimate]) -> Axis:
    """Return the axis of a scale, such as "cosine, -1 to 1", from 0 on where no value is below; of a scale without
    bounds, or one that an interval leaves, an axis that holds the values and 0.
    """
    numbers = list_numbers(*estimates)
    bounds = find_bounds(scale)
    if bounds and bounds[0] <= min(numbers) and max(numbers) <= bounds[1]:
        return Axis((max(bounds[0], 0.0) if min(numbers) >= 0 else bounds[0], bounds[1]))
    return choose_axis([*numbers, 0.0])


def find_bounds(scale: str) -> tuple[float, float] | None:
    """Return the least and the greatest number of a scale; None where it has none."""
    if scale.startswith(TRUTHS):
        return 0.0, 1.0
    found = RANGE.search(scale)
    return (float(found[1]), float(found[2])) if found else None


def format_numbers(numbers: Sequence[float], step: float) -> list[str]:
    """Return numbers with the digits that tell each from the next one, `step` away."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [_mend_minus(f"{number:.{digits}f}") for number in numbers]


def format_values(estimates: Sequence[Estimate], is_signed: bool = False) -> list[tuple[str, str]]:
    """Return values with their intervals, all with two digits of the narrowest interval's width, but no more than one
    that is a tenth of the widest would have.
    """
    widths = [each.high - each.low for each in estimates if each.high > each.low]
    if not widths:
        return [(_add_plus(_mend_minus(f"{each.value:.4g}"), each, is_signed), "") for each in estimates]
    step = 10.0 ** (math.floor(math.log10(max(min(widths), max(widths) / 10))) - 1)
    numbers = format_numbers(list_numbers(*estimates), step)
    return [
        (_add_plus(value, each, is_signed), f"[{low}, {high}]")
        for each, low, value, high in zip(estimates, numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    ]


def choose_exponent(estimates: Sequence[Estimate]) -> int:
    """Return the power of ten in which values are small enough to be written; 0 for most."""
    largest = max(map(abs, list_numbers(*estimates)))
    return math.floor(math.log10(largest)) if 0 < largest < SMALLEST else 0


def name_exponent(exponent: int) -> str:
    """Return the words for a power of ten, "" for 0."""
    return f"in units of 10{str(exponent).translate(SUPERSCRIPTS)}" if exponent else ""


def divide_estimate(estimate: Estimate, exponent: int) -> Estimate:
    """Return an estimate in units of a power of ten."""
    low, value, high = (number / 10.0**exponent for number in list_numbers(estimate))
    return replace(estimate, low=low, value=value, high=high)


def list_numbers(*estimates: Estimate) -> list[float]:
    """Return the low end, the value and the high end of each estimate."""
    return [number for each in estimates for number in (each.low, each.value, each.high)]


def _add_plus(text: str, estimate: Estimate, is_signed: bool) -> str:
    return f"+{text}" if is_signed and estimate.value > 0 else text


def _mend_minus(text: str) -> str:
    """A number with a true minus, and none before a zero."""
    return text.lstrip("-") if not text.strip("-0.") else text.replace("-", "−")
