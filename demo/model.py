# SPDX-License-Identifier: Apache-2.0
"""Makes the model that `make demo` trains: PixArt's own parts, narrow, saved as a diffusers pipeline.

python demo/model.py PAIRS OUT      PAIRS is a folder of pictures with a caption beside each

No weights are fetched: the autoencoder hands pixels through, the text encoder stays as it was drawn, and the
transformer, which is what `blendset train` trains, begins at random.
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers.models.resnet import ResnetBlock2D
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

SIDE = 32
"""Pixels on a side of the pictures that the model makes."""
LARGE = 300.0
"""What the autoencoder's norms are dominated by, beside pixels of -1..1."""
PATCH = 4
"""Pixels on a side of what is a token to the transformer."""
SPECIAL = ["<pad>", "</s>", "<unk>"]


def main(pairs: Path, out: Path) -> None:
    torch.manual_seed(0)
    pictures = torch.stack([pixels(path) for path in sorted(pairs.rglob("*.png"))])
    captions = [path.read_text(encoding="utf-8") for path in sorted(pairs.rglob("*.txt"))]
    words = tokenizer(captions)
    pipeline = diffusers.PixArtAlphaPipeline(
        tokenizer=words,
        text_encoder=text_encoder(len(words)),
        vae=autoencoder(pictures),
        transformer=transformer(),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            beta_start=1e-4, beta_end=0.02, beta_schedule="linear", prediction_type="v_prediction"
        ),
    )
    pipeline.save_pretrained(out)


def pixels(path: Path) -> torch.Tensor:
    """A picture (3, SIDE, SIDE) in -1..1."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(small, np.float32).transpose(2, 0, 1).copy()) / 127.5 - 1


def tokenizer(captions: list[str]) -> transformers.PreTrainedTokenizerFast:
    """Whole words of the captions; all others are one and the same."""
    inner = Tokenizer(models.WordLevel(unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.train_from_iterator(captions, trainers.WordLevelTrainer(special_tokens=SPECIAL))
    inner.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=300
    )


def text_encoder(words: int) -> transformers.T5EncoderModel:
    return transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=words, d_model=64, d_kv=16, d_ff=128, num_layers=1, num_heads=4)
    )


def transformer() -> diffusers.PixArtTransformer2DModel:
    heads, width = 4, 32
    return diffusers.PixArtTransformer2DModel(
        num_attention_heads=heads, attention_head_dim=width, cross_attention_dim=heads * width, num_layers=4,
        in_channels=3, out_channels=6, patch_size=PATCH, sample_size=SIDE, caption_channels=64,
    )  # fmt: skip


def autoencoder(pictures: torch.Tensor) -> diffusers.AutoencoderKL:
    """An autoencoder that hands pixels through, scaled to deviate by 1: to fit a real one would take an hour.

    Its last layers are GroupNorm and SiLU. Channels of +-LARGE hold the norm's deviation constant, and
    silu(x) - silu(-x) is x, so that what goes in as x and as -x comes out as it was.
    """
    vae = diffusers.AutoencoderKL(
        latent_channels=3, block_out_channels=(8,), layers_per_block=1, norm_num_groups=1, sample_size=SIDE,
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
        scaling_factor=1 / float(pictures.std()),
    )  # fmt: skip
    for half in (vae.encoder, vae.decoder):
        for part in half.modules():
            if isinstance(part, ResnetBlock2D):  # which adds what its second convolution makes
                zero(part.conv2)
        zero(half.conv_in)
        zero(half.conv_out)
        half.conv_norm_out.weight.data.fill_(LARGE / 2)
        half.conv_in.bias.data[6:] = torch.tensor([LARGE, -LARGE])
        for colour in range(3):
            for sign, channel in ((1, colour), (-1, colour + 3)):
                half.conv_in.weight.data[channel, colour, 1, 1] = sign
                half.conv_out.weight.data[colour, channel, 1, 1] = sign
    vae.encoder.conv_out.bias.data[3:] = -30  # the log variance: none
    return vae.eval()


def zero(convolution: torch.nn.Conv2d) -> None:
    for each in convolution.parameters():
        each.data.zero_()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
