# SPDX-License-Identifier: Apache-2.0
"""Settings of the jobs of a synthesis: what they refuse when they are made, and what the command line makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blendset.errors import BlendsetError
from blendset_trainer.cli.main import build_parser
from blendset_trainer.cli.settings_options import read_settings
from blendset_trainer.synthesis.jobs import JOBS
from blendset_trainer.synthesis.prompts.settings import PromptSettings
from blendset_trainer.synthesis.settings import (
    DeformableSettings,
    NovelViewsSettings,
    RestyleSettings,
    TextToImageSettings,
)
from blendset_trainer.synthesis.text_to_image import plan_text_to_image
from tests.trainer.tiny_datasets import thirty_views
from tests.trainer.tiny_pipelines import stable_diffusion

PROMPTS = Path("prompts.jsonl")


@pytest.mark.parametrize(
    ("settings", "values", "says"),
    [
        (TextToImageSettings, {"variants": 0}, "variants is 0; it must be at least 1"),
        (TextToImageSettings, {"captions": "dens"}, "captions is 'dens'; did you mean 'dense'?"),
        (TextToImageSettings, {"precision": "fp8"}, "precision is 'fp8'"),
        (RestyleSettings, {"prompt": ("a red chair",), "views": 1}, "A set of one view has nothing to agree with"),
        (RestyleSettings, {"prompt": ("a red chair",), "covisible": 1.5}, "covisible is 1.5; it must be at most 1"),
        (RestyleSettings, {}, "There is nothing to ask for; give --prompt TEXT or --prompts FILE"),
        (NovelViewsSettings, {"layout": (0, 2)}, "layout is 0; it must be at least 1"),
        (DeformableSettings, {"prompts": PROMPTS, "remote_code": "code", "executor": "ray"}, "not on Ray"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(settings: type[Any], values: dict[str, Any], says: str) -> None:
    with pytest.raises(BlendsetError, match=says.replace("?", r"\?")):
        settings(model="model", **values)


def test_captions_are_not_written_by_anybody() -> None:
    with pytest.raises(BlendsetError, match="takes captions as they are"):
        PromptSettings(kind="text-to-image", writer="grammar", count=1, out=PROMPTS)


@pytest.mark.parametrize(("kind", "count", "total"), [("restyle", 7, 7), ("deformable", 7, 9), ("deformable", 9, 9)])
def test_sets_of_prompts_are_complete(kind: str, count: int, total: int) -> None:
    assert PromptSettings(kind=kind, count=count, out=PROMPTS).total == total


@pytest.mark.parametrize(
    ("job", "words", "values"),
    [
        ("deformable", ["--prompts", "prompts.jsonl", "--width", "32"], {"prompts": PROMPTS, "width": 32}),
        ("novel-views", ["--layout", "3x2", "--background", "white"], {"layout": (3, 2), "background": "white"}),
        ("restyle", ["--prompt", "a", "--prompt", "b", "--anchor"], {"prompt": ("a", "b"), "anchor": True}),
        ("text-to-image", ["--cfg-scale", "3", "--precision", "bf16"], {"cfg_scale": 3.0, "precision": "bf16"}),
    ],
)
def test_the_command_line_gives_settings(job: str, words: list[str], values: dict[str, Any]) -> None:
    arguments = build_parser().parse_args(["synthesize", job, "dataset", "--model", "model", *words])
    assert read_settings(JOBS[job].settings, arguments) == JOBS[job].settings(model="model", **values)


def test_settings_are_all_that_a_plan_needs(tmp_path: Path) -> None:
    dataset = thirty_views(tmp_path / "dataset")
    dataset.rebuild_index({view.view_id: "a red chair" for view in dataset.views()})
    settings = TextToImageSettings(model=str(stable_diffusion(tmp_path / "model")), variants=2)
    synthesizer, requests, left_out = plan_text_to_image(dataset, settings)
    assert len(requests) == 60
    assert len({request.view_id for request in requests}) == 60
    assert (synthesizer.width, left_out) == (None, [])
