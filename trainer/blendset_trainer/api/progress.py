# SPDX-License-Identifier: Apache-2.0
"""How functions of the library say how far they are; they print nothing."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""
OnReport = Callable[[str], None]
"""Called with one sentence for a person, of something that does not stop the work."""


def ignore_progress(what: str, done: int, total: int) -> None:
    """Do nothing: where nobody asks how far it is."""


def prefix_progress(on_progress: OnProgress, title: str) -> OnProgress:
    """Return a callback that puts a title before what is being done."""
    return lambda what, done, total: on_progress(f"{title}: {what}", done, total)


def ignore_report(sentence: str) -> None:
    """Do nothing: where nobody reads what is reported."""
