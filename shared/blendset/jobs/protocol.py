# SPDX-License-Identifier: Apache-2.0
"""How messages travel between the supervisor and a worker in Blender: JSON lines, commands on stdin, events in a file.

Events never travel through Blender's own output, whose form changes between versions.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from blendset.converter import strict_converter
from blendset.errors import BlendsetError
from blendset.jobs.messages import Event, Job, event_from_dict, event_to_dict

PROTOCOL_VERSION = 1
ORPHANED = 130
"""Exit code of a worker whose supervisor is gone."""


class EventWriter:
    """Appends one JSON line per event to a file, each in one write, from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def emit(self, event: Event) -> None:
        """Write one event with the time of day."""
        line = json.dumps(event_to_dict(replace(event, time=time.time())), allow_nan=False)
        self._file.write(line.encode() + b"\n")


class EventReader:
    """Reads the events that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def poll(self) -> list[Event]:
        """Return new events, in order. A line that is still being written waits for the next call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read()
        except FileNotFoundError:
            return []
        complete = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [
            event for line in complete.splitlines() if (event := event_from_dict(parse_line(line) or {})) is not None
        ]


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of one line, or None where the line holds none."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def watch_stdin() -> queue.Queue[dict[str, Any]]:
    """Return the queue of commands from stdin, as `command_from_dict` reads them; a thread of its own fills it.

    When stdin closes, the process ends at once: a killed supervisor must leave no second writer, not even one that is
    rendering.
    """
    commands: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        with open(0, "rb", closefd=False) as stdin:
            for line in stdin:
                if (message := parse_line(line)) is not None:
                    commands.put(message)
        os._exit(ORPHANED)

    threading.Thread(target=read, name="blendset-commands", daemon=True).start()
    return commands


def write_job(path: Path, job: Job | None) -> None:
    """Write what a worker needs to know from the start, as the file that its command line names; None for a check."""
    path.write_text(json.dumps({"protocol": PROTOCOL_VERSION, **(asdict(job) if job else {})}), encoding="utf-8")


def read_job(path: Path) -> Job:
    """Read the job that `write_job` wrote; BlendsetError for one from another version of Blendset."""
    message = parse_line(path.read_bytes())
    if message is None or message.pop("protocol", None) != PROTOCOL_VERSION:
        raise BlendsetError(f"{path} was written by another version of Blendset; install the add-on that came with it.")
    return strict_converter.structure(message, Job)
