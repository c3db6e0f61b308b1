# SPDX-License-Identifier: Apache-2.0
"""Running a model: the device, the number format, and loading through transformers' auto classes."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModel, AutoProcessor
from transformers.utils import logging

from blendset_trainer.models.weights import Weights, explain_load_errors

logging.disable_progress_bar()  # a command has a bar of its own


def best_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def language_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 for language models on an accelerator; figures that are compared (cosines) stay float32 everywhere."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def load_model(
    weights: Weights,
    kind: str,
    model: Any = AutoModel,
    processor: Any = AutoProcessor,
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any]:
    """A transformers model, ready on the best device, and its processor; both by auto classes, no remote code.

    Raises BlendsetError where the weights are not of that `kind` (said in words).
    """
    options = {"revision": weights.commit, "trust_remote_code": False}
    with explain_load_errors(weights.source, kind):
        loaded = model.from_pretrained(weights.source, dtype=dtype, **options)
        return loaded.to(best_device()).eval(), processor.from_pretrained(weights.source, **options)


def normalize_rows(features: torch.Tensor) -> torch.Tensor:
    """Rows (N, D) scaled to length 1, so that products of rows are cosines."""
    return torch.nn.functional.normalize(features.float(), dim=-1)
