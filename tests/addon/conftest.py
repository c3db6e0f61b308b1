# SPDX-License-Identifier: Apache-2.0
"""The add-on as a user gets it: the built zip, installed into a fresh profile of the Blender that runs these tests."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
_profile = tempfile.TemporaryDirectory(prefix="blendset-test-profile-")
os.environ["BLENDER_USER_RESOURCES"] = _profile.name
_status = 0


def _addon_zip() -> Path:
    found = sorted((ROOT / "trainer" / "blendset_trainer" / "addon").glob("blendset-*.zip"))
    if not found:
        pytest.exit("The add-on is not built; run 'make addon'.", returncode=1)
    return found[-1]


def _install() -> None:
    import bpy

    bpy.ops.preferences.addon_enable(module="bl_pkg")
    bpy.ops.extensions.package_install_files(repo="user_default", filepath=str(_addon_zip()), enable_on_install=True)


_install()


@pytest.fixture
def scenes_folder() -> Path:
    """Real scenes by strangers, which are beside the checkout on some machines only."""
    folder = ROOT.parent / "shared" / "scenes"
    if not folder.is_dir():
        pytest.skip("the folder of real scenes is not beside this checkout")
    return folder


@pytest.fixture(autouse=True)
def _empty_blender() -> Iterator[None]:
    """No test sees what another one opened."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True)
    yield


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    global _status
    _status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave at once: a Python with bpy crashes or hangs now and then in its ordinary exit (seen in 4.2.23 and
    4.5.15)."""
    _profile.cleanup()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_status)
