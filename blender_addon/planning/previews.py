# SPDX-License-Identifier: GPL-3.0-or-later
"""The last two gates: a small render of each promising view decides what rays cannot see, and how to expose it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from blendset.cameras import Camera, compute_pixel_centres
from blendset.config import Config
from blendset.exposure import Exposure, choose_shared_exposure, list_exposures, try_exposures
from blendset.exr import Passes, write_passes
from blendset.placement.camera_plan import make_view_id
from blendset.placement.candidates import Candidate
from blendset.placement.framing import measure_framing
from blendset.placement.gates import Verdict
from blendset.placement.planner import PlanningResult
from blendset.placement.reasons import Reason
from blendset.placement.selection import Unit
from blendset.placement.subjects import Subject
from blendset.quality import PREVIEW, collect_metrics, find_framing_faults
from blendset.randomness import derive_render_seed

from ..render.session import RenderSession
from ..scene.snapshot import OpenScene

FEW_SHOTS = 4
"""At least so many views tell whether a scene is well lit, where there are as many."""
MAGENTA_SHARE = 0.01
"""Most of a picture that things whose texture is missing may take."""
CERTAIN_SHARE, GRID = 0.03, 24
"""Share of GRID x GRID rays at such things from which no picture is needed to know it."""

Shot = tuple[str, Camera, Subject | None]
"""What a preview needs of a view: its id, its camera, and what it is about."""


@dataclass(frozen=True)
class Preview:
    """What the preview of one view found: the exposure (in stops) that suits it, and its faults even then.
    `exposures` is what each exposure makes of it, if light is all that could be wrong.
    """

    exposure_ev: float
    faults: tuple[Reason, ...]
    metrics: dict[str, float]
    exposures: tuple[Exposure, ...] = ()

    def with_exposure(self, exposure: Exposure) -> Preview:
        """The same preview, with one of its exposures."""
        metrics = self.metrics | collect_metrics(exposure.statistics)
        return replace(self, exposure_ev=float(exposure.ev), faults=exposure.faults, metrics=metrics)


class Previewer:
    """Previews views through a session and remembers each preview until the light changes."""

    def __init__(self, session: RenderSession, opened: OpenScene, scene: str, config: Config) -> None:
        self._session, self._geometry, self._scene, self._config = session, opened.geometry, scene, config
        self._magenta = [thing.id for thing in opened.snapshot.objects if thing.missing_files]
        self._owner = opened.snapshot.owner
        self._exposures = list_exposures(config.render.exposure_ev)
        self._known: dict[str, Preview] = {}
        self._pixel_bytes: list[float] = []
        self.rendered, self.seconds = 0, 0.0

    @property
    def pixel_bytes(self) -> float:
        """What a pixel of a good view takes in a dataset's files; 0 before the first."""
        return float(np.mean(self._pixel_bytes)) if self._pixel_bytes else 0.0

    def clear(self) -> None:
        """Forget every preview: the light has changed."""
        self._known.clear()

    def preview(self, name: str, camera: Camera, subject: Subject | None) -> Preview:
        """Render the view of that id small, once, and judge it; one that shows missing textures for certain is not
        rendered."""
        if name not in self._known and self._lacks_textures(camera):
            self._known[name] = Preview(0.0, (Reason.TEXTURE_MISSING,), {})
        if name not in self._known:
            started = time.perf_counter()
            self._known[name] = self._render_preview(name, camera.resize(self._config.preview.resolution), subject)
            self.rendered += 1
            self.seconds += time.perf_counter() - started
        return self._known[name]

    def preview_candidate(self, verdict: Verdict) -> Preview:
        """Preview a candidate."""
        candidate = verdict.candidate
        return self.preview(
            make_view_id(self._scene, candidate, self._config.seed), candidate.camera, candidate.subject
        )

    def _lacks_textures(self, camera: Camera) -> bool:
        """Whether rays say that things without their texture are in much of the picture."""
        if not self._magenta:
            return False
        rays = camera.make_rays(compute_pixel_centres(camera.width, camera.height, GRID, GRID))
        _, triangles = self._geometry.cast(np.tile(camera.position, (len(rays), 1)), rays)
        owners = self._owner[triangles[triangles >= 0]]
        return bool(np.isin(owners, self._magenta).sum() > CERTAIN_SHARE * len(rays))

    def _render_preview(self, name: str, camera: Camera, subject: Subject | None) -> Preview:
        samples, seed = self._config.preview.samples, derive_render_seed(name, self._config.seed)
        first = self._session.render(camera, samples, seed, denoise=True)
        if np.isin(first.ids, self._magenta).mean() > MAGENTA_SHARE:
            return Preview(0.0, (Reason.TEXTURE_MISSING,), {})
        subject_mask = np.isin(first.ids, list(subject.objects)) if subject else None
        framing = (
            measure_framing(camera, subject, self._geometry.restrict_to(subject.objects), first.ids)
            if subject
            else None
        )
        if faults := find_framing_faults(framing, PREVIEW):
            return Preview(0.0, tuple(faults), collect_metrics(framing))
        halves = [first.colour]
        if not self._session.can_denoise:
            halves.append(self._session.render(camera, samples, seed ^ 1, denoise=False).colour)
        exposures = try_exposures(halves, subject_mask, self._session.transform, self._exposures)
        [exposure] = choose_shared_exposure([exposures])
        if not exposure.faults:
            files = self._session.encode_png(exposure.ev)[0], write_passes(Passes(first.depth, first.normal, first.ids))
            self._pixel_bytes.append(sum(map(len, files)) / first.ids.size)
        return Preview(0.0, (), collect_metrics(framing), exposures).with_exposure(exposure)


def share_exposure(previews: Sequence[Preview]) -> list[Preview]:
    """Previews of the views of a set, none of which has a fault of its own, with one exposure for all."""
    exposures = choose_shared_exposure([preview.exposures for preview in previews])
    return [preview.with_exposure(exposure) for preview, exposure in zip(previews, exposures, strict=True)]


def choose_best_shots(scene: str, result: PlanningResult, seed: int) -> list[Shot]:
    """The most promising view of each subject in sight, and of few subjects more, from best to worst."""
    count = max(1, -(-FEW_SHOTS // max(len(result.subject_units), 1)))
    best: list[Candidate] = []
    for units in result.subject_units:
        ranked = sorted(units, key=lambda unit: -unit[0].score)
        best += [unit[0].candidate for unit in ranked[:: max(1, len(ranked) // count)][:count]]
    return [(make_view_id(scene, candidate, seed), candidate.camera, candidate.subject) for candidate in best]


def select_by_preview(
    previewer: Previewer, result: PlanningResult, config: Config, report: Callable[[int, int], None]
) -> list[tuple[Unit, list[float]]]:
    """Preview units in the order of their promise until the budget is met; accepted ones with their exposures.

    A rejected view gets its reason written into its verdict, for the funnel. `report(done, total)` is called
    after every unit, in views.
    """
    selection = result.make_selector(config)
    chosen: list[tuple[Unit, list[float]]] = []
    while (unit := selection.next()) is not None:
        previews = _preview_unit(previewer, unit)
        good = len(previews) == len(unit) and not any(preview.faults for preview in previews)
        selection.report(good)
        if good:
            chosen.append((unit, [preview.exposure_ev for preview in previews]))
        report(selection.accepted_views, config.cameras.views)
    return chosen


def _preview_unit(previewer: Previewer, unit: Unit) -> Sequence[Preview]:
    """Previews of a unit's views, up to the first that fails; those of a set with the exposure that is best for all."""
    previews: list[Preview] = []
    for verdict in unit:
        previews.append(previewer.preview_candidate(verdict))
        if previews[-1].faults:
            break
    else:
        previews = share_exposure(previews)
    for verdict, preview in zip(unit, previews, strict=False):
        verdict.metrics |= preview.metrics
        if preview.faults:
            verdict.reason = preview.faults[0]
    return previews
