# SPDX-License-Identifier: Apache-2.0
"""Runs inside the Blender of benchmarks/window.py: plans, draws, renders, and writes down how long the window took."""

from __future__ import annotations

import json
import statistics
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy

OUT = Path(sys.argv[-1])
ops: Any = bpy.ops
REDRAWS = 15
SLOW_S = 0.1
RENDERED = 2
"""Views that must be there before redraws count: the child is then at work on the next."""


def import_addon_module(module: str) -> Any:
    """Import a module of the installed add-on."""
    return import_module(f"bl_ext.user_default.blendset.{module}")


def get_window_manager() -> Any:
    """The window manager, which holds the add-on's state."""
    return bpy.context.window_manager


def time_planning() -> dict[str, Any]:
    """Plan step by step; seconds by what each step did."""
    planning, state = import_addon_module("planning.window_plan"), import_addon_module("state")
    config = import_addon_module("properties").to_config(bpy.context.scene)
    steps = planning.plan_window(bpy.context.scene, config)
    seconds: list[tuple[str, float]] = []
    before = "starting"
    while True:
        started = time.perf_counter()
        step = next(steps)
        seconds.append((before, time.perf_counter() - started))
        if isinstance(step, planning.WindowPlan):
            break
        before = step.what
    state.set_plan(step)
    import_addon_module("rows").write_lists(bpy.context, step)
    reading = [each for what, each in seconds if what == "reading the scene"]
    others = [each for what, each in seconds if what != "reading the scene"]
    slow = sorted({what for what, each in seconds if each > SLOW_S and what != "reading the scene"})
    return {
        "candidates": len(step.result.verdicts),
        "reading_s": reading,
        "steps": len(others),
        "longest_s": max(others),
        "slow": slow,
    }


def time_redraw(show_overlay: bool) -> float:
    """Seconds to draw the window with the overlay or without."""
    state: Any = get_window_manager().blendset
    state.show_accepted = state.show_rejected = show_overlay
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)  # lines go to the GPU once per change
    started = time.perf_counter()
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
    return time.perf_counter() - started


def measure() -> float | None:
    """Called by Blender's timer: begins, waits until the job renders, then draws both ways in turns."""
    global results
    with bpy.context.temp_override(window=get_window_manager().windows[0]):
        if not results:
            results = time_planning()
            bpy.ops.wm.save_mainfile()
            ops.blendset.render()
            return 0.5
        job = import_addon_module("state").get_job()
        assert job.ended is None or job.ended.status == "done", job.ended
        if job.supervisor.done < RENDERED:
            return 0.5
        state: Any = get_window_manager().blendset
        counts = [row.count for row in state.reasons]
        state.reason = counts.index(max(counts))
        with_it, without = zip(*((time_redraw(True), time_redraw(False)) for _ in range(REDRAWS)), strict=True)
        results |= {
            "shown": max(counts) + len(state.views),
            "rendering": job.ended is None,
            "with_overlay_s": statistics.median(with_it),
            "without_s": statistics.median(without),
        }
        OUT.write_text(json.dumps(results), encoding="utf-8")
        job.supervisor.cancel()
    bpy.ops.wm.quit_blender()
    return None


results: dict[str, Any] = {}
bpy.app.timers.register(measure, first_interval=8.0)
