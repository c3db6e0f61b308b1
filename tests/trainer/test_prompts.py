# SPDX-License-Identifier: Apache-2.0
"""`blendset prompts`: fluent and varied by a grammar, by models and servers that answer, curated, and kept out of what
evaluates.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from blendset.dataset import Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset_trainer.cli.main import main
from blendset_trainer.language.ngrams import make_ngrams, split_words
from blendset_trainer.models.weights import find_model
from blendset_trainer.synthesis.prompts import writing
from blendset_trainer.synthesis.prompts.curation import Curation, RemovedPrompt, curate_prompts, load_curation
from blendset_trainer.synthesis.prompts.decontamination import remove_contaminated
from blendset_trainer.synthesis.prompts.grammar_writer import (
    load_grammar,
    write_deformable_prompts,
    write_restyle_prompts,
)
from blendset_trainer.synthesis.prompts.model_writer import parse_list
from blendset_trainer.synthesis.prompts.near_duplicates import NearDuplicates
from blendset_trainer.synthesis.prompts.prompt_files import Prompt, read_prompts
from blendset_trainer.synthesis.prompts.settings import PromptSettings
from blendset_trainer.synthesis.prompts.sources import PromptSubject
from blendset_trainer.synthesis.prompts.text_measures import MEASURES
from tests.trainer import tiny_models
from tests.trainer.tiny_datasets import add_scene, add_view, choose, make_dataset

Capture = pytest.CaptureFixture[str]
CHAIR = PromptSubject("chair", "chair")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Views of a chair, a lamp, and the room, each with a caption."""
    made = make_dataset(tmp_path / "data")
    add_scene(made, "attic")
    labels = {"seat": "SM_Dining_Chair_01", "light": "lamp", "": ""}
    for number in range(6):
        subject = list(labels)[number % 3]
        add_view(made, "attic", subject, number, size=(8, 8), subject_label=labels[subject])
    captions = {view.view_id: f"The {view.view_id} as it was rendered, in daylight." for view in made.views()}
    made.rebuild_index(captions)
    return made


def prompts(dataset: Dataset, out: Path, *words: str, count: int = 12) -> int:
    return main(["prompts", str(dataset.root), "--out", str(out), "--count", str(count), *words])


def as_prompts(*texts: str, label: str = "") -> list[Prompt]:
    return [Prompt(text, label, "restyle", {}, "test", 0) for text in texts]


def texts(found: Iterator[Prompt]) -> list[str]:
    return [each.prompt for each in found]


# --- grammar ----------------------------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_bytes_and_more_keeps_the_first(dataset: Dataset, tmp_path: Path) -> None:
    for name, seed, count in (("one", "1", 12), ("same", "1", 12), ("more", "1", 30), ("other", "2", 12)):
        assert prompts(dataset, tmp_path / name, "--seed", seed, count=count) == 0
    one, same, more, other = ((tmp_path / name).read_bytes() for name in ("one", "same", "more", "other"))
    assert one == same
    assert more.startswith(one)
    assert not {*one.splitlines()} & {*other.splitlines()}
    assert [each.label for each in read_prompts(tmp_path / "one")] == ["SM_Dining_Chair_01", "lamp"] * 6


def test_a_thousand_prompts_are_varied() -> None:
    grammar = load_grammar()
    written = list(islice(write_restyle_prompts(grammar, [CHAIR], 0), 1000))
    assert len({each.prompt for each in written}) >= 980
    uses = Counter(each.parts["place"] for each in written)
    assert max(uses.values()) <= 3 * min(uses.values())
    removed: list[RemovedPrompt] = []
    assert len(list(curate_prompts(written, load_curation("duplicates"), removed))) >= 950


@pytest.mark.parametrize("noun", ["chair", "hourglass", "curtains", "wall clock", "oak table", "grass", "owl", "robot"])
def test_every_sentence_is_english(noun: str) -> None:
    grammar, subject = load_grammar(), PromptSubject(noun, noun)
    for each in (
        *islice(write_restyle_prompts(grammar, [subject], 0), 300),
        *islice(write_deformable_prompts(grammar, [subject], 0), 300),
    ):
        text = each.prompt
        assert text[0].isupper()
        assert text.endswith((".", "wide angle shot"))
        assert not re.search(r"\b[Aa] (?:[aeio]|hour)|\b[Aa]n (?!hour)[^aeiou]", text)
        assert not re.search(r"[{}]|  | ,|,,|\.\.", text)
        assert noun in text.lower()


def test_nothing_contradicts_itself() -> None:
    grammar = load_grammar()
    where = {setting.place: setting.where for setting in grammar.settings}
    for each in islice(write_restyle_prompts(grammar, [CHAIR], 3), 3000):
        parts, text = each.parts, each.prompt
        assert ("season" in parts) == (where[parts["place"]] == "outdoors")
        assert ("time" in parts) == (where[parts["place"]] != "enclosed")
        if parts.get("time") == "night":
            assert not re.search(r"\bsun\b|day|sky|noon|dawn|dusk|morning", text)
        elif "time" in parts:
            assert not re.search(r"moon|night", text)
        if "snow" in text or "frozen" in text:
            assert parts["season"] == "winter"
        if "fallen leaves" in text:
            assert parts["season"] == "autumn"


def test_what_hangs_stands_on_nothing_and_what_is_of_oak_stays_so() -> None:
    grammar = load_grammar()
    for each in islice(
        write_restyle_prompts(grammar, [PromptSubject("x", "pendant lamp"), PromptSubject("y", "oak table")], 0), 200
    ):
        first = each.prompt.split(",")[0]
        if each.label == "x":
            assert each.parts["ground"] not in first
        else:
            assert first.startswith("An oak table ")


def test_a_deformable_set_shares_its_description_only(dataset: Dataset, tmp_path: Path) -> None:
    assert prompts(dataset, tmp_path / "out", "--kind", "deformable", count=10) == 0
    written = read_prompts(tmp_path / "out")
    assert len(written) == 12  # whole sets of three
    for start in range(0, 12, 3):
        members = written[start : start + 3]
        assert len({each.parts["set"] for each in members}) == 1
        assert len({each.parts["description"] for each in members}) == 1
        assert len({each.parts["background"] for each in members}) == 3
        for each in members:
            assert each.prompt == f"{each.parts['background']}. {each.parts['description']}. wide angle shot"
    assert len({each.parts["set"] for each in written}) == 4


def test_words_of_ones_own(dataset: Dataset, tmp_path: Path, capsys: Capture) -> None:
    toml = tmp_path / "words.toml"
    toml.write_text(
        'seasons = ["summer"]\nstyles = [""]\n'
        'times = [{ name = "noon", alone = "at noon", in_season = "at {season} noon" }]\n'
        'settings = [{ where = "outdoors", ground = "on ice", place = "on a pond" }]\n'
        'lights = [{ light = "glare", where = "outdoors" }]\n'
        'families = [{ materials = ["plain"], details = ["knobs", "bells"] }]\n'
    )
    assert prompts(dataset, tmp_path / "out", "--template", str(toml)) == 0
    assert [each.prompt for each in read_prompts(tmp_path / "out")] == [
        "A plain dining chair on ice on a pond at summer noon, glare.",
        "A plain lamp on ice on a pond at summer noon, glare.",
    ]
    assert "Only 2 of 12" in capsys.readouterr().err
    toml.write_text(
        toml.read_text().replace('light = "glare", where = "outdoors"', 'light = "a lamp", where = "indoors"')
    )
    assert prompts(dataset, tmp_path / "dark", "--template", str(toml)) == 1
    assert "has no light for 'on a pond' at noon" in capsys.readouterr().err
    toml.write_text(toml.read_text().replace('"a lamp"', '"a lamp", times = ["nite"]'))
    assert prompts(dataset, tmp_path / "dark", "--template", str(toml)) == 1
    assert "has no time 'nite'" in capsys.readouterr().err


def test_a_call_does_what_the_command_does(dataset: Dataset, tmp_path: Path) -> None:
    assert prompts(dataset, tmp_path / "command.jsonl", "--seed", "3", "--kind", "deformable") == 0
    settings = PromptSettings(kind="deformable", count=12, out=tmp_path / "call.jsonl")
    steps: list[tuple[str, int, int]] = []
    report = writing.prompts(str(dataset.root), settings, seed=3, on_progress=lambda *step: steps.append(step))
    assert report.out.read_bytes() == (tmp_path / "command.jsonl").read_bytes()
    assert (list(report.kept), report.removed) == (read_prompts(report.out), ())
    assert (steps[0], steps[-1]) == (("prompts", 0, 12), ("prompts", 12, 12))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"writer": "gramar"}, "did you mean grammar?"),
        ({"curate": "synthvml"}, "choose duplicates, rsidiff, synthvlm, none"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(
    dataset: Dataset, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        writing.prompts(dataset, count=1, out=tmp_path / "out.jsonl", **options)


# --- captions ---------------------------------------------------------------------------------------------------------


def test_captions_are_taken_as_they_are(dataset: Dataset, tmp_path: Path) -> None:
    assert prompts(dataset, tmp_path / "all", "--kind", "text-to-image") == 0
    written = read_prompts(tmp_path / "all")
    assert {each.parts["view"]: each.prompt for each in written} == {
        view.view_id: f"The {view.view_id} as it was rendered, in daylight." for view in dataset.views()
    }
    choose(dataset, "good", [{"view_id": "seat-0000"}, {"view_id": "light-0004"}])
    assert prompts(dataset, tmp_path / "good", "--kind", "text-to-image", "--selection", "good") == 0
    assert {each.parts["view"] for each in read_prompts(tmp_path / "good")} == {"seat-0000", "light-0004"}


# --- curation ---------------------------------------------------------------------------------------------------------


def test_empties_and_duplicates_go_and_the_order_stays() -> None:
    one = "A red chair on wet cobbles in a narrow street at dusk, soft window light, muted colours"
    removed: list[RemovedPrompt] = []
    near = one.replace("colours", "tones")
    written = as_prompts(one, " .", one.upper() + "!", "A lamp.", near, one.replace("chair", "stool by a red chair"))
    written += as_prompts(one, label="chair")
    kept = texts(curate_prompts(written, load_curation("duplicates"), removed))
    assert kept == [one, "A lamp.", written[5].prompt, one]
    assert [(each.prompt, each.reason, each.detail) for each in removed] == [
        (" .", "empty", ""), (one.upper() + "!", "duplicate", one), (near, "duplicate", one),
    ]  # fmt: skip
    assert len(texts(curate_prompts(written, load_curation("none"), []))) == len(written) - 1


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.6, 0.8, 1.0])
def test_near_duplicates_are_those_that_all_pairs_would_give(threshold: float) -> None:
    random = Random(0)
    index, kept = NearDuplicates(threshold), list[tuple[str, set[str]]]()
    found = 0
    for _ in range(600):
        text = " ".join(random.choices("abcde", [6, 3, 1, 1, 1], k=random.choice([3, 12, 40, 120])))
        if random.random() < 0.5 and kept:  # most of an earlier one, or more than that
            words = random.choice(kept)[0].split()
            text = " ".join(words[random.randint(0, 1 + len(words) // 5) :] + text.split()[: random.randint(0, 3)])
        grams = make_ngrams(split_words(text or "a"), 3)
        like = [other for other, others in kept if len(grams & others) / len(grams | others) >= threshold]
        assert index.find(text or "a") == next(iter(like), "")
        found += bool(like)
        if not like:
            kept.append((text or "a", grams))
    assert 100 < found < 600


@pytest.mark.parametrize(
    ("measure", "text", "share"),
    [
        ("alphanumeric", "ab 1!", 3 / 5),
        ("special_characters", "ab 1!", 3 / 5),
        ("character_repetition", "abcdefghij", 0),
        ("character_repetition", "abcdefghijabcdefghij", 2 / 11),  # one of ten different runs comes twice
        ("character_repetition", "a" * 15, 1),
        ("word_repetition", "one two three four five six seven eight nine ten", 0),
        ("word_repetition", " ".join(["One, two three four five six seven eight nine ten."] * 2), 2 / 11),
        ("word_repetition", "", 0),
    ],
)
def test_measures(measure: str, text: str, share: float) -> None:
    assert MEASURES[measure](text) == pytest.approx(share)


def test_synthvlm_keeps_captions_and_drops_what_is_none() -> None:
    fine = "A wooden bookshelf with many books stands in front of a green wall, beside a lamp."
    written = as_prompts(fine, "@@ 12 $ 300 !!", "very nice, " * 8, "Incomprehensibilities abounded")
    removed: list[RemovedPrompt] = []
    assert texts(curate_prompts(written, load_curation("synthvlm"), removed)) == [fine]
    assert [each.reason for each in removed] == ["alphanumeric", "character_repetition", "special_characters"]


def test_flagged_words_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('flagged_words = ["Neon"]')
    removed: list[RemovedPrompt] = []
    rules = load_curation(str(tmp_path / "mine.toml"))
    assert rules == Curation(flagged_words=("Neon",))
    assert texts(curate_prompts(as_prompts("a neon sign", "an neonate"), rules, removed)) == ["an neonate"]
    assert removed == [RemovedPrompt("a neon sign", "flagged word", "neon")]


# --- the guard --------------------------------------------------------------------------------------------------------


def test_the_benchmark_is_kept_out_word_for_word() -> None:
    benchmark = texts(islice(write_restyle_prompts(load_grammar(), [PromptSubject("x", "giraffe")], 7), 110))
    fine = as_prompts("Seven cups in a row.", "A violin rests upon velvet.")
    copies = as_prompts(*(text.upper().replace(",", " -") for text in benchmark))
    removed: list[RemovedPrompt] = []
    assert list(remove_contaminated([fine[0], *copies, fine[1]], benchmark, removed)) == fine
    assert [each.prompt for each in removed] == [each.prompt for each in copies]
    assert {each.reason for each in removed} == {"in the evaluation"}


@pytest.mark.parametrize(
    ("text", "evaluation", "shared"),
    [
        ("A small dog sits on a red mat at noon", "my dog sits on a red mat", "dog sits on a red"),
        ("A dog sits on a blue mat", "my dog sits on a red mat", ""),
        ("A dog sits on my red mat.", "my red mat", "my red mat"),  # a short one counts as a whole
        ("Dog sits on", "my dog sits on a red mat", "dog sits on"),
        ("The dog sits", "my dog sits on a red mat", ""),
        ("A dog sits on my red mat.", "red mat", ""),  # too short, unless it is all that there is
        ("Dog sits", "my dog sits on a red mat", ""),
        ("Red mat!", "red mat", "red mat"),
        ("wood", "Wood", "wood"),
        ("", "...", ""),
    ],
)
def test_five_words_in_a_row_or_the_whole_prompt(text: str, evaluation: str, shared: str) -> None:
    removed: list[RemovedPrompt] = []
    kept = list(remove_contaminated(as_prompts(text), [evaluation], removed))
    assert [each.detail for each in removed] == ([shared] if shared else [])
    assert len(kept) == (not shared)


def test_a_looser_guard_lets_more_through() -> None:
    written = as_prompts("A dog sits on a blue mat")
    assert not list(remove_contaminated(written, ["my dog sits on a red mat"], [], size=4))
    assert list(remove_contaminated(written, ["my dog sits on a red mat"], [], size=5))


def test_the_command_keeps_out_and_says_what(dataset: Dataset, tmp_path: Path, capsys: Capture) -> None:
    assert prompts(dataset, tmp_path / "open.jsonl") == 0
    first = read_prompts(tmp_path / "open.jsonl")
    (tmp_path / "bench.txt").write_text("\n".join(each.prompt for each in first[3:5]) + "\n\n", encoding="utf-8")
    capsys.readouterr()
    guard = "--keep-out", str(tmp_path / "bench.txt"), str(tmp_path / "open.jsonl")
    assert prompts(dataset, tmp_path / "text.jsonl", *guard[:2]) == 0
    said = capsys.readouterr()
    assert first[3].prompt in said.err
    assert re.search(r"in the evaluation +-\d", said.out)
    assert prompts(dataset, tmp_path / "both.jsonl", *guard, "--seed", "5", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["kept"] == len(read_prompts(tmp_path / "both.jsonl"))
    held = set().union(*(make_ngrams(split_words(each.prompt), 5) for each in first))
    for each in read_prompts(tmp_path / "both.jsonl"):
        assert not held & make_ngrams(split_words(each.prompt), 5)
    assert all(each["detail"] in held for each in report["removed"] if each["reason"] == "in the evaluation")


# --- models -----------------------------------------------------------------------------------------------------------

REPLY = """<think>A list, then.</think>Here are 4 captions:
1. A red dining chair on wet cobbles beside a lamp.
2) "A 1960s chair in a quiet room at night"
- A stool without a name.
4. Green chairs and lamps in the hall"""
SAID = ["A red dining chair on wet cobbles beside a lamp", "A 1960s chair in a quiet room at night",
        "A stool without a name", "Green chairs and lamps in the hall"]  # fmt: skip


def test_what_models_say_around_a_list_is_left_out() -> None:
    assert parse_list(REPLY) == SAID
    assert parse_list("Suggestions below\n**Outdoors**\nNote: none\n\n'A chair by a well.'\nchair\nSure:") == [
        "A chair by a well"
    ]


@pytest.fixture(scope="module")
def reciter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.reciting_model(tmp_path_factory.mktemp("models") / "reciter", REPLY)


@pytest.mark.parametrize("chats", [True, False])
def test_a_local_model_writes_prompts(dataset: Dataset, tmp_path: Path, reciter: Path, chats: bool) -> None:
    folder = shutil.copytree(reciter, tmp_path / "reciter")
    if not chats:
        (folder / "chat_template.jinja").unlink()
    for name in ("one", "two"):
        assert prompts(dataset, tmp_path / f"{name}.jsonl", "--with", f"hf:{folder}", count=5) == 0
    written = read_prompts(tmp_path / "one.jsonl")
    assert {(each.label, each.prompt) for each in written} == {
        ("SM_Dining_Chair_01", f"{text}.") for text in SAID if "chair" in text
    } | {("lamp", f"{text}.") for text in SAID if "lamp" in text}  # fmt: skip
    revision = find_model(str(folder)).revision[:8]
    assert {(each.kind, each.by) for each in written} == {("restyle", f"hf:reciter@{revision}")}
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


class Desk:
    """A server that writes lists about whatever it is asked, and can be told to refuse."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.statuses: list[int] = []
        self.choices: list[dict[str, Any]] = []
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                question = body["messages"][0]["content"][0]["text"]
                status = desk.statuses.pop(0) if desk.statuses else 200
                if status == 200:
                    desk.asked.append(question)
                choice = desk.choices.pop(0) if desk.choices else {"message": {"content": list_for(question)}}
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps({"choices": [choice]}).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.spec = f"openai:http://127.0.0.1:{self.http.server_port}/v1?concurrency=1#writers/tiny"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def list_for(question: str) -> str:
    """A list of as many items as are asked for, each about the first of the subjects that is named."""
    noun = next(noun for noun in ("dining chair", "lamp") if noun in question)
    count = int(re.search(r"\d+", question)[0])  # type: ignore[index]
    random = Random(question)
    items = (" ".join("".join(random.choices("abcdefgh", k=5)) for _ in range(8)) for _ in range(count))
    return "\n".join(f"{number}. A {noun} and {item}." for number, item in enumerate(items, 1))


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.http.shutdown()
    desk.http.server_close()


def test_a_server_is_asked_about_every_subject_in_other_places(dataset: Dataset, desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert prompts(dataset, out, "--with", desk.spec, count=50) == 0
    written = read_prompts(out)
    assert [each.label for each in written] == ["SM_Dining_Chair_01", "lamp"] * 25
    assert {each.by for each in written} == {"openai:writers/tiny"}
    assert len(desk.asked) == 6  # ten prompts each
    assert len({*desk.asked}) == 6
    assert all("as it was rendered, in daylight." in question for question in desk.asked)
    assert all(sum(setting.place in question for setting in load_grammar().settings) >= 9 for question in desk.asked)


def test_what_was_answered_is_not_asked_again(dataset: Dataset, desk: Desk, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out.jsonl"
    words = "--with", desk.spec
    desk.statuses = [200, 503, 200, 400, 200]
    assert prompts(dataset, out, *words, count=40) == 1
    assert "refuses a question (400" in capsys.readouterr().err
    assert not out.exists()
    before = len(desk.asked)
    assert prompts(dataset, out, *words, count=40) == 0
    assert (before, len(desk.asked)) == (3, 4)
    done = out.read_bytes()
    assert prompts(dataset, out, *words, count=40) == 0
    assert prompts(dataset, out, *words, "--seed", "1", count=40) == 1
    assert "holds other prompts" in capsys.readouterr().err
    assert len(desk.asked) == 4
    assert out.read_bytes() == done


def test_the_end_of_a_cut_list_and_a_refusal_are_no_prompts(
    dataset: Dataset, desk: Desk, tmp_path: Path, capsys: Capture
) -> None:
    cut = "1. A dining chair on wet cobbles by a mill.\n2. A dining chair in a quiet room with"
    desk.choices = [
        {"message": {"content": cut}, "finish_reason": "length"},
        {"message": {"content": "I'm sorry, but I can't write about a lamp like this."}},
    ]
    assert prompts(dataset, tmp_path / "out.jsonl", "--with", desk.spec, "--json", count=15) == 0
    report = json.loads(capsys.readouterr().out)
    removed = {each["prompt"]: each["reason"] for each in report["removed"]}
    assert "cut after" in removed["2. A dining chair in a quiet room with"]
    assert removed["I'm sorry, but I can't write about a lamp like this."] == "the model refuses"
    written = [each.prompt for each in read_prompts(tmp_path / "out.jsonl")]
    assert "A dining chair on wet cobbles by a mill." in written and len(written) == 15
    assert not any("quiet room" in each or "sorry" in each for each in written)


def test_a_server_writes_deformable_sets(dataset: Dataset, desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert prompts(dataset, out, "--with", desk.spec, "--kind", "deformable", count=9) == 0
    written = read_prompts(out)
    sets = Counter(each.parts["set"] for each in written)
    assert [*sets.values()] == [3, 3, 3]
    assert all(left.parts["background"] != right.parts["background"] for left, right in pairwise(written))
    assert {each.prompt.split(". ")[2] for each in written} == {"wide angle shot"}
    assert any(question.startswith("Describe 2 different") for question in desk.asked)


def test_a_question_of_ones_own(dataset: Dataset, desk: Desk, tmp_path: Path, capsys: Capture) -> None:
    template = tmp_path / "ask.txt"
    template.write_text("Name {count} haikus on a {subject}.\n")
    words = "--with", desk.spec, "--template", str(template)
    assert prompts(dataset, tmp_path / "out.jsonl", *words) == 0
    assert desk.asked[0] == "Name 6 haikus on a dining chair."
    template.write_text("Name {number} haikus.")
    assert prompts(dataset, tmp_path / "other.jsonl", *words) == 1
    assert "cannot be filled in ('number'); it may use {count}, {subject}" in capsys.readouterr().err


# --- files and mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 3 cannot be read (Expecting property name"),
        ("[1]", "line 3 holds no prompt"),
        ('{"prompt": "a"}', "line 3 lacks the option 'label'"),
        ('{"prompt": 3}', "line 3: prompt is 3; it must be a text"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    good = '{"prompt": "a", "label": "", "kind": "restyle", "parts": {}, "by": "me", "seed": 0}'
    path = tmp_path / "prompts.jsonl"
    path.write_text(f"{good}\n\n{line}\n{good}\n")
    with pytest.raises(BlendsetError, match=re.escape(said)):
        read_prompts(path)


def test_mistakes_are_one_sentence(dataset: Dataset, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out.jsonl"
    mistakes: list[tuple[list[Any], int, str]] = [
        (["--with", "gramar"], 2, "did you mean grammar?"),
        (["--with", "hf"], 2, "write hf:MODEL"),
        (["--with", "hf:./nowhere"], 1, "./nowhere does not exist"),
        (["--kind", "text-to-image", "--with", "grammar"], 2, "leave --with and --template out"),
        (["--curate", "synthvml"], 2, "choose duplicates, rsidiff, synthvlm, none"),
        (["--keep-out", "nowhere.txt"], 2, "nowhere.txt cannot be read"),
        (["--selection", "best"], 1, "has no selection 'best'"),
        (["--count", "0"], 2, "0 is not above 0"),
    ]
    for words, code, said in mistakes:
        assert prompts(dataset, out, *words) == code
        assert said in capsys.readouterr().err
    out.write_text("mine\n")
    assert prompts(dataset, out) == 1
    assert "holds other prompts" in capsys.readouterr().err
    assert out.read_text() == "mine\n"


def test_a_dataset_without_names_or_captions_says_so(tmp_path: Path, capsys: Capture) -> None:
    made = make_dataset(tmp_path / "data")
    add_view(made, "attic", "thing", 0, subject_label="Cube.004_mesh_01")
    made.rebuild_index()
    add_view(made, "attic", "", 1)
    assert prompts(made, tmp_path / "out", "--kind", "text-to-image") == 1
    assert "run 'blendset caption' first" in capsys.readouterr().err
