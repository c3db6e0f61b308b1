# SPDX-License-Identifier: Apache-2.0
"""What it costs to denoise a view set together: against the same pictures apart, and against projecting keys anew for
each picture that attends to them, which is how SynCD's released code (arXiv 2502.01720) does it. All in one run, in
turn.

Two blocks of FLUX.1's width per head, at the shapes of 512 px; all 24 heads and bf16 where there is a GPU.

.venv/bin/python benchmarks/shared_attention.py [--pictures 3] [--side 512] [--share 0.25] [--heads 4] [--repeats 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.utils import logging
from report import format_table, write_results
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from blendset_trainer.diffusion.shared_attention import ViewSets, rotary_positions, share_attention
from blendset_trainer.models.loading import choose_device

TEXTS, HEAD_WIDTH = 512, 128
PIXELS_PER_TOKEN = 16
"""FLUX.1's own."""
APART = "apart"

Way = Callable[[], AbstractContextManager[None]]
"""Makes the context in which the model computes."""


def main() -> None:
    """Time every way, and print the table."""
    logging.set_verbosity_error()
    options = parse_arguments()
    device = choose_device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    heads = options.heads or (24 if device.type == "cuda" else 4)
    model = build_model(heads).to(device, dtype).eval()
    views = make_disc_ids(options.pictures, options.side, options.share).to(device)
    grid = (options.side // PIXELS_PER_TOKEN,) * 2
    call = partial(model, **make_inputs(model, options.pictures, grid, device, dtype))
    ways: dict[str, Way] = {
        APART: nullcontext,
        "foreground, gathered": partial(share_attention, model, ViewSets(views, grid)),
        "same-object, masked": partial(share_attention, model, ViewSets(views, grid, "same-object")),
        "foreground, projected anew": partial(project_anew, model, ViewSets(views, grid)),
    }
    check_equal(ways["foreground, gathered"], ways["foreground, projected anew"], call)
    took = time_in_turn(ways, call, options.repeats, device)
    keys = count_keys(ViewSets(views, grid), grid[0] * grid[1])
    rows = [(way, keys[way], f"{seconds * 1000:.0f}", f"{seconds / took[APART]:.2f}") for way, seconds in took.items()]
    write_results(
        "shared_attention", {"device": str(device), "heads": heads, **vars(options), "seconds": took, "keys": keys}
    )
    print(
        format_table(
            (f"{options.pictures} pictures of {options.side} px", "keys of a token", "ms", "times apart"), rows
        )
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=3, metavar="N", help="of the view set")
    parser.add_argument("--side", type=int, default=512, metavar="PX")
    parser.add_argument("--share", type=float, default=0.25, help="of each picture that its object fills")
    parser.add_argument("--heads", type=int, metavar="N", help="default: 24 on a GPU, else 4")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of all ways in turn; the best is shown")
    return parser.parse_args()


def build_model(heads: int) -> FluxTransformer2DModel:
    """A double and a single block with random weights."""
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        num_layers=1, num_single_layers=1, num_attention_heads=heads, attention_head_dim=HEAD_WIDTH
    )


def make_disc_ids(pictures: int, side: int, share: float) -> Tensor:
    """Ids (1, n, side, side) of an object that fills this share of each picture, as a disc."""
    across = (torch.arange(side) + 0.5) / side - 0.5
    disc = across[:, None].square() + across.square() <= share / torch.pi
    return disc.long().expand(1, pictures, side, side).contiguous()


def make_inputs(
    model: FluxTransformer2DModel, pictures: int, grid: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """The model's inputs: noise in the shapes that the pipeline gives."""
    config: Any = model.config
    return {
        "hidden_states": torch.randn(pictures, grid[0] * grid[1], config.in_channels).to(device, dtype),
        "encoder_hidden_states": torch.randn(pictures, TEXTS, config.joint_attention_dim).to(device, dtype),
        "pooled_projections": torch.randn(pictures, config.pooled_projection_dim).to(device, dtype),
        "timestep": torch.full((pictures,), 0.5, device=device),
        "img_ids": rotary_positions(*grid).to(device),
        "txt_ids": torch.zeros(TEXTS, 3, device=device),
        "return_dict": False,
    }


@torch.no_grad()
def check_equal(one: Way, other: Way, call: Callable[[], Any]) -> None:
    """Refuse (AssertionError) two ways that do not compute the same: there is nothing to compare then."""
    answers = []
    for sharing in (one, other):
        with sharing():
            answers.append(call()[0].float())
    torch.testing.assert_close(*answers, atol=1e-4 if answers[0].device.type == "cpu" else 5e-2, rtol=1e-2)


@torch.no_grad()
def time_in_turn(ways: dict[str, Way], call: Callable[[], Any], repeats: int, device: torch.device) -> dict[str, float]:
    """The least seconds that each way took, which other work on the machine changes least."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, sharing in ways.items():
            with sharing():
                synchronize(device)
                started = time.perf_counter()
                call()
                synchronize(device)
                took[way].append(time.perf_counter() - started)
    return {way: min(seconds) for way, seconds in took.items()}


def synchronize(device: torch.device) -> None:
    """Wait for a GPU to finish its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def count_keys(views: ViewSets, tokens: int) -> dict[str, int]:
    """How many keys a picture's token attends to, in each way."""
    own, others = TEXTS + tokens, tokens * len(views.slots)
    visible = sum(len(each) for each in views.find_visible_tokens(tokens)[0])
    return {
        APART: own,
        "foreground, gathered": own + visible,
        "same-object, masked": own + others,
        "foreground, projected anew": own + others,
    }


@contextmanager
def project_anew(model: FluxTransformer2DModel, views: ViewSets) -> Iterator[None]:
    """A context in which attention is computed as in SynCD's code, written from its description."""
    stock = model.attn_processors
    model.set_attn_processor(_ReprojectingProcessor(views, model.pos_embed))
    try:
        yield
    finally:
        model.set_attn_processor(stock)


class _ReprojectingProcessor:
    """Rolls the others' hidden states to each picture and projects them there; has a mask for each head."""

    def __init__(self, views: ViewSets, rotary: Any) -> None:
        self._views, self._rotary = views, rotary
        self._tokens = views.grid[0] * views.grid[1]

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        def heads(states: Tensor, projection: str, norm: str = "") -> Tensor:
            projected = getattr(attn, projection)(states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            return getattr(attn, norm)(projected) if norm else projected  # type: ignore[no-any-return]

        picture = hidden_states[:, -self._tokens :]
        rolled = [self._views.align_to_slot(picture, slot) for slot in self._views.slots]
        query = heads(hidden_states, "to_q", "norm_q")
        keys = [heads(states, "to_k", "norm_k") for states in (hidden_states, *rolled)]
        values = [heads(states, "to_v") for states in (hidden_states, *rolled)]
        if encoder_hidden_states is not None:
            query = torch.cat([heads(encoder_hidden_states, "add_q_proj", "norm_added_q"), query], dim=2)
            keys.insert(0, heads(encoder_hidden_states, "add_k_proj", "norm_added_k"))
            values.insert(0, heads(encoder_hidden_states, "add_v_proj"))
        device = hidden_states.device
        slots = torch.cat([rotary_positions(*self._views.grid, slot).to(device) for slot in self._views.slots])
        rotary = [torch.cat(each) for each in zip(image_rotary_emb, self._rotary(slots), strict=True)]
        query, key = apply_rotary_emb(query, image_rotary_emb), apply_rotary_emb(torch.cat(keys, dim=2), rotary)
        mask = self._build_mask(query)
        answer = scaled_dot_product_attention(query, key, torch.cat(values, dim=2), attn_mask=mask)
        answer = answer.transpose(1, 2).flatten(2)
        if encoder_hidden_states is None:
            return answer
        texts = encoder_hidden_states.shape[1]
        return attn.to_out[1](attn.to_out[0](answer[:, texts:])), attn.to_add_out(answer[:, :texts])

    def _build_mask(self, query: Tensor) -> Tensor:
        """The mask that is added to the logits, (B, heads, queries, keys)."""
        masked = ViewSets(self._views.ids, self._views.grid, positions=torch.zeros(*self._views.ids.shape, 3).to(query))
        if not hasattr(self, "_kept"):
            self._kept = masked.build_mask(self._tokens, query.shape[2] - self._tokens).to(query.dtype)
        return self._kept.expand(-1, query.shape[1], -1, -1).contiguous()


if __name__ == "__main__":
    main()
