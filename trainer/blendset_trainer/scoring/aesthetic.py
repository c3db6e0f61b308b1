# SPDX-License-Identifier: Apache-2.0
"""`aesthetic:HEAD[@CLIP]`: LAION's aesthetic predictors, heads over the picture embedding of CLIP ViT-L/14.

Thresholds for photographs are too high for renders: path-traced pictures score about 4.5, photographs 5 to 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import torch
from safetensors.torch import load_file

from blendset.errors import BlendsetError
from blendset.files import sha256_file
from blendset.naming import slugify
from blendset_trainer.models.clip import ClipModel, ClipWeights, find_clip
from blendset_trainer.models.loading import choose_device
from blendset_trainer.models.weights import explain_load_errors, find_file
from blendset_trainer.stages.stage import Column, View

DEFAULT_CLIP = "ViT-L-14/openai"


def load_head(path: Path) -> torch.nn.Sequential:
    """Return the head in a state dict (safetensors or torch): its linear layers in the order of their numbers.

    Both of LAION's heads are only that: the linear `sa_0_4_vit_l_14` (768-1), and the improved predictor
    (768-1024-128-64-16-1), whose dropouts do nothing at inference. Raises BlendsetError for a file of another kind.
    """
    with explain_load_errors(str(path), "a head of linear layers"):
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        head = build_head(state)
    if head is None:
        raise BlendsetError(f"{path} is no head of linear layers that ends in one figure; give an aesthetic head.")
    return head.to(choose_device()).eval()


def build_head(state: Mapping[str, torch.Tensor]) -> torch.nn.Sequential | None:
    """Return the linear layers in a state dict of weights (out, in) and biases (out,), in the order of their numbers.

    None where they do not fit each other, or do not end in one figure.
    """
    names = sorted((name for name in state if name.endswith("weight")), key=_parse_layer_number)
    layers = [torch.nn.Linear(state[name].shape[1], state[name].shape[0]) for name in names]
    for name, layer in zip(names, layers, strict=True):
        layer.load_state_dict({"weight": state[name], "bias": state[name.removesuffix("weight") + "bias"]})
    widths = [layer.in_features for layer in layers] + [1]
    fits = all(layer.out_features == width for layer, width in zip(layers, widths[1:], strict=True))
    return torch.nn.Sequential(*layers) if layers and fits else None


def _parse_layer_number(name: str) -> int:
    return int((re.findall(r"\d+", name) or ["0"])[-1])


@dataclass
class AestheticScorer:
    """Predicts the rating that LAION's raters would give a picture."""

    head: Path
    clip: ClipWeights
    _clip: ClipModel | None = field(default=None, init=False, repr=False, compare=False)
    _head: torch.nn.Sequential | None = field(default=None, init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb"})
    whole_sets: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, Column]] = {"score": Column(pa.float32(), "predicted rating, about 1 to 10")}

    def __post_init__(self) -> None:
        self.name = slugify(f"aesthetic-{self.head.stem}")
        self.parameters = {"clip": self.clip.title}
        self.revision = f"{sha256_file(self.head)} over {self.clip.revision}"

    def setup(self) -> None:
        """Load the head and its CLIP model; BlendsetError where they do not fit each other."""
        self._head, self._clip = load_head(self.head), ClipModel(self.clip)
        if self._head[0].in_features != self.clip.width:
            raise BlendsetError(
                f"{self.head} reads {self._head[0].in_features} numbers and {self.clip.title} gives "
                f"{self.clip.width}; name the CLIP model that it was trained on (aesthetic:HEAD@MODEL)."
            )

    @torch.inference_mode()
    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        assert self._clip is not None and self._head is not None
        scores = self._head(self._clip.encode_pictures([view.rgb for view in views]))
        return [{"score": score} for score in scores[:, 0].tolist()]


def find_aesthetic_scorer(spec: str) -> AestheticScorer:
    """Return the stage of `aesthetic:SPEC`: a head's file (or OWNER/REPOSITORY/FILE), and after @ its CLIP model."""
    head, _, clip = spec.partition("@")
    return AestheticScorer(find_file(head), find_clip(clip or DEFAULT_CLIP))
