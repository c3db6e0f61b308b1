# SPDX-License-Identifier: Apache-2.0
"""Whether `blendset score --with consistency` finds a view that does not fit the others of its set.

.venv/bin/python benchmarks/consistency.py DATASET...

A dataset is one of `blendset render SCENE.blend --preset orbit-21 --views 21`. Of each, seven sets of three views are
scored as they are, and with the middle one's subject in other colours, its picture moved, or blurred.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from report import format_table, write_results

from blendset.dataset import RGB, Dataset
from blendset.records import ViewRecord
from blendset_trainer.scoring.consistency import Consistency
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.run import run_stage

STEP, STARTS = 2, range(0, 21, 3)
"""Views from one of a set to the next, and where the sets begin, on an orbit of 21."""
METRICS = {"delta_e": 1, "subject_delta_e": 1, "worst_delta_e": 1, "ssim": -1, "silhouette": -1}
"""The metrics that are compared: 1 where a higher value is worse, -1 where a lower one is."""
SOUND = "as rendered"

Metrics = dict[str, float]
Spoil = Callable[[Image.Image, Image.Image], Image.Image]
SPOILT: dict[str, Spoil] = {
    SOUND: lambda picture, subject: picture,
    "subject tinted": lambda picture, subject: Image.composite(tint(picture), picture, subject),
    "moved by 3 %": lambda picture, subject: Image.fromarray(np.roll(np.asarray(picture), picture.width // 32, axis=1)),
    "blurred by 2 px": lambda picture, subject: picture.filter(ImageFilter.GaussianBlur(2)),
}


def main() -> None:
    """Score the sets of all datasets in each condition, and print how often a spoilt view is detected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path, metavar="DATASET")
    found = {
        path.name: {kind: score_sets(Dataset(path), spoil) for kind, spoil in SPOILT.items()}
        for path in parser.parse_args().datasets
    }
    write_results("consistency", found)
    rows = [
        format_row(scene, kind, kinds[SOUND], views) for scene, kinds in found.items() for kind, views in kinds.items()
    ]
    print(format_table(("scene", "middle view", *METRICS), rows))


def tint(picture: Image.Image) -> Image.Image:
    """The picture with a quarter more red and a quarter less blue."""
    return Image.fromarray(np.clip(np.asarray(picture) * [1.25, 1.0, 0.75], 0, 255).astype(np.uint8))


def score_sets(dataset: Dataset, spoil: Spoil) -> list[Metrics]:
    """The metrics of the middle view of each set, which `spoil` has changed."""
    orbit = sorted(dataset.views(), key=lambda view: view.view_index)
    with tempfile.TemporaryDirectory(prefix="blendset-consistency-") as folder:
        copy = Dataset.create_or_open(Path(folder), dataset.record)
        for start, number in product(STARTS, range(3)):
            view = orbit[(start + number * STEP) % len(orbit)]
            new = replace(view, view_id=f"{start:02d}-{number}", view_set=str(start), view_index=number)
            copy_view(dataset, copy, view, new, spoil)
        for scene in {view.scene for view in orbit}:
            copy.scene_path(scene).parent.mkdir(exist_ok=True)
            copy.scene_path(scene).write_bytes(dataset.scene_path(scene).read_bytes())
        copy.rebuild_index()
        run_stage(copy, Consistency(), LocalExecutor())
        found = StageFolder.from_stage(copy.root, Consistency()).read_rows()
        assert found is not None
        return [{name: each[name] for name in METRICS} for each in found.to_pylist() if each["view_id"].endswith("-1")]


def copy_view(source: Dataset, target: Dataset, view: ViewRecord, new: ViewRecord, spoil: Spoil) -> None:
    """Copy a view to another dataset under its new name, spoilt if it is the middle one of its set."""
    folder = source.rgb_path(view).parent
    payload = {name: (folder / name).read_bytes() for name in view.files}
    if new.view_index == 1:
        subject = np.isin(source.passes(view).id, view.subject_objects)
        spoilt = spoil(Image.open(folder / RGB).convert("RGB"), Image.fromarray(subject))
        png = io.BytesIO()
        spoilt.save(png, "PNG")
        payload[RGB] = png.getvalue()
    target.write_view(new, payload)


def format_row(scene: str, kind: str, sound: list[Metrics], spoilt: list[Metrics]) -> tuple[str, ...]:
    """A row of the table: medians, and how often a spoilt view has a worse value than a sound one."""
    cells = []
    for name, worse in METRICS.items():
        values, others = (np.array([each[name] for each in views]) for views in (spoilt, sound))
        detected = np.mean(worse * (values[:, None] - others) > 0)
        cells.append(f"{np.median(values):.3g}" + (f" ({detected:.0%})" if spoilt is not sound else ""))
    return scene, kind, *cells


if __name__ == "__main__":
    main()
