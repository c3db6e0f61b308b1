# SPDX-License-Identifier: Apache-2.0
"""Planning: from a snapshot to ranked cameras, in steps between which a window can react.

Nothing is rendered here. A plan file is what `render --plan` renders; a funnel file says what became of every
candidate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pkgutil import resolve_name

from blendset.cameras import Camera
from blendset.config import Config
from blendset.placement.candidates import Group, PlacementContext, propose_scene_views
from blendset.placement.gates import GateContext, Verdict, reject_unlikely_viewpoints, screen_proposals
from blendset.placement.scene import Geometry, Snapshot
from blendset.placement.scoring import score_subject, score_view
from blendset.placement.selection import Unit, ViewSelector
from blendset.placement.subjects import Subject, SubjectSearch, find_subjects
from blendset.randomness import make_rng

CANDIDATES_PER_STEP = 64
"""Candidates per step: a window stays alive between them."""
SURROUNDING_SUBJECTS = 3
"""Without walls around, views of the scene itself are proposed where there are at least so many subjects."""


@dataclass(frozen=True, eq=False)
class PlanningResult:
    """The result of planning: subjects, a verdict per candidate, and the units to preview, the best subject first."""

    search: SubjectSearch
    verdicts: tuple[Verdict, ...]
    subject_units: tuple[list[Unit], ...]
    scenery: list[Unit]

    @property
    def visible_subjects(self) -> frozenset[str]:
        """Ids of the subjects for which at least one camera passed every gate."""
        return frozenset(
            unit[0].candidate.subject.id
            for units in self.subject_units
            for unit in units[:1]
            if unit[0].candidate.subject
        )

    def make_selector(self, config: Config) -> ViewSelector:
        """Return a new selector over the accepted candidates."""
        return ViewSelector(self.subject_units, self.scenery, config.cameras, config.preview.per_view)

    def rank_views(self, config: Config, turned_down: Container[int] = ()) -> list[Verdict]:
        """Return the views of a plan without previews, the best first: every preview counts as passed, except for
        verdicts that somebody has turned down (by Python's id)."""
        selector = self.make_selector(config)
        while (unit := selector.next()) is not None:
            selector.report(not any(id(view) in turned_down for view in unit))
        return [view for unit in selector.accepted for view in unit]

    def choose_views(self, config: Config, turned_down: Container[int] = ()) -> list[Verdict]:
        """Return the views of a plan without previews, in order.

        Verdicts in `turned_down` (by Python's id) make room for others, unless the preset renders all.
        """
        return self.sample_views(config) if config.renders_all else self.rank_views(config, turned_down)

    def sample_views(self, config: Config) -> list[Verdict]:
        """Return what to render where a preset renders all: all verdicts, or a random sample of as many as
        configured."""
        count, limit = len(self.verdicts), config.cameras.views
        chosen = make_rng(config.seed, "sample").permutation(count)[:limit]
        return [self.verdicts[index] for index in sorted(chosen.tolist())]

    def count_reasons(self) -> dict[str, int]:
        """Return how many candidates there are for each reason, "accepted" and "candidates" (all of them) included."""
        return count_reasons(self.verdicts)


def count_reasons(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Return how many verdicts there are for each reason, "accepted" and "candidates" (all of them) included."""
    counts = Counter(verdict.reason or "accepted" for verdict in verdicts)
    return {"candidates": len(verdicts), **dict(counts.most_common())}


@dataclass(frozen=True)
class Step:
    """Progress of planning."""

    what: str
    done: int
    total: int


def propose(context: PlacementContext) -> Iterator[Group]:
    """Yield the proposals of the configured preset in groups, one group per subject where it is about subjects."""
    groups: Iterator[Group] = resolve_name(f"blendset.placement.{context.preset.proposer}")(context)
    return groups


def has_surroundings(search: SubjectSearch) -> bool:
    """Return whether there is more to see than a thing or two: walls around, or enough things to stand among."""
    return search.enclosed or len(search.subjects) >= SURROUNDING_SUBJECTS


def plan_steps(
    scene: Snapshot,
    geometry: Geometry,
    search: SubjectSearch,
    config: Config,
    scene_cameras: tuple[tuple[str, Camera], ...] = (),
) -> Iterator[Step | PlanningResult]:
    """Yield a Step after every CANDIDATES_PER_STEP candidates (`done` counts subjects), and the result last."""
    gates = GateContext.from_scene(scene, geometry, search.structural, config.gates)
    placement = PlacementContext(scene, geometry, search.subjects, config, scene_cameras)
    preset = placement.preset
    around = preset.scene_views and config.cameras.scene_views > 0 and has_surroundings(search)
    scenery = propose_scene_views(placement) if around else iter(())
    total = max(len(search.subjects), 1)
    verdicts: list[Verdict] = []
    for done, group in enumerate(chain(propose(placement), scenery)):
        screened: list[Verdict] = []
        for start in range(0, len(group), CANDIDATES_PER_STEP):
            screened += screen_proposals(gates, group[start : start + CANDIDATES_PER_STEP])
            yield Step("screening", min(done, total), total)
        if not (preset.whole_sets or preset.render_all):
            reject_unlikely_viewpoints(gates, screened)
        verdicts += screened
    for verdict in verdicts:
        if verdict.accepted:
            verdict.score = score_view(verdict)
    yield Step("screening", total, total)
    yield _rank(scene, search, verdicts, preset.whole_sets)


def plan(
    scene: Snapshot, geometry: Geometry, config: Config, scene_cameras: tuple[tuple[str, Camera], ...] = ()
) -> PlanningResult:
    """Find the subjects of a scene and plan its cameras, as `plan_steps` does, in one call."""
    search = find_subjects(scene, config.subjects, config.seed)
    *_, last = plan_steps(scene, geometry, search, config, scene_cameras)
    assert isinstance(last, PlanningResult)
    return last


def _rank(scene: Snapshot, search: SubjectSearch, verdicts: list[Verdict], whole_sets: bool) -> PlanningResult:
    """Group the accepted verdicts into units by subject: the most promising first, and one of each kind before any
    copy."""
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

    def rate(subject: Subject) -> float:
        return score_subject(scene, subject, max(view.score for unit in ready[subject] for view in unit))

    subjects = (subject for subject in ready if subject is not None)
    order = sorted(subjects, key=lambda subject: (subject.copy, -rate(subject), subject.id))
    return PlanningResult(search, tuple(verdicts), tuple(ready[subject] for subject in order), scenery)
