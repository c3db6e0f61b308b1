# SPDX-License-Identifier: Apache-2.0
"""What a user's files, names and numbers can do to a command: it does its work, or says in one sentence what is wrong.

The long form, over all commands, is tests/long/test_many_damages.py (`make test-long`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blendset.config import Config
from blendset.errors import BlendsetError
from blendset.options import structure
from blendset_trainer.rendering.scenes import find_scenes
from blendset_trainer.selection.rules import Rules
from blendset_trainer.synthesis.prompts.curation import Curation
from blendset_trainer.training.settings import TrainConfig
from tests.trainer.damages import CHANGES, RUINS, read_state
from tests.trainer.odd_settings import list_odd_values, list_options, set_value
from tests.trainer.tiny_world import COMMANDS, OUR_FAULT, SETTINGS, World, enter_world, run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with enter_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_a_damaged_file_is_named_and_no_other_is_changed(world: World, data: Any) -> None:
    command = data.draw(st.sampled_from([command for command in COMMANDS if not command.slow]))
    name = data.draw(st.sampled_from(world.list_files(command)))
    damage = data.draw(st.sampled_from([*RUINS, *CHANGES]))
    assert not world.try_damage(command, name, damage, data.draw)


@pytest.mark.parametrize(
    ("kind", "file"),
    [(Config, "config.toml"), (TrainConfig, "train.toml"), (Rules, "rules.toml"), (Curation, "curation.toml")],
)
def test_every_option_takes_a_value_or_names_itself(kind: type, file: str) -> None:
    for path, described in list_options(kind):
        for value in list_odd_values(described):
            try:
                structure(kind, set_value(SETTINGS[file], path, value), file)
            except BlendsetError as error:
                assert str(error).startswith(file)
                assert str(path[-1]) in str(error)
                assert len(str(error)) < 400


@settings(max_examples=30, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_odd_settings_are_taken_or_named(world: World, data: Any) -> None:
    assert not world.try_setting(*data.draw(st.sampled_from(world.list_odd_settings())))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('out = "x"\n[model]\npath = "m"', "lacks the section [train]; write it, with samples."),
        ('out = "x"\n[train]\nsamples = 8', "lacks the section [model]; write it, with path."),
        (
            'out = "x"\n[model]\npath = "m"\n[train]',
            "section [train] lacks the option 'samples': pictures to see in all.",
        ),
        ("out = 'x'\nmodel = 3", "'model' must be a table of options."),
        ("seed = 1" + "0" * 5000, "is not valid TOML: Exceeds the limit"),
        ("seed = " + "[" * 100_000, "is not valid TOML: "),
        ('out = "x"\n[model]\npath = "m"\n[train]\nsamples = {}', "train.samples is {}; it must be a whole number."),
    ],
)
def test_settings_of_the_wrong_shape_name_the_file_and_what_it_lacks(text: str, wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text, encoding="utf-8")
    outcome = run(["train", str(file), "--dry-run"])
    assert outcome.code == 2
    assert outcome.err.startswith(f"blendset: {file}")
    assert wrong in outcome.err
    assert outcome.err.count("\n") == 1


ODD_NAMES = (
    "\u00e4\u2603 'q\" #50%s{0}[x]*?\n<b>&", "e\u0301 a\\b:c;", "~", "~nobody", "-" + "x" * 200, "nul.txt",
    os.fsdecode(b"\xff\xfe"),
)  # fmt: skip
"""Names that a pattern, a format, a page, a shell, a home folder, Windows or UTF-8 reads in another way."""


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_dataset_and_what_is_made_of_it_may_have_any_name(world: World, name: str) -> None:
    with world.restored():
        Path("dataset").rename(f"./{name}")
        for words in (
            "score NAME --with phash",
            "select NAME --rules rules.toml --name other",
            "select NAME --rules NAME/selections/first.parquet --name same",
            "report NAME --selection same --out out/NAME.html",
            "export NAME --selection first --to huggingface --out out/NAME/parquet",
            "export NAME --selection first --to webdataset --out out/NAME/shards",
            "unpack out/NAME/shards --out out/NAME/again",
        ):
            outcome = run([_put_name(word, name) for word in words.split()])
            assert outcome.code == 0, outcome
        assert len(list(Path("out", name, "again").rglob("rgb.png"))) == 8
        assert Path("out", f"{name}.html").is_file()


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_scene_and_a_photo_may_have_any_name(world: World, name: str) -> None:
    with world.restored():
        Path("scene.blend").rename(f"./{name}.blend")
        assert [path.name for path in find_scenes(f"./{name}.blend")] == [f"{name}.blend"]
        folder = Path(f"./{name}")
        folder.mkdir()
        Path(f"./{name}.blend").rename(folder / "inside.blend")
        assert [path.name for path in find_scenes(f"./{name}")] == ["inside.blend"]
        for ending in ("png", "txt"):
            Path(f"photos/0.{ending}").rename(f"photos/{name}.{ending}")
        outcome = run("train train.toml --dry-run".split())
        assert outcome.code == 0, outcome
        assert ("left out" in outcome.out + outcome.err) == (not name.isprintable() and "\n" not in name)


def _put_name(word: str, name: str) -> str:
    """A word of a command line with a name in it, behind a folder."""
    return word.replace("NAME", f"./{name}", 1)


@pytest.mark.parametrize("out", ["rules.toml/inside", "photos"])
@pytest.mark.parametrize("words", [
    "plan scene.blend --config config.toml", "report dataset", "prompts dataset --count 2", "export dataset --to coco",
    "unpack shards", "render scene.blend --config config.toml",
])  # fmt: skip
def test_an_out_that_cannot_be_written_is_one_sentence(world: World, words: str, out: str) -> None:
    photos = read_state(Path("photos"))
    with world.restored():
        outcome = run([*words.split(), "--out", out])
        assert outcome.code in (1, 2)
        assert OUR_FAULT not in outcome.err
        sentence = outcome.err.splitlines()[-1]
        assert sentence.startswith("blendset: ")
        assert out in sentence
        assert read_state(Path("photos")) == photos


@pytest.mark.parametrize("words", ["prompts dataset --count 2 --out out/p.jsonl", "export dataset --to coco --out out"])
def test_an_index_that_is_a_folder_is_one_sentence(world: World, words: str) -> None:
    index = Path("dataset/metadata.jsonl")
    with world.restored():
        index.unlink()
        index.mkdir()
        outcome = run(words.split())
    cure = "delete it: the next command rebuilds it"
    assert (outcome.code, outcome.err) == (1, f"blendset: {index} cannot be read (Is a directory); {cure}.\n")


def test_verify_names_an_index_that_is_a_folder_among_the_problems(world: World) -> None:
    index = Path("dataset/metadata.jsonl")
    with world.restored():
        index.unlink()
        index.mkdir()
        outcome = run(["verify", "dataset"])
    assert outcome.code == 1
    assert outcome.out.endswith("\n8 views are sound, 1 problems\n")
    assert outcome.out.startswith(f"{index} ")
