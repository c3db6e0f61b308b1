# SPDX-License-Identifier: Apache-2.0
"""Answers of models are read leniently, nothing is read into them, and what is no answer is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blendset_trainer.models.chat.chat_model import ReplyError
from blendset_trainer.models.chat.instructions import (
    parse_caption,
    parse_label,
    parse_labelled_captions,
    parse_quality,
    read_prompt,
)


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


CHAIR = "A red chair stands on a pale floor."


@pytest.mark.parametrize(
    "reply",
    [
        CHAIR,
        f' "{CHAIR}" \n',
        f"Caption: {CHAIR}".replace("stands on", "stands\non"),
        f"**Short caption:** {CHAIR}",
        f"**{CHAIR}**",
        f"### Caption\n\n{CHAIR}",
        f"Sure! Here's a short caption for your image:\n\n“{CHAIR}”",
        f"Certainly. Here is the description of this picture: {CHAIR}",
        f"Okay, here's a caption:\n{CHAIR} (8 words)",
        f"{CHAIR}\n\nLet me know if you would like another one!",
        f"Caption: {CHAIR}\n\nNote: the colour is a guess.\n\nI hope this helps.",
        f"```\n{CHAIR}\n```",
        f"Here is the caption:\n```text\n{CHAIR}\n```\nIt has eight words.",
        f'```json\n{{"caption": "{CHAIR}"}}\n```',
        f'{{"short_caption": "{CHAIR}", "confidence": 0.9}}',
        f"{{'description': '{CHAIR}'}}",
        f'[{{"caption": "{CHAIR}"}}]',
        f"<answer>{CHAIR}</answer>",
        f"The picture is red. <|begin_of_box|>{CHAIR}<|end_of_box|>",
        f"- {CHAIR}",
        f"«{CHAIR}»",
        f"Bildunterschrift: „{CHAIR}“",
        f"描述：{CHAIR}",
        f"{CHAIR}<|im_end|>\n<|im_start|>user\nAnother one?",
        f"<s>{CHAIR}</s>",
        f"\ufeff{CHAIR}\u200b",
        f"<think>What is it?</think>\n{CHAIR}",
        f"<thinking>\nA chair?\n</thinking>\n\n**Caption:** {CHAIR}",
        f"It could be a sofa. No.</think>{CHAIR}",
        f"[THINK]A chair?[/THINK]{CHAIR}",
        f"◁think▷A chair?◁/think▷{CHAIR}",
        f"<|channel|>analysis<|message|>A chair?<|end|><|start|>assistant<|channel|>final<|message|>{CHAIR}",
    ],
)
def test_what_models_put_around_a_caption_is_taken_off(reply: str) -> None:
    assert parse_caption(reply) == CHAIR


@pytest.mark.parametrize(
    "caption",
    [
        'A sign that says "Sorry, we are closed"',
        'Two words, "I can\'t", are written on a wall.',
        "A poster with the caption: Keep calm.",
        "A description of a knight is carved into the stone: a sword, a shield.",
        "Great Dane, standing in a kitchen",
        "Here is a place of 4 words.",
        "A row of three chairs. The chairs are red. The floor is pale.",
        "Ein Würfel aus Holz, daneben eine Lampe.",
        "红色的椅子。地板是白色的。",
        "A clock shows 10:10 beside a 2.5 litre can.",
        "'Tis a chair of the 1920's, 5* hotel furniture",
        "A shelf with 1000000 books",
        "Maafushi, an island, from above.",
        "A chair. The floor is pale. A wall is behind it. The floor is pale.",
    ],
)
def test_words_that_only_look_like_a_wrapping_or_a_refusal_stay(caption: str) -> None:
    assert parse_caption(caption) == caption


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I'm sorry, but I can't help with that.", r"refuses \('I'm sorry, but I can't help with that\.'\)"),
        ("I’m sorry, I can’t assist with this request.", "refuses"),
        ("Sorry, but I cannot describe people.", "refuses"),
        ("Unfortunately, I am unable to view images.", "refuses"),
        ("As an AI language model, I do not see pictures.", "refuses"),
        ("Caption: I cannot identify the person in this image.", "refuses"),
        ('{"caption": "I\'m unable to describe this image."}', "refuses"),
        ("A woman in a red dress. I can't tell you who she is.", "refuses"),
        ("No image was provided. Please upload one.", "refuses"),
        ("<think>A person.</think>I won't describe this.", "refuses"),
        ("Es tut mir leid, aber dabei kann ich nicht helfen.", "refuses"),
        ("Je suis désolé, mais je ne peux pas décrire cette image.", "refuses"),
        ("Lo siento, no puedo ayudar con eso.", "refuses"),
        ("Desculpe, não posso ajudar com isso.", "refuses"),
        ("Mi dispiace, non posso descrivere questa immagine.", "refuses"),
        ("К сожалению, я не могу описать это изображение.", "refuses"),
        ("抱歉，我无法描述这张图片。", "refuses"),
        ("申し訳ありませんが、お手伝いできません。", "refuses"),
        ("죄송하지만 도와드릴 수 없습니다.", "refuses"),
        ("<think>cut before it was done", "thinks and does not answer"),
        ("<|channel|>analysis<|message|>What is it", "thinks and does not answer"),
        ("", "no words"),
        ("  \n", "no words"),
        ("...", "no words"),
        ("Caption:", "no words|thinks"),
        ("N/A", "no words"),
        ("```json\n{}\n```", "JSON"),
        ('{"caption": "A red cha', "JSON"),
        ('{"objects": ["chair", "lamp"], "score": 3}', "JSON"),
        ("1. A red chair.\n2. A crimson armchair.", "a list"),
        ("Here are three captions:\n- A chair.\n- A seat.\n- A stool.", "a list"),
        ("A red chair. A red chair. A red chair.", "repeats itself"),
        (f"{CHAIR}\n\n{CHAIR}", "repeats itself"),
        ("A chair and a table " + "and a chair and a table " * 9, "repeats itself"),
        ("椅子椅子椅子椅子椅子椅子", "repeats itself"),
        ("very " * 20, "repeats itself"),
    ],
)
def test_what_is_no_caption_is_refused_with_the_reason(reply: str, reason: str) -> None:
    with pytest.raises(ReplyError, match=reason):
        parse_caption(reply)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300) | st.text(alphabet="<>/think{}[]\"'`*#:\n A1.-", max_size=80))
def test_any_reply_is_a_caption_or_refused(reply: str) -> None:
    for parse in (parse_caption, lambda reply: parse_labelled_captions(reply, ("short", "dense"))):
        with suppress(ReplyError):
            parse(reply)


def test_labelled_lines() -> None:
    reply = "SHORT: draft\nLet me see.\n**DENSE:** A chair of red wood.\n- Short: A red chair.\nREASON:"
    assert parse_label(reply, "dense") == "A chair of red wood."
    assert parse_label(reply, "short") == "A red chair."
    assert parse_label(reply, "reason") is None
    assert parse_label(reply, "score") is None
    for form in (
        "DENSE:\nA chair.\n\nSHORT:\nA seat.\n\nREASON:\nSCORE: 4",
        '```json\n{"Dense": "A chair.", "short": "A seat.", "score": 4}\n```',
        "<think>DENSE: no</think>\nDENSE: **A chair.**\nSHORT: Caption: A seat.\nSCORE: 4",
    ):
        assert parse_labelled_captions(form, ("dense", "short")) == {"dense": "A chair.", "short": "A seat."}
        assert parse_label(form, "reason") is None and parse_quality(form) == "4"
    assert parse_labelled_captions("SHORT: A seat.", ("dense", "short")) == {"dense": None, "short": "A seat."}
    for reply, reason in (
        ("A chair, seen from four sides.", "no line 'DENSE:' or 'SHORT:'"),
        ("I'm sorry, but I can't help with that.", "refuses"),
        ("DENSE: I cannot describe this.\nSHORT: A chair.", "refuses"),
    ):
        with pytest.raises(ReplyError, match=reason):
            parse_labelled_captions(reply, ("dense", "short"))


def test_prompts_ask_for_what_is_read() -> None:
    asked = read_prompt("view-set", "quality")
    assert all(f"\n{label}:" in asked for label in ("DENSE", "SHORT", "REASON", "SCORE"))
    assert {"{things}", "{subject}"} <= set(read_prompt("facts").replace(".", " ").split())
