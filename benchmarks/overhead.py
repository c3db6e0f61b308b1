# SPDX-License-Identifier: Apache-2.0
"""Where a run's time goes beside Cycles' own rendering, and whether its memory stays flat: many views in one child.

.venv/bin/python benchmarks/overhead.py [SCENE.blend] [--blender PATH] [--views 200]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from report import find_addon_zip, find_scenes, format_table, write_results

from blendset.config import CameraSettings, Config, RenderSettings
from blendset.jobs.blenders import find_blender, install_profile, make_worker_command
from blendset.jobs.child import WorkerCommand
from blendset.jobs.messages import (
    CamerasScreened,
    Event,
    SceneOpened,
    ScenePlanned,
    ViewRendered,
    WorkerReady,
)
from blendset.jobs.protocol import EventReader
from blendset.jobs.supervisor import Supervisor

Kind = TypeVar("Kind", bound=Event)
EARLY_VIEW = 20
"""Memory at the end is compared with memory at this view, when all caches are warm."""


@dataclass
class WatchedRun:
    """Everything that the one child said, and its memory in MiB after each view."""

    started: float
    events: list[Event] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    ended: float = 0.0

    def find(self, kind: type[Kind]) -> Kind:
        """The first event of a kind."""
        return self.find_all(kind)[0]

    def find_all(self, kind: type[Kind]) -> list[Kind]:
        """All events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    scene = find_scenes(options.scene)[0]
    config = Config(
        cameras=CameraSettings(views=options.views, per_subject=12),  # or its subjects would not give so many
        render=RenderSettings(resolution=options.resolution, samples=options.samples),
    )
    blender = find_blender(options.blender, os.environ)
    profile = install_profile(blender, find_addon_zip())
    with tempfile.TemporaryDirectory(prefix="blendset-overhead-") as folder:
        run = watch_run(
            scene, Path(folder) / "dataset", config, lambda *files: make_worker_command(blender, profile, *files)
        )
    seconds, views = split_seconds(run), len(run.find_all(ViewRendered))
    total = sum(seconds.values())
    memory = {f"view {number}": run.memory[number - 1] for number in (EARLY_VIEW, views) if 0 < number <= views}
    settings = {"resolution": options.resolution, "samples": options.samples, "views": views}
    write_results("overhead", {"scene": scene.stem, **settings, "seconds": seconds, "memory_mib": memory})
    print(f"{scene.stem}, {views} views of {options.resolution} px, {options.samples} samples, {total:.0f} s\n")
    rows = [
        (name, f"{each:.1f}", f"{each / total:.1%}", f"{1000 * each / max(views, 1):.0f}")
        for name, each in seconds.items()
    ]
    print(format_table(("part", "seconds", "share", "ms per view"), rows))
    print("\nResident memory: " + ", ".join(f"{mib:.0f} MiB at {view}" for view, mib in memory.items()))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", nargs="*", type=Path, metavar="SCENE.blend")
    parser.add_argument("--blender", help="a Blender, or a Python that has bpy")
    for name, value in (("views", 200), ("resolution", 256), ("samples", 32)):
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N")
    return parser.parse_args()


def watch_run(scene: Path, root: Path, config: Config, command: WorkerCommand) -> WatchedRun:
    """Run the supervisor as the command line does and listen to its child's events."""
    readers: list[EventReader] = []

    def make_watched_command(job: Path, events: Path) -> tuple[list[str], dict[str, str]]:
        readers.append(EventReader(events))
        return command(job, events)

    run = WatchedRun(time.time())
    with Supervisor([scene], root, config, make_watched_command) as supervisor:
        while not supervisor.finished:
            supervisor.step()
            for event in (event for reader in readers for event in reader.poll()):
                run.events.append(event)
                if isinstance(event, ViewRendered):
                    run.memory.append(read_resident_mib(run.find(WorkerReady).pid))
            time.sleep(0.02)
    run.ended = time.time()
    if len(readers) != 1 or not run.find_all(ViewRendered):
        raise SystemExit(f"The run did not go through in one child: {supervisor.summarize()}")
    return run


def read_resident_mib(pid: int) -> float:
    """Memory that a process holds now; 0 where the system has no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def split_seconds(run: WatchedRun) -> dict[str, float]:
    """Seconds by part; together they are the run's wall time. Opening the session counts as previews."""
    views = run.find_all(ViewRendered)
    cycles = sum(view.cycles_seconds for view in views)
    known = {
        "Cycles, finished views": cycles,
        "previews": run.find(ScenePlanned).time - run.find(CamerasScreened).time,
        "start-up and opening": run.find(SceneOpened).time - run.started,
        "screening": run.find(CamerasScreened).seconds,
        "measuring and writing": sum(view.seconds for view in views) - cycles,
    }
    return known | {"the rest": run.ended - run.started - sum(known.values())}


if __name__ == "__main__":
    main()
