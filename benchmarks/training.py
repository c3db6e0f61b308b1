# SPDX-License-Identifier: Apache-2.0
"""How many pictures a second `blendset train` trains on, against diffusers' own example on the same model and data.

The example is the published examples/text_to_image/train_text_to_image.py of huggingface/diffusers, given by its path
and run as it is. Both fine-tune all of the U-Net of one Stable Diffusion (narrow_stable_diffusion.py) on one dataset,
which the example reads as the image folder that it is: the same batch, AdamW, learning rate, clipping and float32,
centred crops and no other augmentation; otherwise each as it comes. They are commands of their own and take turns.

Both write TensorBoard's events after every step, and these carry the time. The rate is that of the median step after
the first few: loading, filling caches and saving are not in it, nor what else the machine does now and then.

.venv/bin/python benchmarks/training.py DATASET --reference train_text_to_image.py [--steps 14] [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import tomli_w
import torch
from narrow_stable_diffusion import save_narrow_stable_diffusion
from report import format_table, run_blendset, write_results
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator, ScalarEvent

from blendset_trainer.training_runs import LOG, read_log

Metrics = dict[str, float]
REFERENCE, UNCACHED, CACHED = "diffusers' example", "blendset, no caches", "blendset, caches"
LEARNING_RATE = 1e-4


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="blendset-training-") as name:
        folder = Path(name)
        dataset = copy_with_captions(options.dataset, folder / "dataset")
        model = save_narrow_stable_diffusion(folder / "model", options.factor)
        runs = [measure_ways(number, model, dataset, folder / "run", options) for number in range(options.repeats)]
    rows = [(way, *summarize_runs([run[way] for run in runs])) for way in runs[0]]
    print(
        format_table(("way", "pictures per second", "times the example", "lowest to highest", "waiting", "loss"), rows)
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    write_results(
        "training",
        {"settings": {name: str(each) for name, each in vars(options).items()}, "device": device, "runs": runs},
    )


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a rendered one of square views")
    parser.add_argument("--reference", type=Path, required=True, metavar="train_text_to_image.py")
    parser.add_argument("--factor", type=int, default=4, choices=(1, 2, 4), help="that the model is narrowed by")
    parser.add_argument("--resolution", type=int, default=256, metavar="PIXELS")
    parser.add_argument("--batch", type=int, default=4, metavar="N")
    parser.add_argument("--steps", type=int, default=14, metavar="N")
    parser.add_argument("--skip", type=int, default=2, metavar="N", help="first steps that do not count")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of all ways in turn; medians are shown")
    return parser.parse_args()


def copy_with_captions(source: Path, folder: Path) -> Path:
    """A copy of a dataset, with captions."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("cache"))
    run_blendset("caption", folder, "--with", "metadata")
    return folder


def measure_ways(
    number: int, model: Path, dataset: Path, folder: Path, options: argparse.Namespace
) -> dict[str, Metrics]:
    """The figures of each way, one after the other; each repeat begins with another."""
    ways = [REFERENCE, UNCACHED, CACHED]
    found = {
        way: measure_rate(way, model, dataset, folder / way, options) for way in ways[number % 3 :] + ways[: number % 3]
    }
    for each in found.values():
        each["times_the_example"] = each["rate"] / found[REFERENCE]["rate"]
    shutil.rmtree(folder)
    print(found, file=sys.stderr, flush=True)
    return {way: found[way] for way in ways}


def measure_rate(way: str, model: Path, dataset: Path, out: Path, options: argparse.Namespace) -> Metrics:
    """Pictures per second at the median step of those that count, their mean loss, and Blendset's wait for data."""
    if way == REFERENCE:
        run_python([options.reference, *make_example_arguments(model, dataset, out, options)])
        return measure_from_events(out, "train_loss", options)
    run_python(["-m", "blendset_trainer.cli", "train", write_config(model, dataset, out, options, cache=way == CACHED)])
    waiting = [row["waiting_share"] for row in read_log(out / LOG) if "waiting_share" in row]
    return measure_from_events(out, "loss", options) | {"waiting": statistics.mean(waiting[options.skip :])}


def run_python(arguments: Sequence[object]) -> None:
    """Run a Python program; what it says is shown only where it fails."""
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], env=offline, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\n'{' '.join(map(str, arguments))}' ended with {done.returncode}.")


def make_example_arguments(model: Path, dataset: Path, out: Path, options: argparse.Namespace) -> list[object]:
    """The command line of diffusers' example."""
    return [
        "--center_crop",
        *("--pretrained_model_name_or_path", model),
        *("--train_data_dir", dataset, "--image_column", "rgb", "--caption_column", "caption"),
        *("--cache_dir", out / "datasets", "--output_dir", out),
        *("--resolution", options.resolution, "--train_batch_size", options.batch),
        *("--max_train_steps", options.steps, "--learning_rate", LEARNING_RATE),
        *("--mixed_precision", "no", "--seed", 0),
    ]


def write_config(model: Path, dataset: Path, out: Path, options: argparse.Namespace, cache: bool) -> Path:
    """Blendset's configuration of the same run."""
    out.mkdir(parents=True)
    path = out / "train.toml"
    settings = {
        "out": str(out),
        "model": {"path": str(model), "method": "full", "precision": "fp32"},
        "train": {
            "samples": options.steps * options.batch,
            "batch": options.batch,
            "micro_batch": options.batch,
            "resolution": options.resolution,
            "cache": cache,
            "log_every": 1,
        },
        "optimizer": {"learning_rate": LEARNING_RATE},
        "source": [{"name": "render", "dataset": str(dataset)}],
    }
    path.write_text(tomli_w.dumps(settings))
    return path


def measure_from_events(folder: Path, tag: str, options: argparse.Namespace) -> Metrics:
    """A run's rate and mean loss."""
    events = read_scalars(folder, tag)[options.skip - 1 :]
    seconds = [after.wall_time - before.wall_time for before, after in pairwise(events)]
    loss = statistics.mean(event.value for event in events[1:])
    return {"rate": options.batch / statistics.median(seconds), "loss": loss}


def read_scalars(folder: Path, tag: str) -> list[ScalarEvent]:
    """The events with a tag below a folder, by step."""
    for path in folder.rglob("events.out.tfevents.*"):
        events = EventAccumulator(str(path)).Reload()
        if tag in events.Tags()["scalars"]:
            return sorted(events.Scalars(tag), key=lambda event: event.step)
    sys.exit(f"{folder} has no events with '{tag}'.")


def summarize_runs(runs: Sequence[Metrics]) -> tuple[str, ...]:
    """A row of the table: medians, and between which ratios the runs were."""
    ratios = [each["times_the_example"] for each in runs]
    medians = {name: statistics.median(each[name] for each in runs) for name in runs[0]}
    waiting = f"{medians['waiting']:.1%}" if "waiting" in medians else ""
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"{medians['rate']:.2f}", f"{medians['times_the_example']:.2f}", spread, waiting, f"{medians['loss']:.3f}"


if __name__ == "__main__":
    main()
