# SPDX-License-Identifier: Apache-2.0
"""Puts shared attention into a denoiser, and takes it out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers import FluxTransformer2DModel, PixArtTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from diffusers.models.attention_processor import AttnProcessor2_0, JointAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.shared_attention.processor import AttentionObserver, SharedAttnProcessor
from blendset_trainer.diffusion.shared_attention.view_sets import ViewSets

SELF_ATTENTION: dict[type, tuple[str, ...]] = {
    FluxTransformer2DModel: ("attn",),
    SD3Transformer2DModel: ("attn", "attn2"),
    UNet2DConditionModel: ("attn1",),
    PixArtTransformer2DModel: ("attn1",),
}
"""What each denoiser calls the layers in which a picture attends to itself; 3.5 has two in a block."""
STOCK_PROCESSORS = FluxAttnProcessor, JointAttnProcessor2_0, AttnProcessor2_0
MASKING_BACKENDS = {"native", "_native_math", "_native_efficient", "_native_cudnn", "flex", "xformers"}
"""Backends that take any mask. Of the others most refuse one, but those for sequences of varying length reduce it to
one row, without a word."""


@contextmanager
def shared_attention(denoiser: Any, views: ViewSets, observer: AttentionObserver | None = None) -> Iterator[None]:
    """Within it the denoiser's pictures see each other as `views` say; backward passes belong inside too. `watch` is
    told of what captions ask and pictures answer.

    Raises BlendsetError for a model of another family, one whose attention was changed, or a backend without masks
    where one is needed.
    """
    if type(denoiser) not in SELF_ATTENTION:
        known = ", ".join(kind.__name__ for kind in SELF_ATTENTION)
        raise BlendsetError(f"A {type(denoiser).__name__} cannot share attention; give one of {known}.")
    stock = denoiser.attn_processors
    names = [name for name in stock if name.split(".")[-2] in SELF_ATTENTION[type(denoiser)]]
    if changed := {type(stock[name]).__name__ for name in names if type(stock[name]) not in STOCK_PROCESSORS}:
        raise BlendsetError(
            f"The denoiser's attention is done by {min(changed)} already, which sharing would displace; take it out."
        )
    backend = _get_backend(stock[names[0]])
    if views.needs_mask and backend.value not in MASKING_BACKENDS:
        raise BlendsetError(
            f"The attention backend {backend.value} takes no mask, which sharing in mode '{views.mode}' needs; set the "
            "backend native, or use the mode 'foreground' without positions."
        )
    rotary = denoiser.pos_embed if isinstance(denoiser, FluxTransformer2DModel) else None
    processor = SharedAttnProcessor(views, backend, rotary, observer)
    denoiser.set_attn_processor(stock | dict.fromkeys(names, processor))
    try:
        yield
    finally:
        denoiser.set_attn_processor(stock)


def _get_backend(stock: Any) -> AttentionBackendName:
    """What computes the attention that a stock processor prepares; those of before the dispatcher know torch only."""
    if not hasattr(stock, "_attention_backend"):
        return AttentionBackendName.NATIVE
    return AttentionBackendName(stock._attention_backend or _AttentionBackendRegistry.get_active_backend()[0])
