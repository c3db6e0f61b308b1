# SPDX-License-Identifier: Apache-2.0
"""How many views a second `blendset score` does, against the obvious loop of `one_by_one.py` in the same run.

Each way is a command of its own, timed from start to end on two shards and on all views. What the further views take is
the throughput, reading and writing included; what is left of the shorter run is the start: imports, workers, the model.

.venv/bin/python benchmarks/scoring.py DATASET [--views 2048] [--workers 2] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import open_clip
import torch
from report import format_table, write_results
from safetensors.torch import save_file

from blendset.dataset import Dataset
from blendset_trainer.stages.shards import SHARD_VIEWS

Metrics = dict[str, float]
PYTHON = (sys.executable, "-m", "blendset_trainer.cli", "score")
LOOP = (sys.executable, str(Path(__file__).with_name("one_by_one.py")))
FEW = 2 * SHARD_VIEWS
COLUMN_FORMATS = {"rate": ".0f", "times_the_loop": ".2f", "cpu_ms": ".1f", "start_s": ".1f"}


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="blendset-scoring-") as folder:
        datasets = {
            count: repeat_views(Dataset(options.dataset), Path(folder) / f"{count}-views", count)
            for count in (FEW, options.views)
        }
        model = save_tiny_clip(Path(folder) / "tiny-clip")
        results = {
            name: compare_ways(datasets, name, argument, options)
            for name, argument in {"image-stats": (), "ssim-roundtrip": (), "clip": (str(model),)}.items()
            if name in options.only
        }
    write_results("scoring", {"views": options.views, "workers": options.workers, "results": results})
    rows = [
        (scorer, way, *(f"{each[name]:{form}}" for name, form in COLUMN_FORMATS.items()))
        for scorer, ways in results.items()
        for way, each in ways.items()
    ]
    print(format_table(("scorer", "way", "views per second", "times the loop", "CPU ms per view", "start in s"), rows))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a rendered one; its views are repeated")
    parser.add_argument("--views", type=int, default=8 * SHARD_VIEWS, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="of all ways in turn; medians are shown")
    parser.add_argument("--only", nargs="+", default=["image-stats", "ssim-roundtrip", "clip"], metavar="SCORER")
    return parser.parse_args()


def repeat_views(small: Dataset, root: Path, count: int) -> Dataset:
    """A dataset of as many views as asked for: those of a small one again and again, each with an id of its own."""
    large = Dataset.create_or_open(root, small.record)
    captions: dict[str, str] = {}
    for number, view in enumerate(islice(cycle(list(small.views())), count)):
        folder = small.rgb_path(view).parent
        payload = {name: (folder / name).read_bytes() for name in view.files}
        copy = large.write_view(replace(view, view_id=f"{view.view_id}-{number:06d}"), payload)
        captions[copy.view_id] = f"a {view.subject_label or 'room'} in the light of morning, number {number}"
        if not large.scene_path(view.scene).exists():
            large.scene_path(view.scene).parent.mkdir(exist_ok=True)
            large.scene_path(view.scene).write_bytes(small.scene_path(view.scene).read_bytes())
    large.rebuild_index(captions)
    return large


def save_tiny_clip(folder: Path) -> Path:
    """A CLIP that sees 224 pixels as released ones do, of two narrow layers with random weights."""
    vision = {"image_size": 224, "layers": 2, "width": 64, "patch_size": 32, "head_width": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    folder.mkdir()
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return folder


def compare_ways(
    datasets: dict[int, Dataset], name: str, argument: tuple[str, ...], options: argparse.Namespace
) -> dict[str, Metrics]:
    """The figures of each way, which take turns: what else the machine does meets them all alike."""
    workers = ("--executor", "processes", "--workers", str(options.workers))
    score = ("--with", ":".join((name, *argument)))
    ways: dict[str, Callable[[str], tuple[str, ...]]] = {
        "loop": lambda root: (*LOOP, root, name, *argument),
        "here": lambda root: (*PYTHON, root, *score),
        f"{options.workers} processes": lambda root: (*PYTHON, root, *score, *workers),
    }
    runs = [{way: measure_rate(datasets, command) for way, command in ways.items()} for _ in range(options.repeats)]
    for run in runs:
        for each in run.values():
            each["times_the_loop"] = each["rate"] / run["loop"]["rate"]
        print(name, run, file=sys.stderr)
    return {way: {key: statistics.median(run[way][key] for run in runs) for key in runs[0][way]} for way in ways}


def measure_rate(datasets: dict[int, Dataset], command: Callable[[str], tuple[str, ...]]) -> Metrics:
    """Views per second and CPU milliseconds per view, on all cores, of the views that one dataset has more."""
    (few, *short), (many, *long) = ((count, *time_command(each, command)) for count, each in datasets.items())
    seconds, cpu = ((more - less) / (many - few) for less, more in zip(short, long, strict=True))
    return {"rate": 1 / seconds, "cpu_ms": 1000 * cpu, "start_s": short[0] - few * seconds}


def time_command(dataset: Dataset, command: Callable[[str], tuple[str, ...]]) -> tuple[float, float]:
    """Seconds, and CPU seconds on all cores, of a command that finds no rows made."""
    for path in dataset.root.glob("scores/*/*.parquet"):
        path.unlink()
    started, before = time.perf_counter(), os.times()
    subprocess.run(command(str(dataset.root)), check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - started, os.times()
    return seconds, sum(after[2:4]) - sum(before[2:4])


if __name__ == "__main__":
    main()
