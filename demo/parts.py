# SPDX-License-Identifier: Apache-2.0
"""What the demo's two models have in common: parts that are neither fetched nor trained.

Whole words stand for themselves, text encoders stay as they were drawn, and autoencoders are made by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import diffusers
import torch
import transformers
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

LARGE = 300.0
"""What the autoencoder's norms are dominated by, beside pixels of -1..1."""
COLOURS = 3
PAD, START, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
SPECIAL = [PAD, START, END, UNKNOWN]


def make_tokenizer(captions: Sequence[str], most: int) -> transformers.PreTrainedTokenizerFast:
    """Whole words of the captions, at most so many in one; all other words are one and the same."""
    inner = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.train_from_iterator(captions, trainers.WordLevelTrainer(special_tokens=SPECIAL))
    inner.post_processor = processors.TemplateProcessing(f"$A {END}", special_tokens=[(END, SPECIAL.index(END))])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PAD, bos_token=START, eos_token=END, unk_token=UNKNOWN, model_max_length=most
    )


def make_text_encoder(words: int, width: int) -> transformers.T5EncoderModel:
    return transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=words, d_model=width, d_kv=16, d_ff=2 * width, num_layers=1, num_heads=4)
    )


def make_autoencoder(deviation: float, halvings: int = 0) -> diffusers.AutoencoderKL:
    """An autoencoder that keeps a picture's means over squares and draws them smoothly, scaled to deviate by 1: to fit
    a real one would take an hour. Without halvings it hands pixels through.

    Its last layers are GroupNorm and SiLU. Channels of +-LARGE hold the norm's deviation constant, and
    silu(x) - silu(-x) is x, so that what goes in as x and as -x comes out as it was.
    """
    vae = diffusers.AutoencoderKL(
        latent_channels=COLOURS, block_out_channels=(2 * COLOURS + 2,) * (halvings + 1),
        down_block_types=("DownEncoderBlock2D",) * (halvings + 1),
        up_block_types=("UpDecoderBlock2D",) * (halvings + 1), layers_per_block=1, norm_num_groups=1,
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=1 / deviation,
        shift_factor=0.0,
    )  # fmt: skip
    for half in (vae.encoder, vae.decoder):
        for part in half.modules():
            if isinstance(part, ResnetBlock2D):  # which adds what its second convolution makes
                zero_weights(part.conv2)
            elif isinstance(part, Downsample2D):
                spread_colours(part.conv, [1, 1, 0])
            elif isinstance(part, Upsample2D):
                spread_colours(part.conv, [1, 2, 1])
        zero_weights(half.conv_in)
        zero_weights(half.conv_out)
        half.conv_norm_out.weight.data.fill_(LARGE / 2)
        half.conv_in.bias.data[2 * COLOURS :] = torch.tensor([LARGE, -LARGE])
        for colour in range(COLOURS):
            for sign, channel in ((1, colour), (-1, colour + COLOURS)):
                half.conv_in.weight.data[channel, colour, 1, 1] = sign
                half.conv_out.weight.data[colour, channel, 1, 1] = sign
    vae.encoder.conv_out.bias.data[COLOURS:] = -30  # the log variance: none
    return vae.eval()


def zero_weights(convolution: torch.nn.Conv2d) -> None:
    for each in convolution.parameters():
        each.data.zero_()


def spread_colours(convolution: torch.nn.Conv2d, weights: Sequence[int]) -> None:
    """Let each colour be a weighted mean of its neighbours, across and down; the constant channels stay."""
    line = torch.tensor(weights, dtype=torch.float32) / sum(weights)
    zero_weights(convolution)
    for channel in range(2 * COLOURS):
        convolution.weight.data[channel, channel] = line[:, None] * line
    for channel in range(2 * COLOURS, 2 * COLOURS + 2):
        convolution.weight.data[channel, channel, 1, 1] = 1
