# SPDX-License-Identifier: Apache-2.0
"""A folder with one of each kind of file that a command reads, and the commands that read them.

Commands run in this process. What one did is an `Outcome`, and `find_fault` says what a person would not accept in it.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from PIL import Image

from blendset.config import Config
from blendset.errors import describe_value
from blendset.placement.camera_plan import CameraPlan, PlannedView, write_plan
from blendset_trainer.cli import main as cli
from blendset_trainer.cli.parser import DONE, FAILED, INCOMPLETE, WRONG_USAGE
from blendset_trainer.rendering import worker
from blendset_trainer.selection.rules import Rules
from blendset_trainer.stages.shards import _read_scene
from blendset_trainer.synthesis.prompts.curation import Curation
from blendset_trainer.synthesis.prompts.grammar_writer import GRAMMAR_FILE
from blendset_trainer.synthesis.prompts.prompt_files import TEXT_TO_IMAGE, VIEW, Prompt, write_prompts
from blendset_trainer.training.settings import TrainConfig
from tests.trainer import boxes
from tests.trainer.damages import (
    RUINS,
    State,
    become_brackets,
    become_list,
    become_null,
    become_zeros,
    delete,
    read_state,
    restore_state,
)
from tests.trainer.odd_settings import list_odd_values, list_options, set_value
from tests.trainer.test_cli import stub_command
from tests.trainer.tiny_datasets import make_dataset
from tests.trainer.tiny_pipelines import stable_diffusion

DATASET = ("dataset/dataset.json", "dataset/scenes/*", "dataset/views/*", "dataset/metadata.jsonl")
STAGES = ("dataset/captions/*", "dataset/scores/*")
DERIVED = ("dataset/metadata.jsonl", "*/cache/*", "*/captions/*", "*/scores/*", "*/.index.lock", "run/*")
"""What a command may write anew, for it is made of other files."""
NAMED_AS_A_WHOLE = ("model", "run/lora")
"""Folders that are given as one thing: a sentence names the folder."""
OUR_FAULT = "this is a fault of Blendset"
CODES = (DONE, FAILED, WRONG_USAGE, INCOMPLETE)
SETTINGS: dict[str, dict[str, Any]] = {
    "config.toml": {"seed": 1, "render": {"resolution": 16, "samples": 1}, "cameras": {"views": 1}},
    "rules.toml": {
        "keep": [{"column": "image-stats.mean", "at_least": 1.0}],
        "ranking": {"terms": [{"column": "image-stats.sharpness"}]},
        "duplicates": [{"column": "phash.hash", "bits": 1}],
        "budgets": {"subject": 24},
    },
    "curation.toml": {
        "duplicates": 0.9,
        "flagged_words": ["gun"],
        "keep": [{"measure": "alphanumeric", "at_most": 1.0}],
    },
    "train.toml": {
        "out": "run",
        "model": {"path": "model", "rank": 2},
        "train": {"samples": 4, "batch": 2, "resolution": 32, "checkpoint_every": 2},
        "validation": {"every": 4, "prompts": ["a chair"], "steps": 1},
        "source": [
            {"name": "render", "dataset": "dataset", "bands": [{}]},
            {"name": "photo", "kind": "photo", "folder": "photos", "bands": [{}]},
            {"name": "more", "kind": "photo", "folder": "captioned", "bands": [{}]},
        ],
    },
    "ladder.toml": {
        "train": "train.toml",
        "prompts": "evaluation.txt",
        "out": "ladder",
        "scorers": ["image-stats"],
        "by": "image-stats.mean",
        "rung": [{"name": "Both"}, {"name": "Renders", "without": ["photo", "more"]}],
    },
    "evolve.toml": {
        "train": "train.toml",
        "prompts": "evaluation.txt",
        "trusted": "photos",
        "judge": {"prompts": "others.txt", "scorers": ["image-stats"], "by": "image-stats.mean"},
    },
}

DRAW = ("synthesize text-to-image --out drawn --model model --prompts evaluation.txt --width 32 --height 32"
        " --search steps=1,2 --by image-stats.sharpness")  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command line; the files that it reads and those that it writes, as patterns of names.

    `also` are words of sentences that say as well what is wrong: which setting, or how many are left.
    """

    words: str
    reads: tuple[str, ...]
    writes: tuple[str, ...] = ()
    slow: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a command returned and printed."""

    code: int
    out: str
    err: str


OTHER = ("dataset/selections/other.*",)
COMMANDS = (
    Command("verify dataset", DATASET),
    Command("caption dataset --with metadata", (*DATASET, "dataset/captions/*"), ("dataset/captions/*",)),
    Command("score dataset --with image-stats,phash", (*DATASET, "dataset/scores/*"), ("dataset/scores/*",)),
    Command("select dataset --rules rules.toml --name other",
            ("dataset/dataset.json", "dataset/metadata.jsonl", *STAGES, "rules.toml", "dataset/funnels/*"), OTHER,
            also=("No view has a column",)),
    Command("select dataset --rules dataset/selections/first.parquet --name other",
            ("dataset/metadata.jsonl", "dataset/selections/first.parquet"), OTHER),
    Command("report dataset --selection first --training run --out out/page.html",
            (*DATASET, *STAGES, "dataset/selections/*", "dataset/runs/*", "dataset/funnels/*", "run/*")),
    *(Command(f"export dataset --to {to} --selection first --out out", (*DATASET, "dataset/selections/first.parquet"))
      for to in ("bop", "coco", "colmap", "croissant", "huggingface", "image-text", "nerf", "webdataset")),
    Command("unpack shards --out out", ("shards/*",)),
    Command("prompts dataset --count 4 --out out/written.jsonl --keep-out evaluation.txt --keep-out prompts.jsonl"
            " --template grammar.toml --curate curation.toml",
            (*DATASET, "evaluation.txt", "prompts.jsonl", "grammar.toml", "curation.toml"), also=("loosen --curate",)),
    Command("plan scene.blend --config config.toml --out out/plan.json", ("scene.blend", "config.toml")),
    Command("render scene.blend --config config.toml --out out/new", ("scene.blend", "config.toml")),
    Command("render scene.blend --plan plan.json --out out/new", ("scene.blend", "plan.json")),
    Command("render scene.blend --config config.toml --out rendered", ("rendered/*", "scene.blend", "config.toml"),
            ("rendered/*",), also=("was rendered with",)),
    Command("cache info photos", ("photos/*",), also=("in all",)),
    Command("cache gc photos", ("photos/*",), also=("entries are of",)),
    Command("train train.toml --explain", ("train.toml",)),
    Command("train train.toml --dry-run", ("train.toml", "photos/*", "model/*.json", "dataset/metadata.jsonl"),
            ("run/*",), also=("The band of source",)),
    Command("train train.toml", ("train.toml", "photos/*", "captioned/*", "dataset/*", "model/*", "run/*"), ("run/*",),
            slow=True, also=("began differently", "Source '")),
    Command("ablate ladder.toml --dry-run", ("ladder.toml", "train.toml"), also=("The source",)),
    Command("evolve evolve.toml --dry-run", ("evolve.toml", "train.toml", "evaluation.txt", "others.txt")),
    Command("sample model --lora run/lora --prompts evaluation.txt --steps 1 --out out",
            ("model/*", "run/lora/*", "evaluation.txt"), slow=True),
    Command("calibrate dataset --clean render --source render --resolution 64 --vae model --pictures 8",
            (*DATASET, "model/vae/*"), slow=True),
    Command("synthesize text-to-image dataset --model model --prompts prompts.jsonl --width 32 --height 32 --steps 1",
            (*DATASET, "model/*", "prompts.jsonl"), ("dataset/views/*", "dataset/runs/*", "dataset/scenes/*"),
            slow=True),
    Command("evaluate dataset --with image-stats,ssim-roundtrip --selection first --name other",
            (*DATASET, "dataset/scores/*", "dataset/selections/first.parquet"),
            ("dataset/scores/*", "dataset/evaluations/*"), also=("needs at least two",)),
    Command("evaluate photos --with image-stats --out out/measured", ("photos/*",),
            also=("needs at least two", "caption files without a picture")),
    Command("compare dataset drawn --with image-stats,ssim-roundtrip --out out/compared",
            (*DATASET, "dataset/scores/*", "drawn/dataset.json", "drawn/metadata.jsonl", "drawn/searches/*"),
            ("dataset/scores/*", "drawn/scores/*"), also=("needs at least two",)),
    Command("report dataset --selection first --comparison compared --out out/judged.html",
            ("dataset/evaluations/*", "compared/*")),
    Command(DRAW, ("drawn/dataset.json", "drawn/searches/*", "model/*", "evaluation.txt"), ("drawn/*",), slow=True),
)  # fmt: skip


PROMPTS = next(number for number, command in enumerate(COMMANDS) if command.words.startswith("prompts "))
ODD_SETTINGS: dict[str, tuple[str, type]] = {
    "plan scene.blend --config config.toml --out out/plan.json": ("config.toml", Config),
    "train train.toml --dry-run": ("train.toml", TrainConfig),
    "select dataset --rules rules.toml --name other": ("rules.toml", Rules),
    COMMANDS[PROMPTS].words: ("curation.toml", Curation),
}
"""Commands that are tried with odd values of every option: their file of settings, and what declares its options."""


class World:
    """The folder, and what it held when it was made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = read_state(root)
        self._undamaged: dict[Command, Outcome] = {}

    def list_files(self, command: Command) -> list[str]:
        """The names of the files that a command reads, in order."""
        files = (name for name, data in self.state.items() if data is not None and not name.endswith(".lock"))
        return [name for name in files if _matches(name, command.reads)]

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Make all as it was, after a block that changes it."""
        try:
            yield
        finally:
            restore_state(self.root, self.state, read_state(self.root))

    def try_damage(self, command: Command, name: str, damage: Callable[[Path, Any], str], draw: Any) -> str:
        """Damage a file, run the command, mend the file; returns what a person would not accept, or ""."""
        if command not in self._undamaged:
            self._undamaged[command], _ = self._run(command)
        with self.restored():  # hypothesis may end an example in the middle of a damage
            what = damage(self.root / name, draw)
            damaged = read_state(self.root)
            outcome, after = self._run(command)
        is_made_again = damage is delete and _matches(name, DERIVED)
        is_lost = damage in RUINS and not (is_made_again or _is_text(name, damage))
        expected = self._undamaged[command] if is_lost else None
        fault = _find_fault(command, name, outcome, expected, damaged, after)
        return fault and f"blendset {command.words}\n{name}: {damage.__name__} {what}\n{fault}"

    def list_odd_settings(self) -> list[tuple[Command, str, tuple[Any, ...], Any]]:
        """Every odd value of every option: the command that reads it, the file, the option's path and the value."""
        return [
            (command, file, path, value)
            for command in COMMANDS if (file := ODD_SETTINGS.get(command.words, ("",))[0])
            for path, described in list_options(ODD_SETTINGS[command.words][1])
            for value in list_odd_values(described)
        ]  # fmt: skip

    def try_setting(self, command: Command, file: str, path: tuple[Any, ...], value: Any) -> str:
        """Set an option, run the command, set all back; returns what a person would not accept, or ""."""
        with self.restored():
            (self.root / file).write_text(tomli_w.dumps(set_value(SETTINGS[file], path, value)), encoding="utf-8")
            before = read_state(self.root)
            outcome, after = self._run(command)
        fault = _find_fault(command, file, outcome, None, before, after, str(path[-1]))
        return fault and f"blendset {command.words}\n{file}: {path} is {describe_value(value)}\n{fault}"

    def _run(self, command: Command) -> tuple[Outcome, State]:
        with self.restored():
            return run(command.words.split()), read_state(self.root)


@contextlib.contextmanager
def enter_world(root: Path) -> Iterator[World]:
    """Make the folder, and make it the current one; Blender is the stub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "find_worker", lambda choice: stub_command)
        patch.chdir(root)
        yield make_world(root)


def make_world(root: Path) -> World:
    """One of each kind of file that a command reads. The current folder becomes `root`, and Blender the stub."""
    made = make_dataset(root / "dataset")
    boxes.add_scene(made, "cellar")
    for number in range(8):
        boxes.add_view(made, "cellar", number)
    made.rebuild_index()
    _write_inputs(root)
    for words in (
        "caption dataset --with metadata",
        "score dataset --with image-stats,phash",
        "select dataset --rules rules.toml --name first",
        "export dataset --to webdataset --selection first --out shards",
        "render scene.blend --config config.toml --out rendered",
        "train train.toml",
        DRAW,
        "evaluate dataset --with image-stats,phash",
        "compare dataset drawn --with image-stats,ssim-roundtrip --out compared",
    ):
        outcome = run(words.split())
        assert outcome.code == 0, outcome
    return World(root)


def _write_inputs(root: Path) -> None:
    """What a person writes: settings, rules, prompts, photos, a scene, a plan; and a model."""
    (root / "scene.blend").write_text(json.dumps({"name": "scene", "views": 1}), encoding="utf-8")
    shutil.copy(GRAMMAR_FILE, root / "grammar.toml")
    for name, table in SETTINGS.items():
        (root / name).write_text(tomli_w.dumps(table), encoding="utf-8")
    (root / "others.txt").write_text("a blue table\na vase\n", encoding="utf-8")
    (root / "evaluation.txt").write_text("a red chair\na lamp in a room\n", encoding="utf-8")
    parts = {VIEW: "cellar-chair-0001"}
    prompts = [Prompt(f"a {colour} chair", "", TEXT_TO_IMAGE, parts, "captions", 0) for colour in ("red", "blue")]
    write_prompts(root / "prompts.jsonl", prompts)
    funnel = [{"view_id": str(number), "reason": reason, "metrics": {}} for number, reason in enumerate(("", "dark"))]
    _write_lines(root / "dataset" / "funnels" / "cellar-run.jsonl", funnel)
    view = PlannedView("scene-1", "", "", "", 0, boxes.camera_at(0.0), 1.0, 0.0)
    write_plan(root / "plan.json", CameraPlan("run", "scene", Config(), "scene", False, (view,)))
    for folder in ("photos", "captioned"):
        (root / folder).mkdir()
        for number in range(3):
            Image.new("RGB", (32, 32), (90 * number, 30, 200)).save(root / folder / f"{number}.png")
    for number in range(3):
        (root / "photos" / f"{number}.txt").write_text("a plane", encoding="utf-8")
    _write_lines(root / "captioned" / "metadata.jsonl", [{"file_name": f"{n}.png", "text": "a wall"} for n in range(3)])
    stable_diffusion(root / "model")


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def run(words: list[str]) -> Outcome:
    """Run a command line in this process, as a terminal that knows UTF-8 sees it."""
    _read_scene.cache_clear()  # of an earlier command, which another process would not have
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(words)
    return Outcome(code, _get_text(out), _get_text(err))


def _get_text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


# --- what a person would not accept ---


def _find_fault(
    command: Command,
    name: str,
    outcome: Outcome,
    expected: Outcome | None,
    damaged: State,
    after: State,
    option: str = "",
) -> str:
    """What a person would not accept of a command that met a damaged file; "" where there is nothing.

    Where nothing is left of the file, `expected` is what the command does without damage: it may do the same, for it
    has no need of the file, but else it has to name it.
    """
    if OUR_FAULT in outcome.err:
        return outcome.err
    if outcome.code not in CODES:
        return f"exit code {outcome.code}"
    may_write = (*command.writes, *DERIVED, "out", "out/*")
    changed = [each for each in damaged.keys() | after.keys()
               if damaged.get(each, "") != after.get(each, "") and not _matches(each, may_write)]  # fmt: skip
    if changed:
        return f"changed {sorted(changed)[:3]}"
    said = outcome.out + outcome.err
    is_named = _names(said, name) or (option and option in said) or any(words in said for words in command.also)
    if outcome.code in (FAILED, WRONG_USAGE):
        return _find_bad_sentence(outcome, is_named)
    if expected and not is_named and _strip_times(outcome.out) != _strip_times(expected.out):
        return f"another result without a word: {said}"
    return ""


def _find_bad_sentence(outcome: Outcome, is_named: bool) -> str:
    """What is wrong with what a command says that failed."""
    sentences = [line for line in outcome.err.splitlines() if line.startswith("blendset: ")]
    if not outcome.out and (len(sentences) != 1 or sentences[0][-1] not in ".?"):
        return f"no sentence: {outcome.err!r}"
    return "" if is_named else f"does not name the file: {outcome.err + outcome.out}"


def _is_text(name: str, damage: Any) -> bool:
    """Whether a file of plain text still is one after damage."""
    return name.endswith(".txt") and damage in (become_null, become_list, become_brackets, become_zeros)


def _names(said: str, name: str) -> bool:
    """Whether a file is named, or what it is a part of: a model, or a view by its id."""
    path = Path(name)
    whole = next((folder for folder in NAMED_AS_A_WHOLE if name.startswith(f"{folder}/")), name)
    in_folder = str(path.parent) in said and (path.name in said or "cache" in path.parts)
    in_list = name.startswith("photos/") and f"({path.name}" in said  # "left out, damaged: 1 (0.png is empty)"
    is_called = f"'{path.stem}'" in said  # "dataset has no selection 'first'"
    return whole in said or in_folder or in_list or is_called or ("views" in path.parts and path.parent.name in said)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _strip_times(text: str) -> str:
    return re.sub(r"\d+(\.\d+)? s\b|\d+\.\d MB", "", text)
