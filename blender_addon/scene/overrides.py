# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes to the user's scene that are taken back, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import bpy

from ..compat import Version, is_at_least

CAMERA_NAME = "Blendset camera"


class Overrides:
    """Remembers what it changes and restores it in reverse order on exit."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def __enter__(self) -> Overrides:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take every change back."""
        self._undo.close()

    def set(self, owner: Any, name: str, value: Any, since: Version | None = None) -> None:
        """Set an attribute until the overrides end.

        `since` is the first Blender that has the attribute; in an older one nothing is set. Raises AttributeError where
        this Blender ought to have the attribute and has none.
        """
        if since is not None and not is_at_least(since):
            return
        before = getattr(owner, name)
        if hasattr(before, "copy") and not isinstance(before, bpy.types.ID):
            before = before.copy()
        if before == value:
            return
        setattr(owner, name, value)
        self._undo.callback(setattr, owner, name, before)

    def restore_on_exit(self, owner: Any, *names: str) -> None:
        """Restore these attributes at the end, whatever is done to them meanwhile."""
        for name in names:
            self._undo.callback(setattr, owner, name, getattr(owner, name))

    def call_on_exit(self, undo: Callable[..., object], *arguments: object) -> None:
        """Call `undo(*arguments)` at the end too."""
        self._undo.callback(undo, *arguments)

    def add_camera(self, scene: bpy.types.Scene) -> bpy.types.Object:
        """Add a camera of ours, the scene's for as long as the overrides last."""
        data = bpy.data.cameras.new(CAMERA_NAME)
        camera = bpy.data.objects.new(CAMERA_NAME, data)
        self._undo.callback(bpy.data.cameras.remove, data)
        scene.collection.objects.link(camera)
        self._undo.callback(bpy.data.objects.remove, camera)
        self.set(scene, "camera", camera)
        return camera
