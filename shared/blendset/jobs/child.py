# SPDX-License-Identifier: Apache-2.0
"""One Blender child: started, sent commands, polled and ended, without ever waiting for it.

What it prints goes to a file, whose end explains a death that no event reported.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from blendset.errors import BlendsetError
from blendset.jobs.blenders import NO_WINDOW, find_missing_library, make_temporary_variables
from blendset.jobs.messages import Command, Event, Job, command_to_dict
from blendset.jobs.protocol import EventReader, write_job

WorkerCommand = Callable[[Path, Path], tuple[list[str], dict[str, str]]]
"""From the files of job and events to a worker's command line and environment."""

TAIL_LINES = 40
_TAIL_BYTES = 64 * 1024
# Ctrl-C is the supervisor's to handle, so a child gets a process group of its own.
_OWN_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)

_DEATHS = (
    (r"out of gpu|out[ _]?of[ _]?memory",
     "ran out of GPU memory; lower --resolution, use --workers 1, or --device cpu"),
    (r"[mc]alloc returns null|bad_alloc|MemoryError", "ran out of memory; use --workers 1 or a machine with more"),
    (r"Unrecognized command", "does not know Blendset; enable the add-on in its preferences"),
)  # fmt: skip


class Child:
    """A running worker. `folder` keeps its job, events, log and temporary files."""

    def __init__(self, command: WorkerCommand, folder: Path, job: Job | None) -> None:
        events = folder / "events.jsonl"
        self._log = folder / "log.txt"
        self._reader = EventReader(events)
        self._sign_of_life = time.monotonic()
        try:
            folder.mkdir(parents=True)
            write_job(folder / "job.json", job)
            self._process = _start_process(*command(folder / "job.json", events), folder, self._log)
        except OSError as error:
            raise BlendsetError(
                f"Blender cannot be started ({error}); check its path and the space on disk."
            ) from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, command: Command) -> None:
        """Send a command; a child that is no longer there is noticed by `ended`."""
        assert self._process.stdin is not None
        self._sign_of_life = time.monotonic()
        with suppress(OSError):
            self._process.stdin.write(json.dumps(command_to_dict(command)).encode() + b"\n")
            self._process.stdin.flush()

    def poll(self) -> list[Event]:
        """Return what it has reported since the last call."""
        events = self._reader.poll()
        if events:
            self._sign_of_life = time.monotonic()
        return events

    @property
    def silence(self) -> float:
        """Seconds since its last event or the last command to it."""
        return time.monotonic() - self._sign_of_life

    @property
    def ended(self) -> bool:
        """Whether the process is over."""
        return self._process.poll() is not None

    def end(self) -> None:
        """Kill it at once. Views are written atomically, so there is nothing to wait for."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.kill()

    def wait(self) -> None:
        """Wait until the process is over."""
        self._process.wait()

    def read_tail(self) -> tuple[str, ...]:
        """Return the last lines that it printed."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
            return tuple(log.read().decode(errors="replace").splitlines()[-TAIL_LINES:])

    def explain_death(self) -> str:
        """Return why it ended, as the rest of a sentence that begins with "Blender"."""
        return explain_exit(self._process.returncode, "\n".join(self.read_tail()))


def _start_process(argv: list[str], environment: dict[str, str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            argv,
            env=environment | make_temporary_variables(folder),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=NO_WINDOW | _OWN_GROUP,
        )


def explain_exit(code: int, output: str) -> str:
    """Return what an exit code and the last output mean, as the rest of a sentence that begins with "Blender"."""
    for pattern, meaning in _DEATHS:
        if re.search(pattern, output, re.IGNORECASE):
            return meaning
    if library := find_missing_library(output):
        return f"could not start because this system lacks {library}; install it"
    if code == -getattr(signal, "SIGKILL", 9):
        return "was killed from outside, most likely for want of memory; use --workers 1 or a machine with more"
    if code < 0:
        return f"crashed (signal {signal.Signals(-code).name})"
    if code >= 0xC0000000:
        return f"crashed (Windows error {code:#010x})"
    return f"ended unexpectedly (exit code {code})"
