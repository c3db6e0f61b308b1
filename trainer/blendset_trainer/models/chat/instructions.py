# SPDX-License-Identifier: Apache-2.0
"""Instructions to vision-language models, from the files in prompts/, and how the replies are parsed.

Parsing is lenient, but a reply without what was requested stays empty, and one that is no answer is a `ReplyError`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from blendset_trainer.models.chat.chat_model import ReplyError, make_thoughts_error
from blendset_trainer.models.chat.replies import (
    is_refusal,
    read_object,
    refuse_no_answer,
    strip_thoughts,
    unwrap_answer,
)

QUALITIES = ("1", "2", "3", "4", "5", "unparsable")
RENDERING_WORDS = (", a computer rendering,", " rendered")
"""What prompts for captions say of renderings only."""
_SCORE = re.compile(r"\bscore\W{1,6}([1-5])(?![.,]?\d)", re.IGNORECASE)
_DENIAL = re.compile(r"\b(?:not|neither|nor|cannot|\w+n['’]t)\b")
_QUOTES = "\"'“”‘’`* "
_NO_LABEL = r"(?!\W*(?:dense|short|reason|score)\W*?:)"


def read_prompt(*names: str) -> str:
    """Read prompt files by name, one after another."""
    folder = files("blendset_trainer.models.chat") / "prompts"
    return "\n\n".join((folder / f"{name}.txt").read_text("utf-8").strip() for name in names)


def remove_rendering_words(prompt: str) -> str:
    """Return a prompt about renderings as one about any pictures."""
    for words in RENDERING_WORDS:
        prompt = prompt.replace(words, "")
    return prompt


def parse_caption(reply: str) -> str:
    """Parse a reply that is a caption: on one line, without what models put around it; ReplyError where it is none."""
    text = unwrap_answer(reply)
    if not text and reply.strip():
        raise make_thoughts_error()
    refuse_no_answer(text)
    return text


def parse_labelled_captions(reply: str, labels: Sequence[str]) -> dict[str, str | None]:
    """Parse the captions that `LABEL:` introduces, None for a label that is missing; ReplyError where there is none."""
    lines = {label: parse_label(reply, label) for label in labels}
    if not any(lines.values()):
        refuse_no_answer(strip_thoughts(reply))
        names = " or ".join(f"'{label.upper()}:'" for label in labels)
        raise ReplyError(f"The answer holds no line {names}; take a model that follows instructions.")
    return {label: parse_caption(line) if line else None for label, line in lines.items()}


def parse_label(reply: str, label: str) -> str | None:
    """Parse what the last `LABEL:` in a reply introduces; None where that is missing or empty."""
    fields = read_object(reply)
    if fields is not None:
        return " ".join(str(fields.get(label) or "").split()) or None
    found = re.findall(
        rf"^\W*{label}\W*?:[*_ \t]*\n{{0,2}}{_NO_LABEL}[ \t]*(\S.*)$",
        strip_thoughts(reply),
        re.IGNORECASE | re.MULTILINE,
    )
    return " ".join(found[-1].split()).strip(_QUOTES) or None if found else None


def parse_verdict(reply: str, words: Sequence[str]) -> tuple[str | None, str | None]:
    """Parse a reply `WORD: reason` with one of `words`; (None, None) for one with none of them, or with several."""
    fields = read_object(reply)
    text = strip_thoughts(reply) if fields is None else ": ".join(map(str, fields.values()))
    either = "|".join(words)
    begun = re.findall(rf"^\W*({either})\b[*_ \t]*(?:[:.–—-][*_ \t]*(.*))?$", text, re.IGNORECASE | re.MULTILINE)
    named = re.findall(rf"\b({either})\b[*_]*[ \t]*:", text, re.IGNORECASE)
    if len({word.upper() for word in (*named, *(word for word, _ in begun))}) != 1 or not begun:
        return None, None
    return begun[0][0].upper(), " ".join(begun[0][1].split()).strip(_QUOTES) or None


def parse_choice(reply: str, choices: Sequence[str]) -> str | None:
    """Parse one of `choices`: a reply that is the choice, or its letter ("B", "(b)", "B. red"), or that begins with the
    choice, or that names no other ("The table is red.").

    None for any other reply, and for one that denies ("It is not red") or refuses.
    """
    try:
        text = unwrap_answer(reply)
    except ReplyError:
        text = strip_thoughts(reply)
    text = text.strip(_QUOTES + "().!").casefold()
    plain = {choice.casefold(): choice for choice in choices}
    if text in plain:
        return plain[text]
    letter = re.match(r"(?:(?:choice|option) )?([a-z])(?:\Z|[.):]+(?:\s|\Z))", text)
    if letter and (number := ord(letter[1]) - ord("a")) < len(choices):
        return choices[number]
    either = rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(plain, key=len, reverse=True)))})(?!\w)"
    if begun := re.match(either, text):
        return plain[begun[0]]
    named = {*re.findall(either, text)}
    is_plain = len(named) == 1 and not _DENIAL.search(text) and not is_refusal(text)
    return plain[named.pop()] if is_plain else None


def parse_quality(reply: str) -> str:
    """Parse one of QUALITIES: the last whole number from 1 to 5 after the word "score", else "unparsable"."""
    found = _SCORE.findall(strip_thoughts(reply))
    return found[-1] if found else "unparsable"
