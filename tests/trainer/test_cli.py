# SPDX-License-Identifier: Apache-2.0
"""The command line as a person meets it: help, wrong words, exit codes, what it prints for people and for programs.

Workers are the stub of tests/core, which writes real views; Blender itself is met in tests/addon.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from blendset.jobs.supervisor import Supervisor
from blendset_trainer.cli import main as cli
from blendset_trainer.rendering import worker
from blendset_trainer.rendering.scenes import find_scenes
from blendset_trainer.synthesis.jobs import JOBS
from tests.signals import in_background, in_foreground

STUB = Path(__file__).parents[1] / "core" / "stub_worker.py"
COMMANDS = [
    *("plan", "render", "verify", "caption", "score", "select", "report", "export", "unpack"),
    *("train", "calibrate", "sample", "cache", "cache info", "cache gc"),
    *("synthesize", *(f"synthesize {job}" for job in JOBS)),
    *("blender", "blender install", "blender list", "blender check"),
]


def stub_command(job: Path, events: Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, str(STUB), "work", "--job", str(job), "--events", str(events)], dict(os.environ)


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes go to the stub instead of a Blender."""
    monkeypatch.setattr(worker, "find_worker", lambda choice: stub_command)


def scene(folder: Path, name: str, **wanted: Any) -> str:
    path = folder / f"{name}.blend"
    path.write_text(json.dumps({"name": name, "views": 3} | wanted), encoding="utf-8")
    return str(path)


# --- help and wrong usage ---


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_ends_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert re.match(rf"example: blendset {command}", last)


def test_examples_are_commands_that_the_parser_takes(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("", *COMMANDS):
        with pytest.raises(SystemExit):
            cli.build_parser().parse_args([*command.split(), "--help"])
        example = capsys.readouterr().out.strip().splitlines()[-1]
        cli.build_parser().parse_args(shlex.split(example.removeprefix("example: blendset ")))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rendr room.blend", "'blendset' does not know 'rendr'; did you mean 'render'?"),
        ("render room.blend --out d --resolutoin 5", "does not know '--resolutoin'; did you mean '--resolution'?"),
        ("plan room.blend --preset blendst", "did you mean 'blendset'?"),
        ("render room.blend", "required: --out; see 'blendset render --help'"),
        ("render room.blend --out d --res 5", "does not know '--res'"),
        ("render room.blend --out d --views 0", "--views is 0; it must be at least 1"),
        ("render room.blend --out d --views many", "--views: invalid int value: 'many'"),
        ("render room.blend --out d --shard 3/2", "must be I/N"),
        ("render room.blend --out d --plan nowhere.json", "nowhere.json does not exist; make it with"),
        ("render nowhere.blend --out d", "nowhere.blend does not exist; check the path"),
        ("render room.blend --out d --config wrong.toml", r"section \[render\] has no option 'sample'; did you mean"),
        ("plan room.blend --preset random --preset blendset --out p.json", "--out keeps one plan"),
        ("prompts data --out p.jsonl --count many", "--count: invalid positive value: 'many'"),
        ("score data --with phas", "There is no 'phas'; did you mean phash?"),
        ("synthesize data", "'blendset synthesize' does not know 'data'; see 'blendset synthesize --help'"),
        ("synthesize restile data", "'blendset synthesize' does not know 'restile'; did you mean 'restyle'?"),
        ("synthesize data --job restile", "'blendset synthesize' does not know 'restile'; did you mean 'restyle'?"),
        (
            "synthesize restyle data --model m --width 64",
            "--width is not for 'blendset synthesize restyle' but for novel-views or deformable or text",
        ),
        ("synthesize restyle data --model m --widht 64", "'blendset synthesize restyle' does not know '--widht'"),
        ("blender instal", "'blendset blender' does not know 'instal'; did you mean 'install'?"),
        ("", "required: COMMAND"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scene(tmp_path, "room")
    (tmp_path / "wrong.toml").write_text("[render]\nsample = 3\n", encoding="utf-8")
    assert cli.main(words.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert re.search(said.replace("?", r"\?"), captured.err)


@pytest.mark.parametrize("words", ["verify nowhere", "blender install --version 3.6.0", "plan room.blend --blender x"])
def test_what_cannot_be_done_is_one_sentence_and_exit_code_1(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scene(tmp_path, "room")
    assert cli.main(words.split()) == 1
    assert re.fullmatch(r"blendset: .*; .*\.\n", capsys.readouterr().err)


def test_debug_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "nowhere", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert re.fullmatch(r"blendset \d+\.\d+\.\d+\n", capsys.readouterr().out)


# --- scenes ---


def test_folders_and_patterns_name_each_scene_once(tmp_path: Path) -> None:
    (tmp_path / "more [1]").mkdir()
    for name in ("b", "a", "more [1]/c {x}"):
        scene(tmp_path, name)
    (tmp_path / "a.blend1").write_text("a backup", encoding="utf-8")
    words = [str(tmp_path / "more [1]" / "c {x}.blend"), str(tmp_path), str(tmp_path / "*.blend")]
    assert [path.name for path in find_scenes(words)] == ["c {x}.blend", "a.blend", "b.blend"]


# --- plan, render, verify ---


@pytest.mark.usefixtures("stubbed")
def test_render_then_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "data")
    assert cli.main(["render", scene(tmp_path, "room"), scene(tmp_path, "hall", views=12), "--out", out]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].split() == ["scene", "status", "views", "passed", "seconds", "reason"]
    assert captured.out.splitlines()[2].split()[1:4] == ["done", "12/12", "12"]
    assert "room: planned 3 views of 3 subjects" in captured.err
    assert "hall: 12/12 views/hall-" in captured.err
    assert cli.main(["verify", out]) == 0
    assert capsys.readouterr().out == "15 views are sound, 0 problems\n"


@pytest.mark.usefixtures("stubbed")
def test_verify_names_a_damaged_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data"
    cli.main(["render", scene(tmp_path, "room"), "--out", str(out)])
    picture = next(out.rglob("rgb.png"))
    picture.write_bytes(picture.read_bytes()[:-5])
    capsys.readouterr()
    assert cli.main(["verify", str(out), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["views"], [problem["path"] for problem in report["problems"]]) == (2, [str(picture)])
    assert cli.main(["render", scene(tmp_path, "room"), "--out", str(out)]) == 0
    assert cli.main(["verify", str(out)]) == 0


@pytest.mark.usefixtures("stubbed")
def test_a_failed_scene_is_exit_code_1_with_its_reason_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [scene(tmp_path, "bad", broken="bad.blend is truncated; save it again."), scene(tmp_path, "room")]
    assert cli.main(["render", *words, "--out", str(tmp_path / "data")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("bad.blend is truncated; save it again")
    assert lines[2].split()[1] == "done"


@pytest.mark.usefixtures("stubbed")
@pytest.mark.parametrize(("why", "code"), [("losses", 3), ("limit", 0)])
def test_views_that_failed_are_exit_code_3_and_a_limit_is_0(
    why: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, plan = [scene(tmp_path, "city", **{why: "3 of 8 views: ..."})], tmp_path / "plan.json"
    assert cli.main(["render", *words, "--out", str(tmp_path / "data")]) == code
    assert capsys.readouterr().out.splitlines()[1].endswith("3 of 8 views: ...")
    assert cli.main(["plan", *words, "--out", str(plan)]) == code and plan.exists()


@pytest.mark.usefixtures("stubbed")
def test_plan_prints_the_notes_of_render(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = scene(tmp_path, "room")
    cli.main(["plan", path, "--preset", "blendset", "--preset", "random"])
    cli.main(["render", path, "--out", str(tmp_path / "data")])
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.endswith("room.blend: a texture is missing") for line in lines) == 2


@pytest.mark.usefixtures("stubbed")
def test_the_last_words_of_a_dead_blender_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "jobs.toml").write_text("[jobs]\nretries = 0\n", encoding="utf-8")
    path = scene(tmp_path, "room", fatal={"0": -1}, says="Segfault in foo()")
    assert cli.main(["render", path, "--out", str(tmp_path / "data"), "--config", str(tmp_path / "jobs.toml")]) == 1
    assert "Segfault in foo()" in capsys.readouterr().err


@pytest.mark.usefixtures("stubbed")
def test_json_is_one_document_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["render", scene(tmp_path, "room"), "--out", str(tmp_path / "data"), "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["scenes"][0]["status"], summary["scenes"][0]["views"], summary["cancelled"]) == ("done", 3, False)
    assert captured.err == ""


@pytest.mark.usefixtures("stubbed")
def test_plan_compares_presets_and_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = scene(tmp_path, "room")
    assert cli.main(["plan", path, "--preset", "blendset", "--preset", "random"]) == 0
    rows = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["", "room blendset", "room random"]
    assert ["candidates", "37", "37"] in rows
    assert ["blocked", "30", "30"] in rows
    assert rows[-1] == ["views", "3", "3"]
    assert [each.name for each in tmp_path.iterdir()] == ["room.blend"]


@pytest.mark.usefixtures("stubbed")
def test_plan_keeps_its_plan_when_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new folder" / "plan.json"
    assert cli.main(["plan", scene(tmp_path, "room"), "--out", str(out), "--json"]) == 0
    assert len(json.loads(out.read_text(encoding="utf-8"))["views"]) == 3
    assert json.loads(capsys.readouterr().out)[0]["scenes"][0]["funnel"]["blocked"] == 30


def start_run(folder: Path) -> subprocess.Popen[str]:
    """A command that renders fifty views into `data`, after its third."""
    path, out = scene(folder, "room", views=50, seconds=0.1), folder / "data"
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_cli import cli, stub_command, worker\n"
        "worker.find_worker = lambda choice: stub_command\n"
        f"sys.exit(cli.main(['render', {path!r}, '--out', {str(out)!r}]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for_views(out, 3)
    return process


def wait_for_views(out: Path, count: int) -> None:
    while len(list(out.rglob("view.json"))) < count:
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="interrupts by POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_its_children_and_says_how_far_it_came(tmp_path: Path, how: int) -> None:
    with in_foreground():
        process = start_run(tmp_path)
    process.send_signal(how)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert re.search(r"partial +\d+/50 .*cancelled", printed)
    assert cli.main(["verify", str(tmp_path / "data")]) == 0


@pytest.mark.usefixtures("stubbed")
def test_ctrl_c_waits_for_the_end_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of one it would leave a scene that nobody closes. Here all views are there already."""
    handle = Supervisor._handle_death

    def interrupt_and_handle(supervisor: Supervisor, child: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return handle(supervisor, child)

    monkeypatch.setattr(Supervisor, "_handle_death", interrupt_and_handle)
    with in_foreground():
        assert cli.main(["render", scene(tmp_path, "room"), "--out", str(tmp_path / "data")]) == 0


@pytest.mark.skipif(os.name == "nt", reason="interrupts by POSIX signals")
def test_ctrl_c_is_not_for_a_run_in_the_background(tmp_path: Path) -> None:
    with in_background():
        process = start_run(tmp_path)
    process.send_signal(signal.SIGINT)
    wait_for_views(tmp_path / "data", 5)
    process.terminate()
    assert process.wait(timeout=20) == 130


@pytest.mark.parametrize(("chosen", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_of_torch_wait_without_spinning(chosen: str | None, used: str) -> None:
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for module in ("blendset_trainer.cli.main", "blendset_trainer.stages.executors.processes"):
        script = f"import {module}, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
        environment = others | ({"OMP_WAIT_POLICY": chosen} if chosen else {})
        done = subprocess.run([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        assert done.stdout == f"{used} False\n"
