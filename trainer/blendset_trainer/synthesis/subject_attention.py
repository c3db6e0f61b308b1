# SPDX-License-Identifier: Apache-2.0
"""Finds the subject in images while they are denoised, by the attention to its words (SynCD, arXiv 2502.01720), and
shares attention to it from step to step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from skimage.filters import threshold_otsu
from torch import Tensor

from blendset.errors import BlendsetError
from blendset.tokens import Grid
from blendset_trainer.diffusion.shared_attention import ViewSets, share_attention

OTSU_BINS, DILATION = 10, np.ones((3, 3), bool)
"""SynCD's, on the token grid."""


def find_word_tokens(tokenizers: Sequence[tuple[Any, int]], prompt: str, words: str) -> Tensor:
    """Indices (K,) of the tokens that stand for the subject's words wherever a prompt has them, in upper or lower case.

    `tokenizers` come each with the index of its first token. BlendsetError where the prompt does not have the words.
    """
    spans = [match.span() for match in re.finditer(rf"\b{re.escape(words)}", prompt, re.IGNORECASE)]
    if not words or not spans:
        raise BlendsetError(
            f"The prompt '{prompt[:40]}...' does not say '{words}', whose attention would show where it is; put it in."
        )
    return torch.tensor([
        first + number
        for tokenizer, first in tokenizers
        for number, (begin, end) in enumerate(_find_token_spans(tokenizer, prompt))
        if any(max(begin, start) < min(end, stop) for start, stop in spans)
    ])  # fmt: skip


def _find_token_spans(tokenizer: Any, prompt: str) -> list[tuple[int, int]]:
    """Where each token begins and ends in the prompt; what is truncated has none."""
    encoded = tokenizer(prompt, return_offsets_mapping=True, truncation=True, max_length=tokenizer.model_max_length)
    return encoded.offset_mapping  # type: ignore[no-any-return]


def compute_word_attention(words: Sequence[Tensor], queries: Tensor, keys: Tensor) -> Tensor:
    """The share (N, tokens), in 0..1, that the subject's words have in the attention of a caption to each image token.

    `words` are the indices of the subject's tokens in each caption, `queries` (N, texts, heads, width) the captions',
    and `keys` (N, tokens, heads, width) the images'. Softmax over the caption, mean over heads. Image by image, because
    512 x 4096 logits of 24 heads are 200 MB.
    """
    shares = []
    for indices, query, key in zip(words, queries.float(), keys.float(), strict=True):
        logits = torch.einsum("thd,ihd->hti", query, key) * query.shape[-1] ** -0.5
        shares.append(logits.softmax(dim=1)[:, indices.to(logits.device)].sum(dim=1).mean(dim=0))
    return torch.stack(shares)


def threshold_attention(attention: Tensor) -> Tensor:
    """Boolean masks (N, rows, columns) of attention (N, rows, columns): above Otsu's threshold, dilated by a token."""
    maps = attention.cpu().double().numpy()
    masks = [binary_dilation(values > threshold_otsu(values, nbins=OTSU_BINS), DILATION) for values in maps]
    return torch.from_numpy(np.stack(masks))


class SubjectAttention:
    """A context in which the images of a set attend to each other's subject, where the attention of all steps so far
    has found it. It is also the `callback_on_step_end` of the pipeline that runs inside. In the first step each image
    attends to all of the others, because nothing is known yet.

    `words` are the indices of the subject's tokens in each caption. SynCD's first step also lets captions attend to
    other images; ours attend to their own.
    """

    def __init__(self, denoiser: Any, words: Sequence[Tensor], grid: Grid) -> None:
        self.masks = torch.ones(len(words), *grid, dtype=torch.bool)
        self._denoiser, self._words, self._grid = denoiser, words, grid
        self._sharing = ExitStack()
        self._attention: Tensor | float = 0.0
        self._recorded: set[Any] = set()

    def __enter__(self) -> SubjectAttention:
        self._start_sharing()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sharing.close()

    def __call__(self, pipeline: Any, step: int, timestep: Any, callback_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Called by diffusers after each step: find the subject anew, and share attention to it in the next."""
        assert isinstance(self._attention, Tensor)
        if not self._attention.isfinite().all():
            raise BlendsetError("The denoiser's attention is not finite; use --precision fp32 or bf16.")
        self.masks = threshold_attention(self._attention.unflatten(1, self._grid))
        self._sharing.close()
        self._recorded.clear()
        self._start_sharing()
        return {}

    def _start_sharing(self) -> None:
        views = ViewSets(self.masks[None].long().to(self._denoiser.device), self._grid)
        self._sharing.enter_context(share_attention(self._denoiser, views, self._record_attention))

    def _record_attention(self, layer: Any, queries: Tensor, keys: Tensor) -> None:
        """Observe a layer: add its attention to the sum, once a step. A threshold needs no mean.

        With a negative prompt FLUX runs a second time, and Stable Diffusion 3 has that half of the batch in front.
        """
        if layer not in self._recorded:
            self._recorded.add(layer)
            last = slice(-len(self._words), None)
            self._attention = self._attention + compute_word_attention(
                self._words, queries[last].detach(), keys[last].detach()
            )
