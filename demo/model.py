# SPDX-License-Identifier: Apache-2.0
"""Makes the model that `make demo` trains: PixArt's own parts, narrow, saved as a diffusers pipeline.

python demo/model.py PAIRS... OUT      PAIRS are folders of pictures with a caption beside each

No weights are fetched: the autoencoder hands pixels through, the text encoder stays as it was drawn, and the
transformer, which is what `blendset train` trains, begins at random.
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from PIL import Image

from parts import make_autoencoder, make_text_encoder, make_tokenizer

SIDE = 32
"""Pixels on a side of the pictures that the model makes."""
PATCH = 4
"""Pixels on a side of what is a token to the transformer."""
LONGEST = 300
"""Words of a caption that the model reads."""
WIDTH = 64
"""Of what stands for a word."""


def main(*pairs: Path, out: Path) -> None:
    """Make the small model for the words and pictures of these folders, with random weights, and save it."""
    torch.manual_seed(0)
    pictures = torch.stack([read_pixels(path) for folder in pairs for path in sorted(folder.rglob("*.png"))])
    captions = [path.read_text(encoding="utf-8") for folder in pairs for path in sorted(folder.rglob("*.txt"))]
    words = make_tokenizer(captions, LONGEST)
    pipeline = diffusers.PixArtAlphaPipeline(
        tokenizer=words,
        text_encoder=make_text_encoder(len(words), WIDTH),
        vae=make_autoencoder(float(pictures.std())),
        transformer=make_transformer(),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            beta_start=1e-4, beta_end=0.02, beta_schedule="linear", prediction_type="v_prediction"
        ),
    )
    pipeline.save_pretrained(out)


def read_pixels(path: Path) -> torch.Tensor:
    """A picture (3, SIDE, SIDE) in -1..1."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(small, np.float32).transpose(2, 0, 1).copy()) / 127.5 - 1


def make_transformer() -> diffusers.PixArtTransformer2DModel:
    """The transformer with random weights."""
    heads, width = 4, 32
    return diffusers.PixArtTransformer2DModel(
        num_attention_heads=heads, attention_head_dim=width, cross_attention_dim=heads * width, num_layers=4,
        in_channels=3, out_channels=6, patch_size=PATCH, sample_size=SIDE, caption_channels=WIDTH,
    )  # fmt: skip


if __name__ == "__main__":
    *folders, made = map(Path, sys.argv[1:])
    main(*folders, out=made)
