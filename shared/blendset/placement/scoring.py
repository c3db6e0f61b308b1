# SPDX-License-Identifier: Apache-2.0
"""How good a view promises to be, from the metrics that its gates left behind.

Cheap stand-ins for the measures surveyed by Bonaventura et al. (Entropy 2018, 20(5):370): projected area, visible
faces, variety, contrast.
"""

from __future__ import annotations

import numpy as np

from blendset.placement.gates import Verdict
from blendset.placement.scene import Snapshot
from blendset.placement.subjects import Subject

ELEVATION_DEG, ELEVATION_WIDTH_DEG = 18.0, 22.0
"""From where people like to look at a thing, and how fast a view loses by going elsewhere."""
SHARE, SHARE_WIDTH = 0.28, 0.2
"""The share of the picture that a subject is best to cover, and how fast a view loses by another one."""
FULL_CONTRAST, FULL_SUBJECT_CONTRAST, FULL_VARIETY, FULL_DEPTH_SPREAD = 0.2, 0.25, 1.6, 0.6
FULL_OBJECTS, FULL_FACES = 15, 3.0
"""Measures of a view from which more of them adds nothing."""
SIZE, SIZE_WIDTH = -2.5, 1.6
"""The size of a subject that people like best, in powers of two of the scene's, and how fast others lose."""
FULL_BULK, FULL_DETAIL = 0.25, 3.0
"""Ratio of its shortest to its longest side, and power of ten of its triangles, from which more adds nothing."""
COPY_PENALTY, MOST_COPIES = 0.04, 8
"""What each subject of the same shape before it takes away, up to so many."""


def _ramp(value: float, full: float) -> float:
    return min(max(value / full, 0.0), 1.0)


def _bell(value: float, middle: float, width: float) -> float:
    return float(np.exp(-(((value - middle) / width) ** 2)))


def score_view(verdict: Verdict) -> float:
    """A score in 0..1; only views of one kind (of a subject, of the scene) compare."""
    metrics = verdict.metrics
    terms = [
        (1.5, _ramp(metrics["contrast"], FULL_CONTRAST)),
        (0.5, _ramp(metrics["variety"], FULL_VARIETY)),
        (0.7, 1 - metrics["empty"]),
    ]
    if verdict.candidate.subject is None:
        terms += [
            (1.0, _ramp(metrics["depth_spread"], FULL_DEPTH_SPREAD)),
            (1.0, 1 - metrics["one_surface"]),
            (1.0, _ramp(metrics["objects"], FULL_OBJECTS)),
        ]
    else:
        terms += [
            (2.0, metrics["visible_fraction"]),
            (1.0, _bell(metrics["subject_share"], SHARE, SHARE_WIDTH)),
            (1.0, _ramp(metrics["subject_faces"], FULL_FACES)),
            (1.5, _ramp(metrics["subject_contrast"], FULL_SUBJECT_CONTRAST)),
            (1.0, _bell(verdict.candidate.angles[1], ELEVATION_DEG, ELEVATION_WIDTH_DEG)),
            (0.8, 1 - metrics["near_occluder"]),
            (0.8, _ramp(metrics["depth_spread"], FULL_DEPTH_SPREAD)),
        ]
    return float(sum(weight * value for weight, value in terms) / sum(weight for weight, _ in terms))


def score_subject(scene: Snapshot, subject: Subject, best_view: float) -> float:
    """How much a person would want a picture of it: what can be seen of it, its size in the scene, its shape, its
    name."""
    size = np.log2(max(subject.size, 1e-9) / max(scene.diagonal, 1e-9))
    box = np.sort(subject.bounds[1] - subject.bounds[0])
    bulk = _ramp(float(box[0] / max(box[2], 1e-9)), FULL_BULK)
    detail = _ramp(float(np.log10(max(len(scene.find_triangles(subject.objects)), 1))), FULL_DETAIL)
    prior = 0.3 * _bell(float(size), SIZE, SIZE_WIDTH) + 0.15 * bulk + 0.2 * detail + (0.15 if subject.label else 0.0)
    return best_view + prior - COPY_PENALTY * min(subject.copy, MOST_COPIES)
