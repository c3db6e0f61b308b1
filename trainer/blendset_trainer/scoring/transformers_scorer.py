# SPDX-License-Identifier: Apache-2.0
"""The base of scorers by a transformers model: the weights, which give its name, and the loaded model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from blendset.naming import slugify
from blendset_trainer.models.weights import Weights


@dataclass
class TransformersScorer:
    """A scorer by a transformers model, a `Stage`; `scheme` stands before the model's name in its own name.

    `setup` of a subclass sets `_loaded` to the model and its processor.
    """

    weights: Weights
    _loaded: tuple[Any, Any] | None = field(default=None, init=False, repr=False, compare=False)

    scheme: ClassVar[str]
    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"

    def __post_init__(self) -> None:
        self.name = slugify(f"{self.scheme}-{Path(self.weights.source).name}")
        self.revision = self.weights.revision
