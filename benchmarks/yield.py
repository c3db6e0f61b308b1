# SPDX-License-Identifier: Apache-2.0
"""How many rendered views are usable: Blendset's placement and BlendFusion's (arXiv 2604.09022), side by side.

.venv/bin/python benchmarks/yield.py [SCENE.blend ...] [--blender PATH] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from report import find_scenes, format_table, run_blendset, write_results

from blendset.cameras import Array, direction_from_angles
from blendset.dataset import Dataset
from blendset.records import ViewRecord, read_json

# What BlendFusion keeps (1.3), and what a subject's picture is held to on its own index pass. Written again here on
# purpose: a benchmark that took the product's own limits would follow them wherever they go.
LEAST_MEAN, LEAST_VARIANCE, DARK, MOST_DARK = 30, 300, 5, 0.3
SHARE, MOST_TRUNCATION, LEAST_VISIBLE, LEAST_SUBJECT_MEAN = (0.04, 0.70), 0.15, 0.5, 20


@dataclass(frozen=True)
class Yield:
    """What one preset made of one scene. Shares are of the rendered views."""

    scene: str
    preset: str
    views: int
    passing_heuristics: float
    passing_all: float
    previews_per_view: float
    subjects: int
    seen_subjects: int
    least_angle_deg: float | None
    accepted_per_cpu_minute: float
    cpu_seconds: float
    reasons: dict[str, int]


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="blendset-yield-") as scratch:
        folder = options.keep or Path(scratch)
        results: list[Yield] = []
        for preset in options.preset:
            for scene in find_scenes(options.scenes):
                results.append(measure_yield(scene, preset, options, folder / f"{scene.stem}-{preset}"))
                write_results(
                    "yield", {"options": list_settings(options), "scenes": [asdict(each) for each in results]}
                )
    print(format_results(results))
    ours = [each.previews_per_view for each in results if each.preset == "blendset"]
    if ours:
        print(f"\nPreviews per rendered view of the default preset, median over scenes: {statistics.median(ours):.2f}")


def parse_arguments() -> argparse.Namespace:
    """The command line; the published placement gets smaller pictures, for most of its renders are thrown away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="*", type=Path, metavar="SCENE.blend")
    parser.add_argument("--blender", help="a Blender, or a Python that has bpy")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder to keep the datasets in")
    parser.add_argument("--preset", action="append", choices=("blendset", "blendfusion"))
    for preset, values in (("blendset", (48, 256, 16)), ("blendfusion", (96, 128, 8))):
        for name, value in zip(("views", "resolution", "samples"), values, strict=True):
            parser.add_argument(f"--{preset}-{name}", type=int, default=value, metavar="N")
    options = parser.parse_args()
    options.preset = options.preset or ["blendset", "blendfusion"]
    return options


def list_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The options that decide the results."""
    return {name: value for name, value in vars(options).items() if isinstance(value, int | list) and name != "scenes"}


def measure_yield(scene: Path, preset: str, options: argparse.Namespace, root: Path) -> Yield:
    """Render one scene into a fresh dataset as a user would, and look at what is in it."""
    sizes = [f"--{name}={getattr(options, f'{preset}_{name}')}" for name in ("views", "resolution", "samples")]
    blender = ["--blender", options.blender] if options.blender else []
    before = read_cpu_seconds()
    summary = run_blendset("render", scene, "--out", root, "--preset", preset, *sizes, *blender)
    spent = read_cpu_seconds() - before
    (scene_summary,) = summary["scenes"]
    dataset = Dataset(root)
    views = list(dataset.views())
    faults = {view.view_id: (find_broken_heuristics(dataset, view), find_framing_faults(view)) for view in views}
    passed = sum(not dark and not badly_framed for dark, badly_framed in faults.values())
    subjects = {view.subject for view in views if view.subject}
    previews = read_json(dataset.run_path(scene_summary["run"]))["previews"] if views else 0
    return Yield(
        scene=scene.stem,
        preset=preset,
        views=len(views),
        passing_heuristics=sum(not dark for dark, _ in faults.values()) / max(len(views), 1),
        passing_all=passed / max(len(views), 1),
        previews_per_view=previews / max(len(views), 1),
        subjects=len(subjects),
        seen_subjects=scene_summary["subjects"].get("seen", 0),
        least_angle_deg=compute_least_angle(views),
        accepted_per_cpu_minute=60 * passed / spent if spent else 0.0,
        cpu_seconds=spent,
        reasons=count_reasons([reason for both in faults.values() for reasons in both for reason in reasons]),
    )


def read_cpu_seconds() -> float:
    """User and system time of all children that have ended, and of theirs; Windows does not tell and gives 0."""
    times = os.times()
    return times.children_user + times.children_system


def find_broken_heuristics(dataset: Dataset, view: ViewRecord) -> list[str]:
    """Which of BlendFusion's four rules a picture breaks, from the file alone (and the target's pixels)."""
    with Image.open(dataset.rgb_path(view)) as picture:
        grey = np.asarray(picture.convert("L"), dtype=np.float64)
    broken = {
        "no target": view.subject_share == 0,
        "dark": grey.mean() < LEAST_MEAN,
        "flat": grey.var() < LEAST_VARIANCE,
        "black": np.mean(grey <= DARK) > MOST_DARK,
    }
    return [rule for rule, is_broken in broken.items() if is_broken]


def find_framing_faults(view: ViewRecord) -> list[str]:
    """What is wrong with how the subject stands in its picture, by the record's figures; nothing for scene views."""
    if view.subject_share is None or view.truncation is None or view.visible_fraction is None:
        return []
    broken = {
        "too small": view.subject_share < SHARE[0],
        "too large": view.subject_share > SHARE[1],
        "truncated": view.truncation > MOST_TRUNCATION,
        "hidden": view.visible_fraction < LEAST_VISIBLE,
        "dark subject": view.statistics.get("subject_mean", 0) < LEAST_SUBJECT_MEAN,
    }
    return [rule for rule, is_broken in broken.items() if is_broken]


def compute_least_angle(views: list[ViewRecord]) -> float | None:
    """Degrees between the two nearest views of any one subject, as seen from its centre."""
    by_subject = defaultdict(list)
    for view in views:
        if view.subject:
            by_subject[view.subject].append(view)
    angles = []
    for members in by_subject.values():
        centre = np.mean([compute_centre(view) for view in members], axis=0)
        towards = [get_position(view) - centre for view in members]
        angles += [compute_angle(one, other) for one, other in combinations(towards, 2)]
    return min(angles, default=None)


def get_position(view: ViewRecord) -> Array:
    """Where a view's camera is, (3,)."""
    return np.array(view.camera.world_from_camera).reshape(4, 4)[:3, 3]


def compute_centre(view: ViewRecord) -> Array:
    """Where the record says that its subject is."""
    assert view.azimuth_deg is not None and view.elevation_deg is not None and view.distance is not None
    return np.asarray(get_position(view) - view.distance * direction_from_angles(view.azimuth_deg, view.elevation_deg))


def compute_angle(one: Array, other: Array) -> float:
    """Degrees between two vectors (3,)."""
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def count_reasons(reasons: list[str]) -> dict[str, int]:
    """How often each reason occurs, in order of first occurrence."""
    return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}


def format_results(results: list[Yield]) -> str:
    """The results as a table."""
    head = ("scene", "preset", "views", "heuristics", "and framing", "previews/view", "subjects", "least angle")
    rows = [
        (
            each.scene,
            each.preset,
            each.views,
            f"{each.passing_heuristics:.1%}",
            f"{each.passing_all:.1%}",
            f"{each.previews_per_view:.2f}",
            f"{each.subjects}/{each.seen_subjects}" if each.preset == "blendset" else each.subjects,
            "-" if each.least_angle_deg is None else f"{each.least_angle_deg:.1f}",
            f"{each.accepted_per_cpu_minute:.1f}",
            ", ".join(f"{count} {reason}" for reason, count in each.reasons.items()) or "-",
        )
        for each in sorted(results, key=lambda each: each.scene)
    ]
    return format_table((*head, "accepted/CPU min", "faults"), rows)


if __name__ == "__main__":
    main()
