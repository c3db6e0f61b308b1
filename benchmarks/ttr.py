# SPDX-License-Identifier: Apache-2.0
"""Does training timestep reschedule keep blurred copies from blurring what a model makes? Small models from scratch, on
patches of renders and of blurred renders: one arm by the plan, the other with the same images at uniform timesteps.

.venv/bin/python benchmarks/ttr.py DATASET... [--config benchmarks/ttr.toml] [--workers 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from report import ROOT, format_table, write_results
from scipy.ndimage import gaussian_filter
from ttr_measures import (
    METRICS,
    Array,
    PatchComparison,
    compute_image_interval,
    compute_power,
    compute_seed_interval,
    sum_high_frequencies,
)
from ttr_model import TtrModelSettings, predict_power, sample_ddim, train_model
from ttr_plot import draw_plot

from blendset.dataset import Dataset
from blendset.options import REQUIRED, option, read_toml, structure
from blendset_trainer.diffusion.densities import UNIFORM, make_base_density
from blendset_trainer.diffusion.noise import axis_from_name
from blendset_trainer.diffusion.randomness import make_generator
from blendset_trainer.training.data.sampler import make_permutation
from blendset_trainer.training.timesteps.bands import Band, SourcePolicy
from blendset_trainer.training.timesteps.plan import TimestepPlan, make_timestep_plan

RENDER, SYNTHETIC, HELD_OUT = "render", "synthetic", "held out"
TTR, CONTROL = "TTR", "control"
ARMS = (TTR, CONTROL)
TRAINED = (RENDER, SYNTHETIC)


@dataclass(frozen=True)
class Data:
    pixels: int = option(REQUIRED, "views are shrunk to this many on a side, which makes their edges crisp")
    patch: int = option(REQUIRED, "pixels on a side")
    contrast: float = option(REQUIRED, "patches whose grey, -1 to 1, deviates less before any blur are left out")
    held_out: float = option(REQUIRED, "share of each dataset's views that is never trained")
    sharp: float = option(REQUIRED, "share of the others that source 'render' has; 'synthetic' has the rest, blurred")
    blur: float = option(REQUIRED, "pixels, the Gaussian's deviation")


@dataclass(frozen=True)
class Plan:
    schedule: str = option(REQUIRED, "noise schedule")
    boundary: int = option(REQUIRED, "cleanest timestep that blurred patches train")
    blurred_weight: float = option(REQUIRED, "times as often as sharp ones they train the levels from there on")


@dataclass(frozen=True)
class Sampling:
    images: int = option(REQUIRED, "patches drawn from each model")
    steps: int = option(REQUIRED, "of DDIM")


@dataclass(frozen=True)
class TtrSettings:
    """What ttr.toml sets."""

    data: Data
    plan: Plan
    model: TtrModelSettings
    sampling: Sampling
    seeds: tuple[int, ...] = option(REQUIRED, "one model of each arm for each")


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    settings = load_settings(options.config)
    patches = read_patches(options.dataset, settings.data)
    print(", ".join(f"{len(each)} patches {part}" for part, each in patches.items()), flush=True)
    drawn = sample_by_arm(patches, settings, options.workers)
    folder = ROOT / "build" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "ttr.npz", allow_pickle=False, **patches, **drawn)
    linear = compute_closed_form(patches, settings)
    metrics = report_metrics(patches, drawn, linear)
    kinds = {HELD_OUT: patches[HELD_OUT]} | {arm: np.concatenate(drawn[arm]) for arm in ARMS}
    blurred = {"blurred, trained": patches[SYNTHETIC]}
    draw_plot(
        folder / "ttr.png", {kind: shuffle_patches(each) for kind, each in (kinds | blurred).items()}, linear, metrics
    )


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, nargs="+", metavar="DATASET", help="rendered ones, of twenty views or so")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_suffix(".toml"), metavar="FILE.toml")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="models trained at once, one core each")
    return parser.parse_args()


def load_settings(path: Path) -> TtrSettings:
    """Read settings from a TOML file."""
    return structure(TtrSettings, read_toml(path), str(path))


def sample_by_arm(patches: Mapping[str, Array], settings: TtrSettings, workers: int) -> dict[str, Array]:
    """Patches (seeds, N, side, side) drawn from the models of each arm."""
    jobs = list(product(settings.seeds, ARMS))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(train_and_sample, patches, settings, arm, seed) for seed, arm in jobs]
        done = [each.result() for each in running]
    return {arm: np.stack([each for each, job in zip(done, jobs, strict=True) if job[1] == arm]) for arm in ARMS}


# ---- data ------------------------------------------------------------------------------------------------------------


def read_patches(datasets: Sequence[Path], data: Data) -> dict[str, Array]:
    """Grey patches (N, side, side) in -1..1 of held-out views, of sharp views, and of other views blurred."""
    found: dict[str, list[Array]] = {HELD_OUT: [], RENDER: [], SYNTHETIC: []}
    for root in datasets:
        dataset = Dataset(root)
        views = sorted(dataset.views(), key=lambda view: view.view_id)
        held_out = round(data.held_out * len(views))
        sharp = held_out + round(data.sharp * (len(views) - held_out))
        for rank, index in enumerate(make_permutation(len(views), 0, "views").tolist()):
            part = HELD_OUT if rank < held_out else RENDER if rank < sharp else SYNTHETIC
            with Image.open(dataset.rgb_path(views[index])) as image:
                small = image.convert("L").resize((data.pixels, data.pixels), Image.Resampling.BOX)
            found[part].append(cut_patches(np.asarray(small, np.float32) / 127.5 - 1, data, part))
    return {part: np.concatenate(each) for part, each in found.items()}


def cut_patches(picture: Array, data: Data, part: str) -> Array:
    """Patches with enough contrast: beside each other where held out, half overlapping where trained."""
    image = gaussian_filter(picture, data.blur) if part == SYNTHETIC else picture
    stride = data.patch if part == HELD_OUT else data.patch // 2

    def tiles(whole: Array) -> Array:
        windows = np.lib.stride_tricks.sliding_window_view(whole, (data.patch, data.patch))
        return windows[::stride, ::stride].reshape(-1, data.patch, data.patch)

    return np.ascontiguousarray(tiles(image)[tiles(picture).std(axis=(1, 2)) >= data.contrast])


# ---- the two arms ----------------------------------------------------------------------------------------------------


def make_plan(settings: Plan, arm: str) -> TimestepPlan:
    """Blurred copies from the boundary on; or, as the control, both sources everywhere, in the same shares."""
    base = make_base_density(UNIFORM, axis_from_name(settings.schedule))
    boundary = float(base.axis.log_snr(torch.tensor(settings.boundary)))
    blurred = Band(cleanest=boundary, weight=settings.blurred_weight)
    plan = make_timestep_plan([SourcePolicy(RENDER, (Band(),)), SourcePolicy(SYNTHETIC, (blurred,))], base)
    if arm == TTR:
        return plan
    return make_timestep_plan(
        [SourcePolicy(each, (Band(),)) for each in plan.sources], base, shares=plan.compute_shares()
    )


def compute_closed_form(patches: Mapping[str, Array], settings: TtrSettings) -> dict[str, Array]:
    """The power (side, side) that the best linear model of each arm would draw."""
    powers = {name: torch.from_numpy(compute_power(patches[name]).mean(axis=0)) for name in TRAINED}
    return {arm: predict_power(make_plan(settings.plan, arm), powers, settings.sampling.steps).numpy() for arm in ARMS}


def train_and_sample(patches: Mapping[str, Array], settings: TtrSettings, arm: str, seed: int) -> Array:
    """Train one model on one core, and draw patches (N, side, side) from it."""
    torch.set_num_threads(1)
    images = {name: torch.from_numpy(patches[name])[:, None] for name in TRAINED}
    plan, begun = make_plan(settings.plan, arm), time.perf_counter()
    model = train_model(images, plan, settings.model, seed)
    shape = (settings.sampling.images, 1, settings.data.patch, settings.data.patch)
    noise = torch.randn(shape, generator=make_generator(seed, "sampling"))
    axis = plan.base.axis
    with torch.no_grad():
        drawn = sample_ddim(
            lambda x, level: model(x, axis.log_snr(level).expand(len(x))), noise, axis, settings.sampling.steps
        )
    print(f"{arm}, seed {seed}: {time.perf_counter() - begun:.0f} s", flush=True)
    return drawn[:, 0].clamp(-1, 1).numpy()


# ---- what came of it -------------------------------------------------------------------------------------------------


def report_metrics(
    patches: Mapping[str, Array], drawn: Mapping[str, Array], linear: Mapping[str, Array]
) -> dict[str, NDArray[Any]]:
    """Print the table, keep its figures, and return those of each arm (seeds, figures)."""
    held_out = patches[HELD_OUT]
    runs = {arm: [PatchComparison.from_patches(each, held_out) for each in drawn[arm]] for arm in ARMS}
    metrics = {arm: np.stack([run.compute_metrics() for run in runs[arm]]) for arm in ARMS}
    seeds, images = (
        compute_seed_interval(metrics[TTR] - metrics[CONTROL]),
        compute_image_interval(runs[TTR], runs[CONTROL]),
    )
    bounds = {
        part: PatchComparison.from_patches(shuffle_patches(patches[part])[: drawn[TTR].shape[1]], held_out)
        for part in TRAINED
    }
    rows = [(f"trained: {part}", *format_intervals(each.compute_metrics())) for part, each in bounds.items()]
    rows += [(arm, *format_intervals(*compute_seed_interval(metrics[arm]))) for arm in ARMS]
    rows += [(f"{TTR} - {CONTROL}, over seeds", *format_intervals(*seeds))]
    rows += [(f"{TTR} - {CONTROL}, over images", *format_intervals(seeds[0], *images))]
    print(format_table(("patches", *METRICS), rows))
    energy = {
        arm: float(sum_high_frequencies(each) / sum_high_frequencies(compute_power(held_out)).mean())
        for arm, each in linear.items()
    }
    won = [name for name, most in zip(METRICS[1:], seeds[2, 1:], strict=True) if most < 0]
    print("Over seeds, TTR is nearer to the held-out patches by:", ", ".join(won) or "nothing")
    print("High-frequency energy in closed form:", ", ".join(f"{arm} {each:.3f}" for arm, each in energy.items()))
    write_results(
        "ttr",
        {
            "columns": METRICS,
            "by seed": {arm: each.tolist() for arm, each in metrics.items()},
            "difference over seeds": seeds.tolist(),
            "difference over images": images.tolist(),
            "energy in closed form": energy,
        },
    )
    return metrics


def shuffle_patches(patches: Array) -> Array:
    """The patches in an order in which those of one view are apart."""
    return patches[make_permutation(len(patches), 0, "shown")]


def format_intervals(means: Array, low: Array | None = None, high: Array | None = None) -> list[str]:
    """Each figure with its interval, where there is one."""
    if low is None or high is None:
        return [f"{mean:.3g}" for mean in means]
    return [f"{mean:.3g} ({least:.3g} to {most:.3g})" for mean, least, most in zip(means, low, high, strict=True)]


if __name__ == "__main__":
    main()
