# SPDX-License-Identifier: Apache-2.0
"""The view sets that are denoised together, and which tokens of an image attend to which tokens of the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from blendset.errors import BlendsetError
from blendset.tokens import Grid
from blendset_trainer.diffusion.shared_attention.tokens import label_tokens

SharingMode = Literal["foreground", "same-object", "same-object+scene"]


@dataclass(frozen=True, eq=False)
class ViewSets:
    """Sets of n images each, one set after the other in a batch. A batch of several times as many images repeats the
    sets, as classifier-free guidance does.

    `ids` (sets, n, H, W) are the object that each pixel shows, 0 for none, at any resolution; parts of a chair that
    have one id are one object. `grid` is the denoiser's finest token grid; coarser layers halve its sides. A query
    attends to all tokens of its own image, and to a token of another image

    - in mode "foreground" where the token shows an object, whatever the query shows (SynCD, arXiv 2502.01720);
    - in "same-object" where it shows the query's object;
    - in "same-object+scene" where it shows the query's object, or both show none.

    A key shows the object that fills at least `share` of it, a query the object that fills most of it. With `positions`
    (sets, n, H, W, 3), points in the world divided by a length sigma, half the squared distance between query and key
    is subtracted from the logit, so that attention goes to what lies near.
    """

    ids: Tensor
    grid: Grid
    mode: SharingMode = "foreground"
    share: float = 0.5
    positions: Tensor | None = None
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def set_size(self) -> int:
        """Images of a set, n."""
        return self.ids.shape[1]

    @property
    def slots(self) -> range:
        """The numbers of the other images of a set, as counted from each image: the next one is in slot 1."""
        return range(1, self.set_size)

    @property
    def needs_mask(self) -> bool:
        """Whether the queries of one image attend to different keys, so that the keys cannot be gathered."""
        return self.mode != "foreground" or self.positions is not None

    def align_to_slot(self, values: Tensor, slot: int) -> Tensor:
        """For each image of a batch (B, ...), the values of the image in its slot."""
        return values.unflatten(0, (-1, self.set_size)).roll(-slot, dims=1).flatten(0, 1)  # type: ignore[no-any-return]

    def find_visible_tokens(self, tokens: int) -> list[list[Tensor]]:
        """For each image and each slot the indices (N,) of the tokens that the image attends to, in layers of
        `tokens` tokens, where no mask is needed.
        """
        if ("visible", tokens) not in self._cache:
            foreground = self._label_tokens(tokens, self.share) > 0
            slots = [self.align_to_slot(foreground, slot) for slot in self.slots]
            self._cache["visible", tokens] = [
                [visible[image].nonzero()[:, 0] for visible in slots] for image in range(len(foreground))
            ]
        return self._cache["visible", tokens]  # type: ignore[no-any-return]

    def build_mask(self, tokens: int, texts: int) -> Tensor:
        """The attention mask (sets · n, 1, queries, keys) of layers with so many image tokens and caption tokens.
        Queries are the caption's tokens, then the image's; keys are the same, then the tokens of slot after slot.
        Boolean, True where a query attends; with positions, what is added to the logits instead.
        """
        if ("mask", tokens, texts) not in self._cache:
            queries, keys = self._label_tokens(tokens, 0.0), self._label_tokens(tokens, self.share)
            others = torch.cat(
                [self._compare_objects(queries, self.align_to_slot(keys, slot)) for slot in self.slots], dim=-1
            )
            mask = pad(pad(others, (0, 0, texts, 0), value=False), (texts + tokens, 0), value=True)
            if self.positions is not None:
                far = pad(self._compute_distances(tokens), (texts + tokens, 0, texts, 0))
                mask = torch.where(mask, -far, -torch.inf)
            self._cache["mask", tokens, texts] = mask[:, None]
        return self._cache["mask", tokens, texts]  # type: ignore[no-any-return]

    def _compare_objects(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Whether queries attend to keys (sets · n, tokens, tokens), by the objects (sets · n, tokens) of both."""
        queries, keys = queries[:, :, None], keys[:, None]
        if self.mode == "foreground":
            return (keys > 0).expand(-1, queries.shape[1], -1)
        same = queries == keys
        return same if self.mode == "same-object+scene" else same & (keys > 0)

    def _compute_distances(self, tokens: int) -> Tensor:
        """Half the squared distance from each token to each of the other slots, (sets · n, tokens, slots · tokens)."""
        assert self.positions is not None
        points = adaptive_avg_pool2d(self.positions.flatten(0, 1).movedim(-1, 1), self._find_grid(tokens))
        points = points.flatten(2).transpose(1, 2)
        return torch.cat(
            [torch.cdist(points, self.align_to_slot(points, slot)).square() / 2 for slot in self.slots], dim=-1
        )

    def _label_tokens(self, tokens: int, share: float) -> Tensor:
        """The object (sets · n, tokens) of each token; in mode "foreground" all objects are one."""
        ids = (self.ids != 0).long() if self.mode == "foreground" else self.ids
        return label_tokens(ids, self._find_grid(tokens), share).flatten(0, 1).flatten(1)

    def _find_grid(self, tokens: int) -> Grid:
        """The token grid of a layer of `tokens` tokens; BlendsetError where no halving of the finest grid gives it."""
        rows, columns = self.grid
        while rows * columns > tokens:
            rows, columns = -(-rows // 2), -(-columns // 2)
        if rows * columns != tokens:
            raise BlendsetError(
                f"A layer of the denoiser has {tokens} tokens, which no halving of a grid of {self.grid[0]} x "
                f"{self.grid[1]} gives; give the grid of the pictures that are denoised."
            )
        return rows, columns
