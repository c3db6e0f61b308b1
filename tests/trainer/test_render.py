# SPDX-License-Identifier: Apache-2.0
"""`blendset render` with a real Blender, from a scene file to a dataset that others can load.

Every run here is what a person would type; the pictures are tiny.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blendset.dataset import PASSES, RGB, VIEW_RECORD, Dataset
from blendset.verification import verify_dataset
from tests.disks import mounted
from tests.real_runs import (
    assert_same,
    assert_sound,
    blendset,
    command,
    contents,
    require_blender,
    save_scene,
    settings,
)

VIEWS = 18
"""More than two batches, so that a second worker has something to do."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene, settings, and the dataset of an ordinary run, which no test changes."""
    require_blender()
    folder = tmp_path_factory.mktemp("desk")
    save_scene(folder / "room.blend")
    settings(folder / "small.toml", views=VIEWS)
    settings(folder / "short-lived.toml", views=VIEWS, views_per_child=8)
    render(folder, folder / "calm")
    return folder


def render(
    desk: Path, out: Path, *words: str | Path, config: str = "small.toml", code: int | None = 0
) -> subprocess.CompletedProcess[str]:
    return blendset("render", desk / "room.blend", "--out", out, "--config", desk / config, *words, code=code)


@pytest.fixture
def copy(desk: Path, tmp_path: Path) -> Path:
    """The dataset of an ordinary run, for a test to change."""
    return shutil.copytree(desk / "calm", tmp_path / "copy")


def moments(root: Path) -> dict[str, int]:
    """When each file of the views was last written."""
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in (root / "views").rglob("*.*")}


def rows(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (root / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


# --- what a run leaves ---


def test_the_dataset_is_sound(desk: Path) -> None:
    assert blendset("verify", desk / "calm").stdout == f"{VIEWS} views are sound, 0 problems\n"
    assert_sound(desk / "calm", VIEWS)


def test_load_dataset_reads_it(desk: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(desk / "calm"), cache_dir=str(tmp_path))
    assert list(loaded) == ["train"]
    records = {view.view_id: view for view in Dataset(desk / "calm").views()}
    assert sorted(loaded["train"]["view_id"]) == sorted(records)
    for row in loaded["train"]:
        record = records[row["view_id"]]
        assert (row["rgb"].size, row["rgb"].mode) == ((48, 48), "RGB")
        assert len(set(row["rgb"].convert("L").tobytes())) > 20  # a picture of something
        assert (row["width"], row["fx"], row["cy"]) == (48, record.camera.fx, record.camera.cy)
        assert row["world_from_camera"] == list(record.camera.world_from_camera)
    assert {"red-box", "green-ball", "blue-cone"} <= set(loaded["train"]["subject"])


def test_the_same_command_again_renders_nothing(desk: Path, copy: Path) -> None:
    before = moments(copy)
    started = time.monotonic()
    again = render(desk, copy)
    assert f"{VIEWS} already there" in again.stderr
    assert moments(copy) == before
    assert_same(copy, desk / "calm")
    assert time.monotonic() - started < 20  # a start of Blender, on a busy machine


def test_another_seed_gives_other_views_beside_the_first(desk: Path, copy: Path) -> None:
    before = moments(copy)
    render(desk, copy, "--seed", "1")
    assert before.items() <= moments(copy).items()
    assert_sound(copy, 2 * VIEWS)
    places = {tuple(view.camera.world_from_camera) for view in Dataset(copy).views()}
    assert len(places) == 2 * VIEWS


# --- many hands ---


def test_two_workers_give_the_same_dataset(desk: Path, tmp_path: Path) -> None:
    render(desk, tmp_path / "out", "--workers", "2", config="short-lived.toml")
    assert_same(tmp_path / "out", desk / "calm")


@pytest.mark.skipif(sys.platform == "win32", reason="a process is put on hold by a POSIX signal")
def test_shards_share_a_folder_and_none_runs_twice_at_once(desk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words: list[str | Path] = ["render", desk / "room.blend", "--out", out, "--config", desk / "small.toml", "--shard"]
    shards = [
        subprocess.Popen(command(*words, f"{index}/2"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for index in (1, 2)
    ]
    try:
        assert shards[0].stdout is not None
        assert "opened" in shards[0].stdout.readline()  # it holds its lock by now; the file alone does not tell
        shards[0].send_signal(signal.SIGSTOP)
        refused = blendset(*words, "1/2", code=1)
        shards[0].send_signal(signal.SIGCONT)
        for shard in shards:
            said = shard.communicate(timeout=120)[0]
            assert shard.returncode == 0, said
            assert f"done    {VIEWS // 2}/{VIEWS // 2}" in said
    finally:
        for shard in shards:
            shard.kill()
    assert refused.stderr == (
        f"blendset: Shard 1/2 is already running in {out}; let it end or choose another folder.\n"
    )
    assert_same(out, desk / "calm")


# --- a plan that was looked at before ---


@pytest.fixture(scope="module")
def plan(desk: Path) -> Path:
    done = blendset("plan", desk / "room.blend", "--config", desk / "small.toml", "--out", desk / "plan.json")
    assert ["views", str(VIEWS)] in [line.split() for line in done.stdout.splitlines()]
    return desk / "plan.json"


@pytest.fixture(scope="module")
def planned(desk: Path, plan: Path) -> Path:
    """What `render --plan` made of the plan; its settings come with it."""
    done = blendset("render", desk / "room.blend", "--plan", plan, "--out", desk / "planned", code=None)
    assert done.returncode in (0, 3), done.stderr  # previews may turn down what planning found good
    return desk / "planned"


def test_a_plan_is_rendered_as_it_was_made(plan: Path, planned: Path) -> None:
    cameras = {view["view_id"]: view["camera"]["world_from_camera"] for view in json.loads(plan.read_text())["views"]}
    assert_sound(planned, len(rows(planned)))
    assert len(rows(planned)) > VIEWS / 2
    for row in rows(planned):
        assert row["world_from_camera"] == cameras[row["view_id"]]


def test_two_workers_render_a_plan_alike(desk: Path, plan: Path, planned: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["--plan", plan, "--config", desk / "short-lived.toml", "--workers", "2"]
    blendset("render", desk / "room.blend", *words, "--out", tmp_path / "out", code=None)
    assert_same(tmp_path / "out", planned)


# --- what goes wrong ---


def test_a_broken_scene_costs_only_itself(desk: Path, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    shutil.copy(desk / "room.blend", scenes / "b good.blend")
    (scenes / "a cut.blend").write_bytes((desk / "room.blend").read_bytes()[:9000])
    (scenes / "c letter.blend").write_text("Dear reader,")
    done = blendset("render", scenes, "--out", tmp_path / "out", "--config", desk / "small.toml", code=1)
    summary = {line.split(".blend")[0].rpartition("/")[2]: line for line in done.stdout.splitlines()[1:]}
    assert f"done    {VIEWS}/{VIEWS}" in summary["b good"]
    assert "failed  0/0" in summary["a cut"]
    assert "cannot be opened" in summary["a cut"]
    assert "c letter.blend is not a .blend file; give a scene saved by Blender" in summary["c letter"]
    assert "Traceback" not in done.stderr
    assert_sound(tmp_path / "out", VIEWS)


def test_a_folder_that_cannot_be_written_is_one_sentence(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear reader,")
    assert_one_sentence(render(desk, tmp_path / "letter" / "out", code=1).stderr, "letter/out")
    if os.name == "posix" and os.geteuid() != 0:
        (tmp_path / "sealed").mkdir(mode=0o555)
        assert_one_sentence(render(desk, tmp_path / "sealed", code=1).stderr, "sealed")


def assert_one_sentence(said: str, about: str) -> None:
    assert len(said.splitlines()) == 1, said
    assert said.startswith("blendset: ")
    assert about in said
    assert "; " in said  # what happened; what to do


@pytest.fixture
def small_disk(desk: Path, tmp_path: Path) -> Iterator[Path]:
    """A disk that all but half of the views fits on."""
    pages = {path: path.stat().st_size // 4096 + 1 for path in (desk / "calm").rglob("*")}
    size = 4096 * sum(count if "views" not in path.parts else count / 2 for path, count in pages.items())
    with mounted(tmp_path / "disk", round(size)) as disk:
        yield disk


def test_a_full_disk_is_one_sentence_and_finished_views_stay(desk: Path, small_disk: Path, tmp_path: Path) -> None:
    out = small_disk / "room"
    done = render(desk, out, code=1)
    line = done.stdout.splitlines()[1]
    assert "partial" in line
    assert "could not be written (No space left on device); free space on the disk" in line
    assert "Traceback" not in done.stderr
    finished = {name: said for name, said in contents_of_views(out).items() if name.endswith(VIEW_RECORD)}
    assert 0 < len(finished) < VIEWS
    calm = contents_of_views(desk / "calm")
    assert all(calm[name] == said for name, said in finished.items())
    report = verify_dataset(Dataset(out))
    assert {problem.path.name for problem in report.problems} <= {"metadata.jsonl"}
    shutil.copytree(out, tmp_path / "moved")
    render(desk, tmp_path / "moved")
    assert_same(tmp_path / "moved", desk / "calm")


def contents_of_views(root: Path) -> dict[str, object]:
    (root / "metadata.jsonl").touch()
    return {name: said for name, said in contents(root).items() if name.startswith("views/")}


def test_other_render_settings_are_refused(desk: Path, copy: Path) -> None:
    before = moments(copy)
    assert_one_sentence(render(desk, copy, "--resolution", "64", code=1).stderr, "resolution = 48 and this run has 64")
    assert_one_sentence(render(desk, copy, "--samples", "4", code=1).stderr, "samples = 2 and this run has 4")
    assert moments(copy) == before


def test_damage_is_found_and_mended_by_the_same_command(desk: Path, copy: Path) -> None:
    names = (RGB, PASSES, VIEW_RECORD)
    damaged = [copy / str(row["rgb_file_name"]) for row in rows(copy)[: len(names)]]
    damaged = [path.with_name(name) for path, name in zip(damaged, names, strict=True)]
    for path in damaged:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = blendset("verify", copy, code=1).stdout
    assert f"{VIEWS - len(names)} views are sound" in found
    assert all(str(path) in found for path in damaged)
    whole = {name: when for name, when in moments(copy).items() if copy / name not in damaged}
    render(desk, copy)
    assert_same(copy, desk / "calm")
    assert_sound(copy, VIEWS)
    untouched = {name: when for name, when in whole.items() if (copy / name).parent not in {p.parent for p in damaged}}
    assert untouched.items() <= moments(copy).items()
