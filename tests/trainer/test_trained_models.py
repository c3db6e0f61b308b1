# SPDX-License-Identifier: Apache-2.0
"""What was trained, in full or as a LoRA, loads in diffusers as it is, and samples there what it samples here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from peft import PeftModel
from safetensors.torch import load as load_bytes

from blendset.errors import BlendsetError
from blendset.files import replace_folder
from blendset_trainer.diffusion.export import COMFYUI_NAME, make_lora_files, save_full, save_lora
from blendset_trainer.diffusion.families import Family
from blendset_trainer.diffusion.lora import add_lora, load_lora
from tests.trainer.tiny_pipelines import KINDS, Make, maker
from tests.trainer.tiny_training import DEVICE, drawn, load, train

KOHYA = "lora_down.weight", "lora_up.weight", "alpha"
T5 = "text_encoder_3", "tokenizer_3"
"""What stock diffusers must be told is not there."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.mark.parametrize("kind", KINDS)
def test_trained_in_full_it_loads_in_diffusers_and_samples(pipeline: Make, kind: str, tmp_path: Path) -> None:
    family = load(pipeline(kind), full=True)
    family.module.requires_grad_(True)
    losses = train(family)
    assert losses[-1] < losses[0]
    save_full(family, tmp_path / "trained")
    stock = stock_pipeline(tmp_path / "trained", family)
    before = load(pipeline(kind)).module.state_dict()
    for name, weights in getattr(stock, family.denoiser_name).state_dict().items():
        assert torch.equal(weights, family.module.state_dict()[name]), name
    assert any(not torch.equal(before[name], weights) for name, weights in family.module.state_dict().items())
    assert drawn(stock, family) == pytest.approx(drawn(family.pipeline, family))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_lora_loads_in_diffusers_and_samples(pipeline: Make, kind: str, tmp_path: Path) -> None:
    family = load(pipeline(kind))
    untrained = drawn(family.pipeline, family)
    add_lora(family, rank=4, alpha=8)
    assert drawn(family.pipeline, family) == pytest.approx(untrained)
    losses = train(family)
    assert losses[-1] < losses[0]
    trained = drawn(family.pipeline, family)
    assert trained != pytest.approx(untrained, abs=1e-4)
    for path in save_lora(family, tmp_path):
        if path.suffix == ".safetensors":
            stock = stock_pipeline(pipeline(kind), family)
            if hasattr(stock, "load_lora_weights"):
                stock.load_lora_weights(path)
            else:
                PeftModel.from_pretrained(getattr(stock, family.denoiser_name), path.parent)
            assert drawn(stock, family) == pytest.approx(trained, abs=1e-4)
            ours = load(pipeline(kind))
            load_lora(ours, str(path))
            assert drawn(ours.pipeline, ours) == pytest.approx(trained, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_lora_keys_are_what_comfyui_looks_for(pipeline: Make, kind: str) -> None:
    """Its comfy/lora.py: of a U-Net lora_unet_ and diffusers' layer with underscores, of a transformer `transformer.`
    or peft's `base_model.model.` and diffusers' layer."""
    family = load(pipeline(kind))
    add_lora(family, rank=2, alpha=4)
    layers = [name for name, module in family.module.named_modules() if hasattr(module, "lora_A")]
    files = make_lora_files(family)
    if family.denoiser_name == "unet":
        keys = {f"lora_unet_{name.replace('.', '_')}.{end}" for name in layers for end in KOHYA}
        assert load_bytes(files[COMFYUI_NAME]).keys() == keys
        return
    (weights,) = (data for name, data in files.items() if name.endswith(".safetensors"))
    prefix = "base_model.model" if kind.startswith("pixart") else "transformer"
    assert load_bytes(weights).keys() == {f"{prefix}.{name}.lora_{end}.weight" for name in layers for end in "AB"}


@pytest.mark.parametrize("kind", ["stable_diffusion_xl", "pixart_sigma", "flux"])
def test_a_lora_for_another_model_is_refused(pipeline: Make, kind: str, tmp_path: Path) -> None:
    first = load(pipeline("stable_diffusion"))
    add_lora(first, rank=2, alpha=2)
    train(first)
    save_lora(first, tmp_path)
    for name in ("", COMFYUI_NAME):
        with pytest.raises(BlendsetError, match=r"is no LoRA for .*; give one that was trained on that family"):
            load_lora(load(pipeline(kind)), str(tmp_path / name))


def test_a_lora_goes_on_layers_that_are_there(pipeline: Make) -> None:
    family = load(pipeline("stable_diffusion"))
    with pytest.raises(BlendsetError, match=r"has no layer 'to_qq' to put a LoRA on; did you mean 'to_q'\?"):
        add_lora(family, 2, 2, ["to_qq"])
    add_lora(family, 2, 2, ["attn1.to_q"])
    trained = {name for name, each in family.module.named_parameters() if each.requires_grad}
    assert trained
    assert all(".attn1.to_q." in name for name in trained)


def test_a_lora_starts_from_its_seed(pipeline: Make) -> None:
    def start(seed: int) -> bytes:
        family = load(pipeline("stable_diffusion"))
        add_lora(family, 2, 2, seed=seed)
        return make_lora_files(family)[COMFYUI_NAME]

    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert start(1) == start(1) != start(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_save_that_fails_leaves_the_model_before(pipeline: Make, tmp_path: Path) -> None:
    family = load(pipeline("stable_diffusion"))
    save_full(family, tmp_path / "model")
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    with pytest.raises(KeyboardInterrupt), replace_folder(tmp_path / "model") as staged:
        (staged / "half").write_text("written")
        raise KeyboardInterrupt
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    save_full(family, tmp_path / "model")
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def stock_pipeline(folder: Path, family: Family) -> Any:
    """What diffusers alone loads, told of the encoders that are not there."""
    absent = {name: None for name, part in family.pipeline.components.items() if name in T5 and part is None}
    stock = DiffusionPipeline.from_pretrained(folder, **absent)
    stock.to(DEVICE).set_progress_bar_config(disable=True)
    return stock
