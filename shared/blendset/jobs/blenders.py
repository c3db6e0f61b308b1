# SPDX-License-Identifier: Apache-2.0
"""Which Blender to use, what it is, and how to start Blendset's command in it.

An installed Blender and a Python that holds the `bpy` module serve alike; both run the add-on from a private profile.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from blendset.errors import BlendsetError
from blendset.files import lock_folder

OLDEST = (4, 2, 0)
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Windows would open a console for each child of a program that has none, as Blender's window has none."""

_PROBE = """
import bpy
print("Blender", bpy.app.version_string)
"""
_INSTALL = """
import sys
import bpy
import addon_utils
bpy.ops.preferences.addon_enable(module="bl_pkg")
bpy.ops.extensions.package_install_files(repo="user_default", filepath=sys.argv[-1], enable_on_install=True)
if not addon_utils.check("bl_ext.user_default.blendset")[1]:
    raise RuntimeError("the add-on could not be enabled")
bpy.ops.wm.save_userpref()
"""
_ENTRY = """
import bpy
import addon_utils
addon_utils.enable("bl_ext.user_default.blendset")
from bl_ext.user_default.blendset import command
status = command.main(sys.argv[1:])
"""
_IN_MODULE = """
import os, sys, traceback
status = 0
try:
    exec({code!r})
except BaseException:
    traceback.print_exc()
    status = 1
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)
"""
"""A Python with bpy leaves at once: its ordinary exit crashes or hangs now and then (seen in bpy 4.2.23 and 4.5.15)."""

_WHAT_SERVES = "give the path of its executable or of a Python that has bpy"
_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.(?:so|dylib)[\w.]*): cannot open shared object|Library not loaded: (\S+)")
_DEBIAN_LIBRARIES = (
    "libx11-6 libxi6 libxxf86vm1 libxfixes3 libxrender1 libxkbcommon0 libsm6 libice6 libgl1 libegl1 libgomp1"
)


@dataclass(frozen=True)
class Blender:
    """A Blender that answered: an executable, or a Python (the path) that has the bpy module."""

    path: Path
    kind: Literal["executable", "module"]
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"Blender {'.'.join(map(str, self.version))} ({self.path})"


def _make_module_command(python: Path, code: str, *arguments: str) -> list[str]:
    return [str(python), "-I", "-c", _IN_MODULE.format(code=code), *arguments]


def _make_executable_command(blender: Path, code: str, *arguments: str) -> list[str]:
    options = ["-b", "--factory-startup", "--python-exit-code", "1", "--python-expr", code]
    return [str(blender), *options, "--", *arguments]


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of data that this user's programs keep: private Blenders."""
    return _user_folder(environ, "XDG_DATA_HOME", ".local/share", "Library/Application Support")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of files that this user's programs can make again: profiles."""
    return _user_folder(environ, "XDG_CACHE_HOME", ".cache", "Library/Caches")


def _user_folder(environ: Mapping[str, str], variable: str, linux: str, macos: str) -> Path:
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "blendset"
    if sys.platform == "darwin":
        return Path.home() / macos / "blendset"
    return Path(environ.get(variable) or Path.home() / linux) / "blendset"


def environments_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder in which `blendset blender install` makes its environments, one per Blender version."""
    return data_folder(environ) / "blenders"


def find_python(environment: Path) -> Path:
    """Return the path of the interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def list_known_blenders(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Yield how a Blender was found, and its path, best first; none of them has been run yet."""
    if chosen := environ.get("BLENDSET_BLENDER"):
        yield "$BLENDSET_BLENDER", _resolve_program(chosen, environ)
    if installed := shutil.which("blender", path=environ.get("PATH")):
        yield "PATH", Path(installed)
    for environment in sorted(environments_folder(environ).glob("*.*.*"), key=_parse_numbers, reverse=True):
        yield "blendset blender install", find_python(environment)
    sibling = find_python(Path(sys.prefix).parent / ".venv-blender")
    if sibling.exists():
        yield ".venv-blender", sibling


def _parse_numbers(environment: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", environment.name)]


def find_blender(choice: str | None, environ: Mapping[str, str]) -> Blender:
    """Return the Blender to use: `choice`, else $BLENDSET_BLENDER, else the first of those on this system that works.

    Raises BlendsetError where there is none.
    """
    if choice:
        return probe_blender(_resolve_program(choice, environ))
    reasons = []
    for source, path in list_known_blenders(environ):
        try:
            return probe_blender(path)
        except BlendsetError as error:
            if source.startswith("$"):
                raise
            reasons.append(error)
    if reasons:
        raise reasons[0]
    raise BlendsetError("No Blender was found; give --blender PATH, or run 'blendset blender install' to get one.")


def _resolve_program(choice: str, environ: Mapping[str, str]) -> Path:
    """Return the program of a command, an environment's folder or a macOS bundle."""
    path = Path(os.path.expanduser(choice)).absolute()
    inside = (find_python(path), path / "Contents/MacOS/Blender", path / "blender", path / "blender.exe")
    if program := next((candidate for candidate in (path, *inside) if candidate.is_file()), None):
        return program
    if found := shutil.which(choice, path=environ.get("PATH")):
        return Path(found).absolute()
    raise BlendsetError(f"{choice} is no Blender; {_WHAT_SERVES}.")


def probe_blender(path: Path) -> Blender:
    """Run a program once to learn which Blender it is; raises BlendsetError that names what is missing."""
    kind: Literal["executable", "module"] = "module" if path.stem.lower().startswith("python") else "executable"
    argv = _make_module_command(path, _PROBE) if kind == "module" else [str(path), "-b", "--version"]
    code, output = _run_program(argv, dict(os.environ), timeout=120)
    found = re.search(r"Blender (\d+)\.(\d+)\.(\d+)", output)
    if code != 0 or found is None:
        raise BlendsetError(_explain_unusable(path, output))
    version = (int(found[1]), int(found[2]), int(found[3]))
    if version < OLDEST:
        raise BlendsetError(
            f"{path} is Blender {'.'.join(map(str, version))}, but Blendset needs 4.2 or newer; "
            "give --blender PATH of a newer one, or run 'blendset blender install'."
        )
    return Blender(path, kind, version)


def find_missing_library(output: str) -> str | None:
    """Return the shared library that a program lacks, according to its output; None where it lacks none."""
    found = _MISSING_LIBRARY.search(output)
    return (found[1] or found[2]) if found else None


def _explain_unusable(path: Path, output: str) -> str:
    if library := find_missing_library(output):
        return (
            f"{path} cannot start because this system lacks {library}; install it "
            f"(Debian and Ubuntu: apt install {_DEBIAN_LIBRARIES})."
        )
    if "No module named 'bpy'" in output:
        return f"{path} is a Python without bpy; run 'blendset blender install' and leave --blender out."
    return f"{path} does not run as a Blender ({_find_complaint(output)}); {_WHAT_SERVES}."


def _find_complaint(output: str) -> str:
    """The line of a program's output that most likely says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it printed nothing"])[-1]


def _run_program(argv: list[str], environment: dict[str, str], timeout: float) -> tuple[int, str]:
    """Return the exit code and the output; a program that cannot be started, or that hangs, is an ordinary failure."""
    try:
        with tempfile.TemporaryDirectory(prefix="blendset-") as folder:
            done = subprocess.run(
                argv,
                env=environment | make_temporary_variables(Path(folder)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                creationflags=NO_WINDOW,
            )
    except OSError as error:
        return 1, str(error.strerror)
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {timeout:.0f} seconds"
    return done.returncode, done.stdout.decode(errors="replace")


def make_temporary_variables(folder: Path) -> dict[str, str]:
    """Return environment variables that keep a child's temporary files in one folder, for children that do not tidy
    up."""
    return dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))


def install_profile(blender: Blender, addon_zip: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return a profile (a BLENDER_USER_RESOURCES folder) in which this Blender has the add-on of this zip, made once.

    It is made under another name and renamed, so that a profile that exists is complete, whatever was killed meanwhile.
    """
    identity = hashlib.sha256(str(blender.path).encode() + addon_zip.read_bytes()).hexdigest()
    profiles = cache_folder(environ) / "profiles"
    profile = profiles / f"{'.'.join(map(str, blender.version))}-{identity[:12]}"
    profiles.mkdir(parents=True, exist_ok=True)
    with lock_folder(profiles / f".{profile.name}.lock"):
        if not profile.exists():
            for debris in profiles.glob(f".{profile.name}.*.tmp"):
                shutil.rmtree(debris, ignore_errors=True)
            unfinished = Path(tempfile.mkdtemp(prefix=f".{profile.name}.", suffix=".tmp", dir=profiles))
            try:
                _install_addon(blender, addon_zip, unfinished, environ)
                unfinished.replace(profile)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return profile


def _install_addon(blender: Blender, addon_zip: Path, profile: Path, environ: Mapping[str, str]) -> None:
    make_command = _make_module_command if blender.kind == "module" else _make_executable_command
    argv = make_command(blender.path, _INSTALL, str(addon_zip.absolute()))
    code, output = _run_program(argv, _make_environment(profile, environ), timeout=300)
    if code != 0:
        raise BlendsetError(
            f"{addon_zip} cannot be installed into {blender} ({_find_complaint(output)}); reinstall Blendset."
        )


def _make_environment(profile: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a Blender child; with a profile it has nothing of the user's Blender settings."""
    if profile is None:
        return dict(environ)
    others = {name: value for name, value in environ.items() if not name.startswith("BLENDER_USER_")}
    return {**others, "BLENDER_USER_RESOURCES": str(profile)}


def make_blendset_command(
    blender: Blender, profile: Path | None, *arguments: str, environ: Mapping[str, str] = os.environ
) -> tuple[list[str], dict[str, str]]:
    """Return the command line and environment of the add-on's command; without a profile, the user's, where the add-on
    is enabled."""
    environment = _make_environment(profile, environ)
    if blender.kind == "module":
        return _make_module_command(blender.path, _ENTRY, *arguments), environment
    return [str(blender.path), "-b", "--disable-autoexec", "--command", "blendset", *arguments], environment


def make_worker_command(
    blender: Blender, profile: Path | None, job: Path, events: Path, threads: int = 0
) -> tuple[list[str], dict[str, str]]:
    """Return the command line and environment of a worker; an executable uses at most `threads` threads, 0 for all."""
    argv, environment = make_blendset_command(blender, profile, "work", "--job", str(job), "--events", str(events))
    if threads and blender.kind == "executable":
        argv[1:1] = ["-t", str(threads)]
    return argv, environment
