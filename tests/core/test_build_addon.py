# SPDX-License-Identifier: Apache-2.0
"""What is built for users: the add-on's zip, and the two wheels that install into empty environments.

It is built where uv is, in the trainer's environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uv", reason="the add-on is built in the trainer's environment")

import build_addon
from blendset import __version__

UV = [sys.executable, "-m", "uv"]


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The add-on's zip, built now."""
    return build_addon.build_addon(tmp_path_factory.mktemp("addon"))


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of both distributions, each made from its source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(
        *UV,
        "build",
        "--quiet",
        "--all-packages",
        "--python",
        sys.executable,
        "--out-dir",
        str(folder),
        cwd=build_addon.ROOT,
    )
    return folder


def run(*command: str, cwd: Path | None = None) -> str:
    """Standard output of a command that must succeed."""
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def manifest_of(addon: Path) -> dict[str, Any]:
    with zipfile.ZipFile(addon) as zipped:
        return tomllib.loads(zipped.read("blender_manifest.toml").decode())


def installed(folder: Path, *wheels: Path) -> Path:
    """The interpreter of a fresh environment that holds these wheels and what they ask for."""
    run(*UV, "venv", "--quiet", "--python", sys.executable, str(folder))
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pins = build_addon.ROOT / "constraints" / "trainer.txt"
    run(*UV, "pip", "install", "--quiet", "--python", str(python), "--constraint", str(pins), *map(str, wheels))
    return python


def test_the_same_sources_give_the_same_bytes(addon: Path, tmp_path: Path) -> None:
    assert build_addon.build_addon(tmp_path).read_bytes() == addon.read_bytes()


def test_the_zip_holds_the_wheels_that_its_manifest_lists(addon: Path) -> None:
    names = zipfile.ZipFile(addon).namelist()
    assert sorted(name for name in names if name.endswith(".whl")) == manifest_of(addon)["wheels"]
    assert {"__init__.py", "LICENSE"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc")]


def test_addon_and_core_have_one_version(addon: Path) -> None:
    assert manifest_of(addon)["version"] == __version__
    assert addon.name == f"blendset-{__version__}.zip"


def test_the_bundled_wheels_bring_all_that_the_core_needs_but_numpy(addon: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(addon) as zipped:
        wheels = [zipped.extract(name, tmp_path) for name in manifest_of(addon)["wheels"]]
    code = "import sys; sys.path += sys.argv[1:]; import blendset.errors, cattrs, tomli_w; print(cattrs.__file__)"
    assert str(tmp_path) in run(sys.executable, "-I", "-S", "-c", code, *wheels)


def test_blenders_own_validator_accepts_the_zip(addon: Path) -> None:
    if not list(build_addon.find_validators()):
        assert os.environ.get("BLENDSET_REQUIRE_BLENDERS") != "1"
        pytest.skip("no Blender at hand")
    assert build_addon.validate_addon(addon)


def test_a_zip_that_blender_refuses_is_an_error(addon: Path, tmp_path: Path) -> None:
    if not list(build_addon.find_validators()):
        pytest.skip("no Blender at hand")
    refused = tmp_path / addon.name
    with zipfile.ZipFile(addon) as zipped:
        files = {name: zipped.read(name) for name in zipped.namelist()}
    files["blender_manifest.toml"] = files["blender_manifest.toml"].replace(b'"Render"', b'"Rendering"')
    refused.write_bytes(build_addon.pack_zip(files))
    with pytest.raises(SystemExit, match="Rendering"):
        build_addon.validate_addon(refused)


def test_the_core_installs_alone(distributions: Path, tmp_path: Path) -> None:
    python = installed(tmp_path / "env", *distributions.glob("blendset-*.whl"))
    held = json.loads(run(*UV, "pip", "list", "--quiet", "--format", "json", "--python", str(python)))
    assert {each["name"] for each in held} == {"blendset", "numpy", *build_addon.BUNDLED}
    assert run(str(python), "-c", "import blendset.dataset; print(blendset.__version__)").strip() == __version__


def test_the_trainer_brings_the_command_and_the_addon(distributions: Path, addon: Path, tmp_path: Path) -> None:
    python = installed(tmp_path / "env", *distributions.glob("*.whl"))
    assert "render" in run(str(python.with_name("blendset")), "--help")
    code = "from importlib.resources import files; print(files('blendset_trainer') / 'addon')"
    carried = Path(run(str(python), "-c", code).strip())
    assert [path.read_bytes() for path in carried.iterdir()] == [addon.read_bytes()]
