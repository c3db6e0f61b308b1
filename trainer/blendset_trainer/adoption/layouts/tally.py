# SPDX-License-Identifier: Apache-2.0
"""What is found in a source while its pictures are listed: how often, and the first names."""

from __future__ import annotations

from dataclasses import dataclass, field

from blendset_trainer.readers.findings import NAMED, Finding


@dataclass
class Tally:
    """Counts what is so of files, pictures or captions; keeps the first names only."""

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, name: str) -> None:
        """Count one more of which `what` is so."""
        self.counts[what] = self.counts.get(what, 0) + 1
        first = self.names.setdefault(what, [])
        if len(first) < NAMED and name:
            first.append(name)

    def format_sentences(self) -> tuple[str, ...]:
        """Return a sentence for each thing that was found, such as "left out, hidden: 12 (a, b, c, ...)"."""
        return tuple(str(Finding(what, count, tuple(self.names[what]))) for what, count in self.counts.items())
