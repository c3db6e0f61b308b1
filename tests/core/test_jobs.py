# SPDX-License-Identifier: Apache-2.0
"""Jobs as their users meet them: scenes that end, break, hang and die, workers that are shared, killed and resumed.

The workers are real processes that write real views; only Blender is not in them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from blendset.config import CameraSettings, Config, JobSettings, RenderSettings
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.jobs.child import explain_exit
from blendset.jobs.messages import (
    Command,
    Job,
    PlanScene,
    Progress,
    Quit,
    RenderViews,
    ViewRendered,
    WorkerIdle,
    command_from_dict,
    command_to_dict,
    event_from_dict,
)
from blendset.jobs.protocol import EventReader, EventWriter, read_job, write_job
from blendset.jobs.scenes import Summary
from blendset.jobs.supervisor import BATCH, Shard, Supervisor, Update, parse_shard
from blendset.records import ViewRecord, read_record, to_plain
from blendset.verification import verify_dataset
from tests.processes import is_running
from tests.real_runs import contents

STUB = Path(__file__).with_name("stub_worker.py")
posix_only = pytest.mark.skipif(os.name == "nt", reason="ends processes by POSIX signals")


def stub_command(job: Path, events: Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, str(STUB), "work", "--job", str(job), "--events", str(events)], dict(os.environ)


def scene(folder: Path, name: str, **wanted: Any) -> Path:
    """A scene file that the stub worker obeys."""
    path = folder / f"{name}.blend"
    path.write_text(json.dumps({"name": name, "views": 0} | wanted), encoding="utf-8")
    return path


def config(**jobs: Any) -> Config:
    return Config(cameras=CameraSettings(views=20), jobs=JobSettings(**jobs))


def finish(
    supervisor: Supervisor, watch: Callable[[Update], None] = lambda update: None, seconds: float = 60
) -> Summary:
    """Step to the end, as the command line does."""
    until = time.monotonic() + seconds
    with supervisor:
        while not supervisor.finished:
            for update in supervisor.step():
                watch(update)
            assert time.monotonic() < until, "the run does not end"
            time.sleep(0.005)
    return supervisor.summarize()


def render(scenes: list[Path], out: Path, settings: Config | None = None, **options: Any) -> Summary:
    return finish(Supervisor(scenes, out, settings or config(), stub_command, **options))


def assert_sound(root: Path, views: int) -> None:
    report = verify_dataset(Dataset(root))
    assert (report.views, report.problems) == (views, ())


def pids_of(supervisor: Supervisor, update: Update) -> list[int]:
    """The process that rendered a view, as the stub leaves it in the record; none for other updates."""
    if not isinstance(update.event, ViewRendered):
        return []
    record = read_record(supervisor.dataset.root / update.event.path / "view.json", ViewRecord)
    return [int(record.timings["pid"])]


# --- what supervisor and worker say to each other ---


def test_events_arrive_once_and_a_half_written_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reader = EventReader(path)
    assert reader.poll() == []
    writer = EventWriter(path)
    writer.emit(Progress(what="opening", done=1, total=2, text="Küche {1}"))
    with path.open("ab") as file:
        file.write(b'{"event": "id')
    assert [event.text for event in reader.poll() if isinstance(event, Progress)] == ["Küche {1}"]
    assert reader.poll() == []
    with path.open("ab") as file:
        file.write(b'le"}\n')
    assert reader.poll() == [WorkerIdle()]


def test_the_lines_between_processes_keep_their_form(tmp_path: Path) -> None:
    rendered = ViewRendered(
        view="chair-1", index=3, path="views/room/chair-1", seconds=1.5, cycles_seconds=1.0, passed=False,
        failed_checks=("dark",),
    )  # fmt: skip
    EventWriter(tmp_path / "events.jsonl").emit(rendered)
    line = json.loads((tmp_path / "events.jsonl").read_text(encoding="utf-8"))
    assert list(line)[:2] == ["event", "time"] and line.pop("time") > 0
    assert line == {
        "event": "view", "view": "chair-1", "index": 3, "path": "views/room/chair-1", "seconds": 1.5,
        "cycles_seconds": 1.0, "passed": False, "failed_checks": ["dark"],
    }  # fmt: skip
    commands: tuple[Command, ...] = (PlanScene(previews=False), RenderViews(("chair-1",)), Quit())
    lines = [json.loads(json.dumps(command_to_dict(command))) for command in commands]
    assert lines == [{"do": "plan", "previews": False}, {"do": "render", "views": ["chair-1"]}, {"do": "quit"}]
    assert tuple(map(command_from_dict, lines)) == commands
    assert event_from_dict({"event": "of a later version"}) is None
    with pytest.raises(RuntimeError, match="unknown command 'dance'"):
        command_from_dict({"do": "dance"})


def test_a_job_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    job = Job(scene_path="a.blend", opened_path="b.blend", sha256="", dataset="", config={}, plan=None, run=None)
    write_job(path, job)
    assert read_job(path) == job
    older = {name: value for name, value in json.loads(path.read_bytes()).items() if not name.startswith("slot")}
    path.write_text(json.dumps(older), encoding="utf-8")
    assert (read_job(path).slot, read_job(path).slots) == (0, 1)
    path.write_text('{"protocol": 99}', encoding="utf-8")
    with pytest.raises(BlendsetError, match="another version of Blendset; install"):
        read_job(path)


@pytest.mark.parametrize(
    ("code", "output", "said"),
    [
        (1, "Error: System is out of GPU memory", "out of GPU memory"),
        (1, "CUDA error: Out of memory in cuMemAlloc_v2(&device_pointer, size)", "out of GPU memory"),
        (1, "HIP_ERROR hipErrorOutOfMemory", "out of GPU memory"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", "ran out of memory"),
        (-9, "", "want of memory"),
        (-11, "Writing: /tmp/scene.crash.txt", "signal SIGSEGV"),
        (127, "error while loading shared libraries: libXi.so.6: cannot open shared object file", "lacks libXi.so.6"),
        (0xC0000005, "", "0xc0000005"),
        (3, "", "exit code 3"),
    ],
)
def test_a_death_is_explained(code: int, output: str, said: str) -> None:
    assert said in explain_exit(code, output)


# --- runs that go well ---


def test_scenes_become_a_verified_dataset(tmp_path: Path) -> None:
    scenes = [scene(tmp_path, "kitchen", views=12), scene(tmp_path, "a room {1} ü", views=3)]
    summary = render(scenes, tmp_path / "out")
    assert_sound(tmp_path / "out", 15)
    assert summary.done
    assert [(each.status, each.views, each.passed) for each in summary.scenes] == [("done", 12, 12), ("done", 3, 3)]
    assert summary.scenes[0].notes == ("a texture is missing",)
    assert summary.scenes[0].funnel == {"candidates": 46, "blocked": 30, "too little in frame": 4, "accepted": 12}
    assert len((tmp_path / "out/metadata.jsonl").read_text(encoding="utf-8").splitlines()) == 15
    assert Dataset(tmp_path / "out").record.sources == ("a room {1} ü.blend", "kitchen.blend")


def test_a_second_run_renders_nothing_and_tells_the_same(tmp_path: Path) -> None:
    path = scene(tmp_path, "kitchen", views=12)
    first = render([path], tmp_path / "out")
    updates: list[Update] = []
    again = finish(Supervisor([path], tmp_path / "out", config(), stub_command), updates.append)
    assert [update.kind for update in updates] == ["opened", "planned", "ended"]
    assert replace(again.scenes[0], seconds=0) == replace(first.scenes[0], seconds=0)


def test_workers_share_one_scene_and_the_dataset_is_the_same(tmp_path: Path) -> None:
    path = scene(tmp_path, "hall", views=5 * BATCH, seconds=0.03)
    render([path], tmp_path / "one")
    pids: list[int] = []
    supervisor = Supervisor([path], tmp_path / "two", config(workers=2), stub_command)
    finish(supervisor, lambda update: pids.extend(pids_of(supervisor, update)))
    assert len(set(pids)) == 2
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_free_workers_take_other_scenes_before_they_help(tmp_path: Path) -> None:
    scenes = [scene(tmp_path, f"scene{n}", views=3 * BATCH, seconds=0.02) for n in range(3)]
    opened: list[str] = []
    supervisor = Supervisor(scenes, tmp_path / "out", config(workers=2), stub_command)
    finish(supervisor, lambda update: opened.append(update.scene.stem) if update.kind == "opened" else None)
    assert sorted(opened[:3]) == ["scene0", "scene1", "scene2"]


def test_a_child_is_replaced_after_its_share_of_views(tmp_path: Path) -> None:
    pids: list[int] = []
    supervisor = Supervisor(
        [scene(tmp_path, "hall", views=25)], tmp_path / "out", config(views_per_child=10), stub_command
    )
    finish(supervisor, lambda update: pids.extend(pids_of(supervisor, update)))
    assert sorted(pids.count(pid) for pid in set(pids)) == [5, 10, 10]


def test_workers_have_numbers_and_a_new_one_takes_the_number_of_the_one_before(tmp_path: Path) -> None:
    """So that each has a device of its own: two that live at the same time never share a number."""
    path = scene(tmp_path, "hall", views=6 * BATCH, seconds=0.01, fatal={"9": 1, "30": 1})
    lives: dict[tuple[int, int], list[float]] = {}
    supervisor = Supervisor([path], tmp_path / "out", config(workers=3, views_per_child=BATCH), stub_command)

    def note(update: Update) -> None:
        if isinstance(update.event, ViewRendered):
            record = read_record(supervisor.dataset.root / update.event.path / "view.json", ViewRecord)
            lives.setdefault((int(record.timings["slot"]), int(record.timings["pid"])), []).append(update.event.time)

    finish(supervisor, note)
    assert {slot for slot, _ in lives} == {0, 1, 2}
    assert len(lives) > 5
    for slot in range(3):
        spans = sorted((min(times), max(times)) for (number, _), times in lives.items() if number == slot)
        assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_planning_alone_renders_nothing(tmp_path: Path) -> None:
    summary = render([scene(tmp_path, "hall", views=25)], tmp_path / "out", render=False, previews=False)
    assert (summary.done, summary.scenes[0].planned, summary.scenes[0].views) == (True, 25, 0)
    assert Dataset(tmp_path / "out").plan_path(summary.scenes[0].run).exists()
    assert not (tmp_path / "out/views").exists()


def test_pause_gives_out_no_more_work(tmp_path: Path) -> None:
    supervisor = Supervisor([scene(tmp_path, "hall", views=4 * BATCH)], tmp_path / "out", config(), stub_command)
    with supervisor:
        while supervisor.done == 0:
            supervisor.step()
        supervisor.pause()
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            supervisor.step()
        rested = supervisor.done
        assert rested <= 2 * BATCH
        supervisor.resume()
        finish(supervisor)
    assert_sound(tmp_path / "out", 4 * BATCH)


# --- scenes that fail ---


def test_one_broken_scene_does_not_stop_the_others(tmp_path: Path) -> None:
    broken = scene(tmp_path, "old", broken="old.blend is truncated; save it again.")
    summary = render([broken, scene(tmp_path, "kitchen", views=3)], tmp_path / "out")
    assert [each.status for each in summary.scenes] == ["failed", "done"]
    assert summary.scenes[0].reason == "old.blend is truncated; save it again"
    assert not summary.done
    assert_sound(tmp_path / "out", 3)


def test_a_scene_without_a_good_camera_names_the_last_gate_and_its_setting(tmp_path: Path) -> None:
    summary = render([scene(tmp_path, "cell", views=0)], tmp_path / "out")
    assert summary.scenes[0].status == "failed" and not summary.sound
    assert summary.scenes[0].reason == (
        "the last 4 of 34 cameras failed at the ray grid (4 too little in frame); lower gates.subject_share_min, or "
        "raise cameras.fill"
    )


def test_a_child_that_fails_before_its_first_command_is_not_spoken_to(tmp_path: Path) -> None:
    path = scene(tmp_path, "kitchen", views=3, refused="plan.json was made for another scene; plan this one.")
    summary = render([path], tmp_path / "out")
    assert summary.scenes[0].reason == "plan.json was made for another scene; plan this one"


def test_previews_that_cost_views_leave_a_scene_incomplete_and_a_limit_does_not(tmp_path: Path) -> None:
    losses, limit = "2 of 20 views: 9 previews failed (9 flat); add a lamp", "3 of 20 views: cameras.per_subject = 3"
    scenes = [scene(tmp_path, "city", views=2, losses=losses), scene(tmp_path, "statue", views=3, limit=limit)]
    summary = render(scenes, tmp_path / "out")
    assert [(each.status, each.reason) for each in summary.scenes] == [("partial", losses), ("done", limit)]
    assert not summary.done and summary.sound
    planned = render(scenes, tmp_path / "plans", render=False)
    assert [each.status for each in planned.scenes] == ["partial", "done"]


def test_finished_views_that_fail_their_checks_are_missing_unless_the_preset_renders_all(tmp_path: Path) -> None:
    path = scene(tmp_path, "kitchen", views=4, flat=[1, 2])
    judged = render([path], tmp_path / "out").scenes[0]
    assert (judged.status, judged.views, judged.passed) == ("partial", 4, 2)
    assert judged.reason.startswith("2 of 4 views fail their checks (2 flat)")
    published = replace(config(), cameras=CameraSettings(views=20, preset="blendfusion"))
    assert render([path], tmp_path / "published", published).scenes[0].status == "done"


def test_the_costs_are_told_before_the_first_view_and_a_full_disk_too(tmp_path: Path) -> None:
    updates: list[Update] = []
    path = scene(tmp_path, "kitchen", views=2, bytes=10**18)
    summary = finish(Supervisor([path], tmp_path / "out", config(), stub_command), updates.append)
    [planned] = [update.text for update in updates if update.kind == "planned"]
    assert "1,000,000,000.0 GB" in planned
    assert any("free some space" in note for note in summary.scenes[0].notes)


def test_a_crash_is_followed_by_a_fresh_start_where_it_left_off(tmp_path: Path) -> None:
    path = scene(tmp_path, "kitchen", views=12, fatal={"3": 1, "9": 2})
    updates: list[Update] = []
    summary = finish(Supervisor([path], tmp_path / "out", config(), stub_command), updates.append)
    assert [update.kind for update in updates].count("restarted") == 3
    assert [update.event.index for update in updates if isinstance(update.event, ViewRendered)].count(2) == 1
    assert (summary.done, summary.scenes[0].views) == (True, 12)
    assert_sound(tmp_path / "out", 12)


def test_a_view_that_outlived_its_blender_is_not_rendered_again(tmp_path: Path) -> None:
    path = scene(tmp_path, "kitchen", views=12, fatal={"9 written": 1})
    summary = render([path], tmp_path / "out")
    assert (summary.done, summary.scenes[0].views, summary.scenes[0].passed) == (True, 12, 12)
    assert_sound(tmp_path / "out", 12)


@posix_only
def test_a_view_that_always_kills_blender_costs_only_itself(tmp_path: Path) -> None:
    path = scene(tmp_path, "kitchen", views=12, fatal={"3": -1}, says="Segfault in foo()")
    summary = render([path], tmp_path / "out", config(retries=1))
    only = summary.scenes[0]
    assert (only.status, only.views, only.planned) == ("partial", 11, 12)
    assert only.reason == "Blender crashed (signal SIGABRT)"
    assert "Segfault in foo()" in only.log
    assert_sound(tmp_path / "out", 11)


def test_a_silent_child_is_ended(tmp_path: Path) -> None:
    path = scene(tmp_path, "kitchen", views=3, silent=[1])
    summary = render([path], tmp_path / "out", config(timeout_s=1, retries=0))
    assert (summary.scenes[0].status, summary.scenes[0].views) == ("partial", 1)
    assert "no sign of life for 1 seconds" in summary.scenes[0].reason


def test_a_blender_without_the_addon_fails_the_scene(tmp_path: Path) -> None:
    def bare(job: Path, events: Path) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-c", "raise SystemExit('Unrecognized command: \"blendset\"')"], dict(os.environ)

    summary = finish(Supervisor([scene(tmp_path, "kitchen")], tmp_path / "out", config(retries=1), bare))
    assert "enable the add-on" in summary.scenes[0].reason


def test_a_program_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    supervisor = Supervisor(
        [scene(tmp_path, "kitchen")], tmp_path / "out", config(), lambda job, events: (["/no/blender"], {})
    )
    with pytest.raises(BlendsetError, match="Blender cannot be started"):
        finish(supervisor)


def test_other_render_settings_are_refused(tmp_path: Path) -> None:
    path = scene(tmp_path, "kitchen", views=3)
    render([path], tmp_path / "out")
    other = replace(config(), render=RenderSettings(samples=7))
    with pytest.raises(BlendsetError, match="samples"):
        Supervisor([path], tmp_path / "out", other, stub_command)
    render([path], tmp_path / "out", other, mix_settings=True)


# --- parts of a run ---


def test_shards_of_few_scenes_share_the_views(tmp_path: Path) -> None:
    scenes = [scene(tmp_path, "kitchen", views=11), scene(tmp_path, "hall", views=4)]
    counts = [render(scenes, tmp_path / "out", shard=Shard(n, 3)).scenes for n in (1, 2, 3)]
    assert [[each.views for each in part] for part in counts] == [[4, 2], [4, 1], [3, 1]]
    render(scenes, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_shards_of_many_scenes_share_the_scenes(tmp_path: Path) -> None:
    scenes = [scene(tmp_path, f"scene{n}", views=2) for n in range(5)]
    parts = [render(scenes, tmp_path / "out", shard=Shard(n, 2)).scenes for n in (1, 2)]
    assert [[Path(each.scene).stem for each in part] for part in parts] == [
        ["scene0", "scene2", "scene4"],
        ["scene1", "scene3"],
    ]
    assert_sound(tmp_path / "out", 10)


def test_the_same_shard_twice_at_once_is_refused(tmp_path: Path) -> None:
    path = scene(tmp_path, "kitchen", views=4)
    with Supervisor([path], tmp_path / "out", config(), stub_command, shard=Shard(1, 2)):
        with pytest.raises(BlendsetError, match="Shard 1/2 is already running"):
            Supervisor([path], tmp_path / "out", config(), stub_command, shard=Shard(1, 2))
        render([path], tmp_path / "out", shard=Shard(2, 2))
    render([path], tmp_path / "out", shard=Shard(1, 2))
    assert_sound(tmp_path / "out", 4)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "-1/2", "1/"])
def test_a_wrong_shard_is_explained(text: str) -> None:
    with pytest.raises(BlendsetError, match="must be I/N"):
        parse_shard(text)


# --- cancelled and killed ---


def test_cancel_ends_at_once_and_the_next_run_completes(tmp_path: Path) -> None:
    scenes = [scene(tmp_path, "kitchen", views=12, seconds=0.1), scene(tmp_path, "hall", views=2)]
    supervisor = Supervisor(scenes, tmp_path / "out", config(), stub_command)
    with supervisor:
        while supervisor.done < 2:
            supervisor.step()
        supervisor.cancel()
        started = time.monotonic()
        summary = finish(supervisor)
    assert time.monotonic() - started < 1
    assert summary.cancelled
    assert [(each.status, each.reason) for each in summary.scenes] == [
        ("partial", "cancelled"),
        ("failed", "cancelled"),
    ]
    assert_sound(tmp_path / "out", summary.scenes[0].views)
    assert render(scenes, tmp_path / "out").done
    assert_sound(tmp_path / "out", 14)


@posix_only
def test_a_child_killed_at_random_moments_leaves_a_whole_dataset(tmp_path: Path) -> None:
    path = scene(tmp_path, "hall", views=30, seconds=0.01)
    render([path], tmp_path / "calm")
    supervisor = Supervisor([path], tmp_path / "out", config(retries=100), stub_command)
    chance = random.Random(0)
    next_kill = time.monotonic() + 0.4
    with supervisor:
        while not supervisor.finished:
            supervisor.step()
            if time.monotonic() > next_kill:
                for pid in supervisor.pids:
                    os.kill(pid, signal.SIGKILL)
                next_kill = time.monotonic() + chance.uniform(0.3, 0.8)
            time.sleep(0.005)
    assert supervisor.summarize().done
    assert contents(tmp_path / "out") == contents(tmp_path / "calm")


@posix_only
def test_a_killed_supervisor_leaves_no_second_writer_and_the_next_run_completes(tmp_path: Path) -> None:
    path = scene(tmp_path, "hall", views=20, seconds=0.05)
    render([path], tmp_path / "calm")
    script = tmp_path / "supervise.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(STUB.parent)!r})\n"
        "from pathlib import Path\n"
        "from test_jobs import Supervisor, config, finish, stub_command\n"
        f"s = Supervisor([Path({str(path)!r})], Path({str(tmp_path / 'out')!r}), config(workers=2), stub_command)\n"
        "finish(s, lambda update: print(*s.pids, flush=True))\n",
        encoding="utf-8",
    )
    chance = random.Random(1)
    for _ in range(3):
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        children: set[int] = set()
        for line in process.stdout:
            children |= {int(word) for word in line.split()}
            if chance.random() < 0.3:
                break
        process.kill()
        process.wait()
        until = time.monotonic() + 2
        while any(is_running(pid) for pid in children):
            assert time.monotonic() < until, "a worker outlived its supervisor"
            time.sleep(0.01)
    render([path], tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "calm")


def test_summaries_are_plain_data(tmp_path: Path) -> None:
    assert to_plain(render([scene(tmp_path, "kitchen", views=1)], tmp_path / "out"))["scenes"][0]["views"] == 1
