# SPDX-License-Identifier: Apache-2.0
"""The attention processor that shares attention: one for diffusers' FLUX, Stable Diffusion 3, U-Nets and PixArt, whose
stock processors do the same in different orders.

Keys and values are projected once for the whole batch; those of other images are rolled along the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.shared_attention.tokens import rotary_positions
from blendset_trainer.diffusion.shared_attention.view_sets import ViewSets

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines of a rotary embedding."""
AttentionObserver = Callable[[Any, Tensor, Tensor], None]
"""Called in each layer in which captions and images meet, with its module, the queries of the captions' tokens and the
keys of the images' tokens, (B, tokens, heads, width) each."""
IMAGE_LAYERS = "to_q", "to_k", "to_v", "norm_q", "norm_k"
TEXT_LAYERS = "add_q_proj", "add_k_proj", "add_v_proj", "norm_added_q", "norm_added_k"
"""The projections and norms of an attention layer, by diffusers' names."""


class SharedAttnProcessor:
    """The attention of each image to itself, to its caption, and to the tokens of its set that `views` lets it attend
    to; a caption attends to its own image alone. `rotary` makes embeddings of positions, for models that have them.
    """

    def __init__(
        self,
        views: ViewSets,
        backend: AttentionBackendName | None,
        rotary: Callable[[Tensor], Rotary] | None,
        observer: AttentionObserver | None = None,
    ) -> None:
        self._views, self._backend, self._rotary, self._observer = views, backend, rotary, observer
        self._slots: list[Rotary] = []

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The same as the stock processor's. FLUX's single blocks have the caption's tokens in front of
        `hidden_states` (B, tokens, width).
        """
        assert attention_mask is None  # no pipeline masks self-attention
        self._check_batch(len(hidden_states))
        streams = [_project(attn, hidden_states, IMAGE_LAYERS)]
        if encoder_hidden_states is not None:
            streams.insert(0, _project(attn, encoder_hidden_states, TEXT_LAYERS))
        query, key, value = (torch.cat(parts, dim=1) for parts in zip(*streams, strict=True))
        rows, columns = self._views.grid
        tokens = hidden_states.shape[1] if image_rotary_emb is None else rows * columns
        others = self._collect_others(key[:, -tokens:], value[:, -tokens:])
        if image_rotary_emb is not None:
            query, key = (apply_rotary_emb(states, image_rotary_emb, sequence_dim=1) for states in (query, key))
        if self._observer and tokens < query.shape[1]:
            self._observer(attn, query[:, :-tokens], key[:, -tokens:])
        attended = attend(self._views, query, key, value, others, self._backend).flatten(2)
        if encoder_hidden_states is None:
            return attended if attn.pre_only else _project_out(attn, attended)
        texts = attended[:, :-tokens]
        return _project_out(attn, attended[:, -tokens:]), texts if attn.context_pre_only else attn.to_add_out(texts)

    def _collect_others(self, key: Tensor, value: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each slot, the keys and values (B, tokens, heads, width) of the image there, for each image of the batch.

        `key` has no rotary embedding yet; the keys get that of their slot.
        """
        align = self._views.align_to_slot
        keys = [align(key, slot) for slot in self._views.slots]
        if self._rotary:
            rotations = self._get_rotations(key.device)
            keys = [
                apply_rotary_emb(slot_key, rotation, sequence_dim=1)
                for slot_key, rotation in zip(keys, rotations, strict=True)
            ]
        return [(slot_key, align(value, slot)) for slot, slot_key in zip(self._views.slots, keys, strict=True)]

    def _get_rotations(self, device: torch.device) -> list[Rotary]:
        """The rotary embedding of each slot, computed once."""
        if not self._slots and self._rotary:
            self._slots = [
                self._rotary(rotary_positions(*self._views.grid, slot).to(device)) for slot in self._views.slots
            ]
        return self._slots

    def _check_batch(self, count: int) -> None:
        """BlendsetError for a batch of `count` images that the view sets do not make up."""
        sets, set_size = self._views.ids.shape[:2]
        if count % (sets * set_size):
            raise BlendsetError(
                f"The denoiser was given {count} pictures, which are not {sets} sets of {set_size}, nor several times "
                "that; denoise whole view sets together."
            )


def attend(
    views: ViewSets,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    others: Sequence[tuple[Tensor, Tensor]],
    backend: AttentionBackendName | None = None,
) -> Tensor:
    """The attention (B, tokens, heads, width) of queries to the keys of their own image and, from the image's tokens,
    to those keys of the other images that `views` allows.

    `query`, `key` and `value` (B, tokens, heads, width) have the caption's tokens before the image's. `others` has for
    each slot keys and values of the image's tokens only.
    """
    if not others:
        return dispatch_attention_fn(query, key, value, backend=backend)  # type: ignore[no-any-return]
    return (_attend_masked if views.needs_mask else _attend_gathered)(views, query, key, value, others, backend)


def _attend_masked(
    views: ViewSets,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    others: Sequence[tuple[Tensor, Tensor]],
    backend: AttentionBackendName | None,
) -> Tensor:
    """Attention to all keys of the set, with one mask for all heads."""
    keys, values = (torch.cat(each, dim=1) for each in zip((key, value), *others, strict=True))
    tokens = others[0][0].shape[1]
    mask = views.build_mask(tokens, query.shape[1] - tokens)
    mask = mask.repeat(len(query) // len(mask), 1, 1, 1)
    mask = mask if mask.dtype == torch.bool else mask.to(query.dtype)
    return dispatch_attention_fn(query, keys, values, attn_mask=mask, backend=backend)  # type: ignore[no-any-return]


def _attend_gathered(
    views: ViewSets,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    others: Sequence[tuple[Tensor, Tensor]],
    backend: AttentionBackendName | None,
) -> Tensor:
    """Attention to the keys of the image and those of the others that all of its queries attend to, gathered: fewer
    keys, and no mask that a backend could refuse.
    """
    texts = query.shape[1] - others[0][0].shape[1]
    visible = views.find_visible_tokens(query.shape[1] - texts)
    attended = []
    for image, slots in enumerate(visible):
        rows = slice(image, None, len(visible))  # its repetitions, too
        keys, values = (
            torch.cat(
                [states[rows], *(other[rows][:, at] for other, at in zip(slot_states, slots, strict=True))], dim=1
            )
            for states, *slot_states in zip((key, value), *others, strict=True)
        )
        attended.append(dispatch_attention_fn(query[rows, texts:], keys, values, backend=backend))
    images = torch.stack(attended, dim=1).flatten(0, 1)
    if not texts:
        return images
    return torch.cat([dispatch_attention_fn(query[:, :texts], key, value, backend=backend), images], dim=1)


def _project(attn: Any, states: Tensor, names: Sequence[str]) -> list[Tensor]:
    """Query, key and value, (B, tokens, heads, width) each, of states (B, tokens, width); the first two are normalised
    where the model does that.
    """
    projected = [getattr(attn, name)(states).unflatten(-1, (attn.heads, -1)) for name in names[:3]]
    norms = [getattr(attn, name, None) for name in names[3:]] + [None]
    return [norm(part) if norm else part for norm, part in zip(norms, projected, strict=True)]


def _project_out(attn: Any, attended: Tensor) -> Tensor:
    return attn.to_out[1](attn.to_out[0](attended))  # type: ignore[no-any-return]
