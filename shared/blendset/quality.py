# SPDX-License-Identifier: Apache-2.0
"""What makes a rendered picture usable: its statistics, and the limits that they are held to.

The same measures judge a preview (with a margin) and the finished view, so the preview can be trusted to predict it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.placement.framing import Framing
from blendset.placement.reasons import Reason

LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R BT.601, as in Pillow's mode "L", which BlendFusion's grey values are."""
DARK, CLIPPED = 5, 250


@dataclass(frozen=True)
class Statistics:
    """Grey statistics of a picture on the scale 0..255; shares in 0..1; None where there is no subject in it."""

    mean: float
    variance: float
    dark_fraction: float
    clipped_fraction: float
    subject_mean: float | None
    subject_deviation: float | None
    subject_contrast: float | None


def compute_statistics(
    grey: NDArray[Any], subject: NDArray[np.bool_] | None, noise_variance: float = 0.0
) -> Statistics:
    """Return statistics of a grey image (H, W) in 0..255; `subject` (H, W) masks the subject's pixels."""
    inside = grey[subject] if subject is not None and subject.any() else None
    outside = grey[~subject] if inside is not None and subject is not None and not subject.all() else None
    return Statistics(
        mean=float(grey.mean()),
        variance=max(float(grey.var()) - noise_variance, 0.0),
        dark_fraction=float(np.mean(grey <= DARK)),
        clipped_fraction=float(np.mean(grey >= CLIPPED)),
        subject_mean=None if inside is None else float(inside.mean()),
        subject_deviation=None if inside is None else float(np.sqrt(max(inside.var() - noise_variance, 0.0))),
        subject_contrast=None if inside is None or outside is None else float(abs(inside.mean() - outside.mean())),
    )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a picture must keep to. FINISHED judges a view; PREVIEW asks for a margin.

    Grey values are on the scale 0..255, shares in 0..1. `share` is the least and the most that the subject may cover.
    """

    mean: float
    variance: float
    dark_fraction: float
    clipped_fraction: float
    subject_mean: float
    subject_deviation: float
    share: tuple[float, float]
    visible_fraction: float
    truncation: float


FINISHED = Limits(
    mean=30,
    variance=300,
    dark_fraction=0.3,
    clipped_fraction=1.0,
    subject_mean=20,
    subject_deviation=0,
    share=(0.04, 0.70),
    visible_fraction=0.5,
    truncation=0.15,
)
"""BlendFusion's mean, variance and dark share (arXiv 2604.09022, 1.3), and our framing."""
PREVIEW = Limits(
    mean=38,
    variance=400,
    dark_fraction=0.22,
    clipped_fraction=0.15,
    subject_mean=34,
    subject_deviation=7,
    share=(0.052, 0.64),
    visible_fraction=0.57,
    truncation=0.11,
)


def find_light_faults(statistics: Statistics, limits: Limits) -> list[Reason]:
    """Return the reason for each limit of the light that is broken."""
    faults: list[Reason] = []
    if statistics.mean < limits.mean or statistics.dark_fraction > limits.dark_fraction:
        faults.append(Reason.DARK)
    if statistics.clipped_fraction > limits.clipped_fraction:
        faults.append(Reason.BLOWN_OUT)
    if statistics.subject_mean is not None and statistics.subject_mean < limits.subject_mean:
        faults.append(Reason.DARK_SUBJECT)
    if statistics.variance < limits.variance:
        faults.append(Reason.FLAT)
    if statistics.subject_deviation is not None and statistics.subject_deviation < limits.subject_deviation:
        faults.append(Reason.FLAT_SUBJECT)
    return faults


def find_framing_faults(framing: Framing | None, limits: Limits) -> list[Reason]:
    """Return the reason for each limit of the framing that is broken; none for views of the scene."""
    if framing is None:
        return []
    faults: list[Reason] = []
    if framing.visible_fraction < limits.visible_fraction:
        faults.append(Reason.HIDDEN_IN_PICTURE)
    if framing.subject_share < limits.share[0]:
        faults.append(Reason.TOO_LITTLE_IN_PICTURE)
    if framing.subject_share > limits.share[1]:
        faults.append(Reason.TOO_MUCH_IN_PICTURE)
    if framing.truncation > limits.truncation:
        faults.append(Reason.TRUNCATED_IN_PICTURE)
    return faults


def collect_metrics(*parts: Statistics | Framing | None) -> dict[str, float]:
    """Return the values of statistics and framing by name, without those that are None."""
    return {
        name: round(float(value), 6)
        for part in parts
        if part is not None
        for name, value in asdict(part).items()
        if value is not None
    }


def strip_png_text(png: bytes) -> bytes:
    """Return a PNG file without its text chunks: Cycles writes render times there, which differ from run to run."""
    chunks, at = [png[:8]], 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"):
            chunks.append(png[at:end])
        at = end
    return b"".join(chunks)
