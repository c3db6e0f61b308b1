# SPDX-License-Identifier: Apache-2.0
"""What the attention layers of a model know of the view sets that are denoised together: who may see what of whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.shared_attention.tokens import Grid, label_tokens

SharingMode = Literal["foreground", "same-object", "same-object+scene"]


@dataclass(frozen=True, eq=False)
class ViewSets:
    """Sets of n pictures each, one set after the other in a batch; a batch of several times as many repeats them, as
    classifier-free guidance does.

    `ids` (sets, n, H, W) say which object each pixel shows, 0 for none, at any resolution; whoever wants the parts of a
    chair to be one object gives them one number. `grid` is the denoiser's finest grid of tokens, of which coarser
    layers halve the sides. An own token is always seen; another picture's

    - in mode "foreground" where it shows an object, whatever the query shows (SynCD, arXiv 2502.01720);
    - in "same-object" where it shows the query's object;
    - in "same-object+scene" where it shows the query's object, or both show none.

    A key shows what fills at least `share` of it, a query what fills most of it. `positions` (sets, n, H, W, 3), in
    the world and divided by a length sigma, draw attention to what lies near: squared distance, halved, off the logit.
    """

    ids: Tensor
    grid: Grid
    mode: SharingMode = "foreground"
    share: float = 0.5
    positions: Tensor | None = None
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def set_size(self) -> int:
        """Of a set."""
        return self.ids.shape[1]

    @property
    def slots(self) -> range:
        """The other pictures of a set, to each of its pictures: the next one is in slot 1."""
        return range(1, self.set_size)

    @property
    def needs_mask(self) -> bool:
        """Whether queries of one picture see different keys, so that it does not do to gather the seen ones."""
        return self.mode != "foreground" or self.positions is not None

    def align_to_slot(self, values: Tensor, slot: int) -> Tensor:
        """The values of the picture in a slot, to each picture of a batch (B, ...)."""
        return values.unflatten(0, (-1, self.set_size)).roll(-slot, dims=1).flatten(0, 1)  # type: ignore[no-any-return]

    def visible_tokens(self, tokens: int) -> list[list[Tensor]]:
        """Which tokens of each slot each picture sees, in layers of so many tokens, where no mask is needed."""
        if ("seen", tokens) not in self._cache:
            shown = self._label_tokens(tokens, self.share) > 0
            slots = [self.align_to_slot(shown, slot) for slot in self.slots]
            self._cache["seen", tokens] = [
                [each[picture].nonzero()[:, 0] for each in slots] for picture in range(len(shown))
            ]
        return self._cache["seen", tokens]  # type: ignore[no-any-return]

    def build_mask(self, tokens: int, texts: int) -> Tensor:
        """What queries (the caption's tokens, then the picture's) may see of keys (the same, then slot after slot).

        Shape (sets · n, 1, queries, keys), boolean; with positions, what is added to the logits instead.
        """
        if ("mask", tokens, texts) not in self._cache:
            queries, keys = self._label_tokens(tokens, 0.0), self._label_tokens(tokens, self.share)
            others = torch.cat([self._allow(queries, self.align_to_slot(keys, slot)) for slot in self.slots], dim=-1)
            mask = pad(pad(others, (0, 0, texts, 0), value=False), (texts + tokens, 0), value=True)
            if self.positions is not None:
                far = pad(self._compute_distances(tokens), (texts + tokens, 0, texts, 0))
                mask = torch.where(mask, -far, -torch.inf)
            self._cache["mask", tokens, texts] = mask[:, None]
        return self._cache["mask", tokens, texts]  # type: ignore[no-any-return]

    def _allow(self, queries: Tensor, keys: Tensor) -> Tensor:
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
        """(sets · n, tokens). To the foreground mode all objects are one."""
        ids = (self.ids != 0).long() if self.mode == "foreground" else self.ids
        return label_tokens(ids, self._find_grid(tokens), share).flatten(0, 1).flatten(1)

    def _find_grid(self, tokens: int) -> Grid:
        rows, columns = self.grid
        while rows * columns > tokens:
            rows, columns = -(-rows // 2), -(-columns // 2)
        if rows * columns != tokens:
            raise BlendsetError(
                f"A layer of the denoiser has {tokens} tokens, which no halving of a grid of {self.grid[0]} x "
                f"{self.grid[1]} gives; give the grid of the pictures that are denoised."
            )
        return rows, columns
