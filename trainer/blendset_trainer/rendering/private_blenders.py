# SPDX-License-Identifier: Apache-2.0
"""Blenders of the user's own: lists those that are here, makes one from the bpy package, tries one on every device.

A private Blender is a virtual environment with bpy and numpy; nothing of it touches another program.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from blendset.errors import BlendsetError
from blendset.files import folder_lock
from blendset.jobs.blenders import Blender, blendset_command, environments_folder, known_blenders, probe, python_in
from blendset.jobs.child import Child
from blendset.jobs.protocol import Message

NEWEST = "5.2.3"

_PUMP_S = 0.05


def find_blenders(environ: Mapping[str, str]) -> Iterator[tuple[str, Path, Blender | BlendsetError]]:
    """Where each was found, its path, and what it is or why it cannot be used; best first."""
    for source, path in known_blenders(environ):
        try:
            yield source, path, probe(path)
        except BlendsetError as error:
            yield source, path, error


def install(version: str, environ: Mapping[str, str]) -> Blender:
    """Make the private environment of a Blender version, anew if it is there."""
    numbers = re.fullmatch(r"(\d+)\.(\d+)\.\d+", version)
    if not numbers or (int(numbers[1]), int(numbers[2])) < (4, 2):
        raise BlendsetError(f"'{version}' is no version to install; give one from 4.2 on in full, such as {NEWEST}.")
    # What Blender's own builds of these versions hold.
    python, numpy = ("3.13", "numpy") if (int(numbers[1]), int(numbers[2])) >= (5, 1) else ("3.11", "numpy<2")
    home = environments_folder(environ)
    home.mkdir(parents=True, exist_ok=True)
    with folder_lock(home.parent / ".install.lock", blocking=False, name="Another installation"):
        unfinished = home.parent / f"installing-{version}"
        try:
            _make_environment(unfinished, python, [f"bpy=={version}", numpy], environ)
            probe(python_in(unfinished))
            shutil.rmtree(home / version, ignore_errors=True)
            unfinished.replace(home / version)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return probe(python_in(home / version))


def _make_environment(folder: Path, version: str, packages: list[str], environ: Mapping[str, str]) -> None:
    """With uv, which brings a Python along where there is none; else with venv and pip."""
    shutil.rmtree(folder, ignore_errors=True)
    python = str(python_in(folder))
    if uv := shutil.which("uv", path=environ.get("PATH")):
        _run([uv, "venv", "--python", version, str(folder)], f"install Python {version}, or choose another --version")
        _run([uv, "pip", "install", "--python", python, *packages], "choose another --version")
        return
    base = _interpreter(version, environ)
    _run([*base, "-m", "venv", str(folder)], f"reinstall Python {version} with its venv module")
    _run([python, "-m", "pip", "install", *packages], "choose another --version")


def _interpreter(version: str, environ: Mapping[str, str]) -> list[str]:
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return [sys.executable]
    if found := shutil.which(f"python{version}", path=environ.get("PATH")):
        return [found]
    if launcher := shutil.which("py", path=environ.get("PATH")):
        return [launcher, f"-{version}"]
    raise BlendsetError(
        f"This Blender needs Python {version}, which is not here; install it, or uv, which brings it, "
        "or choose another --version (up to 5.0: Python 3.11; from 5.1: Python 3.13)."
    )


def _run(argv: list[str], cure: str) -> None:
    """Run a program that shows its own progress on stderr."""
    if code := subprocess.run(argv, stdout=sys.stderr).returncode:
        raise BlendsetError(f"'{' '.join(argv)}' failed with exit code {code}; see above, or {cure}.")


def try_devices(blender: Blender, profile: Path) -> Iterator[Message]:
    """Render one frame on each device and yield how it went: type, name, seconds, error (or None)."""

    def command(job: Path, events: Path) -> tuple[list[str], dict[str, str]]:
        return blendset_command(blender, profile, "check", "--events", str(events))

    with tempfile.TemporaryDirectory(prefix="blendset-") as folder:
        child = Child(command, Path(folder) / "check", {})
        try:
            said: list[Message] = []
            ended = False
            while not ended:
                ended = child.ended  # asked before listening, so that its last words are heard
                fresh = child.poll()
                yield from (event for event in fresh if event["event"] == "device")
                said += fresh
                time.sleep(_PUMP_S)
            if not any(event["event"] == "idle" for event in said):
                print(*child.tail(), sep="\n", file=sys.stderr)
                raise BlendsetError(f"{blender} {child.death()}.")
        finally:
            child.end()
            child.wait()
