# SPDX-License-Identifier: Apache-2.0
"""Planning: from a snapshot to ranked cameras and a funnel, as a stepper that a window can pump.

Nothing is rendered here. A plan file is what `render --plan` renders; a funnel file says what became of every
candidate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import chain

from blendset.cameras import Camera
from blendset.config import Config
from blendset.placement.candidates import PRESETS, Stage, through_the_room
from blendset.placement.gates import Ground, Verdict, prefer, screen
from blendset.placement.scene import Geometry, Snapshot
from blendset.placement.scoring import score_subject, score_view
from blendset.placement.selection import Audition, Unit
from blendset.placement.subjects import Found, Subject, find_subjects, rng_for

AT_ONCE = 64
"""Candidates per step: a window stays alive between them."""


@dataclass(frozen=True, eq=False)
class Planned:
    """All that planning found out: subjects, a verdict per candidate, and the units to audition in rank order."""

    found: Found
    verdicts: tuple[Verdict, ...]
    subject_units: tuple[list[Unit], ...]
    scenery: list[Unit]

    @property
    def seen_subjects(self) -> frozenset[str]:
        """Ids of the subjects that at least one camera passed every gate for."""
        return frozenset(
            unit[0].candidate.subject.id
            for units in self.subject_units
            for unit in units[:1]
            if unit[0].candidate.subject
        )

    def audition(self, config: Config) -> Audition:
        """A fresh selection over the accepted candidates."""
        return Audition(self.subject_units, self.scenery, config.cameras, config.preview.per_view)

    def ranking(self, config: Config, turned_down: Container[int] = ()) -> list[Verdict]:
        """The views of a plan without previews: every audition is taken to go well, but for verdicts (by Python's id)
        that somebody has turned down."""
        selection = self.audition(config)
        while (unit := selection.next()) is not None:
            selection.tell(not any(id(view) in turned_down for view in unit))
        return [view for unit in selection.accepted for view in unit]

    def sample(self, config: Config) -> list[Verdict]:
        """What to render of a published placement: all of it, or as many as asked for, drawn without regard to
        quality."""
        count, wanted = len(self.verdicts), config.cameras.views
        drawn = rng_for(config.seed, "sample").permutation(count)[:wanted]
        return [self.verdicts[index] for index in sorted(drawn.tolist())]

    def counts(self) -> dict[str, int]:
        """The funnel in short: candidates by reason, "accepted" among them."""
        counts = Counter(verdict.reason or "accepted" for verdict in self.verdicts)
        return {"candidates": len(self.verdicts), **dict(counts.most_common())}


@dataclass(frozen=True)
class Step:
    """Progress of planning."""

    what: str
    done: int
    total: int


def plan_steps(
    scene: Snapshot,
    geometry: Geometry,
    found: Found,
    config: Config,
    own_cameras: tuple[tuple[str, Camera], ...] = (),
) -> Iterator[Step | Planned]:
    """Yields a Step after every AT_ONCE candidates (`done` counts subjects), and the Planned last."""
    preset = PRESETS[config.cameras.preset]
    ground = Ground.of(scene, geometry, found.structural, config.gates)
    stage = Stage(scene, geometry, found.subjects, config, own_cameras)
    scenery = through_the_room(stage) if preset.scene_views and config.cameras.scene_views > 0 else iter(())
    total = max(len(found.subjects), 1)
    verdicts: list[Verdict] = []
    for done, group in enumerate(chain(preset.propose(stage), scenery)):
        screened: list[Verdict] = []
        for start in range(0, len(group), AT_ONCE):
            screened += screen(ground, group[start : start + AT_ONCE])
            yield Step("screening", min(done, total), total)
        if not (preset.whole_sets or preset.as_published):
            prefer(ground, screened)
        verdicts += screened
    for verdict in verdicts:
        if verdict.accepted:
            verdict.score = score_view(verdict)
    yield Step("screening", total, total)
    yield _ranked(scene, found, verdicts, preset.whole_sets)


def plan(
    scene: Snapshot, geometry: Geometry, config: Config, own_cameras: tuple[tuple[str, Camera], ...] = ()
) -> Planned:
    """`plan_steps` in one go."""
    found = find_subjects(scene, config.subjects, config.seed)
    *_, last = plan_steps(scene, geometry, found, config, own_cameras)
    assert isinstance(last, Planned)
    return last


def _ranked(scene: Snapshot, found: Found, verdicts: list[Verdict], whole_sets: bool) -> Planned:
    """Units by subject, the most promising subject first."""
    pools: dict[Subject | None, dict[object, list[Verdict]]] = {}
    for number, verdict in enumerate(verdicts):
        key: object = verdict.candidate.view_set if whole_sets else number
        pools.setdefault(verdict.candidate.subject, {}).setdefault(key, []).append(verdict)
    ready: dict[Subject | None, list[Unit]] = {}
    for subject, sets in pools.items():
        units = [tuple(views) for views in sets.values() if all(view.accepted for view in views)]
        if units:
            ready[subject] = units
    scenery = ready.pop(None, [])

    def promise(subject: Subject) -> float:
        return score_subject(scene, subject, max(view.score for unit in ready[subject] for view in unit))

    order = sorted((subject for subject in ready if subject is not None), key=lambda each: (-promise(each), each.id))
    return Planned(found, tuple(verdicts), tuple(ready[subject] for subject in order), scenery)
