# SPDX-License-Identifier: Apache-2.0
"""Finds the Blenders of this machine, installs one from the bpy package, and tries one on every device.

An installed (private) Blender is a virtual environment with bpy and numpy; it touches no other program.
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
from blendset.files import lock_folder
from blendset.jobs.blenders import (
    Blender,
    environments_folder,
    find_python,
    list_known_blenders,
    make_blendset_command,
    probe_blender,
)
from blendset.jobs.child import Child
from blendset.jobs.messages import DeviceTried, Event, WorkerIdle
from blendset_trainer.api.progress import OnReport, ignore_report

NEWEST = "5.2.3"

_PUMP_S = 0.05


def find_blenders(environ: Mapping[str, str]) -> Iterator[tuple[str, Path, Blender | BlendsetError]]:
    """Yield, best first, where each Blender was found, its path, and the Blender or why it cannot be used."""
    for source, path in list_known_blenders(environ):
        try:
            yield source, path, probe_blender(path)
        except BlendsetError as error:
            yield source, path, error


def describe_blender(blender: Blender) -> dict[str, str]:
    """Return a Blender's path, kind and version as plain data."""
    return {"path": str(blender.path), "kind": blender.kind, "version": ".".join(map(str, blender.version))}


def describe_candidate(source: str, path: Path, result: Blender | BlendsetError) -> dict[str, str]:
    """Return what `find_blenders` yields as plain data: the Blender, or the error."""
    described = describe_blender(result) if isinstance(result, Blender) else {"error": str(result)}
    return {"source": source, "path": str(path)} | described


def install(version: str, environ: Mapping[str, str]) -> Blender:
    """Install a Blender version as a private environment, in place of one that is there, and return it.

    Raises BlendsetError for a version that bpy does not have, and where an installation step fails.
    """
    numbers = re.fullmatch(r"(\d+)\.(\d+)\.\d+", version)
    if not numbers or (int(numbers[1]), int(numbers[2])) < (4, 2):
        raise BlendsetError(f"'{version}' is no version to install; give one from 4.2 on in full, such as {NEWEST}.")
    # The Python and NumPy of Blender's own builds of these versions.
    python, numpy = ("3.13", "numpy") if (int(numbers[1]), int(numbers[2])) >= (5, 1) else ("3.11", "numpy<2")
    home = environments_folder(environ)
    home.mkdir(parents=True, exist_ok=True)
    with lock_folder(home.parent / ".install.lock", blocking=False, name="Another installation"):
        unfinished = home.parent / f"installing-{version}"
        try:
            _make_environment(unfinished, python, [f"bpy=={version}", numpy], environ)
            probe_blender(find_python(unfinished))
            shutil.rmtree(home / version, ignore_errors=True)
            unfinished.replace(home / version)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return probe_blender(find_python(home / version))


def _make_environment(folder: Path, version: str, packages: list[str], environ: Mapping[str, str]) -> None:
    """Make a virtual environment with uv, which can fetch a Python, or else with venv and pip."""
    shutil.rmtree(folder, ignore_errors=True)
    python = str(find_python(folder))
    if uv := shutil.which("uv", path=environ.get("PATH")):
        _run([uv, "venv", "--python", version, str(folder)], f"install Python {version}, or choose another --version")
        _run([uv, "pip", "install", "--python", python, *packages], "choose another --version")
        return
    base = _find_python(version, environ)
    _run([*base, "-m", "venv", str(folder)], f"reinstall Python {version} with its venv module")
    _run([python, "-m", "pip", "install", *packages], "choose another --version")


def _find_python(version: str, environ: Mapping[str, str]) -> list[str]:
    """Return the command of a Python of this version; BlendsetError where there is none."""
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
    """Run a program with its output on stderr; BlendsetError, which ends in `cure`, where it fails."""
    if code := subprocess.run(argv, stdout=sys.stderr).returncode:
        raise BlendsetError(f"'{' '.join(argv)}' failed with exit code {code}; see above, or {cure}.")


def try_devices(blender: Blender, profile: Path, report: OnReport = ignore_report) -> Iterator[DeviceTried]:
    """Render one frame on each device; yield the device's type and name, the seconds, and the error or None.

    Raises BlendsetError where Blender itself dies; `report` gets the last lines that it printed.
    """

    def build_command(job: Path, events: Path) -> tuple[list[str], dict[str, str]]:
        return make_blendset_command(blender, profile, "check", "--events", str(events))

    with tempfile.TemporaryDirectory(prefix="blendset-") as folder:
        child = Child(build_command, Path(folder) / "check", None)
        try:
            messages: list[Event] = []
            ended = False
            while not ended:
                ended = child.ended  # read before polling, so that no last message is lost
                new = child.poll()
                yield from (event for event in new if isinstance(event, DeviceTried))
                messages += new
                time.sleep(_PUMP_S)
            if not any(isinstance(event, WorkerIdle) for event in messages):
                for line in child.read_tail():
                    report(line)
                raise BlendsetError(f"{blender} {child.explain_death()}.")
        finally:
            child.end()
            child.wait()
