# SPDX-License-Identifier: Apache-2.0
"""How many views a second are scored through the runner, against the obvious loop over one picture after another.

.venv/bin/python benchmarks/scoring.py DATASET [--views 512] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from report import keep, table

from blendset.dataset import Dataset
from blendset.records import SceneRecord
from blendset_trainer.executors.here import Here
from blendset_trainer.executors.job import Executor
from blendset_trainer.executors.processes import Processes
from blendset_trainer.run import run_stage
from blendset_trainer.scoring.image_stats import ImageStats
from blendset_trainer.scoring.ssim import SsimRoundtrip
from blendset_trainer.stage_folders import StageFolder
from blendset_trainer.stages import Stage, View

SHARD_VIEWS = 32
"""Small, that workers end together: with the usual shards a benchmark would need thousands of views for that."""


def main() -> None:
    options = parsed()
    stages: Sequence[Stage] = (ImageStats(), SsimRoundtrip())
    with tempfile.TemporaryDirectory(prefix="blendset-scoring-") as folder:
        dataset = grown(Dataset(options.dataset), Path(folder) / "dataset", options.views)
        results = {stage.name: rates(dataset, stage, options.workers) for stage in stages}
    keep("scoring", {"views": options.views, "workers": options.workers, "results": results})
    rows = [
        (stage, way, f"{each['rate']:.1f}", f"{each['rate'] / ways['loop']['rate']:.2f}", f"{each['cpu_ms']:.1f}")
        for stage, ways in results.items()
        for way, each in ways.items()
    ]
    print(table(("stage", "way", "views per second", "times the loop", "CPU ms per view"), rows))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a rendered one; its views are repeated")
    parser.add_argument("--views", type=int, default=512, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    return parser.parse_args()


def grown(small: Dataset, root: Path, count: int) -> Dataset:
    """A dataset of as many views as asked for: those of a small one again and again, each with an id of its own."""
    large = Dataset.create_or_open(root, small.record)
    for number, view in enumerate(islice(cycle(list(small.views())), count)):
        folder = small.rgb_path(view).parent
        payload = {name: (folder / name).read_bytes() for name in view.files}
        large.write_view(replace(view, view_id=f"{view.view_id}-{number:06d}"), payload)
        if not large.scene_path(view.scene).exists():
            large.scene_path(view.scene).parent.mkdir(exist_ok=True)
            large.scene_path(view.scene).write_bytes(small.scene_path(view.scene).read_bytes())
    large.rebuild_index()
    return large


def rates(dataset: Dataset, stage: Stage, workers: int) -> dict[str, dict[str, float]]:
    """Views per second, and CPU milliseconds per view on all cores, by way; the files are in the page cache for all.

    The second hardly depends on what else the machine does, and tells what the runner itself costs.
    """
    views = list(dataset.views())
    scenes = {name: dataset.scene(name) for name in {view.scene for view in views}}
    for view in views:
        for name in view.files:
            (dataset.rgb_path(view).parent / name).read_bytes()

    def loop() -> None:
        one_by_one(dataset, stage, scenes)

    def through(executor: Executor) -> Callable[[], None]:
        return lambda: run_afresh(dataset, stage, executor)

    ways = {"loop": loop, "here": through(Here()), f"{workers} processes": through(Processes(workers))}
    return {name: measured(way, len(views)) for name, way in ways.items()}


def one_by_one(dataset: Dataset, stage: Stage, scenes: dict[str, SceneRecord]) -> None:
    """What one would write first: each view read, decoded and scored before the next, nothing written."""
    stage.setup()
    for view in dataset.views():
        stage.rows([View(view, dataset.rgb_path(view).parent, scenes[view.scene])])


def run_afresh(dataset: Dataset, stage: Stage, executor: Executor) -> None:
    """The whole of what `blendset score` does, rows written and workers started."""
    for path in StageFolder.of(dataset.root, stage).path.glob("*.parquet"):
        path.unlink()
    run_stage(dataset, stage, executor, shard_views=SHARD_VIEWS)


def measured(way: Callable[[], None], views: int) -> dict[str, float]:
    started, before = time.perf_counter(), os.times()
    way()
    rate, after = views / (time.perf_counter() - started), os.times()
    return {"rate": rate, "cpu_ms": 1000 * (sum(after[:4]) - sum(before[:4])) / views}


if __name__ == "__main__":
    main()
