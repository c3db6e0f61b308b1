# SPDX-License-Identifier: Apache-2.0
"""Lists of prompts in the layouts in which benchmarks publish them: seen from the file, or refused in one sentence.

The prompts here are ours; columns, keys, quotes and counts are those of the published files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from blendset.dataset import CAPTION, Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset_trainer.adoption.adopt import adopt
from blendset_trainer.diffusion.sample import SampleSettings, list_prompts
from blendset_trainer.readers.prompt_lists import ListedPrompt, read_prompt_list
from blendset_trainer.stages.tables import read_index
from blendset_trainer.synthesis.prompts.pools import read_pool

PARTI = """Prompt\tCategory\tChallenge\tNote
clay\tAbstract\tBasic\tOf one word
"H U S H" carved into an old oak door\tIllustrations\tWriting & Symbols\t
 A heron in a canoe. Its hat says "Down the River". \tAnimals\tComplex\t
a bowl of plums, two of them cut\tFood & Beverage\tFine-grained Detail\tours
"""
DRAWBENCH = """Prompts,Category
A grey coloured heron.,Colors
"Two plums, and a ""third"" one.",Counting
Hevon on a tabel.,Misspellings
"""
OBJECT_WORDS = ["in a barn", "on the roof", *(f"beside lamp number {number}" for number in range(18))]
LIVE_WORDS = ["in a barn", *(f"near boat {number}" for number in range(9))]
WORN = [f"wearing hat number {number}" for number in range(10)]
CHANGED = ["a golden {0} {1}", "a tiny {0} {1}", "a furry {0} {1}", "a broken {0} {1}", "a round {0} {1}"]


def make_templates(words: list[str]) -> str:
    """A list of prompts as DreamBooth's file has it."""
    prompts = [*(f"a {{0}} {{1}} {each}" for each in words), *CHANGED]
    lines = [f"'{prompt}'.format(unique_token, class_token)" for prompt in prompts]
    return "prompt_list = [\n" + ",\n".join(lines) + "\n]\n"


DREAMBOOTH = f"""Classes

subject_name,class
kettle,kettle
moss_bear,stuffed animal
dog4,dog

Prompts

Object Prompts

{make_templates(OBJECT_WORDS)}
Live Subject Prompts

{make_templates([*LIVE_WORDS, *WORN])}"""
PUBLISHED = {
    "PartiPrompts.tsv": PARTI,
    "DrawBench.csv": DRAWBENCH,
    "prompts_and_classes.txt": DREAMBOOTH,
    "anime.json": json.dumps(["a heron in a canoe, anime", "two plums"]),
    "prompts.json": json.dumps(["A wet boat", "A boat left on a hill"], indent=4),
}


def write(folder: Path, name: str, text: str | bytes = "") -> Path:
    """A file of this text, or of that which is published under its name."""
    path = folder / name
    data = text or PUBLISHED[name]
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_partiprompts(tmp_path: Path) -> None:
    assert read_prompt_list(write(tmp_path, "PartiPrompts.tsv")) == [
        ListedPrompt("clay", "Abstract"),
        ListedPrompt('"H U S H" carved into an old oak door', "Illustrations"),
        ListedPrompt('A heron in a canoe. Its hat says "Down the River".', "Animals"),
        ListedPrompt("a bowl of plums, two of them cut", "Food & Beverage"),
    ]


def test_drawbench(tmp_path: Path) -> None:
    assert read_prompt_list(write(tmp_path, "DrawBench.csv")) == [
        ListedPrompt("A grey coloured heron.", "Colors"),
        ListedPrompt('Two plums, and a "third" one.', "Counting"),
        ListedPrompt("Hevon on a tabel.", "Misspellings"),
    ]


def test_dreambooth(tmp_path: Path) -> None:
    """25 prompts of each subject: 20 of an object and 10 of an animal set it elsewhere, the others change it."""
    listed = read_prompt_list(write(tmp_path, "prompts_and_classes.txt"))
    assert len(listed) == 3 * 25
    assert listed[0] == ListedPrompt("a kettle in a barn", "object", "kettle", "background")
    assert listed[25] == ListedPrompt("a stuffed animal in a barn", "object", "moss_bear", "background")
    assert listed[49] == ListedPrompt("a round stuffed animal", "object", "moss_bear", "property")
    assert listed[60] == ListedPrompt("a dog wearing hat number 0", "live subject", "dog4", "property")
    backgrounds = {
        name: sum(each.kind == "background" for each in listed if each.subject == name)
        for name in ("kettle", "moss_bear", "dog4")
    }
    assert backgrounds == {"kettle": 20, "moss_bear": 20, "dog4": 10}
    assert {each.kind for each in listed} == {"background", "property"}


@pytest.mark.parametrize(("name", "category"), [("anime.json", "anime"), ("prompts.json", "")])
def test_lists_of_texts(tmp_path: Path, name: str, category: str) -> None:
    """HPD has a file to a style, GPTEval3D one in all."""
    listed = read_prompt_list(write(tmp_path, name))
    assert listed == [ListedPrompt(text, category) for text in json.loads(PUBLISHED[name])]


def test_styles_in_one_file(tmp_path: Path) -> None:
    path = write(tmp_path, "all.json", json.dumps({"photo": ["a heron"], "paintings": ["a heron", "a plum"]}))
    assert read_prompt_list(path) == [
        ListedPrompt("a heron", "photo"),
        ListedPrompt("a heron", "paintings"),
        ListedPrompt("a plum", "paintings"),
    ]


def test_annotations_name_a_prompt_once(tmp_path: Path) -> None:
    rows = [{"prompt": text, "file_path": ["a.jpg", "b.jpg"], "human_preference": [1, 0]} for text in "aab"]
    assert read_prompt_list(write(tmp_path, "train.json", json.dumps(rows))) == [ListedPrompt("a"), ListedPrompt("b")]


@pytest.mark.parametrize("column", ["prompt", "text", "caption", "Prompt", "Prompts"])
def test_tables(tmp_path: Path, column: str) -> None:
    table = pa.table({"id": [1, 2, 3], column: ["a heron", None, "a plum"], "category": ["birds", "x", None]})
    pq.write_table(table, tmp_path / "list.parquet")
    table.to_pandas().to_json(tmp_path / "list.jsonl", orient="records", lines=True)
    for name in ("list.parquet", "list.jsonl"):
        assert read_prompt_list(tmp_path / name) == [ListedPrompt("a heron", "birds"), ListedPrompt("a plum")]


def test_lines_of_text(tmp_path: Path) -> None:
    """Duplicates stay, for pictures may follow a list; tags, weights and brackets are prompts."""
    lines = ["a plum", "a plum", "1girl, text, (plum:1.3)", "[V] dog in a barn", "{red|blue} heron"]
    path = write(tmp_path, "mine.md", "\ufeff" + "\r\n".join(["", *lines, "   "]))
    assert read_prompt_list(path) == [ListedPrompt(line) for line in lines]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_reader_of_prompts_takes_them(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    texts = [listed.prompt for listed in read_prompt_list(path)]
    assert [each.prompt for each in read_pool(path)] == texts
    assert list_prompts(SampleSettings(out=tmp_path, prompts=path, prompt=("first",))) == ["first", *texts]


def test_adopted_pictures_have_the_prompts_of_a_list(tmp_path: Path) -> None:
    """In the order of their names, two to a prompt."""
    (tmp_path / "pictures").mkdir()
    for number in range(6):
        Image.new("RGB", (32, 32), (40 * number, 90, 9)).save(tmp_path / "pictures" / f"{number}.png")
    report = adopt(tmp_path / "pictures", out=tmp_path / "adopted", prompts=write(tmp_path, "DrawBench.csv"))
    captions = [row[CAPTION] for row in read_index(Dataset(Path(report.dataset))).sort_by("view_id").to_pylist()]
    texts = [listed.prompt for listed in read_prompt_list(tmp_path / "DrawBench.csv")]
    assert captions == [text for text in texts for _ in range(2)]


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.txt", "\n\n", "a.txt holds no prompt"),
        ("a.txt", "a\n\0b", "null byte in line 2"),
        ("a.txt", PARTI, "a.txt, line 1, is no prompt but begins a table or JSON; name the file .csv, .tsv"),
        ("a.txt", DRAWBENCH, "a.txt, line 1, is no prompt but begins a table"),
        ("a.txt", '["a plum",\n"b"]', "a.txt, line 1, is no prompt but begins a table or JSON"),
        ("a.txt", '{"prompt": "a"}\n{"prompt": "b"}', "a.txt, line 1, is no prompt but begins a table or JSON"),
        ("a.tsv", "Prompt\tCategory\na\tb\tc\n", "a.tsv, line 2, has more cells than the first line"),
        ("a.tsv", "Name\tCategory\na\tb\n", "a.tsv, line 2, has no prompt; give it under prompt or text or caption or"),
        ("a.tsv", "Prompt\tCategory\n", "a.tsv holds no prompt"),
        ("a.json", '["a",\n"b"', "a.json is no JSON (Expecting ',' delimiter: line 2"),
        ("a.json", '"a"', "a.json holds no list of prompts"),
        ("a.json", '{"photo": "a"}', "a.json holds no list of prompts"),
        ("a.json", '["a", 3]', "a.json, entry 2, has 3 where a prompt should be"),
        ("a.json", '["a", ["b"]]', "a.json, entry 2, has ['b'] where a prompt should be"),
        ("a.json", '{"photo": [{"title": "a"}]}', "a.json, photo, entry 1, has no prompt"),
        ("a.json", '["a\\ud83d"]', "a.json, entry 1, has a null byte or half of a character"),
        ("a.json", "[" * 100_000, "a.json is no JSON (it is nested too deep)"),
        ("a.txt", DREAMBOOTH.replace("kettle,kettle", "kettle"), "a.txt, line 4, has no subject and class"),
        ("a.txt", DREAMBOOTH.replace(",kettle", ","), "a.txt, line 4, has no subject and class"),
        ("a.txt", DREAMBOOTH.replace("a {0} {1} on the roof", "a roof"), "a.txt, line 14, has no prompt with {0} {1}"),
        ("a.txt", DREAMBOOTH.replace("]\n", "", 1), "a.txt, line 38, has no prompt with {0} {1} in quotes"),
        ("a.txt", DREAMBOOTH.partition("Live")[0], "names 3 subjects and has 1 lists of prompts"),
        ("a.txt", DREAMBOOTH.replace("subject_name,class", "name,class"), "names 0 subjects and has 2 lists"),
        ("a.txt", DREAMBOOTH.replace("prompt_list = [", ""), "names 3 subjects and has 0 lists of prompts"),
        (
            "a.txt",
            "\n".join([*DREAMBOOTH.splitlines()[:-2], "]"]),
            "has a list of 24 prompts, and DreamBooth's have 25",
        ),
    ],
)
def test_what_is_in_no_layout_is_one_sentence(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(BlendsetError, match=re.escape(says)) as caught:
        read_prompt_list(write(tmp_path, name, text))
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match=re.escape(says)):
        list_prompts(SampleSettings(out=tmp_path, prompts=tmp_path / name))


@given(data=st.data(), name=st.sampled_from([*PUBLISHED]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_read_or_refused_by_name(tmp_path: Path, data: st.DataObject, name: str) -> None:
    """Bytes are cut out, changed or put in somewhere."""
    whole = PUBLISHED[name].encode()
    start = data.draw(st.integers(0, len(whole)))
    stop = start + data.draw(st.integers(0, 40))
    path = write(tmp_path, name, whole[:start] + data.draw(st.binary(max_size=8)) + whole[stop:] or b"\n")
    try:
        listed = read_prompt_list(path)
    except BlendsetError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:
        assert all(each.prompt == each.prompt.strip() != "" for each in listed)
