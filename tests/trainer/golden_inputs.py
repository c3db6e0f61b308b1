# SPDX-License-Identifier: Apache-2.0
"""Inputs of the golden record and of tests/compare_bytes.py: two small datasets, and tiny models.

`python -m tests.trainer.golden_inputs FOLDER` makes them in a folder, for a program that knows no module of this tree.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))  # for programs; pytest has it on the path

from tests.trainer import boxes, sheet_pipeline, tiny_models, tiny_pipelines
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset
from tests.trainer.traced_sets import TURN, add_set, painted, view_at

ROOMS, FIGURES, MODELS, SHEET_CODE = "rooms", "figures", "models", "sheet-code"
SCORERS = ("open_clip", "clip", "dino", "depth", "sam", "llava")
"""Tiny models that score and say."""
PIPELINES = ("stable_diffusion", "stable_diffusion_xl", "controlnet", "pixart_sigma", "flux", "flux_depth")
SHEETS = "zero123plus-v1.2"
"""The tiny model of novel views, whose layout is known by this name."""
LABELS = {1: "garden globe", 2: "red ball", 3: "SM_Wooden_Crate_01", 4: ""}
"""Of the ray-traced scene's objects."""
SUBJECTS = ("chair", "lamp", "oak table")
DIRECTIONS = 6
"""Numbers of an embedding."""
RANGES = {
    "image-stats.subject_pixels": (-20, 200),
    "image-stats.mean": (20, 200),
    "image-stats.variance": (200, 4000),
    "image-stats.dark_fraction": (0, 0.35),
    "image-stats.clipped_fraction": (0, 0.35),
    "image-stats.magenta": (0, 0.06),
    "image-stats.sharpness": (0, 900),
    "image-stats.fireflies": (0, 0.01),
    "clip-vit-l-14.similarity": (0.17, 0.35),
    "clip-synthvlm.similarity": (-0.05, 0.4),
    "ssim-roundtrip.ssim": (0.5, 1),
    "aesthetic-sac-logos-ava1-l14-linearmse.score": (2.5, 7),
    "aesthetic-sa-0-4-vit-l-14-linear.score": (5.7, 7),
    "dino-dinov2-with-registers-large.set_mean": (0.65, 1),
    "dino-dinov2-with-registers-large.best_pair": (0.65, 0.98),
    "vlm-quality-mv-llava-7b.score": (3, 5.5),
}
"""Columns that the presets of `blendset select` read, and the lowest and highest figure in each."""


def make_all(folder: Path) -> None:
    """Make all inputs in a folder that has none of them."""
    make_rooms(folder / ROOMS)
    make_figures(folder / FIGURES)
    make_models(folder / MODELS)
    make_sheet_code(folder / SHEET_CODE)


def make_rooms(root: Path) -> None:
    """A dataset with passes: two view sets of a ray-traced scene with labels, and six views of a room of boxes."""
    made = make_dataset(root)
    add_scene(made, "attic")
    for name, first in (("globe", 0), ("orb", 4)):
        add_set(made, name, [painted(view_at(TURN * number, 64)) for number in range(4)])
        for number in range(4):
            seen = _seen(view_at(TURN * number, 64).passes.id, LABELS)
            labelled = {"subject_label": LABELS[1], "subject_share": 0.25, "seed": first + number}
            _change(root, "attic", f"{name}-{number:04d}", visible_objects=seen, **labelled)
    scene = root / "scenes" / "attic.json"
    objects = [
        {"id": number, "name": label or "Plane.001", "label": label, "collection": "", "bounds_min": [-2, -2, 0],
         "bounds_max": [2, 2, 2], "materials": [] if label else ["oak planks"], "structural": not label,
         "instance_of": ""}
        for number, label in LABELS.items()
    ]  # fmt: skip
    scene.write_text(json.dumps(json.loads(scene.read_text("utf-8")) | {"objects": objects}), encoding="utf-8")
    boxes.add_scene(made, "cellar")
    shutil.copy(root / "runs" / "cellar-run.json", root / "runs" / "run.json")
    names = {number: "" if "." in name else name for number, name in enumerate(boxes.BOXES, start=1)}
    for number in range(6):
        boxes.add_view(made, "cellar", number)
        _, passes = boxes.surface(boxes.camera_at(40.0 * number))
        _change(root, "cellar", f"cellar-chair-{number:04d}", visible_objects=_seen(passes.id, names))
    made.rebuild_index()


def _seen(ids: npt.NDArray[np.uint32], labels: Mapping[int, str]) -> list[dict[str, Any]]:
    """What a record says of the objects in sight."""
    found = zip(*(each.tolist() for each in np.unique(ids[ids > 0], return_counts=True)), strict=True)
    return [
        {"id": number, "label": labels[number], "pixels": pixels, "share": round(pixels / ids.size, 6)}
        for number, pixels in found
    ]


def _change(root: Path, scene: str, view: str, **changes: Any) -> None:
    """Change what the record of a view says."""
    [path] = root.glob(f"views/{scene}/{view}/view.json")
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")


def make_figures(root: Path) -> None:
    """A dataset of 48 noisy pictures in sets of four, a third of them synthetic, with a figure in every column that a
    preset reads: foreign columns of its index, which follow from the view and the column."""
    made = make_dataset(root)
    for scene in ("attic", "cellar"):
        add_scene(made, scene)
    for number in range(48):
        label, view_set = SUBJECTS[number // 16], f"set-{number // 4}"
        noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        synthetic = number % 3 == 0
        smooth = (noise.astype(int) + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) // 3 if synthetic else noise
        add_picture(
            made, ("attic", "cellar")[number % 8 // 4], f"{label.replace(' ', '-')}-{number // 8}", number,
            smooth.astype(np.uint8), subject_label=label, view_set=view_set, view_index=number % 4,
            source="synthetic" if synthetic else "render",
        )  # fmt: skip
    made.rebuild_index()
    index = root / "metadata.jsonl"
    rows = [json.loads(line) for line in index.read_text("utf-8").splitlines()]
    lines = [json.dumps(row | dict(_columns(row["view_id"])), ensure_ascii=False) for row in rows]
    index.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _columns(view: str) -> Iterable[tuple[str, Any]]:
    yield "caption", f"A picture of the {view.rpartition('-')[0]}."
    for name, (low, high) in RANGES.items():
        yield name, round(low + (high - low) * _fraction(view, name), 6)
    yield "phash.hash", f"{int(64 * _fraction(view, 'hash')):02x}" * 8
    yield (
        "dino-dinov2-base.embedding",
        [round(2 * _fraction(view, each) - 1, 6) for each in map(str, range(DIRECTIONS))],
    )


def _fraction(view: str, what: str) -> float:
    """A number from 0 to below 1 that follows from two words."""
    return int.from_bytes(hashlib.sha256(f"{view} {what}".encode()).digest()[:6], "big") / 2**48


def make_models(folder: Path) -> None:
    """Tiny models, each in a folder by its name."""
    for kind in SCORERS:
        tiny_models.maker(folder)(kind)
    for kind in PIPELINES:
        tiny_pipelines.maker(folder)(kind)
    tiny_pipelines.zero123plus(folder / SHEETS)


def make_sheet_code(folder: Path) -> None:
    """The code that the tiny model of novel views needs."""
    folder.mkdir(parents=True)
    shutil.copy(sheet_pipeline.__file__, folder / "pipeline.py")


if __name__ == "__main__":
    make_all(Path(sys.argv[1]))
