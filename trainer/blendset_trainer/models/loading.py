# SPDX-License-Identifier: Apache-2.0
"""Loading a model: its device, its dtype, and transformers' auto classes."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModel, AutoProcessor
from transformers.utils import logging

from blendset_trainer.models.weights import Weights, explain_load_errors

logging.disable_progress_bar()  # a command has a bar of its own


def choose_device() -> torch.device:
    """Return the accelerator where there is one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def choose_language_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype of a language model: bfloat16 on an accelerator, float32 on the CPU.

    Models whose numbers are compared, as cosines are, run in float32 everywhere.
    """
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def load_model(
    weights: Weights,
    kind: str,
    model: Any = AutoModel,
    processor: Any = AutoProcessor,
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, Any]:
    """Return a transformers model on the best device, in evaluation mode, and its processor.

    `model` and `processor` are auto classes; remote code is not run. Raises BlendsetError where the weights cannot be
    loaded as this `kind`, a phrase such as "a depth model".
    """
    options = {"revision": weights.commit, "trust_remote_code": False}
    with explain_load_errors(weights.source, kind):
        loaded = model.from_pretrained(weights.source, dtype=dtype, **options)
        return loaded.to(choose_device()).eval(), processor.from_pretrained(weights.source, **options)


def normalize_rows(features: torch.Tensor) -> torch.Tensor:
    """Return rows (N, D) scaled to length 1 in float32, so that products of rows are cosines."""
    return torch.nn.functional.normalize(features.float(), dim=-1)
