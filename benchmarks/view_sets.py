# SPDX-License-Identifier: Apache-2.0
"""Do shared attention and warps make the views of a set agree? Small FLUX depth models from scratch draw the same sets
from the same noise: each view by itself, and together in the ways that `blendset synthesize restyle` offers.

.venv/bin/python benchmarks/view_sets.py [--config benchmarks/view_sets.toml] [--workers 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxControlPipeline
from numpy.typing import NDArray
from ray_traced import GROUND
from report import ROOT, format_table, write_results
from view_sets_measures import METRICS, Pictures, SetMeasures, bootstrap, compute_by_seed
from view_sets_model import Model, encode_depth, make_null_caption, paint, sample_palettes, trace_view, train
from view_sets_plot import plot_sets

from blendset.cameras import Array
from blendset.correspondence import ViewGeometry
from blendset.options import REQUIRED, option, read_toml, structure
from blendset_trainer.diffusion.latents import pack_latents
from blendset_trainer.diffusion.randomness import make_generator
from blendset_trainer.diffusion.shared_attention import ViewSets, share_attention
from blendset_trainer.diffusion.shared_attention.view_sets import SharingMode
from blendset_trainer.synthesis.warp import plan_warps
from blendset_trainer.synthesis.warp_callback import WarpCallback, WarpMode

VIEWS = 3
APART = "apart"
NAMES = "large ball", "small ball", "box", "ground"
"""The scene's objects, by their ids from 1 on."""


@dataclass(frozen=True)
class Way:
    """How the views of a set are drawn; without `share` each view attends to itself alone."""

    share: SharingMode | None = None
    warp: WarpMode = "none"


WAYS = {
    APART: Way(),
    "shared: foreground": Way("foreground"),
    "shared: same-object": Way("same-object"),
    "warp: noisy": Way(warp="noisy"),
    "warp: clean": Way(warp="clean"),
    "foreground + noisy warp": Way("foreground", "noisy"),
    "foreground + clean warp": Way("foreground", "clean"),
}
TRACED = "traced: one palette"
OTHERS = "traced: a palette each"
"""The best and the worst that sets can be: ray traced, in the same colours from all sides or in others from each."""


@dataclass(frozen=True)
class Sets:
    count: int = option(REQUIRED, "drawn from each model, in each way")
    turn_deg: float = option(REQUIRED, "from each of the three views to the next")
    steps: int = option(REQUIRED, "of Euler's method")


@dataclass(frozen=True)
class Settings:
    """What view_sets.toml sets."""

    model: Model
    sets: Sets
    seeds: tuple[int, ...] = option(REQUIRED, "one model for each")


def main() -> None:
    """Train a model for each seed, draw its sets in every way, and report how far their views agree."""
    options = parse_arguments()
    settings = load_settings(options.config)
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(train_and_draw, settings, seed) for seed in settings.seeds]
        drawn = [each.result() for each in running]
    folder = ROOT / "build" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {way: np.stack([each[way] for each in drawn]) for way in drawn[0]}
    np.savez_compressed(folder / "view_sets.npz", allow_pickle=False, **pictures)
    ways = {way: measure_sets(settings, each) for way, each in pictures.items()}
    print_report(ways, settings.seeds)
    plot_sets(folder / "view_sets.png", {way: pictures[way][:, 0] for way in (*WAYS, TRACED)}, ways)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path(__file__).with_suffix(".toml"), metavar="FILE.toml")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="models trained at once, one core each")
    return parser.parse_args()


def load_settings(path: Path) -> Settings:
    """Read a TOML file."""
    return structure(Settings, read_toml(path), str(path))


# ---- drawing ---------------------------------------------------------------------------------------------------------


def make_sets(settings: Settings, seed: int) -> list[list[ViewGeometry]]:
    """View sets from cameras that no model of this seed was trained on."""
    starts = np.random.default_rng([seed, 1]).uniform(0, 360, settings.sets.count)
    turns = settings.sets.turn_deg * np.arange(VIEWS)
    return [[trace_view(start + turn, settings.model.pixels) for turn in turns] for start in starts]


def train_and_draw(settings: Settings, seed: int) -> dict[str, Pictures]:
    """Train one model on one core and draw its sets in every way; with the ray-traced sets, by the way's name."""
    torch.set_num_threads(1)
    begun = time.perf_counter()
    pipeline = train(settings.model, seed)
    ready = time.perf_counter()
    sets = make_sets(settings, seed)
    drawn = {
        name: np.stack(
            [draw_set(pipeline, views, way, settings.sets.steps, seed, number) for number, views in enumerate(sets)]
        )
        for name, way in WAYS.items()
    }
    print(f"seed {seed}: {ready - begun:.0f} s of training, {time.perf_counter() - ready:.0f} s of drawing", flush=True)
    return drawn | trace_sets(sets, seed)


def trace_sets(sets: Sequence[Sequence[ViewGeometry]], seed: int) -> dict[str, Pictures]:
    """The sets as a ray tracer draws them, in one palette and in several."""
    colours = sample_palettes(np.random.default_rng([seed, 2]), len(sets) * VIEWS).reshape(len(sets), VIEWS, -1, 3)
    kinds = {TRACED: np.repeat(colours[:, :1], VIEWS, axis=1), OTHERS: colours}
    return {
        kind: np.array(
            [
                [paint(*each) for each in zip(views, chosen, strict=True)]
                for views, chosen in zip(sets, by_set, strict=True)
            ],
            np.float32,
        )
        for kind, by_set in kinds.items()
    }


@torch.no_grad()
def draw_set(
    pipeline: FluxControlPipeline, views: Sequence[ViewGeometry], way: Way, steps: int, seed: int, number: int
) -> NDArray[np.float32]:
    """The pictures (views, H, W, 3) of a set. Its number decides the noise, whatever the way."""
    side = views[0].camera.width
    grid = side // 2, side // 2
    warps = plan_warps(views, grid, list(reversed(range(len(views)))))
    callback = WarpCallback(pipeline.scheduler, grid, warps, way.warp)
    random = make_generator(seed, "drawing", number)
    noise = torch.randn(len(views), 3, side, side, generator=random)
    sets = ViewSets(build_ids(views, way), grid, way.share or "foreground")
    with share_attention(pipeline.transformer, sets) if way.share else nullcontext():
        drawn: Any = pipeline(
            **make_null_caption(len(views)),
            control_image=encode_depth(views),
            height=side,
            width=side,
            num_inference_steps=steps,
            generator=random,
            latents=callback.warp_noise(pack_latents(noise)),
            callback_on_step_end=callback,
            output_type="np",
        )
    return np.asarray(drawn.images, np.float32)


def build_ids(views: Sequence[ViewGeometry], way: Way) -> torch.Tensor:
    """Object ids (1, views, H, W) for shared attention; for the mode "foreground" the ground is no object."""
    ids = np.stack([view.passes.id for view in views]).astype(np.int64)
    return torch.from_numpy(np.where(ids == GROUND, 0, ids) if way.share == "foreground" else ids)[None]


# ---- what came of it -------------------------------------------------------------------------------------------------


def measure_sets(settings: Settings, pictures: NDArray[np.float32]) -> SetMeasures:
    """Measure pictures (seeds, sets, views, H, W, 3), all sets together."""
    sets = [views for seed in settings.seeds for views in make_sets(settings, seed)]
    return SetMeasures.from_pictures(sets, pictures.reshape(len(sets), *pictures.shape[2:]))


def print_report(ways: Mapping[str, SetMeasures], seeds: Sequence[int]) -> None:
    """Print the tables and keep their numbers, with 95 % intervals over sets."""
    metrics = {way: bootstrap(each.compute_metrics, each.sets) for way, each in ways.items()}
    parts = {way: bootstrap(compare_with_apart(each, ways[APART]), each.sets) for way, each in ways.items()}
    agree = [
        [value for pair in zip(metrics[way][:, :2].T, parts[way].T, strict=True) for value in pair] for way in ways
    ]
    heads = [head for name in METRICS[:2] for head in (name, f"as a part of {APART}")]
    print(
        format_table(
            ("way", *heads), [(way, *map(format_interval, each)) for way, each in zip(ways, agree, strict=True)]
        )
    )
    print(format_table(("way", *METRICS[2:]), [(way, *map(format_interval, metrics[way][:, 2:].T)) for way in ways]))
    objects = {way: each.compute_by_object() for way, each in ways.items()}
    print(
        format_table(
            ("residual", *NAMES), [(way, *(f"{figure:.1f}" for figure in each)) for way, each in objects.items()]
        )
    )
    write_results(
        "view_sets",
        {
            "columns": METRICS,
            "figures, with intervals": to_lists(metrics),
            "residuals as a part of apart, with intervals": to_lists(parts),
            "by seed": to_lists({way: compute_by_seed(each, len(seeds)) for way, each in ways.items()}),
            "residuals by object": to_lists(objects),
        },
    )


def compare_with_apart(measured: SetMeasures, apart: SetMeasures) -> Callable[[NDArray[np.intp]], Array]:
    """A statistic: the residuals of sets as a part of those of the same sets, drawn apart."""
    return lambda sets: measured.compute_metrics(sets)[:2] / apart.compute_metrics(sets)[:2]


def to_lists(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Arrays as JSON takes them."""
    return {way: array.tolist() for way, array in arrays.items()}


def format_interval(value: Array) -> str:
    """A value and its interval (3,) as text."""
    mean, low, high = (f"{round(each, 3):.3g}" for each in value)
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
