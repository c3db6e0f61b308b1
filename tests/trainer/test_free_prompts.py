# SPDX-License-Identifier: Apache-2.0
"""Prompts for no scene: twenty thousand different ones that read as English, SynCD's animals, and pools as they are."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blendset.files import sha256_bytes
from blendset_trainer.cli.main import main
from blendset_trainer.synthesis.prompts import writing
from blendset_trainer.synthesis.prompts.free_writer import choose_axes, load_free_words, write_free_prompts
from blendset_trainer.synthesis.prompts.grammar_writer import load_grammar
from blendset_trainer.synthesis.prompts.pools import read_pool
from blendset_trainer.synthesis.prompts.prompt_files import Prompt, read_prompts
from blendset_trainer.synthesis.prompts.sources import SYNCD_ANIMALS
from tests.trainer import test_prompts
from tests.trainer.test_prompts import Desk, desk  # noqa: F401

Capture = pytest.CaptureFixture[str]


def prompts(out: Path, *words: object) -> int:
    return main(["prompts", "--out", str(out), *map(str, words)])


@pytest.fixture(scope="module")
def many() -> list[Prompt]:
    return list(islice(write_free_prompts(load_grammar(), load_free_words(), 0), 20_000))


def test_twenty_thousand_are_different_and_short_or_long(many: list[Prompt]) -> None:
    assert len({each.prompt for each in many}) == len(many)
    lengths = Counter(len(each.prompt.split()) for each in many)
    assert {*lengths} <= {3, 4, 5, *range(10, 21)}
    short = sum(lengths[words] for words in (3, 4, 5))
    assert 0.3 < short / len(many) < 0.7


def test_every_class_and_thing_comes_as_often(many: list[Prompt]) -> None:
    words = load_free_words()
    things = {noun for each in words.classes for noun in each.subjects}
    assert len(words.classes) >= 15 and len(things) >= 500
    uses = Counter(each.label for each in many)
    assert {*uses} == things
    assert max(uses.values()) <= 3 * min(uses.values())


def test_every_sentence_is_english(many: list[Prompt]) -> None:
    for each in many:
        text = each.prompt
        assert text[0].isupper() and text.endswith(".")
        assert not re.search(r"\b[Aa] (?:[aeio](?!ne-)|hour)|\b[Aa]n (?!hour)[^aeiou]", text), text
        assert not re.search(r"[{}]|  | ,|,,|\.\.|\b(\w+) \1\b", text), text
        assert each.label in text and {"class", "subject"} <= {*each.parts}
        for name in ("light", "view", "place"):
            assert each.parts.get(name, "") in text


def test_nothing_contradicts_itself(many: list[Prompt]) -> None:
    for each in many:
        if re.search(r"snow\b|snowy|frozen", each.parts.get("ground", "")) and "season" in each.parts:
            assert each.parts["season"] == "winter"
        if "light" in each.parts and each.parts.get("time") == "night":
            assert not re.search(r"\bsun\b|day|sky", each.parts["light"])
        if re.search("red|black|gold", each.label):
            assert not re.search(r"\b(blue|white|green|silver|yellow)\b", each.parts.get("attributes", "")), each.prompt


def test_the_same_seed_writes_the_same_bytes_and_more_keeps_the_first(tmp_path: Path) -> None:
    for name, seed, count in (("one", 1, 40), ("same", 1, 40), ("more", 1, 90), ("other", 2, 40)):
        assert prompts(tmp_path / name, "--kind", "free", "--seed", seed, "--count", count) == 0
    one, same, more, other = ((tmp_path / name).read_bytes() for name in ("one", "same", "more", "other"))
    assert one == same
    assert more.startswith(one)
    assert not {*one.splitlines()} & {*other.splitlines()}
    assert {each.kind for each in read_prompts(tmp_path / "one")} == {"free"}


def test_words_of_ones_own(tmp_path: Path, capsys: Capture) -> None:
    toml = tmp_path / "words.toml"
    toml.write_text(
        'views = ["seen from above"]\nstyles = ["etching"]\n[[classes]]\nname = "things"\nsubjects = ["otter"]\n'
        'attributes = [["wet"]]\ndoes = ["asleep"]\nhas = ["a fish"]\n'
        'settings = [{ where = "enclosed", ground = "on ice", place = "in a cave" }]\n'
    )
    assert prompts(tmp_path / "out", "--count", 60, "--template", toml, "--curate", "none") == 0
    written = [each.prompt for each in read_prompts(tmp_path / "out")]
    assert {"A wet otter asleep.", "An etching of an otter."} <= {*written}
    assert all("otter" in each for each in written)
    toml.write_text(toml.read_text().replace("settings =", "#"))
    assert prompts(tmp_path / "none", "--count", 6, "--template", toml) == 1
    assert "the class 'things' has no place; give it settings, or general" in capsys.readouterr().err


def test_syncds_animals_need_no_scene(tmp_path: Path) -> None:
    assert prompts(tmp_path / "sets", "--kind", "deformable", "--count", 96) == 0
    written = read_prompts(tmp_path / "sets")
    assert Counter(each.label for each in written) == dict.fromkeys(SYNCD_ANIMALS, 6)
    fish = [each for each in written if each.label == "fish"]
    assert all(re.search(r"water|pond|tank|bowl|rocks", each.parts["background"]) for each in fish)
    (tmp_path / "mine.txt").write_text("red panda\n\nred  panda\nsnow leopard\n")
    assert prompts(tmp_path / "mine", "--kind", "deformable", "--count", 6, "--subjects", tmp_path / "mine.txt") == 0
    assert [each.label for each in read_prompts(tmp_path / "mine")] == ["red panda"] * 3 + ["snow leopard"] * 3


def test_a_pool_keeps_its_order_and_says_why_the_others_went(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "one.txt").write_text("A red fox on a stone.\nA blue teapot.\nA red fox on a stone!\n")
    pq.write_table(pa.table({"caption": ["An owl.", None, "A blue teapot"]}), tmp_path / "two.parquet")
    pools = [tmp_path / "one.txt", tmp_path / "two.parquet"]
    assert prompts(tmp_path / "out.jsonl", "--json", "--pool", *pools) == 0
    report = json.loads(capsys.readouterr().out)
    written = read_prompts(tmp_path / "out.jsonl")
    assert [(each.prompt, each.by) for each in written] == [
        ("A red fox on a stone.", "one.txt"), ("A blue teapot.", "one.txt"), ("An owl.", "two.parquet"),
    ]  # fmt: skip
    assert report["removed"] == [
        {"prompt": "A red fox on a stone!", "reason": "duplicate", "detail": "A red fox on a stone."},
        {"prompt": "", "reason": "empty", "detail": ""},
        {"prompt": "A blue teapot", "reason": "duplicate", "detail": "A blue teapot."},
    ]
    assert read_pool(tmp_path / "out.jsonl") == written
    assert prompts(tmp_path / "two.jsonl", "--pool", *pools, "--count", 2) == 0
    assert read_prompts(tmp_path / "two.jsonl") == written[:2]
    call = writing.prompts(pool=pools, out=tmp_path / "call.jsonl")
    assert (list(call.kept), call.total) == (written, None)


def test_flagged_words_come_from_a_list(tmp_path: Path, capsys: Capture) -> None:
    pool, out = tmp_path / "pool.txt", tmp_path / "out.jsonl"
    pool.write_text(
        "Blood, on a stone in the snow.\nA bloody mary.\nTwo girls, one CUP of tea.\nA quiet lake at dawn.\n"
    )
    (tmp_path / "words.txt").write_text("blood\n\ngirls one cup\n")
    (tmp_path / "words.json").write_text('{"en": ["blood"], "de": ["lake"]}')
    (tmp_path / "none.txt").write_text("\n")
    (tmp_path / "none.json").write_text("[]")
    assert prompts(out, "--pool", pool, "--flagged", tmp_path / "words.txt", "--json") == 0
    removed = json.loads(capsys.readouterr().out)["removed"]
    assert [(each["reason"], each["detail"]) for each in removed] == [
        ("flagged word", "blood"), ("flagged word", "girls one cup"),
    ]  # fmt: skip
    assert prompts(tmp_path / "two.jsonl", "--pool", pool, "--flagged", tmp_path / "words.json") == 0
    assert len(read_prompts(tmp_path / "two.jsonl")) == 3
    for name, says in (
        ("none.txt", "holds no words"),
        ("none.json", "no list of words under 'en'"),
        ("no", "cannot be read"),
    ):
        assert prompts(tmp_path / "three.jsonl", "--pool", pool, "--flagged", tmp_path / name) == 2
        assert says in capsys.readouterr().err


def test_what_a_preset_wants_and_was_not_named_is_said(tmp_path: Path, capsys: Capture) -> None:
    pool = tmp_path / "pool.txt"
    pool.write_text(
        "A red fox sleeps on mossy stones beside a quiet stream.\nA red fox.\nIt is what it is and was, is it not so?\n"
    )
    assert prompts(tmp_path / "r.jsonl", "--pool", pool, "--curate", "rsidiff") == 0
    told = capsys.readouterr()
    assert "No language model judged the prompts; name one with --judge MODEL." in told.err
    assert "name a model with --embed MODEL" in told.err
    assert re.search(r"judged unclear +not looked at", told.out) and re.search(r"\n  words +-1\n", told.out)
    assert re.search(r"\n  content_words +-1\n", told.out)
    assert prompts(tmp_path / "s.jsonl", "--pool", pool, "--curate", "synthvlm", "--json") == 0
    notes = " ".join(json.loads(capsys.readouterr().out)["notes"])
    assert "--flagged FILE" in notes and "--judge MODEL" in notes
    assert "the bound of 5500 is that of Data-Juicer's KenLM" in notes


def list_for(question: str) -> str:
    """A prompt for each line of a request, about what the line names, then one about nothing that it names."""
    subjects = re.findall(r"subject: ([^;\n]+)", question)
    items = [f"{subject} beside {sha256_bytes(question.encode())[:8]} stones" for subject in subjects]
    return "\n".join(f"{number}. {item}." for number, item in enumerate([*items, "No thing at all here"], 1))


def test_a_model_is_given_values_of_all_axes(tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(test_prompts, "list_for", list_for)
    words = ["--kind", "free", "--with", desk.spec, "--curate", "none", "--json"]
    assert prompts(tmp_path / "out.jsonl", *words, "--count", 25) == 0
    written = read_prompts(tmp_path / "out.jsonl")
    assert len(written) == 25 and len(desk.asked) == len({*desk.asked}) == 3
    assert {(each.kind, each.by) for each in written} == {("free", "openai:writers/tiny")}
    assert all(each.prompt.startswith(each.label) for each in written)
    nouns = [axes.noun for axes in islice(choose_axes(load_grammar(), load_free_words(), 0), 30)]
    assert [each.label for each in written] == nouns[:25]
    long = "\n".join(line for question in desk.asked for line in question.splitlines() if "10 to 20 words" in line)
    for axis in ("subject", "attributes", "place", "light", "view", "style"):
        assert f"{axis}: " in long
    assert prompts(tmp_path / "more.jsonl", *words, "--count", 40) == 0
    assert read_prompts(tmp_path / "more.jsonl")[:25] == written
    (tmp_path / "ask.txt").write_text("{axis}")
    assert prompts(tmp_path / "no.jsonl", *words, "--count", 4, "--template", tmp_path / "ask.txt") == 1


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    german, pool, out = tmp_path / "german.txt", tmp_path / "pool.txt", tmp_path / "out.jsonl"
    german.write_text("Ein roter Fuchs im Wald\nDie Katze sitzt vor dem Haus\nAlte Burg, Öl auf Leinwand\n", "utf-8")
    pool.write_text("A red fox.\n")
    mistakes: list[tuple[list[Any], int, str]] = [
        (["--pool", german, "--curate", "rsidiff"], 1, "not in English (as 'Ein roter Fuchs im Wald')"),
        (["--pool", german, "--curate", "synthvlm"], 1, "curate by others, such as --curate duplicates"),
        ([], 2, "Say how many prompts to write: --count N."),
        (["--kind", "restyle", "--count", 3], 2, "name the dataset"),
        (["--kind", "text-to-image"], 2, "name the dataset"),
        (["--kind", "free", "--count", 3, "--selection", "best"], 2, "name the dataset"),
        (["--kind", "free", "--count", 3, "--subjects", pool], 2, "--subjects is for --kind deformable"),
        (["--pool", pool, "--with", "grammar"], 2, "--pool takes prompts as they are"),
        (["--pool", tmp_path / "no.txt"], 1, "cannot be read"),
        (["--pool", pool, "--curate", "rsidiff"], 1, "No prompt is left (1 words)"),
        (["--pool", pool, "--judge", "gpt"], 2, "choose from hf:MODEL, openai:URL#MODEL"),
        (["--pool", pool, "--judge", "hf:./nowhere"], 1, "./nowhere does not exist"),
        (["--pool", pool, "--embed", "clip:ViT-B-23"], 1, "did you mean ViT-B-32"),
        (["--pool", pool, "--perplexity", "gpt2"], 2, "no bound on perplexity for gpt2; write --perplexity gpt2="),
        (["--pool", pool, "--perplexity", "./nowhere=9"], 1, "./nowhere does not exist"),
    ]  # fmt: skip
    for words, code, says in mistakes:
        assert prompts(out, *words) == code, words
        assert says in capsys.readouterr().err
    assert main(["prompts", str(tmp_path), "--pool", str(pool), "--out", str(out)]) == 2
    assert "need no dataset; leave it out" in capsys.readouterr().err
    assert not out.exists()
