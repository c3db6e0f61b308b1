# SPDX-License-Identifier: Apache-2.0
"""What a person is told of a source before its training begins: how many pictures, why, the first names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blendset.errors import BlendsetError
from blendset_trainer.api.progress import OnReport

NAMED = 3
"""How many names a sentence holds."""


@dataclass(frozen=True)
class Finding:
    """What is so of `count` files, of which `first` are the names of the first. What does not `matter` is right as it
    is, and only told; `--strict` refuses the rest.
    """

    what: str
    count: int
    first: tuple[str, ...]
    matters: bool = True

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.first) else ""
        return f"{self.what}: {self.count:,}" + (
            f" ({', '.join(map(_escape, self.first))}{more})" if self.first else ""
        )


def make_findings(what: str, names: Sequence[str], matters: bool = True) -> tuple[Finding, ...]:
    """The finding that something is so of the files of these names; nothing for none."""
    return (Finding(what, len(names), tuple(names[:NAMED]), matters),) if names else ()


def _escape(name: str) -> str:
    """A name in one line of text that any terminal can show."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


def report_findings(findings: Iterable[tuple[str, Finding]], report: OnReport, strict: bool) -> None:
    """Report what was found of sources, which stand by their names before it.

    Raises BlendsetError in a `strict` run, after all is reported, where any of it matters.
    """
    found = list(findings)
    for name, finding in found:
        report(f"Source '{name}': {finding}.")
    serious = [f"source '{name}': {finding}" for name, finding in found if finding.matters]
    if strict and serious:
        more = f" (and {len(serious) - 1} more)" if serious[1:] else ""
        raise BlendsetError(
            f"--strict refuses what was found of {serious[0]}{more}; mend it, or train without --strict."
        )
