# SPDX-License-Identifier: Apache-2.0
"""How good a view promises to be, from the figures that its gates left behind.

Cheap stand-ins for the measures surveyed by Bonaventura et al. (Entropy 2018, 20(5):370): projected area, visible
faces, variety, contrast.
"""

from __future__ import annotations

import numpy as np

from blendset.placement.gates import Verdict
from blendset.placement.scene import Snapshot
from blendset.placement.subjects import Subject


def _ramp(value: float, full: float) -> float:
    return min(max(value / full, 0.0), 1.0)


def _bell(value: float, middle: float, width: float) -> float:
    return float(np.exp(-(((value - middle) / width) ** 2)))


def score_view(verdict: Verdict) -> float:
    """A score in 0..1; only views of one kind (of a subject, of the scene) compare."""
    metrics = verdict.metrics
    terms = [
        (1.5, _ramp(metrics["contrast"], 0.2)),
        (0.5, _ramp(metrics["variety"], 1.6)),
        (0.7, 1 - metrics["empty"]),
    ]
    if verdict.candidate.subject is None:
        terms += [
            (1.0, _ramp(metrics["depth_spread"], 0.6)),
            (1.0, 1 - metrics["one_surface"]),
            (1.0, _ramp(metrics["objects"], 15)),
        ]
    else:
        terms += [
            (2.0, metrics["visible_fraction"]),
            (1.0, _bell(metrics["subject_share"], 0.28, 0.2)),
            (1.0, _ramp(metrics["subject_faces"], 3.0)),
            (1.5, _ramp(metrics["subject_contrast"], 0.25)),
            (1.0, _bell(verdict.candidate.angles[1], 18.0, 22.0)),
            (0.8, 1 - metrics["near_occluder"]),
        ]
    return float(sum(weight * value for weight, value in terms) / sum(weight for weight, _ in terms))


def score_subject(scene: Snapshot, subject: Subject, best_view: float) -> float:
    """How much a person would want a picture of it: what can be seen of it, its size in the scene, its shape, its
    name."""
    size = np.log2(max(subject.size, 1e-9) / max(scene.diagonal, 1e-9))
    box = np.sort(subject.bounds[1] - subject.bounds[0])
    bulk = _ramp(float(box[0] / max(box[2], 1e-9)), 0.25)
    detail = _ramp(float(np.log10(max(len(scene.find_triangles(subject.objects)), 1))), 3.0)
    prior = 0.3 * _bell(float(size), -2.5, 1.6) + 0.15 * bulk + 0.2 * detail + (0.15 if subject.label else 0.0)
    return best_view + prior - 0.04 * min(subject.copy, 8)
