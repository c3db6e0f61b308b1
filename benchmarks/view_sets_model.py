# SPDX-License-Identifier: Apache-2.0
"""A small FLUX depth pipeline, trained from scratch on ray-traced pictures of one scene, whose objects have other
colours in each picture: depth shows where things are, but not how they look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxControlPipeline, FluxTransformer2DModel
from numpy.typing import NDArray
from ray_traced import make_camera, trace_geometry
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from blendset.cameras import Array
from blendset.correspondence import ViewGeometry
from blendset.options import REQUIRED, option
from blendset_trainer.diffusion.latents import pack_latents
from blendset_trainer.diffusion.noise import FlowAxis, add_noise, compute_target
from blendset_trainer.diffusion.randomness import make_generator
from blendset_trainer.diffusion.shared_attention import rotary_positions
from blendset_trainer.synthesis.view_sets import compute_disparity

OBJECTS = 4
SKY = 0.9
DARKEST = 0.1
"""The least level of the colours that objects have, in 0..1."""
ROTARY = (8, 12, 12)
"""Widths of a head that turn with picture, row and column."""
TEXT = 8
"""Width of the caption, which is one token of zeros."""
ELEVATION, DISTANCE = 25.0, 5.2


@dataclass(frozen=True)
class Model:
    pixels: int = option(REQUIRED, "on a side of a picture; four of them are a token")
    heads: int = option(REQUIRED, "of attention")
    double_blocks: int = option(REQUIRED, "with weights of their own for the caption")
    single_blocks: int = option(REQUIRED, "with weights for both")
    cameras: int = option(REQUIRED, "whose pictures it is trained on, each time in other colours")
    steps: int = option(REQUIRED, "of the optimizer")
    batch: int = option(REQUIRED, "pictures in each")
    learning_rate: float = option(REQUIRED, "the highest; it rises for three tenths of the steps, then falls to zero")
    ema: float = option(REQUIRED, "decay of the running average of the weights")


# ---- pictures --------------------------------------------------------------------------------------------------------


def trace_view(azimuth_deg: float, pixels: int) -> ViewGeometry:
    """Trace a view of the scene from a circle around it."""
    return trace_geometry(make_camera(azimuth_deg, ELEVATION, DISTANCE, pixels))


def compute_shade(view: ViewGeometry) -> Array:
    """How bright (H, W) the light from above makes the surfaces of a view: 0.4 to 1, the same from all sides."""
    return np.where(view.passes.id == 0, 1.0, 0.7 + 0.3 * view.passes.normal[..., 2])


def sample_palettes(random: np.random.Generator, count: int) -> Array:
    """Colours (count, objects, 3) in 0..1."""
    return random.uniform(DARKEST, 1, (count, OBJECTS, 3))


def paint(view: ViewGeometry, palette: Array) -> Array:
    """The picture (H, W, 3) in 0..1 of objects that have these colours (objects, 3)."""
    colours = np.concatenate([np.full((1, 3), SKY), palette])
    return np.asarray(colours[view.passes.id] * compute_shade(view)[..., None])


# ---- the pipeline ----------------------------------------------------------------------------------------------------


def build_pipeline(model: Model, deviation: float) -> FluxControlPipeline:
    """FLUX depth's parts, narrow. Its latents are pixels, scaled by the deviation that they have."""
    transformer = FluxTransformer2DModel(
        in_channels=24, out_channels=12, num_layers=model.double_blocks, num_single_layers=model.single_blocks,
        attention_head_dim=sum(ROTARY), num_attention_heads=model.heads, axes_dims_rope=ROTARY,
        joint_attention_dim=TEXT, pooled_projection_dim=TEXT,
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler()
    pipeline = FluxControlPipeline(scheduler, make_identity_vae(1 / deviation), None, None, None, None, transformer)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_identity_vae(scale: float) -> AutoencoderKL:
    """An autoencoder that hands pixels through, scaled."""
    vae = AutoencoderKL(
        latent_channels=3, block_out_channels=(8,), norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
        scaling_factor=scale, shift_factor=0.0,
    )  # fmt: skip
    vae.encoder, vae.decoder = nn.Conv2d(3, 6, 1), nn.Identity()
    nn.init.dirac_(vae.encoder.weight)
    vae.encoder.bias = nn.Parameter(torch.tensor([0.0] * 3 + [-30.0] * 3))  # the log variance: none
    return vae.requires_grad_(False)


def make_null_caption(count: int) -> dict[str, Tensor]:
    """The embeddings of `count` empty captions, as arguments of the pipeline's call."""
    return {"prompt_embeds": torch.zeros(count, 1, TEXT), "pooled_prompt_embeds": torch.zeros(count, TEXT)}


# ---- training --------------------------------------------------------------------------------------------------------


def train(model: Model, seed: int) -> FluxControlPipeline:
    """Train a pipeline; returns it with the running average of its weights."""
    torch.manual_seed(seed)
    random = np.random.default_rng([seed, 0])
    views = [trace_view(azimuth, model.pixels) for azimuth in random.uniform(0, 360, model.cameras)]
    deviation = float(np.std([2 * paint(view, sample_palettes(random, 1)[0]) for view in views]))
    pipeline = build_pipeline(model, deviation)
    average = AveragedModel(pipeline.transformer, multi_avg_fn=get_ema_multi_avg_fn(model.ema))
    optimizer = torch.optim.AdamW(pipeline.transformer.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, model.learning_rate, model.steps)
    for step, (clean, depth) in enumerate(islice(sample_batches(views, model.batch, random), model.steps)):
        loss = compute_flow_loss(pipeline, clean / deviation, depth / deviation, make_generator(seed, "training", step))
        loss.backward()
        nn.utils.clip_grad_norm_(pipeline.transformer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        average.update_parameters(pipeline.transformer)
    pipeline.register_modules(transformer=average.module.eval().requires_grad_(False))
    return pipeline


def sample_batches(
    views: list[ViewGeometry], size: int, random: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures and their depth, (B, 3, H, W) in -1..1 each."""
    depths = torch.cat([encode_depth([view]) for view in views])
    while True:
        chosen = random.integers(len(views), size=size)
        colours = sample_palettes(random, size)
        pictures = [paint(views[number], palette) for number, palette in zip(chosen, colours, strict=True)]
        yield to_tensor(np.stack(pictures)) * 2 - 1, depths[chosen]


def encode_depth(views: Sequence[ViewGeometry]) -> Tensor:
    """The depth of a set as FLUX's pipeline takes it, (views, 3, H, W) in -1..1."""
    return compute_disparity([view.passes for view in views]) * 2 - 1


def to_tensor(pictures: NDArray[np.float64]) -> Tensor:
    """Pictures (B, 3, H, W), from an array (B, H, W, 3)."""
    return torch.from_numpy(pictures).float().movedim(-1, 1)


def compute_flow_loss(pipeline: FluxControlPipeline, clean: Tensor, depth: Tensor, random: torch.Generator) -> Tensor:
    """The loss of rectified flow at uniform levels, from clean latents and depth (B, C, h, w)."""
    level = torch.rand(len(clean), generator=random)
    noise = torch.randn(clean.shape, generator=random)
    noisy = add_noise(FlowAxis(), clean, noise, level)
    captions = make_null_caption(len(clean))
    predicted = pipeline.transformer(
        hidden_states=torch.cat([pack_latents(noisy), pack_latents(depth)], dim=2),
        timestep=level,
        encoder_hidden_states=captions["prompt_embeds"],
        pooled_projections=captions["pooled_prompt_embeds"],
        img_ids=rotary_positions(clean.shape[2] // 2, clean.shape[3] // 2),
        txt_ids=torch.zeros(1, 3),
        return_dict=False,
    )[0]
    return functional.mse_loss(predicted, pack_latents(compute_target("flow", FlowAxis(), clean, noise, level)))
