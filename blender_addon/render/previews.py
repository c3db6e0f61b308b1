# SPDX-License-Identifier: GPL-3.0-or-later
"""The last two gates: a small render of each promising view decides what rays cannot see, and how to expose it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from blendset.cameras import Camera
from blendset.config import Config
from blendset.exposure import Exposure, shared_exposure, stops, tried_exposures
from blendset.exr import Passes, write_passes
from blendset.placement.camera_plan import PlannedView, view_id
from blendset.placement.framing import framing_in
from blendset.placement.gates import Verdict
from blendset.placement.planner import Planned
from blendset.placement.selection import Unit
from blendset.placement.subjects import Subject
from blendset.quality import PREVIEW, as_figures, framing_faults

from ..scene.snapshot import OpenScene
from .session import RenderSession

LIT_SHARE = 0.75
"""Light is added where a smaller share of the subjects that cameras can see can be exposed."""
PROBES = 24
MAGENTA_SHARE = 0.01
"""Most of a picture that things whose texture is missing may take."""
TOO_DARK = {"dark", "dark subject"}


Shot = tuple[str, Camera, Subject | None]
"""What a preview needs of a view: its id, its camera, and what it is about."""


@dataclass(frozen=True)
class Preview:
    """What the preview of one view said: the exposure it wants and what is wrong with it even then. `tried` is what
    each exposure makes of it, if light is all that could be wrong.
    """

    exposure_ev: float
    faults: tuple[str, ...]
    figures: dict[str, float]
    tried: tuple[Exposure, ...] = ()

    def at(self, exposure: Exposure) -> Preview:
        """The same preview, with one of the exposures that were tried."""
        figures = self.figures | as_figures(exposure.statistics)
        return replace(self, exposure_ev=float(exposure.ev), faults=exposure.faults, figures=figures)


class Previewer:
    """Previews views through a session and remembers the answers until the light changes."""

    def __init__(self, session: RenderSession, opened: OpenScene, scene: str, config: Config) -> None:
        self._session, self._geometry, self._scene, self._config = session, opened.geometry, scene, config
        self._magenta = [each.id for each in opened.snapshot.objects if each.lacks_texture]
        self._exposures = stops(config.render.exposure_ev)
        self._known: dict[str, Preview] = {}
        self._pixel_bytes: list[float] = []
        self.rendered, self.seconds = 0, 0.0

    @property
    def pixel_bytes(self) -> float:
        """What a pixel of a good view takes in a dataset's files; 0 before the first."""
        return float(np.mean(self._pixel_bytes)) if self._pixel_bytes else 0.0

    def forget(self) -> None:
        """The light has changed."""
        self._known.clear()

    def preview(self, name: str, camera: Camera, subject: Subject | None) -> Preview:
        """Render the view of that id small, once."""
        if name not in self._known:
            started = time.perf_counter()
            self._known[name] = self._look(name, camera.resized(self._config.preview.resolution), subject)
            self.rendered += 1
            self.seconds += time.perf_counter() - started
        return self._known[name]

    def of(self, verdict: Verdict) -> Preview:
        """The preview of a candidate."""
        candidate = verdict.candidate
        return self.preview(view_id(self._scene, candidate, self._config.seed), candidate.camera, candidate.subject)

    def _look(self, name: str, camera: Camera, subject: Subject | None) -> Preview:
        if subject is not None and subject.lacks_texture:
            return Preview(0.0, ("texture missing",), {})
        samples, seed = self._config.preview.samples, render_seed(name, self._config.seed)
        first = self._session.render(camera, samples, seed, denoise=True)
        if np.isin(first.ids, self._magenta).mean() > MAGENTA_SHARE:
            return Preview(0.0, ("texture missing",), {})
        mine = np.isin(first.ids, list(subject.objects)) if subject else None
        framing = framing_in(camera, subject, self._geometry.only(subject.objects), first.ids) if subject else None
        if faults := framing_faults(framing, PREVIEW):
            return Preview(0.0, tuple(faults), as_figures(framing))
        halves = [first.colour]
        if not self._session.can_denoise:
            halves.append(self._session.render(camera, samples, seed ^ 1, denoise=False).colour)
        tried = tried_exposures(halves, mine, self._session.transform, self._exposures)
        [exposure] = shared_exposure([tried])
        if not exposure.faults:
            files = self._session.png(exposure.ev)[0], write_passes(Passes(first.depth, first.normal, first.ids))
            self._pixel_bytes.append(sum(map(len, files)) / first.ids.size)
        return Preview(0.0, (), as_figures(framing), tried).at(exposure)


def as_one_set(previews: Sequence[Preview]) -> list[Preview]:
    """Previews of the views of a set, none of which has a fault of its own, with one exposure for all."""
    exposures = shared_exposure([preview.tried for preview in previews])
    return [preview.at(exposure) for preview, exposure in zip(previews, exposures, strict=True)]


def by_sets(views: Sequence[PlannedView], previews: Sequence[Preview]) -> list[Preview]:
    """Previews of planned views, those of a view set with one exposure; what has a fault of its own stays out of it."""
    answers = list(previews)
    sets: dict[str, list[int]] = {}
    for place, (view, preview) in enumerate(zip(views, previews, strict=True)):
        if view.view_set and not preview.faults:
            sets.setdefault(view.view_set, []).append(place)
    for places in sets.values():
        for place, answer in zip(places, as_one_set([previews[each] for each in places]), strict=True):
            answers[place] = answer
    return answers


def render_seed(name: str, seed: int) -> int:
    """Cycles' seed for a view: its own, so that neither order nor company changes its noise."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "little") >> 1


def lit_share(previewer: Previewer, shots: Sequence[Shot]) -> float:
    """Share of these views that can be exposed, of at most PROBES of them; 1 where there is none to ask."""
    asked = shots[:: max(1, -(-len(shots) // PROBES))]
    lit = [not TOO_DARK & set(previewer.preview(*shot).faults) for shot in asked]
    return float(np.mean(lit)) if lit else 1.0


def best_shots(scene: str, planned: Planned, seed: int) -> list[Shot]:
    """The most promising view of each subject in sight."""
    best = [max(units, key=lambda unit: unit[0].score)[0].candidate for units in planned.subject_units]
    return [(view_id(scene, candidate, seed), candidate.camera, candidate.subject) for candidate in best]


def audition(
    previewer: Previewer, planned: Planned, config: Config, progress: Callable[[int, int], None]
) -> list[tuple[Unit, list[float]]]:
    """Preview units in the order of their promise until the budget is met; accepted ones with the exposures they want.

    A rejected view gets its reason written into its verdict, so that the funnel tells.
    """
    selection = planned.audition(config)
    chosen: list[tuple[Unit, list[float]]] = []
    while (unit := selection.next()) is not None:
        answers = _answers(previewer, unit)
        good = len(answers) == len(unit) and not any(answer.faults for answer in answers)
        selection.tell(good)
        if good:
            chosen.append((unit, [answer.exposure_ev for answer in answers]))
        progress(selection.accepted_views, config.cameras.views)
    return chosen


def _answers(previewer: Previewer, unit: Unit) -> Sequence[Preview]:
    """Previews of a unit's views, up to the first that fails; those of a set with the exposure that is best for all."""
    answers: list[Preview] = []
    for verdict in unit:
        answers.append(previewer.of(verdict))
        if answers[-1].faults:
            break
    else:
        answers = as_one_set(answers)
    for verdict, answer in zip(unit, answers, strict=False):
        verdict.figures |= answer.figures
        if answer.faults:
            verdict.reason = answer.faults[0]
    return answers
