# SPDX-License-Identifier: Apache-2.0
"""How fast cameras are judged: candidates per second in a room of 500,000 triangles, and our rays against Blender's.

.venv-blender/bin/python benchmarks/screening.py
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from typing import Any

import bpy
import numpy as np
from report import find_addon_zip, format_table, write_results

SIZE, HEIGHT = 12.0, 3.0
PIECES = 144
"""Pieces of furniture; a third of them are small and stand on the larger ones."""


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    if not options.installed:
        sys.exit(rerun_in_fresh_profile())
    install_addon()
    bpy.ops.wm.read_homefile(use_empty=True)
    furnish_room(options.triangles)
    results = measure_screening(options.candidates, options.rays)
    write_results("screening", results)
    print(
        format_table(
            ("figure", "value"), [(name.replace("_", " "), f"{value:,.4g}") for name, value in results.items()]
        )
    )


def rerun_in_fresh_profile() -> int:
    """Run this again with a profile of its own, which Blender takes note of before anything else."""
    with tempfile.TemporaryDirectory(prefix="blendset-benchmark-") as profile:
        command = [sys.executable, *sys.argv, "--installed"]
        return subprocess.run(command, env=os.environ | {"BLENDER_USER_RESOURCES": profile}).returncode


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triangles", type=int, default=500_000, metavar="N")
    parser.add_argument("--candidates", type=int, default=64, metavar="N", help="cameras proposed per subject")
    parser.add_argument("--rays", type=int, default=50_000, metavar="N", help="rays for the comparison")
    parser.add_argument("--installed", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def install_addon() -> None:
    """The add-on as a user gets it."""
    bpy.ops.preferences.addon_enable(module="bl_pkg")
    bpy.ops.extensions.package_install_files(
        repo="user_default", filepath=str(find_addon_zip()), enable_on_install=True
    )


def furnish_room(triangles: int) -> None:
    """A room of PIECES subdivided things on a jittered grid, the same in every run."""
    rng = np.random.default_rng(0)
    add_object("room shell", *make_rounded_box((SIZE, SIZE, HEIGHT), 12, 0), (0, 0, HEIGHT / 2), 0)
    standing = 2 * PIECES // 3
    columns = int(np.ceil(np.sqrt(standing)))
    spots = []
    for number in range(PIECES):
        if number < standing:
            size = rng.uniform((0.3, 0.3, 0.4), (0.9, 0.9, 1.4))
            x, y = ((np.array(divmod(number, columns)) + rng.uniform(0.35, 0.65, 2)) / columns - 0.5) * (SIZE - 1)
            floor = 0.0
            spots.append((x, y, size[2]))
        else:
            size = rng.uniform(0.12, 0.35, 3)
            x, y, floor = spots[(number - standing) * 2 % standing]
        form = make_rounded_box(size, triangles / PIECES, rng.choice((0.0, 0.3, 1.0)))
        add_object(f"piece {number}", *form, (x, y, floor + size[2] / 2 + 0.001), rng.uniform(0, 360))


def make_rounded_box(size: Any, triangles: float, roundness: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and quads (Q, 4) of a form from a box (0) to an ellipsoid (1), evenly cut into so many
    triangles."""
    across = round(np.sqrt(triangles / 12))
    steps = np.linspace(-1, 1, across + 1)
    u, v = (axis.ravel() for axis in np.meshgrid(steps, steps))
    sides = [(side * np.stack([np.ones_like(u), u, side * v], axis=1)) for side in (1, -1)]
    box = np.concatenate([np.roll(side, turn, axis=1) for side in sides for turn in range(3)])
    ball = box / np.linalg.norm(box, axis=1, keepdims=True)
    j, i = (index.ravel() for index in np.meshgrid(range(across), range(across), indexing="ij"))
    corner = j * (across + 1) + i
    face = np.stack([corner, corner + 1, corner + across + 2, corner + across + 1], axis=1)
    quads = np.concatenate([face + number * (across + 1) ** 2 for number in range(6)])
    return ((1 - roundness) * box + roundness * ball) * np.asarray(size) / 2, quads


def add_object(
    name: str, vertices: np.ndarray, quads: np.ndarray, location: tuple[float, float, float], heading_deg: float
) -> None:
    """Add a mesh to the scene, at a location in metres and turned about the vertical."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], quads.tolist())
    thing = bpy.data.objects.new(name, mesh)
    thing.location, thing.rotation_euler.z = location, np.radians(heading_deg)
    bpy.data.scenes[0].collection.objects.link(thing)


def measure_screening(candidates: int, rays: int) -> dict[str, float]:
    """Times in one process: the snapshot with its tree, all gates over all candidates, and single rays both ways."""
    from blendset.config import CameraSettings, Config
    from blendset.placement.planner import plan

    addon = "bl_ext.user_default.blendset"
    snapshot = import_module(f"{addon}.scene.snapshot")
    scene = bpy.data.scenes[0]
    started = time.perf_counter()
    opened = snapshot.open_scene(scene, scene.view_layers[0].name)
    taken, joined = opened.snapshot, opened.geometry
    built = time.perf_counter()
    planned = plan(taken, joined, Config(cameras=CameraSettings(candidates=candidates)))
    judged = time.perf_counter() - built
    origins, towards = make_random_rays(rays)
    ours, theirs = time_our_rays(joined, origins, towards), time_blender_rays(origins, towards)
    return {
        "triangles": len(taken.triangles),
        "objects": len(taken.objects),
        "subjects": len(planned.search.subjects),
        "candidates": len(planned.verdicts),
        "accepted": sum(verdict.accepted for verdict in planned.verdicts),
        "opening_seconds": built - started,
        "gates_seconds": judged,
        "candidates_per_second": len(planned.verdicts) / judged,
        "microseconds_per_ray": 1e6 * ours / rays,
        "microseconds_per_ray_of_scene_ray_cast": 1e6 * theirs / rays,
        "times_faster_than_scene_ray_cast": theirs / ours,
    }


def make_random_rays(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Origins in the room and directions (N, 3) every way."""
    rng = np.random.default_rng(1)
    origins = rng.uniform((-SIZE / 2, -SIZE / 2, 0), (SIZE / 2, SIZE / 2, HEIGHT), (count, 3))
    towards = rng.normal(size=(count, 3))
    return origins, towards / np.linalg.norm(towards, axis=1, keepdims=True)


def time_our_rays(joined: Any, origins: np.ndarray, towards: np.ndarray) -> float:
    """Seconds to cast all rays at once through our own tree."""
    joined.cast(origins[:100], towards[:100])
    started = time.perf_counter()
    joined.cast(origins, towards)
    return time.perf_counter() - started


def time_blender_rays(origins: np.ndarray, towards: np.ndarray) -> float:
    """The same rays one by one through scene.ray_cast, after it has built its trees."""
    scene, depsgraph = bpy.data.scenes[0], bpy.context.evaluated_depsgraph_get()
    rays = list(zip(origins.tolist(), towards.tolist(), strict=True))
    for origin, direction in rays[: len(rays) // 10]:
        scene.ray_cast(depsgraph, origin, direction)
    started = time.perf_counter()
    for origin, direction in rays:
        scene.ray_cast(depsgraph, origin, direction)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # a Python with bpy crashes or hangs now and then in its ordinary exit
