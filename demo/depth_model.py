# SPDX-License-Identifier: Apache-2.0
"""Makes the model that restyles the demo's view set: FLUX depth's own parts, narrow, and trained here in a minute.

python demo/depth_model.py DATASET OUT

It has seen nothing but these views, their subject recoloured and their light changed as the captions say: so it can
show no more than that words, depth, shared attention and warps do their part.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from blendset.dataset import Dataset
from blendset.quality import LUMA
from blendset.records import ViewRecord
from blendset_trainer.diffusion.latents import pack_latents
from blendset_trainer.diffusion.noise import FlowAxis, add_noise, compute_target
from blendset_trainer.diffusion.shared_attention import rotary_positions
from blendset_trainer.synthesis.view_sets import compute_disparity
from parts import COLOURS, END, PAD, SPECIAL, START, make_autoencoder, make_text_encoder, make_tokenizer

PAINTS = {"red": (0.80, 0.15, 0.10), "green": (0.10, 0.50, 0.25), "blue": (0.15, 0.35, 0.80)}
LIGHTS = {"at noon": (1.0, 1.0, 1.0), "at night": (0.45, 0.6, 0.9)}
HALVINGS = 3
"""Of a picture's sides, by the autoencoder."""
LONGEST = 12
"""Words of a caption that the model reads."""
WIDTH = 64
"""Of what stands for a word."""
ROTARY = (8, 12, 12)
"""Widths of an attention head that turn with picture, row and column."""
STEPS, BATCH, LEARNING_RATE, EMA = 600, 4, 4e-3, 0.98


def main(root: Path, out: Path) -> None:
    """Train the small depth model on a dataset's view sets and save it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # its sums are too small to be worth sharing out
    dataset = Dataset(root)
    views = [view for view in dataset.views() if view.view_set and view.source == "render"]
    looks = list(product(PAINTS, LIGHTS))
    captions = [f"a {paint} {views[0].subject_label} {light}" for paint, light in looks]
    pictures = torch.stack([restyle(dataset, view, *look) for look in looks for view in views])
    pipeline = make_untrained(captions, float(pictures.std()))
    train(pipeline, captions, pictures, 2 * compute_disparity([dataset.passes(view) for view in views]) - 1)
    pipeline.save_pretrained(out)


def restyle(dataset: Dataset, view: ViewRecord, paint: str, light: str) -> Tensor:
    """A render (3, H, W) in -1..1, its subject in another colour, all of it in another light."""
    with Image.open(dataset.rgb_path(view)) as render:
        picture = np.asarray(render.convert("RGB")) / 255
    subject = np.isin(dataset.passes(view).id, view.subject_objects)
    grey = picture @ LUMA
    picture[subject] = np.outer(grey[subject] / grey[subject].mean(), PAINTS[paint])
    return torch.from_numpy((picture * LIGHTS[light]).clip(0, 1)).float().movedim(-1, 0) * 2 - 1


def make_untrained(captions: list[str], deviation: float) -> diffusers.FluxControlPipeline:
    """The parts of the model with random weights."""
    words = make_tokenizer(captions, LONGEST)
    clip = transformers.CLIPTextConfig(
        vocab_size=len(words), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=1,
        num_attention_heads=4, max_position_embeddings=LONGEST, bos_token_id=SPECIAL.index(START),
        eos_token_id=SPECIAL.index(END), pad_token_id=SPECIAL.index(PAD),
    )  # fmt: skip
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=8 * COLOURS, out_channels=4 * COLOURS, num_layers=1, num_single_layers=2,
        attention_head_dim=sum(ROTARY), num_attention_heads=3, axes_dims_rope=ROTARY, joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
    )  # fmt: skip
    return diffusers.FluxControlPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=make_autoencoder(deviation, HALVINGS),
        text_encoder=transformers.CLIPTextModel(clip).eval(),
        tokenizer=words,
        text_encoder_2=make_text_encoder(len(words), WIDTH).eval(),
        tokenizer_2=words,
        transformer=transformer,
    )


def train(pipeline: diffusers.FluxControlPipeline, captions: list[str], pictures: Tensor, depths: Tensor) -> None:
    """Rectified flow at uniform levels, of pictures (captions * views, 3, H, W) by caption, depths (views, 3, H, W)."""
    with torch.no_grad():
        texts, pooled, places_of_words = pipeline.encode_prompt(captions, None, max_sequence_length=LONGEST)
        latents, depth = (pipeline.vae.encode(each).latent_dist.mode() for each in (pictures, depths))
        scale = pipeline.vae.config.scaling_factor
    transformer, (rows, columns) = pipeline.transformer, latents.shape[2:]
    average = AveragedModel(transformer, multi_avg_fn=get_ema_multi_avg_fn(EMA))
    optimizer = torch.optim.AdamW(transformer.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, STEPS)
    for step in range(STEPS):
        chosen = torch.randint(len(latents), (BATCH,))
        caption, view = chosen // len(depth), chosen % len(depth)
        clean, level = latents[chosen] * scale, torch.rand(BATCH)
        noise = torch.randn(clean.shape)
        predicted = transformer(
            hidden_states=torch.cat(
                [pack_latents(add_noise(FlowAxis(), clean, noise, level)), pack_latents(depth[view] * scale)], 2
            ),
            timestep=level,
            encoder_hidden_states=texts[caption],
            pooled_projections=pooled[caption],
            img_ids=rotary_positions(rows // 2, columns // 2),
            txt_ids=places_of_words,
            return_dict=False,
        )[0]
        nn.functional.mse_loss(
            predicted, pack_latents(compute_target("flow", FlowAxis(), clean, noise, level))
        ).backward()
        nn.utils.clip_grad_norm_(transformer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        average.update_parameters(transformer)
        print(f"\r{step + 1}/{STEPS} steps", end="", flush=True)
    print()
    pipeline.register_modules(transformer=average.module.eval())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
