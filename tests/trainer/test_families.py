# SPDX-License-Identifier: Apache-2.0
"""Each family gives its denoiser exactly what diffusers' own pipeline gives it: tiny random pipelines go through the
loader that real ones go through.
"""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.families import Conditions, load_size_divisor
from blendset_trainer.diffusion.lora import add_lora
from blendset_trainer.diffusion.sampling import SamplingSettings, sample_images
from tests.trainer.tiny_pipelines import KINDS, PIXELS, Make, maker
from tests.trainer.tiny_training import CAPTIONS, drawn, load, noise_for, pictures, train


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_denoiser_is_called_as_diffusers_calls_it(pipeline: Make, kind: str) -> None:
    family, width = load(pipeline(kind)), 2 * PIXELS
    with calls_of(family.module) as seen:
        drawn(family.pipeline, family, guidance_scale=1.0, width=width)
        stock = seen[0]
        first = "sample" if family.denoiser_name == "unet" else "hidden_states"
        level = stock["timestep"].reshape(-1)[:1].double() / (1000 if kind.startswith("stable_diffusion_3") else 1)
        noisy = family.unpack_latents(stock[first], PIXELS, width)
        with torch.no_grad():
            family.predict(noisy, level, family.encode_prompts(["a red chair"]), Conditions.from_size(1, PIXELS, width))
        ours = seen[-1]
    assert flat(ours).keys() == flat(stock).keys()
    for name, value in flat(stock).items():
        torch.testing.assert_close(flat(ours)[name].float(), value.float().expand_as(flat(ours)[name]), msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_latents_become_the_pictures_that_the_vae_saw(pipeline: Make, kind: str) -> None:
    family = load(pipeline(kind))
    moments = family.encode_images(pictures())
    noise = noise_for(moments, 1)
    mean, deviation = moments.chunk(2, dim=1)
    shown = family.decode_latents(family.sample_latents(moments, noise))
    with torch.no_grad():
        expected = family.pipeline.vae.decode(mean + deviation * noise).sample.clamp(-1, 1)
    torch.testing.assert_close(shown, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["stable_diffusion_xl", "pixart_alpha", "stable_diffusion_3", "flux"])
def test_half_precision_leaves_the_trained_weights_whole(pipeline: Make, kind: str) -> None:
    family = load(pipeline(kind), torch.bfloat16)
    add_lora(family, rank=2, alpha=2)
    frozen = {each.dtype for each in family.module.parameters() if not each.requires_grad}
    assert frozen == {torch.bfloat16}
    assert {each.dtype for each in family.module.parameters() if each.requires_grad} == {torch.float32}
    plain = train(family)
    assert plain[-1] < plain[0]
    again = load(pipeline(kind), torch.bfloat16)
    add_lora(again, rank=2, alpha=2)
    again.module.enable_gradient_checkpointing()
    again.module.train()
    assert train(again) == pytest.approx(plain, rel=1e-2)


@pytest.mark.parametrize("kind", ["stable_diffusion_xl", "stable_diffusion_3"])
def test_full_training_in_half_precision_samples_too(pipeline: Make, kind: str) -> None:
    family = load(pipeline(kind), torch.bfloat16, full=True)
    assert family.module.dtype == torch.float32
    assert family.pipeline.text_encoder.dtype == torch.bfloat16
    settings = SamplingSettings(steps=2, width=PIXELS, height=PIXELS)
    (picture,) = sample_images(family, ["a red chair"], settings)
    assert picture.size == (PIXELS, PIXELS)
    family.module.requires_grad_(True)
    losses = train(family, autocast=True)
    assert losses[-1] < losses[0]


def test_a_row_of_text_features_depends_on_its_caption_alone(pipeline: Make) -> None:
    for kind in KINDS:
        family = load(pipeline(kind))
        both, alone = family.encode_prompts(CAPTIONS), family.encode_prompts(CAPTIONS[1:])
        for name, values in alone.items():
            torch.testing.assert_close(both[name][1:], values)


def test_no_caption_is_what_sdxl_guides_away_from(pipeline: Make) -> None:
    texts = load(pipeline("stable_diffusion_xl")).encode_prompts(["", "a red chair"])
    assert [bool(texts["embeds"][row].any()) for row in (0, 1)] == [False, True]
    assert [bool(texts["pooled"][row].any()) for row in (0, 1)] == [False, True]


def test_the_schedule_is_the_one_that_the_pipeline_was_made_with(pipeline: Make) -> None:
    last = torch.tensor([999])
    assert float(load(pipeline("stable_diffusion")).axis.alpha_sigma(last)[0]) > 0.05
    second = load(pipeline("stable_diffusion_2"))
    assert float(second.axis.alpha_sigma(last)[0]) == pytest.approx(0, abs=1e-6)
    assert second.prediction == "v_prediction"
    assert {load(pipeline(kind)).prediction for kind in ("flux", "stable_diffusion_3")} == {"flow"}


def test_captions_longer_than_the_encoder_are_one_sentence(pipeline: Make) -> None:
    family = load(pipeline("stable_diffusion"))
    assert family.report_truncated_prompts(CAPTIONS) == ""
    assert "1 of 2 captions are longer than the 16 tokens" in family.report_truncated_prompts(
        ["a red chair", "a " * 40]
    )
    assert load(pipeline("stable_diffusion_3")).report_truncated_prompts(["a " * 40]) == ""
    assert "longer than the 16 tokens" in load(pipeline("stable_diffusion_3_without_t5")).report_truncated_prompts(
        ["a " * 40]
    )


def test_revisions_follow_the_weights_that_features_come_from(pipeline: Make, tmp_path: Path) -> None:
    copy = shutil.copytree(pipeline("stable_diffusion"), tmp_path / "copy")
    first = load(pipeline("stable_diffusion"))
    assert load(copy).vae_revision == first.vae_revision
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    changed = {name: tensor + 1 for name, tensor in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    assert load(copy).vae_revision != first.vae_revision
    assert load(copy).text_revision == first.text_revision


@pytest.mark.parametrize("kind", KINDS)
def test_the_sides_of_pictures_are_known_without_weights(pipeline: Make, kind: str) -> None:
    assert load_size_divisor(str(pipeline(kind))) == load(pipeline(kind)).size_divisor


def test_other_models_are_refused_in_one_sentence(pipeline: Make, tmp_path: Path) -> None:
    other = shutil.copytree(pipeline("stable_diffusion"), tmp_path / "other")
    index = json.loads((other / "model_index.json").read_text())
    (other / "model_index.json").write_text(json.dumps(index | {"_class_name": "KandinskyPipeline"}))
    with pytest.raises(BlendsetError, match="is a KandinskyPipeline, which Blendset cannot train; name a model of"):
        load(other)
    with pytest.raises(BlendsetError, match=r"it has no model_index\.json"):
        load(tmp_path)
    (other / "model_index.json").write_text(json.dumps(index))
    (other / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"cut")
    with pytest.raises(BlendsetError, match="cannot be loaded as a Stable Diffusion pipeline"):
        load(other)


@contextmanager
def calls_of(module: Any) -> Iterator[list[dict[str, Any]]]:
    """The arguments of each call of a module, by name."""
    seen: list[dict[str, Any]] = []
    signature = inspect.signature(type(module).forward)

    def note(_: object, args: Any, options: Any) -> None:
        seen.append(dict(signature.bind(module, *args, **options).arguments))

    hook = module.register_forward_pre_hook(note, with_kwargs=True)
    yield seen
    hook.remove()


def flat(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors among arguments and in those that are tables."""
    tensors = {name: value for name, value in arguments.items() if isinstance(value, Tensor)}
    tables = [value for value in arguments.values() if isinstance(value, dict)]
    return tensors | {name: value for table in tables for name, value in table.items() if isinstance(value, Tensor)}
