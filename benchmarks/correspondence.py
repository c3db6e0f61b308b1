# SPDX-License-Identifier: Apache-2.0
"""How exactly one view can be warped into another, at three baselines: a scene in closed form, and renders.

.venv/bin/python benchmarks/correspondence.py [DATASET...] [--picture docs/correspondence.jpg]

A dataset is one of `blendset render SCENE.blend --preset orbit-21 --views 21`; the picture is of the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from correspondence_measures import (
    Comparison,
    average_comparisons,
    compare_rules,
    compare_traced_pairs,
    compute_rendered_truth,
)
from PIL import Image, ImageDraw
from report import format_table, write_results

from blendset.cameras import Camera
from blendset.correspondence import ViewGeometry, compute_baseline_deg, correspond, find_viewed_point
from blendset.dataset import Dataset
from blendset.records import ViewRecord

STEPS = {35: 2, 70: 4, 160: 10}
"""Views from one to the other on an orbit of 21, by the nominal baseline in degrees."""
STARTS = range(0, 21, 3)
UNSEEN = np.array([214, 60, 160])
SIDE = 256

TRACED = "in closed form"
HEAD = ("scene", "baseline", "tokens kept", "pixels kept", "mean error, px", "95th percentile, px", "taken unseen")

Row = tuple[str, float, Comparison]


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    orbits = [(path.name, *read_orbit(Dataset(path))) for path in options.datasets]
    found = [
        *compare_traced(),
        *(row for name, records, views in orbits for row in compare_rendered(name, records, views)),
    ]
    write_results(
        "correspondence",
        [{"scene": scene, "baseline_deg": angle, **asdict(figures)} for scene, angle, figures in found],
    )
    print(format_table(HEAD, [format_row(*row) for row in found]))
    if options.picture and orbits:
        draw_warps(Dataset(options.datasets[0]), *orbits[0][1:]).save(options.picture, quality=88)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", type=Path, metavar="DATASET")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    return parser.parse_args()


def read_orbit(dataset: Dataset) -> tuple[list[ViewRecord], list[ViewGeometry]]:
    """The dataset's first orbit, in its order."""
    records = list(dataset.views())
    first = min(record.view_set for record in records)
    members = sorted((each for each in records if each.view_set == first), key=lambda each: each.view_index)
    return members, [ViewGeometry(Camera.from_record(each.camera), dataset.passes(each)) for each in members]


def compare_traced() -> Iterator[Row]:
    """The closed form at baselines of exactly 35, 70 and 160 degrees, from low and, where there is room, from high."""
    for elevation in (8.0, 30.0):
        for angle in STEPS:
            if angle < 180 - 2 * elevation:
                yield (
                    f"{TRACED}, {elevation:.0f}° up",
                    angle,
                    average_comparisons(compare_traced_pairs(angle, elevation, range(10, 370, 60))),
                )


def compare_rendered(name: str, records: list[ViewRecord], views: list[ViewGeometry]) -> Iterator[Row]:
    """Renders of an orbit, whose baselines are a little narrower than its turns."""
    objects = records[0].subject_objects
    middle = find_viewed_point(views, objects)
    positions = np.concatenate([view.positions[view.mask_objects(objects)] for view in views])
    for step in STEPS.values():
        pairs = [(views[start], views[(start + step) % len(views)]) for start in STARTS]
        angles = [compute_baseline_deg(one.camera, other.camera, middle) for one, other in pairs]
        unit = float(np.ptp(positions, axis=0).max())
        yield (
            name,
            float(np.mean(angles)),
            average_comparisons(compare_rules(*pair, compute_rendered_truth(*pair), unit) for pair in pairs),
        )


def format_row(scene: str, angle: float, found: Comparison) -> tuple[str, ...]:
    """A row of the table: ours, and SynCD's in brackets. Only rays tell what a source does not see."""
    shares, pixels = ("pixels_kept", "unseen"), ("mean_error", "high_error")
    cell = {name: format_both(found, name, ".1%") for name in shares} | {
        name: format_both(found, name, ".2f") for name in pixels
    }
    unseen = cell["unseen"] if scene.startswith(TRACED) else ""
    return (
        scene, f"{angle:.0f}°", f"{found.tokens_kept:.1%}",
        cell["pixels_kept"], cell["mean_error"], cell["high_error"], unseen,
    )  # fmt: skip


def format_both(found: Comparison, name: str, form: str) -> str:
    """Our share or error, and SynCD's in brackets."""
    return f"{getattr(found.ours, name):{form}} ({getattr(found.syncd, name):{form}})"


def draw_warps(dataset: Dataset, records: list[ViewRecord], views: list[ViewGeometry]) -> Image.Image:
    """A row for each baseline: source, target, the one warped into the other, and in magenta what it does not see."""
    sheet = Image.new("RGB", (4 * SIDE, len(STEPS) * SIDE))
    pixels = [np.asarray(Image.open(dataset.rgb_path(record)).convert("RGB")) for record in records]
    middle = find_viewed_point(views, records[0].subject_objects)
    for row, step in enumerate(STEPS.values()):
        match = correspond(views[0], views[step])
        angle = compute_baseline_deg(views[0].camera, views[step].camera, middle)
        tiles = {
            f"source, {angle:.0f} degrees away": pixels[step],
            "target": pixels[0],
            "warped into the target": np.where(match.visible[..., None], match.warp(pixels[step]), UNSEEN),
            "not seen by the source": np.where(match.visible[..., None], pixels[0], 0.5 * pixels[0] + 0.5 * UNSEEN),
        }
        for column, (title, tile) in enumerate(tiles.items()):
            corner = column * SIDE, row * SIDE
            sheet.paste(Image.fromarray(np.rint(tile).astype(np.uint8)).resize((SIDE, SIDE)), corner)
            corner_of_text = corner[0] + 6, corner[1] + 4
            ImageDraw.Draw(sheet).text(
                corner_of_text, title, "white", font_size=13, stroke_width=1, stroke_fill="black"
            )
    return sheet


if __name__ == "__main__":
    main()
