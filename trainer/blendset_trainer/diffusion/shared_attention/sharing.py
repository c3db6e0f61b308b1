# SPDX-License-Identifier: Apache-2.0
"""Sets the attention processors of a denoiser that share attention, and sets its own again."""

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
"""The layers in which an image attends to itself, by their names in each denoiser; Stable Diffusion 3.5 has two in a
block."""
STOCK_PROCESSORS = FluxAttnProcessor, JointAttnProcessor2_0, AttnProcessor2_0
MASKING_BACKENDS = {"native", "_native_math", "_native_efficient", "_native_cudnn", "flex", "xformers"}
"""Backends that take any mask. Most others refuse one, but those for sequences of varying length silently reduce it to
one row."""


@contextmanager
def share_attention(denoiser: Any, views: ViewSets, observer: AttentionObserver | None = None) -> Iterator[None]:
    """A context in which the images of a denoiser attend to each other as `views` say; backward passes belong inside,
    too. `observer` is called with the queries of captions and the keys of images.

    Raises BlendsetError for a denoiser of another class, for one whose attention processors were changed, and for a
    backend that takes no mask where one is needed.
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
    """The attention backend of a stock processor; processors older than the dispatcher use torch's own."""
    if not hasattr(stock, "_attention_backend"):
        return AttentionBackendName.NATIVE
    return AttentionBackendName(stock._attention_backend or _AttentionBackendRegistry.get_active_backend()[0])
