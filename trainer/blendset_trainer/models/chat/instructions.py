# SPDX-License-Identifier: Apache-2.0
"""Instructions to vision-language models, from the files in prompts/, and how the replies are parsed.

Parsing is lenient, but a reply without what was requested stays empty.
"""

from __future__ import annotations

import re
from importlib.resources import files

QUALITIES = ("1", "2", "3", "4", "5", "unparsable")
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_SCORE = re.compile(r"\bscore\W{1,6}([1-5])(?![.,]?\d)", re.IGNORECASE)
_OPENING = re.compile(r"^\W*(?:[\w ]{0,20}caption|answer)\s*:\s*", re.IGNORECASE)
_QUOTES = "\"'“”‘’`* "


def read_prompt(*names: str) -> str:
    """Read prompt files by name, one after another."""
    folder = files("blendset_trainer.models.chat") / "prompts"
    return "\n\n".join((folder / f"{name}.txt").read_text("utf-8").strip() for name in names)


def strip_thoughts(reply: str) -> str:
    """Remove what a reasoning model thought before it replied."""
    return _THOUGHT.sub("", reply)


def parse_caption(reply: str) -> str | None:
    """Parse a reply that is a caption: on one line, without what models put around it; None where it is empty."""
    return _clean_line(_OPENING.sub("", strip_thoughts(reply).strip()))


def parse_label(reply: str, label: str) -> str | None:
    """Parse what the last `LABEL:` in a reply introduces; None where that is missing or empty."""
    found = re.findall(rf"^\W*{label}\W*?:[ \t]*(.+)$", strip_thoughts(reply), re.IGNORECASE | re.MULTILINE)
    return _clean_line(found[-1]) if found else None


def parse_quality(reply: str) -> str:
    """Parse one of QUALITIES: the last whole number from 1 to 5 after the word "score", else "unparsable"."""
    found = _SCORE.findall(strip_thoughts(reply))
    return found[-1] if found else "unparsable"


def _clean_line(text: str) -> str | None:
    return " ".join(text.split()).strip(_QUOTES + ",") or None
