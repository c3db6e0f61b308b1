# SPDX-License-Identifier: Apache-2.0
"""Runs a supervisor of Blenders to its end, and reports on the way."""

from __future__ import annotations

import time
from collections.abc import Callable

from blendset.jobs.scenes import Summary
from blendset.jobs.supervisor import Supervisor, Update
from blendset_trainer.api.progress import OnProgress
from blendset_trainer.api.stopping import catch_stop_signals

_STEP_S = 0.05
"""Between steps of a supervisor."""

OnUpdate = Callable[[Update], None]
"""Called with each thing that happens to a scene: it was opened, planned, a view was rendered, it ended."""


def ignore_update(update: Update) -> None:
    """Do nothing: the default of `on_update`."""


def run_supervisor(supervisor: Supervisor, on_progress: OnProgress, on_update: OnUpdate) -> Summary:
    """Run a supervisor to its end, close it and return its summary.

    `on_progress` gets the last update as a line, and how many views of all scenes are in the dataset. Ctrl-C cancels
    the run between two steps: its Blenders end, and the summary says how far it came.
    """
    with supervisor, catch_stop_signals() as stop_requested:
        while not supervisor.finished:
            if stop_requested():
                supervisor.cancel()
            for update in supervisor.step():
                on_update(update)
                on_progress(format_update(update), supervisor.done, supervisor.total)
            time.sleep(_STEP_S)
    return supervisor.summarize()


def format_update(update: Update) -> str:
    """Return an update as one line: the scene's name, and what happened."""
    return f"{update.scene.stem}: {update.text}"
