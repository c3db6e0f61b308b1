# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras in the viewport: chosen ones coloured by score, rejected ones of the reason that is selected; and how the
selected one frames its subject.

They shine through walls, for most stand indoors. Lines go to the GPU once per change, whatever their number; drawing
them is one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np

from blendset.cameras import Array, Camera
from blendset.placement.subjects import Subject

from .. import state

LINE_WIDTH = 1.5
REJECTED = (0.85, 0.25, 0.2, 0.35)
SELECTED = (1.0, 1.0, 1.0, 1.0)
TURNED_DOWN = (0.5, 0.5, 0.5, 0.5)
WORST, BEST = np.array([0.95, 0.65, 0.15, 0.9]), np.array([0.2, 0.85, 0.45, 0.9])
EDGES = np.array([0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1, 5, 6, 6, 7, 7, 5])
"""From the lens to the picture's corners, around the picture, and a mark where up is."""
FRAMING = (1.0, 0.9, 0.3, 1.0)
AROUND = np.array([0, 1, 1, 2, 2, 3, 3, 0])
BOX = np.array([(0, 1), (1, 3), (3, 2), (2, 0), (4, 5), (5, 7), (7, 6), (6, 4), (0, 4), (1, 5), (2, 6), (3, 7)]).ravel()
"""The edges of a rectangle, and of a box whose corners count in binary."""

_handle: Any = None
_batch: Any = None
_key: tuple[int, str] | None = None
"""The revision and the scene that the lines on the GPU are of."""


def build_frusta(cameras: Sequence[Camera], size: float) -> Array:
    """Line ends (N * 22, 3) of small pyramids before the lenses, in world space."""
    if not cameras:
        return np.zeros((0, 3))
    half = np.array([camera.half_tangents for camera in cameras])
    x, y = half[:, 0] * size, half[:, 1] * size
    nothing, depth = np.zeros(len(cameras)), np.full(len(cameras), -size)
    corners = [
        (nothing, nothing, nothing),
        (-x, -y, depth), (x, -y, depth), (x, y, depth), (-x, y, depth),
        (-0.5 * x, 1.1 * y, depth), (0.5 * x, 1.1 * y, depth), (nothing, 1.6 * y, depth),
    ]  # fmt: skip
    local = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    matrices = np.array([camera.world_from_camera for camera in cameras])
    corners_in_world = np.einsum("nij,nkj->nki", matrices[:, :3, :3], local) + matrices[:, None, :3, 3]
    return np.asarray(corners_in_world[:, EDGES].reshape(-1, 3))


def build_lines(context: bpy.types.Context) -> tuple[Array, Array]:
    """Everything to draw: line ends (N, 3) and their colours (N, 4)."""
    plan, lists = state.get_plan(context.scene), state.get_lists(context)
    cameras: list[Camera] = []
    colours: list[Array] = []
    if plan is not None and lists.show_accepted:
        rows = list(lists.views)
        verdicts = [plan.get_verdict(row.number) for row in rows]
        cameras += [verdict.candidate.camera for verdict in verdicts]
        worst, best = (extreme((row.score for row in rows), default=0.0) for extreme in (min, max))
        span = max(best - worst, 1e-6)
        colours += [
            _choose_colour(row, (row.score - worst) / span, index == lists.view) for index, row in enumerate(rows)
        ]
    if plan is not None and lists.show_rejected and lists.reason < len(lists.reasons):
        reason = lists.reasons[lists.reason].name
        taken = [verdict for verdict in plan.result.verdicts if (verdict.reason or "accepted") == reason]
        cameras += [verdict.candidate.camera for verdict in taken]
        colours += [np.array(REJECTED)] * len(taken)
    size = 0.03 * plan.opened.snapshot.diagonal if plan else 1.0
    points, shades = build_frusta(cameras, size), np.repeat(np.array(colours).reshape(-1, 4), len(EDGES), axis=0)
    if plan is not None and lists.show_accepted and lists.view < len(lists.views):
        candidate = plan.get_verdict(lists.views[lists.view].number).candidate
        if candidate.subject is not None:
            frame = build_framing(candidate.camera, candidate.subject, size)
            points, shades = np.vstack([points, frame]), np.vstack([shades, np.tile(FRAMING, (len(frame), 1))])
    return points + (plan.opened.world_offset if plan else 0.0), shades


def build_framing(camera: Camera, subject: Subject, size: float) -> Array:
    """Line ends (32, 3): the rectangle that a subject fills in a camera's picture, and the box around the subject."""
    pixels, depth = camera.project(subject.hull)
    visible = np.clip(pixels[depth > 0], 0, (camera.width, camera.height))
    (left, top), (right, bottom) = visible.min(axis=0), visible.max(axis=0)
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    rectangle = camera.position + size * camera.make_rays(corners)
    low, high = subject.bounds
    box = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(8, 3)
    return np.vstack([rectangle[AROUND], box[BOX]])


def _choose_colour(row: Any, promise: float, selected: bool) -> Array:
    if selected:
        return np.array(SELECTED)
    if row.turned_down:
        return np.array(TURNED_DOWN)
    return np.asarray(WORST + (BEST - WORST) * promise)


def _draw() -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    global _batch, _key
    context = bpy.context
    if not context.space_data.overlay.show_overlays:
        return
    shader = gpu.shader.from_builtin("POLYLINE_SMOOTH_COLOR")
    key = state.get_revision(), context.scene.name
    if key != _key:
        points, colours = build_lines(context)
        content: Any = {"pos": points.astype(np.float32), "color": colours.astype(np.float32)}
        _batch = batch_for_shader(shader, "LINES", content) if len(points) else None
        _key = key
    if _batch is None:
        return
    gpu.state.blend_set("ALPHA")
    shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
    shader.uniform_float("lineWidth", LINE_WIDTH)
    _batch.draw(shader)
    gpu.state.blend_set("NONE")


def register() -> None:
    """Draw in every 3D viewport from now on; nothing to do where there is no window."""
    global _handle
    if not bpy.app.background:
        _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")


def unregister() -> None:
    """Stop drawing."""
    global _handle, _batch, _key
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
    _handle = _batch = _key = None
