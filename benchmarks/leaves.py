# SPDX-License-Identifier: Apache-2.0
"""What leaves and blades cost: planning a yard with 45,000 instanced leaves, or 5,000 objects of grass, and with 1 % of
them.

The command is `blendset plan` from its start to its end; the other times are those within Blender.

.venv-blender/bin/python benchmarks/leaves.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from report import format_table, write_results
from screening import add_object, install_addon, make_rounded_box, rerun_in_fresh_profile

YARD = 12.0
"""Side of the yard, in metres."""
TREES = ((4.0, -3.0), (-4.0, -3.0), (1.0, -5.0))
FEW = 0.01
"""Share of the leaves, or of the grass, that the time of all of them is compared with."""
Times = dict[str, float]


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    if not options.installed:
        sys.exit(rerun_in_fresh_profile())
    install_addon()
    kinds: dict[str, tuple[Callable[[int], None], int]] = {
        "leaves": (add_leaves, options.leaves),
        "grass": (add_grass, options.grass),
    }
    with tempfile.TemporaryDirectory(prefix="blendset-benchmark-") as folder:
        command = options.blendset, Path(folder)
        results = {name: measure_kind(add, count, options.repeat, *command) for name, (add, count) in kinds.items()}
    write_results("leaves", results)
    head = (
        "scene",
        "objects",
        "Blender s",
        "reading s",
        "planning s",
        "all but Blender, of 1 %",
        "command s",
        "of 1 %",
    )
    print(format_table(head, [row for name, each in results.items() for row in list_rows(name, each)]))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=45_000, metavar="N")
    parser.add_argument("--grass", type=int, default=5_000, metavar="N")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of which the median counts")
    parser.add_argument("--blendset", default=".venv/bin/blendset", metavar="PATH", help="the command")
    parser.add_argument("--installed", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_kind(add: Callable[[int], None], count: int, repeat: int, blendset: str, folder: Path) -> dict[str, Times]:
    """The median times with few and with all, which take turns, by their number."""
    runs: dict[int, list[Times]] = {max(1, round(FEW * count)): [], count: []}
    for _ in range(repeat):
        for number, times in runs.items():
            build_yard()
            add(number)
            times.append(measure_planning() | measure_command(blendset, folder))
    return {
        f"{number:,}": {name: statistics.median(each[name] for each in times) for name in times[0]}
        for number, times in runs.items()
    }


def measure_planning() -> Times:
    """Seconds that Blender takes to evaluate the open scene for a render, and that Blendset takes to read and plan."""
    from blendset.config import Config

    addon = "bl_ext.user_default.blendset"
    reading = import_module(f"{addon}.planning.reading")
    evaluate = import_module(f"{addon}.scene.render_depsgraph").call_with_render_depsgraph
    scene = bpy.data.scenes[0]
    layer = scene.view_layers[0].name
    begun = time.perf_counter()
    evaluate(scene, layer, lambda depsgraph: len(depsgraph.object_instances))
    evaluated = time.perf_counter()
    with import_module(f"{addon}.scene.overrides").Overrides() as overrides:
        read = reading.read_scene(scene, layer, Config(), overrides)
        opened = time.perf_counter()
        *_, planned = reading.plan_in_steps(read, Config())
        planned.choose_views(Config())
    return {
        "objects": len(read.opened.snapshot.objects),
        "evaluating_seconds": evaluated - begun,
        "reading_seconds": opened - evaluated,  # with another evaluation
        "planning_seconds": time.perf_counter() - opened,
    }


def measure_command(blendset: str, folder: Path) -> Times:
    """Seconds that planning the open scene takes as a command; the scene is saved into a folder."""
    scene, plan = folder / "yard.blend", folder / "plan"
    bpy.ops.wm.save_as_mainfile(filepath=str(scene))
    plan.unlink(missing_ok=True)
    begun = time.perf_counter()
    subprocess.run(
        [blendset, "plan", scene, "--out", plan, "--blender", sys.executable], check=True, capture_output=True
    )
    return {"command_seconds": time.perf_counter() - begun}


def list_rows(name: str, kind: dict[str, Times]) -> list[tuple[str, ...]]:
    """A row of the table for each number of leaves or blades."""
    totals = [each["reading_seconds"] + each["planning_seconds"] for each in kind.values()]
    own = [total - each["evaluating_seconds"] for total, each in zip(totals, kind.values(), strict=True)]
    first = next(iter(kind.values()))
    return [
        (
            f"{number} {name}",
            f"{each['objects']:,.0f}",
            *(f"{each[f'{step}_seconds']:.2f}" for step in ("evaluating", "reading", "planning")),
            f"{rest / own[0]:.2f}",
            f"{each['command_seconds']:.2f}",
            f"{each['command_seconds'] / first['command_seconds']:.2f}",
        )
        for (number, each), rest in zip(kind.items(), own, strict=True)
    ]


def build_yard() -> None:
    """Three stones on a lawn, in an empty file."""
    bpy.ops.wm.read_homefile(use_empty=True)
    add_object("lawn", *make_rounded_box((YARD, YARD, 0.1), 12, 0), (0, 0, -0.05), 0)
    for number, x in enumerate((-3.0, 0.0, 3.0)):
        add_object(f"stone {number}", *make_rounded_box((1.2, 0.8, 0.7), 2_000, 1), (x, 1.0 + number, 0.35), 20 * x)


def add_leaves(count: int) -> None:
    """Three trees that make `count` leaves by geometry nodes."""
    rng = np.random.default_rng(0)
    for number, (x, y) in enumerate(TREES):
        add_object(f"tree {number}", *make_rounded_box((0.4, 0.4, 2.4), 500, 0.3), (x, y, 1.2), 0)
        directions = rng.normal(size=(count // len(TREES), 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        crown = [0, 0, 1.8] + directions * rng.uniform(0.6, 1.2, (len(directions), 1))
        points = bpy.data.meshes.new(f"crown {number}")
        points.from_pydata(crown.tolist(), [], [])
        holder = bpy.data.objects.new(f"crown {number}", points)
        grow_leaves(bpy.data.objects[f"tree {number}"], holder)


def grow_leaves(tree: bpy.types.Object, crown: bpy.types.Object) -> None:
    """Give a tree a leaf of eight triangles at each point of its crown."""
    nodes: Any = bpy.data.node_groups.new(tree.name, "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        nodes.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    trunk, points, leaf, instancer, join, output = (
        nodes.nodes.new(kind if kind.startswith("Node") else f"GeometryNode{kind}")
        for kind in ("NodeGroupInput", "ObjectInfo", "MeshGrid", "InstanceOnPoints", "JoinGeometry", "NodeGroupOutput")
    )
    points.inputs["Object"].default_value = crown
    for name, value in (("Size X", 0.06), ("Size Y", 0.12), ("Vertices X", 3), ("Vertices Y", 3)):
        leaf.inputs[name].default_value = value
    for source, target in (
        (points.outputs["Geometry"], instancer.inputs["Points"]),
        (leaf.outputs["Mesh"], instancer.inputs["Instance"]),
        (instancer.outputs["Instances"], join.inputs[0]),
        (trunk.outputs[0], join.inputs[0]),
        (join.outputs[0], output.inputs[0]),
    ):
        nodes.links.new(source, target)
    modifier: Any = tree.modifiers.new("leaves", "NODES")
    modifier.node_group = nodes


def add_grass(count: int) -> None:
    """`count` tufts of grass, each an object with a mesh of its own."""
    rng = np.random.default_rng(0)
    for number in range(count):
        height = rng.uniform(0.04, 0.08)
        roots = rng.uniform(-0.02, 0.02, (8, 1, 2)) + np.array([[-0.004, 0], [0.004, 0], [0.004, 0], [-0.004, 0]])
        blades = np.concatenate([roots, np.broadcast_to([[0.0], [0.0], [height], [height]], (8, 4, 1))], axis=2)
        x, y = rng.uniform(-YARD / 2, YARD / 2, 2)
        faces = np.arange(32).reshape(8, 4)
        add_object(f"grass {number}", blades.reshape(-1, 3), faces, (x, y, 0), rng.uniform(0, 360))


if __name__ == "__main__":
    main()
