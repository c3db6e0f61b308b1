# SPDX-License-Identifier: Apache-2.0
"""Finding a Blender, saying what is wrong with one, and putting an add-on into a profile of its own.

Where the Python that runs the tests has bpy, it is that Blender; the add-on is as small as one can be.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from blendset.errors import BlendsetError
from blendset.jobs.blenders import (
    Blender,
    data_folder,
    environments_folder,
    find_blender,
    find_missing_library,
    find_python,
    install_profile,
    make_blendset_command,
    make_worker_command,
)

HAS_BPY = importlib.util.find_spec("bpy") is not None
needs_bpy = pytest.mark.skipif(not HAS_BPY, reason="this Python has no bpy")
posix_only = pytest.mark.skipif(os.name == "nt", reason="makes a program of a shell script")

MANIFEST = """schema_version = "1.0.0"
id = "blendset"
version = "1.0.0"
name = "Blendset"
tagline = "As small as an add-on can be"
maintainer = "Blendset"
type = "add-on"
license = ["SPDX:GPL-3.0-or-later"]
blender_version_min = "4.2.0"
"""
COMMAND = """
import os, sys, bpy
def main(argv):
    print(bpy.app.version_string, argv, os.environ.get("BLENDER_USER_CONFIG"), flush=True)
    return 7
"""


def addon(folder: Path, init: str = "def register(): pass\ndef unregister(): pass\n") -> Path:
    path = folder / "addon.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("blender_manifest.toml", MANIFEST)
        file.writestr("__init__.py", init)
        file.writestr("command.py", COMMAND)
    return path


def surroundings(folder: Path) -> dict[str, str]:
    """An environment in which this user has nothing yet."""
    names = ("XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")
    kept = {name: value for name, value in os.environ.items() if name not in ("BLENDSET_BLENDER", "PATH")}
    return kept | dict.fromkeys(names, str(folder / "user {1} ü")) | {"PATH": str(folder / "bin")}


def program(folder: Path, prints: str, name: str = "blender", code: int = 0) -> Path:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {code}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_without_any_blender_the_cure_is_named(tmp_path: Path) -> None:
    if (Path(sys.prefix).parent / ".venv-blender").exists():
        pytest.skip("there is a .venv-blender beside this environment")
    with pytest.raises(BlendsetError, match="No Blender was found; give --blender PATH, or run 'blendset blender"):
        find_blender(None, surroundings(tmp_path))


def test_a_path_that_is_no_blender_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    for choice in ("nonesuch", str(tmp_path), str(tmp_path / "notes.txt")):
        with pytest.raises(BlendsetError, match="executable or of a Python that has bpy"):
            find_blender(choice, surroundings(tmp_path))


@posix_only
def test_the_order_is_choice_variable_path(tmp_path: Path) -> None:
    environ = surroundings(tmp_path)
    program(tmp_path, "Blender 4.2.1 LTS")
    assert find_blender(None, environ).version == (4, 2, 1)
    chosen = program(tmp_path, "Blender 5.0.0", "newer")
    assert find_blender(None, environ | {"BLENDSET_BLENDER": "newer"}).path == chosen
    assert find_blender(str(chosen), environ).kind == "executable"


@posix_only
def test_an_old_blender_on_the_path_gives_way_to_a_private_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))  # no .venv-blender is beside it
    environ = surroundings(tmp_path)
    old = program(tmp_path, "Blender 3.0.1")
    with pytest.raises(BlendsetError, match=r"is Blender 3\.0\.1, but Blendset needs 4\.2 or newer"):
        find_blender(None, environ)
    with pytest.raises(BlendsetError, match="one, or run"):
        find_blender(str(old), environ)
    for version in ("4.5.15", "4.10.1"):
        python = find_python(environments_folder(environ) / version)
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\necho Blender {version}\n", encoding="utf-8")
        python.chmod(0o755)
    assert find_blender(None, environ).version == (4, 10, 1)


@posix_only
def test_a_missing_system_library_is_named_with_its_cure(tmp_path: Path) -> None:
    said = (
        "blender: error while loading shared libraries: libXrender.so.1: cannot open shared object file: No such file"
    )
    broken = program(tmp_path, said, code=127)
    with pytest.raises(BlendsetError, match=r"lacks libXrender\.so\.1; install it \(Debian.*libxrender1"):
        find_blender(str(broken), surroundings(tmp_path))


def test_the_library_that_python_misses_is_found_in_its_traceback() -> None:
    said = "ImportError: libXi.so.6: cannot open shared object file: No such file or directory"
    assert find_missing_library(said) == "libXi.so.6"
    assert find_missing_library("ImportError: no such thing") is None


def test_a_python_without_bpy_is_told_apart(tmp_path: Path) -> None:
    if HAS_BPY:
        pytest.skip("this Python has bpy")
    with pytest.raises(BlendsetError, match="is a Python without bpy; run 'blendset blender install'"):
        find_blender(sys.executable, surroundings(tmp_path))


def test_private_files_lie_in_the_users_own_folder(tmp_path: Path) -> None:
    assert data_folder(surroundings(tmp_path)).name == "blendset"


@needs_bpy
def test_an_addon_is_installed_once_and_its_command_runs(tmp_path: Path) -> None:
    environ = surroundings(tmp_path)
    blender = find_blender(sys.executable, environ)
    path = addon(tmp_path)
    profile = install_profile(blender, path, environ)
    preferences = (profile / "config/userpref.blend").stat()
    assert install_profile(blender, path, environ) == profile
    assert (profile / "config/userpref.blend").stat() == preferences
    argv, environment = make_blendset_command(
        blender, profile, "check", "--events", "a b", environ=environ | {"BLENDER_USER_CONFIG": "/elsewhere"}
    )
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[-1].endswith("['check', '--events', 'a b'] None")
    argv, _ = make_worker_command(blender, profile, tmp_path / "job.json", tmp_path / "events.jsonl")
    assert argv[-5:] == ["work", "--job", str(tmp_path / "job.json"), "--events", str(tmp_path / "events.jsonl")]


@needs_bpy
def test_another_addon_gets_another_profile(tmp_path: Path) -> None:
    environ = surroundings(tmp_path)
    blender = find_blender(sys.executable, environ)
    first = install_profile(blender, addon(tmp_path), environ)
    assert install_profile(blender, addon(tmp_path, "def register(): print(1)\n"), environ) != first


@needs_bpy
@pytest.mark.parametrize("damage", ["not a zip", "does not start"])
def test_an_addon_that_does_not_work_leaves_no_profile(tmp_path: Path, damage: str) -> None:
    environ = surroundings(tmp_path)
    path = addon(tmp_path, "def register(): raise ValueError('no luck')\n")
    if damage == "not a zip":
        path.write_bytes(b"hello")
    with pytest.raises(BlendsetError, match=r"addon\.zip cannot be installed into Blender"):
        install_profile(find_blender(sys.executable, environ), path, environ)
    assert [path for path in tmp_path.rglob("profiles/*") if path.suffix != ".lock"] == []


@needs_bpy
@posix_only
def test_an_installation_killed_half_way_is_made_again(tmp_path: Path) -> None:
    environ = surroundings(tmp_path)
    script = (
        "import os, sys; from pathlib import Path; from blendset.jobs.blenders import *\n"
        "install_profile(find_blender(sys.executable, os.environ), Path(sys.argv[1]))"
    )
    zip_path = addon(tmp_path, "import time\ntime.sleep(2)\ndef register(): pass\n")
    process = subprocess.Popen([sys.executable, "-c", script, str(zip_path)], env=environ)
    while not list(tmp_path.rglob("*.tmp")):
        time.sleep(0.05)
    process.kill()
    process.wait()
    profile = install_profile(find_blender(sys.executable, environ), zip_path, environ)
    assert (profile / "extensions/user_default/blendset/blender_manifest.toml").exists()
    argv, environment = make_blendset_command(find_blender(sys.executable, environ), profile, environ=environ)
    assert subprocess.run(argv, env=environment, capture_output=True).returncode == 7


def test_a_worker_may_be_held_to_some_threads(tmp_path: Path) -> None:
    blender = Blender(tmp_path / "blender", "executable", (4, 2, 0))
    files = tmp_path / "job.json", tmp_path / "events.jsonl"
    (all_of_them, _), (three, _) = (
        make_worker_command(blender, None, *files),
        make_worker_command(blender, None, *files, threads=3),
    )
    assert three == [all_of_them[0], "-t", "3", *all_of_them[1:]]
