# SPDX-License-Identifier: Apache-2.0
"""The attention processor that shares: one for diffusers' FLUX, Stable Diffusion 3, U-Nets and PixArt, whose stock
ones do the same in different orders.

Keys and values are projected once for the whole batch; other pictures' are the projected ones, moved.
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
IMAGE_LAYERS = "to_q", "to_k", "to_v", "norm_q", "norm_k"
AttentionObserver = Callable[[Any, Tensor, Tensor], None]
"""Is told of a layer in which captions and pictures meet: its module, queries of the captions' tokens and keys of the
pictures' tokens, (B, tokens, heads, width) each."""
TEXT_LAYERS = "add_q_proj", "add_k_proj", "add_v_proj", "norm_added_q", "norm_added_k"
"""What diffusers calls the projections and norms of an attention layer."""


class SharedAttnProcessor:
    """Attends from each picture to itself, its caption, and to what `views` lets it see of its set; a caption sees its
    own picture alone. `rotary` makes embeddings of places, for models that rotate.
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
        """What the stock processor returns. FLUX's single blocks have the caption in front of `hidden_states`."""
        assert attention_mask is None  # no pipeline masks self-attention
        self._check_batch(len(hidden_states))
        streams = [_project(attn, hidden_states, IMAGE_LAYERS)]
        if encoder_hidden_states is not None:
            streams.insert(0, _project(attn, encoder_hidden_states, TEXT_LAYERS))
        query, key, value = (torch.cat(each, dim=1) for each in zip(*streams, strict=True))
        rows, columns = self._views.grid
        tokens = hidden_states.shape[1] if image_rotary_emb is None else rows * columns
        others = self._collect_others(key[:, -tokens:], value[:, -tokens:])
        if image_rotary_emb is not None:
            query, key = (apply_rotary_emb(each, image_rotary_emb, sequence_dim=1) for each in (query, key))
        if self._observer and tokens < query.shape[1]:
            self._observer(attn, query[:, :-tokens], key[:, -tokens:])
        answer = attend(self._views, query, key, value, others, self._backend).flatten(2)
        if encoder_hidden_states is None:
            return answer if attn.pre_only else _project_out(attn, answer)
        texts = answer[:, :-tokens]
        return _project_out(attn, answer[:, -tokens:]), texts if attn.context_pre_only else attn.to_add_out(texts)

    def _collect_others(self, key: Tensor, value: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values (B, tokens, heads, width) of the picture in each slot, to each picture; keys come unrotated
        and are rotated to their slot's place."""
        beside = self._views.align_to_slot
        keys = [beside(key, slot) for slot in self._views.slots]
        if self._rotary:
            rotations = self._get_rotations(key.device)
            keys = [apply_rotary_emb(each, to, sequence_dim=1) for each, to in zip(keys, rotations, strict=True)]
        return [(each, beside(value, slot)) for slot, each in zip(self._views.slots, keys, strict=True)]

    def _get_rotations(self, device: torch.device) -> list[Rotary]:
        if not self._slots and self._rotary:
            self._slots = [
                self._rotary(rotary_positions(*self._views.grid, slot).to(device)) for slot in self._views.slots
            ]
        return self._slots

    def _check_batch(self, count: int) -> None:
        sets, pictures = self._views.ids.shape[:2]
        if count % (sets * pictures):
            raise BlendsetError(
                f"The denoiser was given {count} pictures, which are not {sets} sets of {pictures}, nor several times "
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
    """Attention from queries to own keys and, from the picture's tokens, to what is seen of the other pictures.

    `query`, `key` and `value` (B, tokens, heads, width), the caption's tokens before the picture's; `others` has keys
    and values of each slot, of the picture's tokens only. Returns (B, tokens, heads, width).
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
    """One mask for all heads."""
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
    """What all of a picture's queries see is put beside its own keys: fewer keys, and no mask to be refused."""
    texts = query.shape[1] - others[0][0].shape[1]
    seen = views.visible_tokens(query.shape[1] - texts)
    answers = []
    for picture, slots in enumerate(seen):
        mine = slice(picture, None, len(seen))  # its repetitions too
        keys, values = (
            torch.cat([own[mine], *(other[mine][:, at] for other, at in zip(theirs, slots, strict=True))], dim=1)
            for own, *theirs in zip((key, value), *others, strict=True)
        )
        answers.append(dispatch_attention_fn(query[mine, texts:], keys, values, backend=backend))
    answer = torch.stack(answers, dim=1).flatten(0, 1)
    if not texts:
        return answer
    return torch.cat([dispatch_attention_fn(query[:, :texts], key, value, backend=backend), answer], dim=1)


def _project(attn: Any, states: Tensor, names: Sequence[str]) -> list[Tensor]:
    """Query, key and value, (B, tokens, heads, width) each, the first two normalised where the model does that."""
    projected = [getattr(attn, name)(states).unflatten(-1, (attn.heads, -1)) for name in names[:3]]
    norms = [getattr(attn, name, None) for name in names[3:]] + [None]
    return [norm(each) if norm else each for norm, each in zip(norms, projected, strict=True)]


def _project_out(attn: Any, answer: Tensor) -> Tensor:
    return attn.to_out[1](attn.to_out[0](answer))  # type: ignore[no-any-return]
