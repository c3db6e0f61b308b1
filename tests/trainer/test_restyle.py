# SPDX-License-Identifier: Apache-2.0
"""View sets in new surroundings: drawn together by depth-conditioned pipelines, steered by exact passes, verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import Encoder
from torch.nn.modules.module import register_module_forward_pre_hook

from blendset.dataset import PASSES, RGB, Dataset
from blendset.errors import BlendsetError
from blendset.verification import verify_dataset
from blendset_trainer.cli.main import main
from blendset_trainer.stages.tables import read_index_with_stages
from blendset_trainer.synthesis.view_sets import compute_disparity, find_view_sets, load_geometry
from blendset_trainer.synthesis.warp import plan_warps
from blendset_trainer.synthesis.warp_callback import WarpCallback
from blendset_trainer.synthetic_views import read_synthesis
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset
from tests.trainer.tiny_pipelines import Make, maker
from tests.trainer.traced_sets import add_set, painted, view_at

PROMPT = "a red chair"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A set of four views, 20 degrees apart, of one ray-traced scene."""
    made = make_dataset(tmp_path / "dataset")
    add_scene(made, "attic")
    add_set(made, "ball", [painted(view_at(20.0 * number)) for number in range(4)])
    made.rebuild_index()
    return made


def restyled(dataset: Dataset, model: Path, *words: str, prompt: str = PROMPT) -> int:
    return main(["synthesize", "restyle", str(dataset.root), "--model", str(model), "--prompt", prompt,
                 "--steps", "3", *words])  # fmt: skip


def synthetic(dataset: Dataset) -> dict[str, bytes]:
    return {view.view_id: dataset.rgb_path(view).read_bytes() for view in dataset.views() if view.source == "synthetic"}


@pytest.mark.parametrize("share", ["foreground", "same-object", "same-object+scene", "apart"])
def test_flux_depth_draws_a_set_that_keeps_its_geometry(pipeline: Make, dataset: Dataset, share: str) -> None:
    assert restyled(dataset, pipeline("flux_depth"), "--share", share) == 0
    assert verify_dataset(dataset).problems == ()
    views = [view for view in dataset.views() if view.source == "synthetic"]
    assert len(views) == 3
    for view in views:
        folder = dataset.view_folder(view.scene, view.view_id)
        [parent] = read_synthesis(folder).parents
        whose = next(each for each in dataset.views() if each.view_id == parent)
        assert (folder / PASSES).read_bytes() == (dataset.view_folder("attic", parent) / PASSES).read_bytes()
        assert (view.camera, view.subject_objects) == (whose.camera, whose.subject_objects)
        assert read_synthesis(folder).settings["share"] == share
    assert len({view.view_set for view in views}) == 1


def test_sdxl_with_a_controlnet_draws_a_set(pipeline: Make, dataset: Dataset) -> None:
    words = ["--controlnet", str(pipeline("controlnet")), "--cfg-scale", "3", "--negative-prompt", "a blue lamp"]
    assert restyled(dataset, pipeline("stable_diffusion_xl"), *words) == 0
    assert restyled(dataset, pipeline("stable_diffusion_xl"), *words, "--warp", "clean", "--anchor") == 0
    assert len(synthetic(dataset)) == 6
    assert len(set(synthetic(dataset).values())) == 6


def test_each_way_makes_other_pictures_and_the_same_again(pipeline: Make, dataset: Dataset) -> None:
    model = pipeline("flux_depth")
    for words in (["--warp", "none"], ["--warp", "none", "--share", "apart"], [], ["--warp", "clean"], ["--anchor"]):
        assert restyled(dataset, model, *words) == 0
    first = synthetic(dataset)
    assert len(set(first.values())) == 15
    for words in ([], ["--anchor"]):
        assert restyled(dataset, model, *words) == 0
    assert synthetic(dataset) == first


def test_flux_is_shown_depth_from_black_to_white(pipeline: Make, dataset: Dataset) -> None:
    shown: list[torch.Tensor] = []

    def look(module: torch.nn.Module, given: Any) -> None:
        if isinstance(module, Encoder):
            shown.append(given[0])

    with register_module_forward_pre_hook(look):
        assert restyled(dataset, pipeline("flux_depth")) == 0
    [depth] = shown
    assert (float(depth.min()), float(depth.max())) == (-1.0, 1.0)


def test_no_draw_is_left_to_chance(pipeline: Make, dataset: Dataset, tmp_path: Path) -> None:
    other = Dataset(Path(shutil.copytree(dataset.root, tmp_path / "other")))
    for number, each in enumerate((dataset, other)):
        torch.manual_seed(number)
        assert restyled(each, pipeline("flux_depth")) == 0
    assert synthetic(dataset) == synthetic(other)


def test_a_prompt_said_twice_is_asked_once_and_variants_differ(pipeline: Make, dataset: Dataset) -> None:
    assert restyled(dataset, pipeline("flux_depth")) == 0
    first = synthetic(dataset)
    assert restyled(dataset, pipeline("flux_depth"), "--prompt", PROMPT) == 0
    assert synthetic(dataset) == first
    assert restyled(dataset, pipeline("flux_depth"), "--variants", "2") == 0
    assert len(set(synthetic(dataset).values())) == 6
    assert first.items() <= synthetic(dataset).items()


def test_the_result_can_be_scored_and_selected(pipeline: Make, dataset: Dataset) -> None:
    assert restyled(dataset, pipeline("flux_depth")) == 0
    assert main(["score", str(dataset.root), "--with", "consistency"]) == 0
    table = read_index_with_stages(dataset)
    figures = dict(zip(table["source"].to_pylist(), table["consistency.delta_e"].to_pylist(), strict=True))
    assert figures["synthetic"] > figures["render"]


def test_one_range_of_depth_for_a_set() -> None:
    passes = [view_at(20.0 * number).passes for number in range(3)]
    pictures = compute_disparity(passes)
    assert pictures.shape == (3, 3, 96, 96)
    assert (float(pictures.max()), float(pictures.min())) == (1.0, 0.0)
    values = torch.cat([pictures[n, 0][torch.from_numpy(np.isfinite(each.depth))] for n, each in enumerate(passes)])
    inverse = np.concatenate([1 / each.depth[np.isfinite(each.depth)] for each in passes])
    assert np.corrcoef(values.numpy(), inverse)[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_clean_latents_are_what_is_warped(scheduler: str) -> None:
    """With a denoiser that knows the truth, a warp of consistent latents changes next to nothing, on every schedule."""
    views, grid = [view_at(20.0 * number) for number in range(3)], (24, 24)
    options = {"clip_sample": False} if scheduler == "DDIMScheduler" else {}
    made = getattr(diffusers, scheduler)(**options)
    made.set_timesteps(12)
    torch.manual_seed(0)
    clean, noise = torch.ones(3, 4, *grid) * torch.randn(4)[:, None, None], torch.randn(3, 4, *grid)
    callback = WarpCallback(made, grid, plan_warps(views, grid, (2, 1, 0)), "clean", warp_above=0.0)
    latents = callback.warp_noise(noise) * getattr(made, "init_noise_sigma", 1.0)
    for step, timestep in enumerate(made.timesteps):
        level = callback._get_level(step)
        alpha, sigma = (float(each) for each in callback.axis.alpha_sigma(level))
        scaled = made.scale_model_input(latents, timestep) if hasattr(made, "scale_model_input") else latents
        told = (scaled - alpha * clean) / sigma
        answer = told - clean if scheduler.startswith("Flow") else told
        latents = made.step(answer, timestep, latents).prev_sample
        latents = callback(None, step, timestep, {"latents": latents})["latents"]
    torch.testing.assert_close(latents, clean, atol=2e-3, rtol=2e-3)


def sentences() -> Iterator[Any]:
    yield "flux", [], PROMPT, "is a FluxPipeline, which takes no depth"
    yield "pixart_sigma", ["--controlnet", "x"], PROMPT, "is a PixArtSigmaPipeline, which takes no --controlnet"
    yield "flux_depth", ["--views", "5"], PROMPT, "There are 4 views with passes of ball of attic, and a set needs 5"
    yield "flux_depth", ["--views", "1"], PROMPT, "A set of one view has nothing to agree with"
    yield "flux_depth", ["--width", "64"], PROMPT, "--width is not for 'blendset synthesize restyle'"
    yield "flux_depth", [], "red " * 600, "reads 512; shorten it"
    yield "flux_depth", ["--selection", "none"], PROMPT, "none"


@pytest.mark.parametrize(("kind", "words", "prompt", "says"), list(sentences()))
def test_what_cannot_be_meant_is_one_sentence(
    pipeline: Make, dataset: Dataset, kind: str, words: list[str], prompt: str, says: str, capsys: Any
) -> None:
    assert restyled(dataset, pipeline(kind), *words, prompt=prompt) != 0
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
    assert synthetic(dataset) == {}


def test_missing_passes_and_empty_masks_leave_the_other_sets_alone(
    pipeline: Make, dataset: Dataset, capsys: Any
) -> None:
    for number in range(3):
        add_picture(dataset, "attic", "lamp", number, painted(view_at(0.0)))
    for view in [*dataset.views()][:4]:
        folder = dataset.view_folder(view.scene, view.view_id)
        files = {RGB: (folder / RGB).read_bytes(), PASSES: (folder / PASSES).read_bytes()}
        dataset.write_view(
            replace(view, view_id=f"ghost-{view.view_index}", subject="ghost", subject_objects=(99,)), files
        )
    dataset.rebuild_index()
    assert restyled(dataset, pipeline("flux_depth"), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["made"] == 3
    assert any("The masks of ghost of attic cover nothing" in reason
               for reason in report["left_out"])  # fmt: skip
    assert any("There are 0 views with passes of lamp" in reason for reason in report["left_out"])


def test_a_set_is_chosen_by_what_its_views_share(dataset: Dataset) -> None:
    [members] = find_view_sets(dataset, list(dataset.views()), 3, 0.25)
    assert not isinstance(members, BlendsetError)
    assert [load_geometry(dataset, "attic", view.view_id).camera.width for view in members] == [96, 96, 96]


def test_how_much_its_views_share_can_be_said(pipeline: Make, dataset: Dataset, capsys: Any) -> None:
    assert restyled(dataset, pipeline("flux_depth"), "--covisible", "1") == 1
    assert (
        "each share 100% of it with another; render views that are nearer together, or lower --covisible"
        in capsys.readouterr().err
    )
    assert restyled(dataset, pipeline("flux_depth"), "--covisible", "0.5") == 0
    assert restyled(dataset, pipeline("flux_depth"), "--covisible", "2") == 2
    assert len(synthetic(dataset)) == 3
