# SPDX-License-Identifier: Apache-2.0
"""What captioning models are asked, from the files in prompts/, and how their answers are read: leniently, but an
answer that does not hold what was asked for stays empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from blendset_trainer.stages.stage import View

QUALITIES = ("1", "2", "3", "4", "5", "unparsable")
LEAST_SHARE = 0.005
"""Of the picture: smaller things are not worth a word in a prompt."""
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_SCORE = re.compile(r"\bscore\W{1,6}([1-5])(?![.,]?\d)", re.IGNORECASE)
_OPENING = re.compile(r"^\W*(?:[\w ]{0,20}caption|answer)\s*:\s*", re.IGNORECASE)
_QUOTES = "\"'“”‘’`* "


def prompt(*names: str) -> str:
    """The text of prompt files, one after another."""
    folder = files("blendset_trainer.captioning.models") / "prompts"
    return "\n\n".join((folder / f"{name}.txt").read_text("utf-8").strip() for name in names)


def facts_prompt(views: Sequence[View]) -> str:
    """What the id pass knows to be in these views, as an addition to a prompt; "" where nothing has a label."""
    shares: dict[str, float] = {}
    for view in views:
        for label, share in _label_shares(view).items():
            shares[label] = max(share, shares.get(label, 0.0))
    things = sorted(shares, key=lambda label: (-shares[label], label))
    if not things:
        return ""
    listed = ", ".join(f"{label} ({shares[label]:.0%})" for label in things)
    return prompt("facts").format(subject=views[0].record.subject_label or "the whole scene", things=listed)


def _label_shares(view: View) -> dict[str, float]:
    shares: dict[str, float] = {}
    for each in view.record.visible_objects:
        if each.label:
            shares[each.label] = shares.get(each.label, 0.0) + each.share
    return {label: share for label, share in shares.items() if share >= LEAST_SHARE}


def without_thoughts(reply: str) -> str:
    """A reply without what a reasoning model thought first."""
    return _THOUGHT.sub("", reply)


def caption(reply: str) -> str | None:
    """The caption that a reply consists of, on one line, without what models put around it; None where it is empty."""
    return _clean(_OPENING.sub("", without_thoughts(reply).strip()))


def labelled(reply: str, label: str) -> str | None:
    """What stands after `LABEL:` in a reply, the last time; None where that is missing or empty."""
    found = re.findall(rf"^\W*{label}\W*?:[ \t]*(.+)$", without_thoughts(reply), re.IGNORECASE | re.MULTILINE)
    return _clean(found[-1]) if found else None


def quality(reply: str) -> str:
    """One of QUALITIES; only a whole number from 1 to 5 after the word "score" counts, the last one."""
    found = _SCORE.findall(without_thoughts(reply))
    return found[-1] if found else "unparsable"


def _clean(text: str) -> str | None:
    return " ".join(text.split()).strip(_QUOTES + ",") or None
