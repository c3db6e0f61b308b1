# SPDX-License-Identifier: Apache-2.0
"""Each preset says which scorers it wants, and those scorers give every column that its rules name."""

from __future__ import annotations

import re
from pathlib import Path

import open_clip
import pytest

from blendset_trainer.selection.rules import PRESETS, find_columns, list_presets, load_preset
from blendset_trainer.stages.catalogue import SCORERS
from blendset_trainer.stages.registry import find_stage
from tests.trainer.tiny_models import dino_model, itm_model, qwen_model

HEADS = "sac+logos+ava1-l14-linearMSE.pth", "sa_0_4_vit_l_14_linear.pth"
ITM = "Salesforce/blip-itm-base-coco"
DINOS = "facebook/dinov2-base", "facebook/dinov2-with-registers-large"
VLM = "Qwen/Qwen3-VL-8B-Instruct"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the presets name, where a person who has fetched it would have it; of the weights only the names matter."""
    for head in HEADS:
        (tmp_path / head).write_bytes(b"weights")
    for model in DINOS:
        dino_model(tmp_path / model)
    qwen_model(tmp_path / VLM)
    itm_model(tmp_path / ITM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", lambda *_: str(tmp_path / HEADS[0]))


@pytest.mark.parametrize("preset", list_presets())
def test_the_scorers_that_a_preset_asks_for_give_its_columns(preset: str, published: None) -> None:
    told = " ".join(line.removeprefix("# ") for line in (PRESETS / f"{preset}.toml").read_text("utf-8").splitlines())
    [words] = re.findall(r"`blendset score --with (\S+)`", told)
    stages = [find_stage(word, SCORERS) for word in words.split(",")]
    given = {f"{stage.name}.{figure}" for stage in stages for figure in stage.columns}
    assert set(find_columns(load_preset(preset))) <= given
