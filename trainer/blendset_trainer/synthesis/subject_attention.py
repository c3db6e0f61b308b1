# SPDX-License-Identifier: Apache-2.0
"""Where pictures that are being made show their subject, as the attention of its words tells (SynCD, arXiv 2502.01720),
and shared attention that follows it from step to step.
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
from blendset_trainer.diffusion.shared_attention import ViewSets, shared_attention

OTSU_BINS, DILATION = 10, np.ones((3, 3), bool)
"""SynCD's, on the grid of tokens."""


def word_tokens(readers: Sequence[tuple[Any, int]], prompt: str, words: str) -> Tensor:
    """Numbers of the tokens that stand for the subject's words wherever a prompt has them, in upper or lower case.

    `readers` are tokenizers, each with the number of its first token. BlendsetError where the words are not there.
    """
    places = [match.span() for match in re.finditer(rf"\b{re.escape(words)}", prompt, re.IGNORECASE)]
    if not words or not places:
        raise BlendsetError(
            f"The prompt '{prompt[:40]}...' does not say '{words}', whose attention would show where it is; put it in."
        )
    return torch.tensor([
        first + number
        for reader, first in readers
        for number, (begin, end) in enumerate(_read(reader, prompt))
        if any(max(begin, start) < min(end, stop) for start, stop in places)
    ])  # fmt: skip


def _read(reader: Any, prompt: str) -> list[tuple[int, int]]:
    """Where each token that is read begins and ends in the prompt; what is cut off has none."""
    read = reader(prompt, return_offsets_mapping=True, truncation=True, max_length=reader.model_max_length)
    return read.offset_mapping  # type: ignore[no-any-return]


def attention_to(words: Sequence[Tensor], queries: Tensor, keys: Tensor) -> Tensor:
    """How much of what each picture's token is to its caption is the subject's words, (N, tokens) in 0..1.

    `queries` (N, texts, heads, width) of captions and `keys` (N, tokens, heads, width) of pictures: softmax over the
    caption, mean over heads. Picture by picture, for 512 x 4096 logits of 24 heads are 200 MB.
    """
    shares = []
    for which, query, key in zip(words, queries.float(), keys.float(), strict=True):
        logits = torch.einsum("thd,ihd->hti", query, key) * query.shape[-1] ** -0.5
        shares.append(logits.softmax(dim=1)[:, which.to(logits.device)].sum(dim=1).mean(dim=0))
    return torch.stack(shares)


def foreground(attention: Tensor) -> Tensor:
    """Masks (N, rows, columns) of attention (N, rows, columns): above Otsu's threshold, and what lies beside that."""
    maps = attention.cpu().double().numpy()
    masks = [binary_dilation(each > threshold_otsu(each, nbins=OTSU_BINS), DILATION) for each in maps]
    return torch.from_numpy(np.stack(masks))


class FollowedSubject:
    """Within it, the pictures of a set share the subject where the attention of all steps so far has it; the first step
    shares everything, for nothing is known yet. It is what the pipeline is to call after each step.

    `words` are the subject's tokens in each caption. SynCD's first step also lets captions see other pictures; ours see
    their own.
    """

    def __init__(self, denoiser: Any, words: Sequence[Tensor], grid: Grid) -> None:
        self.masks = torch.ones(len(words), *grid, dtype=torch.bool)
        self._denoiser, self._words, self._grid = denoiser, words, grid
        self._sharing = ExitStack()
        self._attention: Tensor | float = 0.0
        self._heard: set[Any] = set()

    def __enter__(self) -> FollowedSubject:
        self._share()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._sharing.close()

    def __call__(self, pipeline: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        """What diffusers calls after each step."""
        assert isinstance(self._attention, Tensor)
        if not self._attention.isfinite().all():
            raise BlendsetError("The denoiser's attention is not finite; use --precision fp32 or bf16.")
        self.masks = foreground(self._attention.unflatten(1, self._grid))
        self._sharing.close()
        self._heard.clear()
        self._share()
        return {}

    def _share(self) -> None:
        views = ViewSets(self.masks[None].long().to(self._denoiser.device), self._grid)
        self._sharing.enter_context(shared_attention(self._denoiser, views, self._watch))

    def _watch(self, layer: Any, queries: Tensor, keys: Tensor) -> None:
        """Add a layer's attention, once a step: FLUX asks a second time for what pictures should not be, and Stable
        Diffusion 3 at once, in front. A threshold needs no mean.
        """
        if layer not in self._heard:
            self._heard.add(layer)
            last = slice(-len(self._words), None)
            self._attention = self._attention + attention_to(self._words, queries[last].detach(), keys[last].detach())
