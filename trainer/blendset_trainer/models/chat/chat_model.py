# SPDX-License-Identifier: Apache-2.0
"""What is asked of a model that sees and speaks, and who can answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from blendset.errors import BlendsetError


@dataclass(frozen=True, eq=False)
class Question:
    """Pictures, each uint8 (height, width, 3), and what is asked about them together."""

    pictures: Sequence[npt.NDArray[np.uint8]]
    text: str


class Answerer(Protocol):
    """Picklable; what is heavy arrives in `setup`."""

    @property
    def title(self) -> str:
        """What it is called in the names of stages."""

    @property
    def revision(self) -> str:
        """Of its weights, as far as that can be known."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What else its answers depend on."""

    def setup(self) -> None:
        """Once per process."""

    def replies(self, questions: Sequence[Question], max_tokens: int) -> list[str | BlendsetError]:
        """An answer to each question, or why there is none."""
