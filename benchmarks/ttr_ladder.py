# SPDX-License-Identifier: Apache-2.0
"""Makes what benchmarks/ttr_ladder.toml trains and trusts of one rendered and captioned dataset: a few sharp renders,
blurred copies of other views, views that are held out with their captions, a small model, and a network for features.

.venv/bin/python benchmarks/ttr_ladder.py DATASET    a render of demo/room.blend with 100 views, say, and captions
.venv/bin/blendset ablate benchmarks/ttr_ladder.toml
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import torch
import transformers
from PIL import Image, ImageFilter
from report import ROOT

sys.path.append(str(ROOT / "demo"))
from blendset.dataset import CAPTION, Dataset
from blendset_trainer.stages.tables import read_index
from blendset_trainer.training.data.sampler import make_permutation
from parts import END, PAD, SPECIAL, START, make_autoencoder, make_tokenizer

OUT = ROOT / "build" / "benchmarks" / "ttr-ladder"
SIDE = 16
"""Pixels on a side of every picture."""
LONGEST, WIDTH = 100, 64
"""Words of a caption that the model reads, and the width of what stands for one."""
DEVIATION = 0.5
"""Of pixels in -1..1, about."""
HELD_OUT, RENDER = 0.3, 0.12
"""Shares of the views that are never trained, and that are trained as they are; the others are trained blurred."""
BLUR = 1.0
"""Pixels of SIDE, the Gaussian's deviation."""


def main(root: Path) -> None:
    """Write the folders, the prompts and the models."""
    dataset = Dataset(root)
    index = read_index(dataset)
    names, captions = index["view_id"].to_pylist(), index[CAPTION].to_pylist()
    paths = {view.view_id: dataset.rgb_path(view) for view in dataset.views()}
    held_out, render = round(HELD_OUT * len(names)), round((HELD_OUT + RENDER) * len(names))
    prompts = []
    for rank, number in enumerate(make_permutation(len(names), 0, "views").tolist()):
        part = "held-out-views" if rank < held_out else "render" if rank < render else "synthetic"
        write_pair(OUT / part / f"{rank:04d}.png", paths[names[number]], captions[number], part == "synthetic")
        prompts += [captions[number]] if rank < held_out else []
    (OUT / "held-out.txt").write_text("\n".join(prompts), encoding="utf-8")
    write_model(OUT / "model", captions)
    write_network(OUT / "network")


def write_pair(path: Path, picture: Path, caption: str, is_blurred: bool) -> None:
    """Write a small picture, blurred or as it is, with its caption beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(picture) as opened:
        small = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    (small.filter(ImageFilter.GaussianBlur(BLUR)) if is_blurred else small).save(path)
    path.with_suffix(".txt").write_text(caption, encoding="utf-8")


def write_model(folder: Path, captions: list[str]) -> None:
    """Write a small Stable Diffusion with random weights that knows the words of captions; its latents are pixels."""
    torch.manual_seed(0)
    words = make_tokenizer(captions, LONGEST)
    text = transformers.CLIPTextConfig(
        vocab_size=len(words), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=1,
        num_attention_heads=4, max_position_embeddings=LONGEST, bos_token_id=SPECIAL.index(START),
        eos_token_id=SPECIAL.index(END), pad_token_id=SPECIAL.index(PAD),
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=SIDE, in_channels=3, out_channels=3, block_out_channels=(32, 64), layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=WIDTH, attention_head_dim=4,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear", prediction_type="v_prediction", clip_sample=False,
        timestep_spacing="trailing",
    )  # fmt: skip
    pipeline = diffusers.StableDiffusionPipeline(
        make_autoencoder(DEVIATION), transformers.CLIPTextModel(text), words, unet, scheduler, None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)


def write_network(folder: Path) -> None:
    """Write a small vision transformer with random weights, whose features tell blurred pictures from sharp ones."""
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=SIDE, patch_size=4, initializer_range=0.3
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    transformers.BitImageProcessor(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
