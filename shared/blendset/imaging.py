# SPDX-License-Identifier: Apache-2.0
"""What makes a rendered picture usable: its statistics, the limits they are held to, and the exposure that meets
them best.

The same measures judge a preview (with a margin) and the finished view, so the preview can be trusted to predict it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array, Camera
from blendset.placement.scene import Geometry
from blendset.placement.subjects import Subject

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


def measure(grey: NDArray[Any], subject: NDArray[np.bool_] | None, noise_variance: float = 0.0) -> Statistics:
    """Statistics of a grey image (H, W) in 0..255; `subject` (H, W) masks the subject's pixels."""
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


@dataclass(frozen=True)
class Framing:
    """How a subject stands in a picture: the share it covers, the part in sight, the part outside the frame."""

    subject_share: float
    visible_fraction: float
    truncation: float


@dataclass(frozen=True)
class Limits:
    """What a picture must keep to. `finished` is what a view is judged by; `preview` asks for a margin."""

    mean: float
    variance: float
    dark_fraction: float
    clipped_fraction: float
    subject_mean: float
    subject_deviation: float
    share: tuple[float, float]
    visible_fraction: float
    truncation: float


FINISHED = Limits(30, 300, 0.3, 1.0, 20, 0, (0.04, 0.70), 0.5, 0.15)
"""BlendFusion's mean, variance and dark share (arXiv 2604.09022, 1.3), and our framing."""
PREVIEW = Limits(38, 400, 0.22, 0.15, 34, 7, (0.052, 0.64), 0.57, 0.11)


def light_faults(statistics: Statistics, limits: Limits) -> list[str]:
    """Reason codes of everything about the light that breaks a limit."""
    faults = []
    if statistics.mean < limits.mean or statistics.dark_fraction > limits.dark_fraction:
        faults.append("dark")
    if statistics.clipped_fraction > limits.clipped_fraction:
        faults.append("blown out")
    if statistics.subject_mean is not None and statistics.subject_mean < limits.subject_mean:
        faults.append("dark subject")
    if statistics.variance < limits.variance:
        faults.append("flat")
    if statistics.subject_deviation is not None and statistics.subject_deviation < limits.subject_deviation:
        faults.append("flat subject")
    return faults


def framing_faults(framing: Framing | None, limits: Limits) -> list[str]:
    """Reason codes of everything about the framing that breaks a limit; nothing for views of the scene."""
    if framing is None:
        return []
    faults = []
    if framing.visible_fraction < limits.visible_fraction:
        faults.append("hidden in picture")
    if framing.subject_share < limits.share[0]:
        faults.append("too little in picture")
    if framing.subject_share > limits.share[1]:
        faults.append("too much in picture")
    if framing.truncation > limits.truncation:
        faults.append("truncated in picture")
    return faults


def as_figures(*parts: Statistics | Framing | None) -> dict[str, float]:
    """The figures of statistics and framing that there are, by name."""
    return {
        name: round(float(value), 6)
        for part in parts
        if part is not None
        for name, value in asdict(part).items()
        if value is not None
    }


def without_text(png: bytes) -> bytes:
    """A PNG file without its text chunks: Cycles writes render times there, which differ from run to run."""
    kept, at = [png[:8]], 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"):
            kept.append(png[at:end])
        at = end
    return b"".join(kept)


# ---- framing as the index pass shows it ------------------------------------------------------------------------------

SAMPLES_ACROSS = 72


def framing_in(camera: Camera, subject: Subject, alone: Geometry, ids: NDArray[Any]) -> Framing:
    """Compare an id image (H, W) with the subject's whole extent, which rays at the subject `alone` find.

    Both are sampled at the same pixel centres, also beyond the frame's edge, so the shares are of the very same points.
    """
    mine = np.isin(ids, list(subject.objects))
    pixels, depth = camera.project(subject.hull)
    size = np.array([camera.width, camera.height])
    if (depth <= 0).any():  # it runs past the camera: look as far around as the samples can
        pixels = np.concatenate([pixels[depth > 0], [-size, 2 * size]])
    low = np.floor(np.clip(pixels.min(axis=0), -size, 2 * size)).astype(int)
    high = np.ceil(np.clip(pixels.max(axis=0), -size, 2 * size)).astype(int)
    stride = max(1, int((high - low).max()) // SAMPLES_ACROSS)
    columns, rows = (np.arange(low[k], high[k] + 1, stride) for k in range(2))
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    rays = camera.rays(grid + 0.5)
    _, hit = alone.cast(np.broadcast_to(camera.position, rays.shape), rays)
    extent = grid[hit >= 0]
    if not len(extent):
        return Framing(float(mine.mean()), 0.0, 1.0)
    inside = ((extent >= 0) & (extent < size)).all(axis=1)
    seen = mine[extent[inside, 1], extent[inside, 0]]
    return Framing(
        subject_share=float(mine.mean()),
        visible_fraction=float(seen.mean()) if len(seen) else 0.0,
        truncation=float(1 - inside.mean()),
    )


THIN = 2
"""Every second pixel each way is enough to choose an exposure by."""

# ---- exposure --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ViewTransform:
    """A scene's view transform as a table, so that any exposure can be tried without rendering or Blender.

    `table` (N, N, N, 3) holds display values 0..1 for scene-linear values 2**low .. 2**high, spaced evenly in stops.
    """

    table: NDArray[np.float32]
    low: float
    high: float

    def __call__(self, linear: NDArray[Any], exposure_ev: float = 0.0) -> Array:
        """Display values 0..255 (..., 3) of scene-linear values (..., 3), by trilinear interpolation."""
        steps = len(self.table) - 1
        stops = np.where(linear > 0, np.log2(np.maximum(linear, 1e-12)) + exposure_ev, self.low)
        place = np.clip((stops - self.low) / (self.high - self.low), 0, 1) * steps
        cell = np.minimum(place.astype(np.int64), steps - 1)
        above = place - cell
        below = 1 - above
        result = np.zeros(linear.shape)
        for r in (0, 1):
            for g in (0, 1):
                for b in (0, 1):
                    part = (
                        (above if r else below)[..., 0]
                        * (above if g else below)[..., 1]
                        * (above if b else below)[..., 2]
                    )
                    result += part[..., None] * self.table[cell[..., 0] + r, cell[..., 1] + g, cell[..., 2] + b]
        return np.asarray(255 * result)


@dataclass(frozen=True)
class Exposure:
    """The stops chosen, the statistics that they give, and what is still wrong."""

    ev: float
    statistics: Statistics
    faults: tuple[str, ...]


def tried_exposures(
    images: Sequence[NDArray[Any]],
    subject: NDArray[np.bool_] | None,
    transform: ViewTransform,
    exposures: Iterable[float],
) -> tuple[Exposure, ...]:
    """What each exposure makes of a preview, all tried on the same pixels.

    Takes one denoised linear image (H, W, 3), or two noisy ones of the same view with different seeds: their difference
    tells how much of the variance is noise.
    """
    thin = [image[::THIN, ::THIN] for image in images]
    subject = None if subject is None else subject[::THIN, ::THIN]
    trials = []
    for ev in exposures:
        greys = [transform(image, ev) @ LUMA for image in thin]
        noise = float(np.mean((greys[0] - greys[-1]) ** 2) / 4)
        statistics = measure(np.mean(greys, axis=0), subject, noise)
        trials.append(Exposure(ev, statistics, tuple(light_faults(statistics, PREVIEW))))
    return tuple(trials)


def shared_exposure(views: Sequence[Sequence[Exposure]]) -> tuple[Exposure, ...]:
    """The exposure under which views meet the limits best together: of what the same exposures made of each, one each.

    Pictures of a view set are to be compared, so that a set has one exposure, as one camera would.
    """
    trials = list(zip(*views, strict=True))
    if not trials:
        raise ValueError("no exposure to try")
    return max(trials, key=lambda each: (-sum(len(trial.faults) for trial in each), sum(map(_quality, each))))


def _quality(trial: Exposure) -> float:
    """Higher is better: a well-lit subject in a well-lit frame, near the scene's own exposure."""
    statistics = trial.statistics
    subject = statistics.mean if statistics.subject_mean is None else statistics.subject_mean
    return float(
        -(((subject - 120) / 70) ** 2)
        - 0.5 * ((statistics.mean - 110) / 70) ** 2
        - 4 * statistics.clipped_fraction
        - 2 * statistics.dark_fraction
        + 0.3 * np.log2(max(statistics.variance, 1.0) / PREVIEW.variance)
        - 0.04 * abs(trial.ev)
    )


def stops(limit: float, step: float = 0.5) -> Array:
    """Exposures to try, from -limit to +limit."""
    count = int(limit / step)
    return np.linspace(-count * step, count * step, 2 * count + 1)
