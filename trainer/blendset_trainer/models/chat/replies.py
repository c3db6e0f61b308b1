# SPDX-License-Identifier: Apache-2.0
"""What a chat model's reply says: what models wrap around an answer is taken off, and what is no answer is refused.

Nothing is read into a reply. Where it is cut, refuses, repeats itself or holds no words, a `ReplyError` says so.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any

from blendset_trainer.models.chat.chat_model import ReplyError, make_refusal_error

_TAG = r"think(?:ing)?|thoughts?|reasoning|reflection|scratchpad|analysis"
_THOUGHT = re.compile(
    rf"<(?P<tag>{_TAG})\b[^>]*>.*?(?:</(?P=tag)>|\Z)|◁think▷.*?(?:◁/think▷|\Z)|\[THINK\].*?(?:\[/THINK\]|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_END_OF_THOUGHT = re.compile(rf"\A.*(?:</(?:{_TAG})>|◁/think▷|\[/THINK\])", re.DOTALL | re.IGNORECASE)
"""Of a model whose thought is begun by its chat template, so that the reply holds its end only."""
_CHANNELS = re.compile(r"\A.*<\|channel\|>final\s*<\|message\|>|<\|channel\|>(?!final).*", re.DOTALL)
_TURN_BEGINS = re.compile(r"\A(?:\s*(?:<s>|<bos>|<\|?(?:im_start|assistant|start_of_turn)\|?>(?:\s*assistant\b)?))+")
_TURN_ENDS = re.compile(
    r"(?:<\|(?:im_end|endoftext|eot_id|eom_id|end|return|im_start|user)\|>|</s>|<(?:end_of_turn|eos)>|\[/?INST\]).*",
    re.DOTALL,
)
_BOX = re.compile(
    r"<\|begin_of_box\|>(.*?)<\|end_of_box\|>|<(answer|caption|description|final|output|response)>(.*?)</\2>",
    re.DOTALL | re.IGNORECASE,
)
_FENCE = re.compile(r"```(?:[\w-]*\n)?(.*?)```", re.DOTALL)
_EMPHASIS = re.compile(r"(\*{1,3}|__|`)(?=\S)([^\n]*?\S)\1")
_HEAD = re.compile(r"\W*([^\n:：]{1,120})(?:[:：]|\n)\s*")
_HEADING = re.compile(r"\A#{1,6}\s+")
_GREETING = re.compile(r"\A(?:sure|certainly|of course|absolutely|okay|ok|alright)(?: thing)?[!,.:]\s*", re.IGNORECASE)
_FAREWELL = re.compile(
    r"\A\W*(?:let me know|i hope|hope this|feel free|notes?:|word count|\d+ words|if you (?:need|want|would|have|like)|"
    r"please let me|is there anything|would you like|do you want)",
    re.IGNORECASE,
)
_WORD_COUNT = re.compile(r"\s*(?:\((?:word count:? ?)?\d+ words?\)|word count:? ?\d+)\.?\Z", re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)]|option \d+\W?)\s+", re.IGNORECASE | re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*|\n+")
_LOOP = re.compile(r"(?=\S*\w)(.{2,80}?)\1{4,}", re.DOTALL)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\ufeff]")

_ANSWERS = frozenset(
    """
    answer assistant caption captions description output reply response summary title
    bildunterschrift bildbeschreibung beschreibung légende descripción leyenda pie didascalia descrizione legenda
    descrição beschrijving подпись описание 描述 说明 標題 标题 説明 キャプション 캡션 설명
    """.split()
)
"""Words that name an answer."""
_LABEL_WORDS = _ANSWERS | frozenset(
    """
    a alternative an and appropriate as based be below best brief concise could dense detailed english exact factual
    final follows for good here image in is long might my new of on one photo picture plain possible proposed provided
    rendering requested s scene sentence short single suggested suitable text that the this views word words would you
    your
    """.split()
)
"""Words of a line that only introduces an answer: "Here's a short caption for your image:"."""
_KEYS = ("caption", "description", "dense", "short", "answer", "text", "content", "response", "output", "result")
"""Where in a JSON object an answer stands, the likeliest first."""
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "„": "“", "「": "」", "『": "』", "`": "`"}
_EMPTY = frozenset(("none", "null", "nil", "n/a", "undefined", "no caption", "no description", "no answer"))


def strip_thoughts(reply: str) -> str:
    """Remove what a reasoning model thought before it replied, and the marks of its chat template."""
    text = _CHANNELS.sub("", _THOUGHT.sub("", _CONTROL.sub("", reply)))
    return _TURN_ENDS.sub("", _TURN_BEGINS.sub("", _END_OF_THOUGHT.sub("", text))).strip()


def read_object(reply: str) -> dict[str, Any] | None:
    """The JSON object that a reply consists of, in a code fence or not, with its keys in lower case; None without."""
    text = _take_only(_FENCE, strip_thoughts(reply)).strip()
    for read in (json.loads, ast.literal_eval) if text[:1] in ("{", "[") else ():
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        found = found[0] if isinstance(found, list) and len(found) == 1 else found
        return {str(key).lower(): value for key, value in found.items()} if isinstance(found, dict) else None
    return None


def unwrap_answer(reply: str) -> str:
    """The words of a reply on one line, without what models put around an answer; "" where it holds none.

    Raises ReplyError for an answer that is JSON without words, or a list.
    """
    text = strip_thoughts(reply)
    while (inner := _peel(text)) != text:
        text = inner
    if text.startswith("{"):
        raise ReplyError("The answer is JSON and holds no caption that can be told; take another model.")
    if len(_ITEM.findall(text)) > 1:
        raise ReplyError("The answer is a list instead of one text; take another model.")
    return " ".join(_ITEM.sub("", text).split()).strip(", ")


def refuse_no_answer(text: str) -> None:
    """Raise ReplyError for words that are no answer: none at all, a refusal, or the same ones again and again."""
    if not any(letter.isalnum() for letter in text) or text.strip(" .").casefold() in _EMPTY:
        raise ReplyError("The answer holds no words; run the command again, or take another model.")
    if is_refusal(text):
        raise make_refusal_error(text)
    if repeats_itself(text):
        raise ReplyError("The answer repeats itself; take another model.")


def is_refusal(text: str) -> bool:
    """Whether a sentence of a text begins as those do with which models refuse, in one of two dozen languages."""
    plain = " ".join(text.replace("’", "'").replace("،", ",").casefold().split())
    return any(_compile_refusals().match(sentence) for sentence in _SENTENCE_END.split(plain))


def repeats_itself(text: str) -> bool:
    """Whether a text loops over the same words, or one sentence stands in it three times or is most of it."""
    sentences = [sentence.strip(" .!?").casefold() for sentence in _SENTENCE_END.split(text)]
    long = [sentence for sentence in sentences if len(sentence) >= 6]
    most = max(Counter(long).values(), default=0)
    return most > 2 or (most == 2 and len(long) < 4) or _LOOP.search(text.casefold()) is not None


@cache
def _compile_refusals() -> re.Pattern[str]:
    lines = (files("blendset_trainer.models.chat") / "refusals.txt").read_text("utf-8").splitlines()
    beginnings = [line for line in lines if line and not line.startswith("#")]
    return re.compile("|".join(re.escape(line) + (r"\b" if line.isascii() else "") for line in beginnings))


def _peel(text: str) -> str:
    """A text without the outermost of what models put around an answer."""
    text = _take_only(_BOX, _take_only(_FENCE, text)).strip()
    if (fields := read_object(text)) is not None:
        return _find_answer(fields) or text
    if text.startswith("{"):
        return text
    text = _drop_farewell(_EMPHASIS.sub(r"\2", text))
    text = _GREETING.sub("", _HEADING.sub("", text))
    head = _HEAD.match(text)
    return _strip_quotes(text[head.end() :] if head and _is_label(head[1]) else text)


def _take_only(pattern: re.Pattern[str], text: str) -> str:
    """What a pattern encloses, where it matches exactly once, else the text."""
    found = pattern.findall(text)
    if len(found) != 1:
        return text
    return found[0] if isinstance(found[0], str) else found[0][0] or found[0][-1]


def _find_answer(fields: dict[str, Any]) -> str:
    """The words in a JSON object: those of the likeliest key, else those of its only text; "" where it is unclear."""
    texts = {key: value for key, value in fields.items() if isinstance(value, str) and value.strip()}
    known = (value for part in _KEYS for key, value in texts.items() if part in key)
    return next(known, "") or (next(iter(texts.values())) if len(texts) == 1 else "")


def _is_label(head: str) -> bool:
    words = set(re.findall(r"[^\W\d_]+", head.casefold()))
    return bool(words & _ANSWERS) and words <= _LABEL_WORDS


def _drop_farewell(text: str) -> str:
    """A text without the paragraphs at its end that speak to whoever asked, and without a count of its words."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    while len(paragraphs) > 1 and _FAREWELL.match(paragraphs[-1]):
        paragraphs.pop()
    return _WORD_COUNT.sub("", "\n\n".join(paragraphs))


def _strip_quotes(text: str) -> str:
    """A text without quotes around all of it, and without those that it opens or closes only."""
    text = text.strip()
    inner = text.rstrip(".,")
    if len(inner) > 1 and inner[-1] == _QUOTES.get(inner[0]) and not {inner[0], inner[-1]} & {*inner[1:-1]}:
        return inner[1:-1].strip()
    return text.strip('"“”') if len(re.findall('["“”]', text)) == 1 else text
