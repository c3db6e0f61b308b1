# SPDX-License-Identifier: Apache-2.0
"""CLIP-R: whether a picture finds its own prompt among all prompts of its set, by cosine (Jain et al., arXiv
2112.01455). It falls with the number of prompts, so sets are compared over the same ones.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from blendset.dataset import CACHE, CAPTION
from blendset.files import atomic_write, sha256_bytes
from blendset.records import encode_json
from blendset_trainer.evaluation.measurement import Measurement
from blendset_trainer.evaluation.metrics import RETRIEVAL, Metric
from blendset_trainer.evaluation.statistics.kernels import Features
from blendset_trainer.stages.stage import Stage

BATCH, BLOCK = 256, 1024
"""Prompts that are encoded, and pictures that look for theirs, at once."""


@runtime_checkable
class PromptEncoder(Stage, Protocol):
    """A scorer that embeds prompts where it embeds pictures."""

    def encode_captions(self, captions: Sequence[str], batch: int) -> NDArray[np.float32]:
        """Return unit embeddings (N, D) of captions."""


def compute_retrieval(measurement: Measurement, scorer: PromptEncoder) -> tuple[Metric, NDArray[np.float64]] | None:
    """Return the figure and, for each of N pictures (N,), 1 where its own prompt has the greatest cosine, else 0, and
    NaN without a prompt; None where there are fewer than two prompts.
    """
    captions = np.array([caption or "" for caption in measurement.index[CAPTION].to_pylist()])
    prompts, numbers = np.unique(captions, return_inverse=True)
    known = (captions != "") & np.isfinite(measurement.features[scorer.name]).all(axis=1)
    if len(set(captions[known])) < 2:
        return None
    texts = _encode_prompts(measurement, scorer, [str(prompt) for prompt in prompts])
    found = np.full(measurement.count, np.nan)
    rows = np.flatnonzero(known)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        cosines = measurement.features[scorer.name][block] @ texts.T
        cosines[:, prompts == ""] = -np.inf
        found[block] = cosines[np.arange(len(block)), numbers[block]] >= cosines.max(axis=1)
    scale = f"share, 0 to 1, of pictures that find theirs of {len(set(captions[known]))} prompts"
    return Metric(scorer.name, RETRIEVAL, scorer.revision, scale, is_truth=True), found


def _encode_prompts(measurement: Measurement, scorer: PromptEncoder, prompts: list[str]) -> Features:
    """Unit embeddings (P, D) of prompts, kept in the dataset's cache."""
    identity = encode_json([scorer.revision, dict(scorer.parameters), prompts])
    path = measurement.dataset.root / CACHE / "evaluation" / f"prompts-{sha256_bytes(identity)[:16]}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False), np.float64)
    texts = scorer.encode_captions(prompts, BATCH)
    data = io.BytesIO()
    np.save(data, texts, allow_pickle=False)
    atomic_write(path, data.getvalue())
    return np.asarray(texts, np.float64)
