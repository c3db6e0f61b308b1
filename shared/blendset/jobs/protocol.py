# SPDX-License-Identifier: Apache-2.0
"""What the supervisor and a worker inside Blender say to each other: JSON lines, commands on stdin, events in a file.

Events never travel through Blender's own output, whose form changes between versions.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError

PROTOCOL_VERSION = 1
ORPHANED = 130
"""Exit code of a worker whose supervisor is gone."""

Message = dict[str, Any]


class EventWriter:
    """Appends one JSON line per event to a file; each line reaches the operating system whole, from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event with the time of day."""
        line = json.dumps({"event": event, "time": time.time(), **fields}, allow_nan=False)
        self._file.write(line.encode() + b"\n")


class EventReader:
    """Reads the events that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def poll(self) -> list[Message]:
        """New events, in order. A line that is still being written waits for the next call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read()
        except FileNotFoundError:
            return []
        complete = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [message for line in complete.splitlines() if (message := parse_line(line)) is not None]


def parse_line(line: bytes) -> Message | None:
    """One message, or None where the line is no JSON object."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def watch_stdin() -> queue.Queue[Message]:
    """Commands from stdin, read by a thread of their own. When stdin closes, the process ends at once.

    Ending hard is the point: a killed supervisor must leave no second writer, not even one that is rendering.
    """
    commands: queue.Queue[Message] = queue.Queue()

    def read() -> None:
        with open(0, "rb", closefd=False) as stdin:
            for line in stdin:
                if (command := parse_line(line)) is not None:
                    commands.put(command)
        os._exit(ORPHANED)

    threading.Thread(target=read, name="blendset-commands", daemon=True).start()
    return commands


def write_job(path: Path, job: Mapping[str, Any]) -> None:
    """What a worker needs to know from the start, as the file that its command line names."""
    path.write_text(json.dumps({"protocol": PROTOCOL_VERSION, **job}), encoding="utf-8")


def read_job(path: Path) -> Message:
    """The job that `write_job` wrote; refuses one from another version of Blendset."""
    job = parse_line(path.read_bytes())
    if job is None or job.get("protocol") != PROTOCOL_VERSION:
        raise BlendsetError(f"{path} was written by another version of Blendset; install the add-on that came with it.")
    return job
