# SPDX-License-Identifier: Apache-2.0
"""Answers of models are read leniently, and nothing is read into them."""

from __future__ import annotations

import pytest

from blendset_trainer.models.chat.instructions import parse_caption, parse_label, parse_quality, read_prompt


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("REASON: sharp\nSCORE: 4", "4"),
        ("**Score:** **5**", "5"),
        ('{"score": 3, "reason": "a little blur"}', "3"),
        ('{"score": "2" "caption": "no comma before"}', "2"),
        ("I would say score 1 is too harsh.\nSCORE: 3/5", "3"),
        ("<think>score: 5?</think>SCORE: 2", "2"),
        ("SCORE: 4.", "4"),
        ("SCORE: 4.5", "unparsable"),
        ("SCORE: 10", "unparsable"),
        ("SCORE: 0", "unparsable"),
        ("SCORE: good", "unparsable"),
        ("There are 4 chairs.", "unparsable"),
        ("", "unparsable"),
    ],
)
def test_quality(reply: str, score: str) -> None:
    assert parse_quality(reply) == score


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("A red chair.", "A red chair."),
        (' "A red chair." \n', "A red chair."),
        ("Caption: A red\nchair.", "A red chair."),
        ("**Short caption:** A red chair.", "A red chair."),
        ("<think>What is it?</think>\nA red chair.", "A red chair."),
        ("<think>cut before it was done", None),
        ("  ", None),
    ],
)
def test_caption(reply: str, text: str | None) -> None:
    assert parse_caption(reply) == text


def test_labelled_lines() -> None:
    reply = "SHORT: draft\nLet me see.\n**DENSE:** A chair of red wood.\n- Short: A red chair.\nREASON:"
    assert parse_label(reply, "dense") == "A chair of red wood."
    assert parse_label(reply, "short") == "A red chair."
    assert parse_label(reply, "reason") is None
    assert parse_label(reply, "score") is None


def test_prompts_ask_for_what_is_read() -> None:
    asked = read_prompt("view-set", "quality")
    assert all(f"\n{label}:" in asked for label in ("DENSE", "SHORT", "REASON", "SCORE"))
    assert {"{things}", "{subject}"} <= set(read_prompt("facts").replace(".", " ").split())
