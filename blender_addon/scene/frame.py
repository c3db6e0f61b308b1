# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame that a scene is photographed at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy


@contextmanager
def show_frame(scene: bpy.types.Scene, frame: int | None) -> Iterator[None]:
    """Show `frame` until the context ends; None leaves the frame of the file."""
    if frame is None:
        yield
        return
    before = scene.frame_current
    try:
        scene.frame_set(frame)
        yield
    finally:
        scene.frame_set(before)
