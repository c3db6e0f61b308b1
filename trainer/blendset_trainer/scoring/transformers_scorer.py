# SPDX-License-Identifier: Apache-2.0
"""What every scorer by a transformers model is: weights, which name it, and the model, which arrives in `setup`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from blendset.naming import slugify
from blendset_trainer.models.weights import Weights


@dataclass
class TransformersScorer:
    """The ground of such scorers; see `stages.Stage`. `scheme` is what stands before the model in their names."""

    weights: Weights
    _loaded: tuple[Any, Any] | None = field(default=None, init=False, repr=False, compare=False)

    scheme: ClassVar[str]
    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"

    def __post_init__(self) -> None:
        self.name = slugify(f"{self.scheme}-{Path(self.weights.source).name}")
        self.revision = self.weights.revision
