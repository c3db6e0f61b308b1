# SPDX-License-Identifier: Apache-2.0
"""The library under the command line: its public names, its settings, and what is loaded when."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

import blendset_trainer
from blendset.config import list_command_line_options
from blendset.dataset import Dataset, open_dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.options import Settings, option, resolve_settings
from blendset_trainer.cli.commands.compare import PLACEMENT_OPTIONS
from blendset_trainer.cli.commands.synthesize import replace_job_option
from blendset_trainer.cli.console import report_progress
from blendset_trainer.cli.main import build_parser
from blendset_trainer.cli.settings_options import add_settings, get_flag, read_settings
from blendset_trainer.stages.executors.settings import ExecutorSettings
from blendset_trainer.synthesis.jobs import JOBS
from tests.trainer.tiny_datasets import thirty_views

COMMANDS = (
    *("plan", "render", "verify", "adopt", "caption", "score", "select", "report", "export", "unpack"),
    *("prompts", "synthesize", "train", "calibrate", "sample", "evaluate", "compare", "ablate", "evolve"),
)
"""Each is a command and a function of the library."""
HEAVY = "{'torch', 'transformers', 'diffusers', 'accelerate', 'ray', 'bpy'}"
WITH_TORCH = (
    "calibrate",
    "CalibrateReport",
    "SynthesisReport",
    "SampleReport",
    "ablate",
    "plan_ladder",
    "evolve",
    "plan_evolution",
)
"""Names in modules that import torch."""
ALWAYS = {"help", "json", "debug"}

CONFIG = {"config"} | {f"config:{section}:{name}" for section, name, _, _ in list_command_line_options()}
"""Options of the configuration of planning and rendering, which has a dataclass of its own, `Config`."""


@dataclass(frozen=True)
class Command:
    """What a command's options are derived from, its positional words, and options that have no field."""

    settings: type[Settings] | None
    words: tuple[str, ...]
    besides: frozenset[str] = frozenset()


LINES = {
    "plan": Command(blendset_trainer.PlanSettings, ("scenes",), frozenset(CONFIG - {"config:cameras:preset"})),
    "render": Command(blendset_trainer.RenderSettings, ("scenes",), frozenset(CONFIG)),
    "verify": Command(None, ("dataset",)),
    "adopt": Command(blendset_trainer.AdoptSettings, ("source",)),
    "caption": Command(blendset_trainer.CaptionSettings, ("dataset",)),
    "score": Command(blendset_trainer.ScoreSettings, ("dataset",)),
    "select": Command(blendset_trainer.SelectSettings, ("dataset",)),
    "report": Command(blendset_trainer.ReportSettings, ("dataset",)),
    "export": Command(blendset_trainer.ExportSettings, ("dataset",)),
    "unpack": Command(blendset_trainer.UnpackSettings, ("shards",)),
    "prompts": Command(blendset_trainer.PromptSettings, ("dataset",)),
    "train": Command(blendset_trainer.TrainSettings, ("config",), frozenset({"dry_run", "explain"})),
    "calibrate": Command(blendset_trainer.CalibrateSettings, ("dataset",)),
    "sample": Command(blendset_trainer.SampleSettings, ("model",)),
    "evaluate": Command(blendset_trainer.EvaluateSettings, ("source",)),
    "compare": Command(
        blendset_trainer.CompareSettings, ("sources",), frozenset({"votes", "scenes", *PLACEMENT_OPTIONS})
    ),
    "ablate": Command(None, ("ladder",), frozenset({"dry_run"})),
    "evolve": Command(None, ("evolution",), frozenset({"dry_run"})),
    **{f"synthesize {name}": Command(job.settings, ("dataset",)) for name, job in JOBS.items()},
}
BESIDES = {"select": {"--preset": "syncd"}, "synthesize restyle": {"--prompt": "a red chair"}}
"""Options of which one of several is required."""
UPKEEP = {"cache info", "cache gc", "blender install", "blender list", "blender check"}
"""Commands that look after the machine, and are no functions."""


def list_parsers(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command by its words, and its parser."""
    inner = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not inner:
        yield name, parser
    for word, command in inner[0].choices.items() if inner else ():
        yield from list_parsers(command, f"{name} {word}".strip())


PARSERS = dict(list_parsers(build_parser()))


def is_required(field: Field[Any]) -> bool:
    return field.default is MISSING


def run_python(program: str, *words: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    return done.stdout


# --- the command line is derived ---


def test_every_command_is_known_here() -> None:
    assert PARSERS.keys() == {*LINES, *UPKEEP}
    assert {name.split()[0] for name in LINES} == set(COMMANDS)


@pytest.mark.parametrize("name", LINES)
def test_options_are_the_fields_of_the_settings(name: str) -> None:
    line = LINES[name]
    actions = {each.dest: each for each in PARSERS[name]._actions if each.dest not in ALWAYS}
    described = {each.name: each for each in fields(line.settings)} if line.settings else {}
    assert [dest for dest, action in actions.items() if not action.option_strings] == list(line.words)
    assert actions.keys() == described.keys() | set(line.words) | line.besides
    for dest, each in described.items():
        assert actions[dest].option_strings == [get_flag(each)]
        assert (actions[dest].help, tuple(actions[dest].choices or ())) == (
            each.metadata["help"],
            tuple(each.metadata["choices"]),
        )


@pytest.mark.parametrize("name", [name for name, line in LINES.items() if line.settings])
def test_defaults_of_the_command_line_are_those_of_the_settings(name: str) -> None:
    kind = LINES[name].settings
    assert kind
    words = {get_flag(each): next(iter(each.metadata["choices"]), "1") for each in fields(kind) if is_required(each)}
    words |= BESIDES.get(name, {})
    settings = read_settings(kind, PARSERS[name].parse_args(["x", *(part for pair in words.items() for part in pair)]))
    for each in fields(kind):
        if get_flag(each) not in words:
            assert getattr(settings, each.name) == each.default


# --- what a call takes ---


@dataclass(frozen=True, kw_only=True)
class TrialSettings(Settings):
    """Settings of every kind of value."""

    out: Path = option(Path("out"), "a folder")
    count: int | None = option(None, "a number", at_least=1)
    share: float = option(0.5, "a number", at_most=1)
    words: tuple[str, ...] = option((), "words")
    names: tuple[str, ...] = option(("a",), "names", separator=",")
    layout: tuple[int, int] | None = option(None, "rows and columns")
    quick: bool = option(False, "whether")
    kind: str = option("red", "a colour", choices=("red", "green"))


def test_a_call_takes_settings_and_options_on_top_of_them() -> None:
    settings = TrialSettings(count=3, words=("one",))
    assert resolve_settings(TrialSettings, settings, {}) == settings
    assert resolve_settings(TrialSettings, settings, {"count": 4}) == TrialSettings(count=4, words=("one",))


def test_what_means_the_same_is_the_same() -> None:
    loose: Any = {"out": "folder", "share": 1, "words": [Path("one")], "names": "a, b", "layout": [3, 2]}
    exact = TrialSettings(out=Path("folder"), share=1.0, words=("one",), names=("a", "b"), layout=(3, 2))
    assert TrialSettings(**loose) == resolve_settings(TrialSettings, None, loose) == exact
    assert resolve_settings(TrialSettings, None, {"words": "one word"}).words == ("one word",)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cuont": 3}, "TrialSettings has no option 'cuont'; did you mean 'count'?"),
        ({"count": 0}, "count is 0; it must be at least 1."),
        ({"count": "3"}, "count is '3'; it must be a whole number."),
        ({"share": 2}, "share is 2.0; it must be at most 1."),
        ({"quick": 1}, "quick is 1; it must be true or false."),
        ({"out": 3}, "out is 3; it must be a path."),
        ({"kind": "gren"}, "kind is 'gren'; did you mean 'green'?"),
        ({"words": [3]}, "words is 3; it must be a text."),
        ({"layout": (3,)}, "layout is (3,); it must be 2 values."),
        ({"names": ()}, "names is empty; give at least one value."),
        ({"kind": None}, "kind is None; it must be a text."),
    ],
)
def test_what_a_call_does_not_take_is_one_sentence(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError) as error:
        resolve_settings(TrialSettings, None, options)
    assert str(error.value) == reason


def test_settings_of_another_call_and_a_missing_option_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ScoreSettings lacks the option 'scorers': .*phash"):
        blendset_trainer.score(tmp_path)
    with pytest.raises(SettingsError, match=r"give ScoreSettings\(...\)"):
        blendset_trainer.score(tmp_path, ExecutorSettings())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"give those of a job, such as RestyleSettings"):
        blendset_trainer.synthesize(tmp_path, ExecutorSettings())  # type: ignore[arg-type]


@pytest.mark.parametrize("words", ["restyle d --prompt --job=x", "restyle d --job restyle", "novel-views d"])
def test_a_command_line_in_the_new_spelling_is_taken_as_it_is(words: str) -> None:
    assert replace_job_option(["synthesize", *words.split()]) == ["synthesize", *words.split()]


def test_a_dataset_may_be_called_as_a_job_is() -> None:
    words = "synthesize restyle --job novel-views --model M".split()
    assert replace_job_option(words) == "synthesize novel-views restyle --model M".split()


def test_a_dataset_may_be_given_in_three_ways(tmp_path: Path) -> None:
    dataset = thirty_views(tmp_path / "dataset")
    assert open_dataset(dataset) is dataset
    assert open_dataset(dataset.root).root == open_dataset(str(dataset.root)).root == dataset.root
    with pytest.raises(BlendsetError, match="does not exist"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="The dataset is 3; give the path of its folder"):
        open_dataset(3)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="The configuration is None; give the path of a TOML file"):
        blendset_trainer.train(None)  # type: ignore[arg-type]


def test_every_scorer_tells_how_far_it_is_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[tuple[str, int, int]] = []
    dataset: Dataset = thirty_views(tmp_path / "dataset")
    report = blendset_trainer.score(
        dataset, scorers=["image-stats", "phash"], on_progress=lambda *each: heard.append(each)
    )
    assert list(report.stages) == ["image-stats", "phash"]
    assert [heard[0], heard[-1]] == [("image-stats", 0, 30), ("phash", 30, 30)]
    assert capsys.readouterr() == ("", "")


def test_options_of_lists_and_denials_are_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_settings(parser, blendset_trainer.CaptionSettings)
    settings = read_settings(blendset_trainer.CaptionSettings, parser.parse_args(["--with", "hf:M", "--no-facts"]))
    assert (settings.facts, settings.view_sets) == (False, None)
    assert [each for each in parser.format_usage().split() if each.startswith("[--")][-2:] == [
        "[--executor",
        "[--workers",
    ]


# --- public names ---


def test_types_and_names_stand_in_the_same_table() -> None:
    source = Path(blendset_trainer.__file__).read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    typed = {
        alias.asname: f"{node.module}:{alias.name}".removeprefix("blendset_trainer.")
        for node in imports
        for alias in node.names
        if alias.asname
    }
    assert typed == blendset_trainer._HOMES
    assert set(COMMANDS) <= set(dir(blendset_trainer))
    with pytest.raises(AttributeError, match="has no attribute 'rendr'"):
        blendset_trainer.rendr  # noqa: B018


def test_no_module_hides_a_name() -> None:
    """A module is an attribute of its package once it is imported, so every one is imported before a name is used."""
    modules = [each.name for each in walk_packages(blendset_trainer.__path__, "blendset_trainer.")]
    assert len(modules) > 100
    for module in modules:
        import_module(module)
    for name, home in blendset_trainer._HOMES.items():
        module, _, attribute = home.partition(":")
        found = getattr(blendset_trainer, name)
        assert found is getattr(import_module(f"blendset_trainer.{module}"), attribute)
        assert isfunction(found) or isclass(found)


def test_the_library_is_typed() -> None:
    assert Path(blendset_trainer.__file__).with_name("py.typed").is_file()


# --- what is loaded ---


def test_the_package_loads_nothing_of_its_own() -> None:
    program = "import sys, blendset_trainer; print([name for name in sys.modules if name.startswith('blendset')])"
    assert run_python(program) == "['blendset_trainer']\n"


@pytest.mark.parametrize("words", [["--help"], ["score", "--help"], ["synthesize", "restyle", "--help"], ["verify"]])
def test_help_and_verify_load_no_torch(words: list[str], tmp_path: Path) -> None:
    words = [*words, str(thirty_views(tmp_path / "dataset").root)] if words == ["verify"] else words
    program = f"""
import sys
from blendset_trainer.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print()
print(code, {HEAVY} & set(sys.modules))
"""
    assert run_python(program, *words).splitlines()[-1] == "0 set()"


def test_what_needs_no_torch_is_imported_without_it() -> None:
    program = f"""
import sys, blendset_trainer
for name in dir(blendset_trainer):
    if name not in sys.argv:
        getattr(blendset_trainer, name)
        assert not {HEAVY} & set(sys.modules), name
"""
    run_python(program, *WITH_TORCH)


def test_a_process_that_reports_nothing_draws_nothing_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    with report_progress(quiet=False):
        pass
    assert capsys.readouterr().err == ""
    with report_progress(quiet=False) as on_progress:
        on_progress("features encoded", 0, 0)
    assert "features encoded" in capsys.readouterr().err
