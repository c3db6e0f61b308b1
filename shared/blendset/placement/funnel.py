# SPDX-License-Identifier: Apache-2.0
"""The funnel on disk: what became of every candidate, a JSON line each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from blendset.files import atomic_write, explain_read_errors
from blendset.placement.camera_plan import camera_to_dict, make_view_id
from blendset.placement.gates import Verdict
from blendset.records import decode_json

OLD_METRICS = {"hidden": "visible_fraction"}
"""Names that metrics had under the old key `figures`, and those that they have now."""


def write_funnel(path: Path, scene: str, verdicts: tuple[Verdict, ...], seed: int) -> None:
    """Write one JSON line per candidate: camera, verdict, reason and metrics."""
    lines = []
    for verdict in verdicts:
        candidate = verdict.candidate
        line = {
            "view_id": make_view_id(scene, candidate, seed),
            "subject": candidate.subject.id if candidate.subject else "",
            "accepted": verdict.accepted,
            "reason": verdict.reason,
            "score": round(verdict.score, 6),
            "metrics": {name: round(value, 6) for name, value in sorted(verdict.metrics.items()) if np.isfinite(value)},
            "camera": camera_to_dict(candidate.camera),
        }
        lines.append(json.dumps(line, ensure_ascii=False))
    atomic_write(path, "".join(f"{line}\n" for line in lines).encode())


def get_metrics(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics in a line of a funnel file, by name; of an older line too, which calls them `figures`."""
    if "figures" not in line:
        return dict(line["metrics"])
    return {OLD_METRICS.get(name, name): value for name, value in line["figures"].items()}


def read_funnel(path: Path) -> Counter[str]:
    """Return how many candidates a funnel file counts by reason, as `PlanningResult.count_reasons` does.

    Raises BlendsetError for a file that cannot be read.
    """
    with explain_read_errors(path, "delete it, for it is needed for counts only"):
        lines = path.read_bytes().splitlines()
        counts = Counter(_read_reason(decode_json(line)) for line in lines)
    return counts + Counter(candidates=len(lines))


def _read_reason(line: Mapping[str, Any]) -> str:
    if not isinstance(line["reason"], str):
        raise TypeError("a reason is no text")
    return line["reason"] or "accepted"
