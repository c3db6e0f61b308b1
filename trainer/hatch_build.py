# SPDX-License-Identifier: Apache-2.0
"""Puts the add-on's zip into what is built here, so that the command line and the add-on it installs never differ.

A checkout builds the zip anew; a source distribution already holds it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class AddonInside(BuildHookInterface[Any]):
    """Runs build_addon.py before a wheel or source distribution is made; an editable install needs no zip yet."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling; `version` is the kind of build."""
        build_addon = Path(self.root).parent / "build_addon.py"
        if version != "editable" and build_addon.exists():
            subprocess.run([sys.executable, str(build_addon)], check=True)
