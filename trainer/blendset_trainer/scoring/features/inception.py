# SPDX-License-Identifier: Apache-2.0
"""`inception:WEIGHTS`: the features in which FID and KID are published, by torch-fidelity's Inception v3.

They are the 2048 figures of its last pooling, not normalized. Resizing is TensorFlow's, as in the first FID (Heusel et
al., arXiv 1706.08500). Pictures are read as they are: FID differs between PNG and JPEG of one picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch

from blendset.errors import BlendsetError
from blendset.files import sha256_file
from blendset_trainer.models.loading import choose_device
from blendset_trainer.models.weights import explain_load_errors, find_file
from blendset_trainer.stages.stage import Column, View

LAYER, WIDTH = "2048", 2048
KIND = "Inception v3 as torch-fidelity has it (weights-inception-2015-12-05-6726825d.pth)"


@dataclass
class InceptionScorer:
    """Embeds pictures by Inception v3."""

    weights: Path
    _model: Any = field(default=None, init=False, repr=False, compare=False)

    name: ClassVar[str] = "inception"
    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb"})
    whole_sets: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Any]] = {"layer": LAYER}
    columns: ClassVar[Mapping[str, Column]] = {"embedding": Column(pa.list_(pa.float32(), WIDTH), "features")}

    def __post_init__(self) -> None:
        self.revision = sha256_file(self.weights)

    def setup(self) -> None:
        """Load the model; BlendsetError where torch-fidelity is missing, or the file holds other weights."""
        self._model = load_inception(self.weights)

    @torch.inference_mode()
    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        pictures = [torch.from_numpy(view.rgb.transpose(2, 0, 1).copy()) for view in views]
        is_one_size = len({picture.shape for picture in pictures}) == 1
        batches = [torch.stack(pictures)] if is_one_size else [picture[None] for picture in pictures]
        found = [self._model(batch.to(choose_device()))[0].cpu().numpy() for batch in batches]
        return [{"embedding": embedding} for embedding in np.concatenate(found)]


def load_inception(path: Path) -> torch.nn.Module:
    """Return torch-fidelity's Inception v3 with the weights of a file.

    Raises BlendsetError where the package is missing, and for a file of another kind.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise BlendsetError("Inception needs torch-fidelity; run 'pip install blendset-trainer[fid]'.") from error
    with explain_load_errors(str(path), KIND):
        torch.load(path, "cpu", weights_only=True)  # the package loads it again, and would run code in it
        model: torch.nn.Module = FeatureExtractorInceptionV3(
            "inception", [LAYER], feature_extractor_weights_path=str(path)
        )
    return model.to(choose_device())


def find_inception_scorer(spec: str) -> InceptionScorer:
    """Return the stage of `inception:SPEC`: the file of its weights, or OWNER/REPOSITORY/FILE."""
    return InceptionScorer(find_file(spec))
