# SPDX-License-Identifier: Apache-2.0
"""`masked-dino:MODEL` and `masked-clip:MODEL`: the embedding of a picture's subject alone, to tell whether two pictures
show the same subject. Without the mask a cosine is high wherever the backgrounds are alike.

The background is replaced by the mean colour of the model's training, which is zero once pixels are normalized.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from blendset.masks import Mask
from blendset.naming import slugify
from blendset_trainer.models.clip import ClipModel, ClipWeights, find_clip
from blendset_trainer.scoring.dino import DinoScorer, find_dino_scorer, find_square
from blendset_trainer.stages.mask_origins import AUTO
from blendset_trainer.stages.stage import Column, View
from blendset_trainer.stages.subject_masks import NoMaskError, choose_origin, find_subject_mask

Encode = Callable[[list[Image.Image]], npt.NDArray[np.float32]]
"""What returns unit embeddings (N, D) of N pictures."""


def make_columns(width: int) -> Mapping[str, Column]:
    """Return the columns of embeddings of this length, and of where the masks come from."""
    return {"embedding": Column(pa.list_(pa.float32(), width), "unit vector"), "mask": Column(pa.string())}


def cut_out(rgb: npt.NDArray[np.uint8], mask: Mask, mean: Sequence[float]) -> Image.Image:
    """Return the square around a subject's mask (height, width), of a picture (height, width, 3), on the colour `mean`.

    The channels of `mean` are between 0 and 1.
    """
    left, top, right, bottom = find_square(mask)
    red, green, blue = (round(255 * level) for level in mean)
    square = Image.new("RGB", (right - left, bottom - top), (red, green, blue))
    square.paste(Image.fromarray(rgb), (-left, -top), Image.fromarray(mask))
    return square


def embed_subjects(views: Sequence[View], mean: Sequence[float], encode: Encode) -> list[dict[str, Any]]:
    """Return a row of `make_columns` for each view; both None where nothing tells the subject from the background.

    `mean` and `encode` are the model's: the colour, and what returns unit embeddings (N, D) of N pictures.
    """
    found = [_find_mask(view) for view in views]
    cuts = [cut_out(view.rgb, mask, mean) for view, (_, mask) in zip(views, found, strict=True) if mask is not None]
    embeddings = iter(encode(cuts) if cuts else ())
    return [{"embedding": next(embeddings) if origin else None, "mask": origin} for origin, _ in found]


def _find_mask(view: View) -> tuple[str, Mask] | tuple[None, None]:
    """Where the mask of a view's subject comes from, and the mask (H, W)."""
    try:
        origin = choose_origin(view, AUTO, has_segmenter=False)
        return origin, find_subject_mask(view, origin)
    except NoMaskError:
        return None, None


@dataclass
class MaskedDinoScorer(DinoScorer):
    """Computes the embedding of a view's subject alone, by DINOv2 or DINOv3."""

    scheme: ClassVar[str] = "masked-dino"
    whole_sets: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Any]] = {}

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns of a row; the embedding's length depends on the model."""
        return make_columns(self.width)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        assert self._loaded is not None
        return embed_subjects(views, self._loaded[1].image_mean, self.encode)


@dataclass
class MaskedClipScorer:
    """Computes the embedding of a view's subject alone, by CLIP."""

    weights: ClipWeights
    _clip: ClipModel | None = field(default=None, init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = DinoScorer.reads
    whole_sets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.name = slugify(f"masked-clip-{self.weights.title}")
        self.revision = self.weights.revision
        self.parameters = {"model": self.weights.title}

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns of a row; the embedding's length depends on the model."""
        return make_columns(self.weights.width)

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""
        self._clip = ClipModel(self.weights)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        assert self._clip is not None
        return embed_subjects(views, self._clip.mean, self._encode)

    def _encode(self, crops: list[Image.Image]) -> npt.NDArray[np.float32]:
        """Return unit embeddings (N, D) of N crops."""
        assert self._clip is not None
        return np.asarray(self._clip.encode_pictures([np.asarray(crop) for crop in crops]).cpu().numpy())


def find_masked_dino_scorer(spec: str) -> MaskedDinoScorer:
    """Return the stage of `masked-dino:SPEC`, a transformers model such as facebook/dinov2-large."""
    scorer = find_dino_scorer(spec)
    return MaskedDinoScorer(scorer.weights, scorer.width)


def find_masked_clip_scorer(spec: str) -> MaskedClipScorer:
    """Return the stage of `masked-clip:SPEC`, any open_clip model as in `clip:SPEC`."""
    return MaskedClipScorer(find_clip(spec))
