# SPDX-License-Identifier: Apache-2.0
"""What a user's files, names and numbers can do to a command: it does its work, or says in one sentence what is wrong.

The long form, over all commands, is tests/long (`make test-long`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blendset_trainer.rendering import worker
from tests.trainer.damages import CHANGES, RUINS
from tests.trainer.test_cli import stub_command
from tests.trainer.tiny_world import COMMANDS, World, make_world, run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root, before = tmp_path_factory.mktemp("world"), Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "find_worker", lambda choice: stub_command)
        os.chdir(root)
        yield make_world(root)
        os.chdir(before)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_a_damaged_file_is_named_and_no_other_is_changed(world: World, data: Any) -> None:
    command = data.draw(st.sampled_from([command for command in COMMANDS if not command.slow]))
    name = data.draw(st.sampled_from(world.list_files(command)))
    damage = data.draw(st.sampled_from([*RUINS, *CHANGES]))
    assert not world.try_damage(command, name, damage, data.draw)


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
