# SPDX-License-Identifier: Apache-2.0
"""Whether every Blender makes the same of a scene: plans camera by camera, then the passes of one plan pixel by pixel.

.venv/bin/python benchmarks/versions.py SCENE.blend ... --blender OLDEST --blender OTHER ... [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from report import find_addon_zip, find_scenes, format_table, run_blendset, write_results

from blendset.config import CameraSettings, Config, GateSettings, RenderSettings
from blendset.dataset import Dataset
from blendset.jobs.blenders import Blender, find_blender, install_profile, make_worker_command
from blendset.jobs.supervisor import Supervisor
from blendset.placement.camera_plan import CameraPlan, read_plan
from blendset.placement.funnel import get_metrics
from blendset.placement.gates import FIRST_LOOK_SLACK
from blendset.records import ViewRecord

SAME = 1e-5
DEPTH_TOLERANCE, NORMAL_TOLERANCE = 1e-3, 2e-2
"""Relative for depth, per component for normals: above these a pixel shows another surface, not another rounding."""

DECIDING: dict[str, tuple[str, Callable[[GateSettings], float]]] = {
    "blocked": ("blocked", lambda gates: gates.visible_fraction - FIRST_LOOK_SLACK),
    "hidden": ("visible_fraction", lambda gates: gates.visible_fraction),
    "truncated": ("truncated", lambda gates: gates.truncation),
    "inside solid": ("inside solid", lambda gates: gates.back_faces),
    "one surface": ("one_surface", lambda gates: gates.one_surface),
    "too little in frame": ("subject_share", lambda gates: gates.subject_share_min),
    "too much in frame": ("subject_share", lambda gates: gates.subject_share_max),
    "near occluder": ("near_occluder", lambda gates: gates.near_occluder),
}
"""The metric behind a reason, and its threshold."""


@dataclass(frozen=True)
class Plans:
    """How two funnels and plans made by geometry alone agree."""

    candidates: int
    furthest_camera: float
    other_verdicts: int
    unexcused_verdicts: int
    planned_views: int
    views_in_common: int


@dataclass(frozen=True)
class Pictures:
    """How two renders of one plan agree; `pixels` are all there are, the others those that differ."""

    pictures: int
    same_files: bool
    pixels: int
    other_ids: int
    most_other_ids_in_one: int
    other_depths: int
    other_normals: int


@dataclass(frozen=True)
class Agreement:
    """One Blender against the first one, on one scene."""

    scene: str
    blender: str
    plans: Plans
    pictures: Pictures


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    blenders = [find_blender(choice, os.environ) for choice in options.blender]
    results: list[Agreement] = []
    with tempfile.TemporaryDirectory(prefix="blendset-versions-") as scratch:
        folder = options.keep or Path(scratch)
        for scene in find_scenes(options.scenes):
            results += compare_versions(scene, blenders, options, folder / scene.stem)
            write_results("versions", [asdict(each) for each in results])
    print(format_results(results))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="*", type=Path, metavar="SCENE.blend")
    parser.add_argument("--blender", action="append", required=True, help="the first one is what others are held to")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder to keep plans and datasets in")
    for name, value in (("views", 12), ("resolution", 96), ("samples", 4)):
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N")
    return parser.parse_args()


def compare_versions(
    scene: Path, blenders: list[Blender], options: argparse.Namespace, folder: Path
) -> Iterator[Agreement]:
    """Plan by geometry in each, then render the first one's full plan in each."""
    config = Config(
        cameras=CameraSettings(views=options.views),
        render=RenderSettings(resolution=options.resolution, samples=options.samples),
    )
    plans = [
        plan_by_geometry(scene, blender, config, folder / f"plan-{number}") for number, blender in enumerate(blenders)
    ]
    sizes = [f"--{name}={getattr(options, name)}" for name in ("views", "resolution", "samples")]
    plan: list[object] = []
    rendered = []
    for number, blender in enumerate(blenders):
        root = folder / f"views-{number}"
        summary = run_blendset("render", scene, "--out", root, "--blender", blender.path, *sizes, *plan)
        rendered.append(Dataset(root))
        plan = plan or ["--plan", Dataset(root).plan_path(summary["scenes"][0]["run"])]
    for number in range(1, len(blenders)):
        plans_agree = compare_plans(plans[0], plans[number], config.gates)
        version = ".".join(map(str, blenders[number].version))
        yield Agreement(scene.stem, version, plans_agree, compare_pictures(rendered[0], rendered[number]))


def plan_by_geometry(
    scene: Path, blender: Blender, config: Config, root: Path
) -> tuple[CameraPlan, list[dict[str, Any]]]:
    """A plan without previews, and its funnel."""
    command = partial(make_worker_command, blender, install_profile(blender, find_addon_zip()))
    with Supervisor([scene], root, config, command, render=False, previews=False) as supervisor:
        while not supervisor.finished:
            supervisor.step()
            time.sleep(0.02)
    (scene_summary,) = supervisor.summarize().scenes
    if scene_summary.status != "done":
        raise SystemExit(f"{blender} cannot plan {scene}: {scene_summary.reason}")
    funnel = supervisor.dataset.funnel_path(scene_summary.run).read_text(encoding="utf-8").splitlines()
    return read_plan(supervisor.dataset.plan_path(scene_summary.run)), [json.loads(line) for line in funnel]


Planning = tuple[CameraPlan, list[dict[str, Any]]]


def compare_plans(first: Planning, other: Planning, gates: GateSettings) -> Plans:
    """Candidate by candidate, in the funnels' order; leaves with a sentence where there are other candidates."""
    (plan, funnel), (other_plan, other_funnel) = first, other
    if [row["subject"] for row in funnel] != [row["subject"] for row in other_funnel]:
        raise SystemExit("The two Blenders find other subjects, or another number of candidates.")
    pairs = list(zip(funnel, other_funnel, strict=True))
    same_camera = [compute_largest_difference(one["camera"], two["camera"]) for one, two in pairs]
    differing = [(one, two) for one, two in pairs if one["reason"] != two["reason"]]
    unexcused = [pair for pair in differing if not any(is_at_threshold(row, pair, gates) for row in pair)]
    for one, two in unexcused[:5]:
        print(f"{one['view_id']}: '{one['reason'] or 'accepted'}' became '{two['reason'] or 'accepted'}'")
    common = {view.view_id for view in plan.views} & {view.view_id for view in other_plan.views}
    return Plans(len(pairs), max(same_camera), len(differing), len(unexcused), len(plan.views), len(common))


def compute_largest_difference(one: dict[str, Any], two: dict[str, Any]) -> float:
    """Largest difference of two cameras in any number, lens included."""
    flat = [np.array([*each["world_from_camera"], each["focal_length_mm"], *each["shift"]]) for each in (one, two)]
    return float(np.abs(flat[0] - flat[1]).max())


def is_at_threshold(row: dict[str, Any], pair: tuple[dict[str, Any], dict[str, Any]], gates: GateSettings) -> bool:
    """Whether the figure that rejected this row is, in either Blender, so near its threshold that rounding decides."""
    if row["reason"] not in DECIDING:
        return False
    metric, threshold = DECIDING[row["reason"]]
    return any(abs(get_metrics(each).get(metric, np.inf) - threshold(gates)) <= SAME for each in pair)


def compare_pictures(first: Dataset, other: Dataset) -> Pictures:
    """View by view."""
    ours, theirs = ({view.view_id: view for view in each.views()} for each in (first, other))
    same_files = {name: sorted(view.files) for name, view in ours.items()} == {
        name: sorted(view.files) for name, view in theirs.items()
    }
    totals: Counter[str] = Counter()
    most = 0
    for name in sorted(set(ours) & set(theirs)):
        counts = count_differing_pixels(first, ours[name], other, theirs[name])
        totals.update(counts)
        most = max(most, counts["ids"])
    views = len(set(ours) & set(theirs))
    return Pictures(views, same_files, totals["pixels"], totals["ids"], most, totals["depths"], totals["normals"])


def count_differing_pixels(first: Dataset, ours: ViewRecord, other: Dataset, theirs: ViewRecord) -> dict[str, int]:
    """How many pixels of two pictures show another object, another depth or another normal."""
    one, two = first.passes(ours), other.passes(theirs)
    nothing = np.isinf(one.depth) & np.isinf(two.depth)
    with np.errstate(invalid="ignore"):
        deep = np.abs(one.depth - two.depth) > DEPTH_TOLERANCE * np.minimum(one.depth, two.depth)
    turned = np.abs(one.normal - two.normal).max(axis=-1) > NORMAL_TOLERANCE
    return {
        "pixels": one.id.size,
        "ids": int((one.id != two.id).sum()),
        "depths": int((deep & ~nothing).sum()),
        "normals": int(turned.sum()),
    }


def format_results(results: list[Agreement]) -> str:
    """The results as a table."""
    head = ("scene", "Blender", "candidates", "furthest camera", "other verdicts (unexcused)", "views in common",
            "pictures", "same files", "pixels", "other id (most in a view)", "other depth", "other normal")  # fmt: skip
    rows = [
        (
            each.scene,
            each.blender,
            each.plans.candidates,
            f"{each.plans.furthest_camera:.1e}",
            f"{each.plans.other_verdicts} ({each.plans.unexcused_verdicts})",
            f"{each.plans.views_in_common}/{each.plans.planned_views}",
            each.pictures.pictures,
            "yes" if each.pictures.same_files else "no",
            each.pictures.pixels,
            f"{each.pictures.other_ids} ({each.pictures.most_other_ids_in_one})",
            each.pictures.other_depths,
            each.pictures.other_normals,
        )
        for each in results
    ]
    return format_table(head, rows)


if __name__ == "__main__":
    main()
