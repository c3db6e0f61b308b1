# SPDX-License-Identifier: Apache-2.0
"""Plans the cameras of scenes in Blender without rendering them, with one configuration after another."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from blendset.config import Config
from blendset.jobs.child import WorkerCommand
from blendset.jobs.scenes import Summary
from blendset.jobs.supervisor import Supervisor


def plan_scenes(
    scenes: Sequence[Path],
    configs: Sequence[Config],
    command: WorkerCommand,
    run: Callable[[Supervisor], Summary],
    out: Path | None = None,
    previews: bool = False,
) -> list[Summary]:
    """Plan the cameras of all scenes with each configuration; return a summary per configuration.

    `command` starts a Blender, `run` runs a supervisor to its end. With `previews`, light is judged by small renders.
    `out` is where the plan of the first scene goes, with the first configuration. A cancelled run is the last one of
    the list; then nothing is written.
    """
    summaries: list[Summary] = []
    with tempfile.TemporaryDirectory(prefix="blendset-") as folder:
        for number, config in enumerate(configs):
            root = Path(folder) / f"plan-{number}"
            supervisor = Supervisor(scenes, root, config, command, render=False, previews=previews)
            summaries.append(run(supervisor))
            if summaries[-1].cancelled:
                return summaries
        if out and summaries[0].done:
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(supervisor.dataset.plan_path(summaries[0].scenes[0].run), out)
    return summaries
