# SPDX-License-Identifier: Apache-2.0
"""The house rules that no tool checks: who may import whom, whose licence stands on top, and what no file may name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLENDER = {
    "addon_utils",
    "aud",
    "bl_ext",
    "bl_operators",
    "bl_ui",
    "blf",
    "bmesh",
    "bpy",
    "bpy_extras",
    "gpu",
    "gpu_extras",
    "imbuf",
    "mathutils",
}
STANDARD = set(sys.stdlib_module_names)
MAY_IMPORT = {
    "shared/blendset": STANDARD | {"blendset", "numpy", "cattrs", "tomli_w"},
    "blender_addon": STANDARD | BLENDER | {"blendset", "numpy"},
}
HOLDS_BLENDER = ("blender_addon/", "demo/", "tests/addon/", "tests/ui/", "benchmarks/")


def files(*patterns: str) -> list[Path]:
    """The project's own files, committed or about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [ROOT / name for name in sorted(set(names)) if (ROOT / name).is_file()]


def imported(source: str) -> set[str]:
    """Top-level names of all absolute imports, wherever in the source they stand."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    origins = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module}
    return {name.split(".")[0] for name in plain | origins}


def importers(modules: set[str]) -> list[str]:
    """The files that import any of these modules."""
    found = [path for path in files("*.py") if imported(path.read_text(encoding="utf-8")) & modules]
    return [path.relative_to(ROOT).as_posix() for path in found]


def test_imports_are_seen_wherever_they_stand() -> None:
    source = "import numpy.linalg as la\nfrom . import bpy\ndef late():\n    from mathutils.bvhtree import BVHTree\n"
    assert imported(source) == {"numpy", "mathutils"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    strangers = {
        path.relative_to(ROOT).as_posix(): names
        for path in files(f"{room}/*.py")
        if (names := imported(path.read_text(encoding="utf-8")) - MAY_IMPORT[room])
    }
    assert not strangers


def test_nobody_imports_the_addon_by_name() -> None:
    assert importers({"blender_addon"}) == []


def test_neither_the_core_nor_the_addon_imports_the_trainer() -> None:
    may = "trainer/", "tests/", "benchmarks/", "demo/"
    assert [name for name in importers({"blendset_trainer"}) if not name.startswith(may)] == []


def test_blender_is_imported_only_where_it_runs() -> None:
    assert [name for name in importers(BLENDER) if not name.startswith(HOLDS_BLENDER)] == []


def test_every_source_file_says_its_licence_first() -> None:
    wrong = []
    for path in files("*.py", "*.toml", "Makefile", ".ci/*"):
        name = path.relative_to(ROOT).as_posix()
        licence = "GPL-3.0-or-later" if name.startswith("blender_addon/") else "Apache-2.0"
        top = [line for line in path.read_text(encoding="utf-8").splitlines()[:2] if not line.startswith("#!")]
        if top[:1] != [f"# SPDX-License-Identifier: {licence}"]:
            wrong.append(name)
    assert not wrong


def test_each_distribution_carries_the_licence_text() -> None:
    text = (ROOT / "LICENSES/Apache-2.0.txt").read_bytes()
    assert [(ROOT / folder / "LICENSE").read_bytes() == text for folder in ("shared", "trainer")] == [True, True]


def test_no_file_names_a_package_index() -> None:
    organisations = ("pypi", "pythonhosted", "download.pytorch", "npmjs", "anaconda", "debian")
    hosts = [f"{name}.{domain}".encode() for name in organisations for domain in ("org", "com")]
    named = {
        path.relative_to(ROOT).as_posix(): host.decode()
        for path in files()
        for host in hosts
        if host in path.read_bytes()
    }
    assert not named
