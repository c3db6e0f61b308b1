# SPDX-License-Identifier: Apache-2.0
"""The command that starts Blender workers, with the add-on in them."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from blendset import __version__
from blendset.errors import BlendsetError
from blendset.jobs.blenders import find_blender, install_profile, make_worker_command
from blendset.jobs.child import WorkerCommand


def find_worker(choice: str | None) -> WorkerCommand:
    """Return the command that starts workers in a Blender, with the add-on of this package.

    `choice` is a path, or None for the best Blender of this machine. Raises BlendsetError where there is none.
    """
    blender = find_blender(choice, os.environ)
    return partial(make_worker_command, blender, install_profile(blender, find_addon()))


def find_addon() -> Path:
    """Return the zip of the add-on in this package; BlendsetError where it was not built."""
    path = Path(__file__).parents[1] / "addon" / f"blendset-{__version__}.zip"
    if not path.is_file():
        raise BlendsetError(
            "The Blender add-on is missing here; in a source checkout run 'make addon', else reinstall."
        )
    return path
