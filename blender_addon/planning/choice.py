# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is called: the window and the worker name it alike."""

from __future__ import annotations

from blendset.config import Config


def name_run(scene_id: str, config: Config) -> str:
    """The run's name: the same scene and settings are the same run."""
    return f"{scene_id}-{config.compute_digest()}"
