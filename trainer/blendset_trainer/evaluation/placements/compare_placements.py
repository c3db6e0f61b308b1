# SPDX-License-Identifier: Apache-2.0
"""Compares ways of placing cameras: each renders the same number of pictures of the same scenes, and one rule judges
all of them.

BlendFusion's ablation (arXiv 2604.09022, table 3) with equal budgets, per scene and with intervals. docs/placements.md
explains the rule.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from blendset.dataset import Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.jobs.scenes import SceneSummary
from blendset.options import resolve_settings
from blendset.records import FORMAT_VERSION, ViewRecord, write_json
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.captioning.caption import caption
from blendset_trainer.evaluation.placements.framed_things import ViewVerdict, find_things, judge_view
from blendset_trainer.evaluation.placements.settings import PlacementSettings
from blendset_trainer.evaluation.statistics.estimates import Estimate
from blendset_trainer.evaluation.statistics.intervals import estimate_mean, estimate_paired, estimate_share
from blendset_trainer.rendering.render import render
from blendset_trainer.rendering.scenes import find_scenes
from blendset_trainer.scoring.score import score
from blendset_trainer.stages.catalogue import SCORERS
from blendset_trainer.stages.registry import find_stage
from blendset_trainer.stages.stage import Stage, View
from blendset_trainer.stages.tables import read_index_with_stages

RECORD = "placements.json"
IMAGE_STATS = "image-stats"
METRICS = {
    "heuristics": "share of the rendered views that pass BlendFusion's heuristics",
    "framed": "share of the rendered views that show a subject or the room well, whatever the light",
    "usable": "share of the rendered views that do both",
    "budget": "usable views as a share of the budget",
    "subjects": "share of the subjects with a usable view",
    "directions": "directions from which a subject has a usable view",
}
"""What is measured of each scene and placement. The subjects are those that any placement shows in a usable view."""
DIRECTION_DEG = 45.0, 30.0
"""Azimuth and elevation that two views of a subject may share and still count as one direction."""


@dataclass(frozen=True)
class PlacementResult:
    """What one placement made of one scene. `metrics` are by the names of METRICS, `scores` by `scorer.column`.

    Without rendered views there are no shares of them. `reason` says why there are fewer than the budget. `faults`
    counts what is wrong with the views that are not usable. `timings` are the seconds of planning and of rendering.
    """

    placement: str
    dataset: str
    views: int
    usable: int
    metrics: dict[str, Estimate]
    scores: dict[str, Estimate]
    faults: dict[str, int]
    reason: str
    timings: dict[str, float]


@dataclass(frozen=True)
class ScenePlacements:
    """All placements in one scene, and how many subjects any of them shows in a usable view."""

    scene: str
    subjects: int
    results: tuple[PlacementResult, ...]


@dataclass(frozen=True, kw_only=True)
class PlacementReport:
    """The comparison: by scene; means over scenes by placement and metric; the first placement minus each other one.

    Means and differences are empty where there is only one scene.
    """

    format_version: int = FORMAT_VERSION
    placements: tuple[str, ...]
    views: int
    resolution: int
    samples: int
    lighting: str
    seed: int
    scenes: tuple[ScenePlacements, ...]
    means: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, Estimate]]


def compare_placements(
    scenes: Sequence[Path | str] | Path | str,
    settings: PlacementSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> PlacementReport:
    """Render each scene with each placement, judge all views by one rule, write placements.json and return it.

    `options` are fields of `PlacementSettings`. Datasets lie in `out`, one for each scene and placement; what they hold
    is not rendered again. Raises SettingsError for scenes that are not there or stand twice, and BlendsetError where a
    scene cannot be rendered. Ctrl-C raises KeyboardInterrupt, and finished views stay.
    """
    settings = resolve_settings(PlacementSettings, settings, options)
    paths = _list_scenes([scenes] if isinstance(scenes, Path | str) else scenes)
    scorers = [find_stage(word, SCORERS) for word in settings.with_]
    compared = []
    for path in paths:
        judged = [_judge_placement(path, name, settings, scorers, on_progress) for name in settings.placements]
        compared.append(_compare_scene(path.stem, judged, settings.views))
    report = PlacementReport(
        placements=settings.placements,
        views=settings.views,
        resolution=settings.resolution,
        samples=settings.samples,
        lighting=settings.lighting,
        seed=settings.seed,
        scenes=tuple(compared),
        **_compare_over_scenes(settings.placements, compared),
    )
    write_json(settings.out / RECORD, report)
    return report


def _list_scenes(scenes: Sequence[Path | str]) -> list[Path]:
    """The scenes; SettingsError where there is none, or where two would have one folder."""
    paths = [path for word in scenes for path in find_scenes(word)]
    if not paths:
        raise SettingsError("There is no scene to compare placements in; give at least one .blend file.")
    if path := _find_repeated([path.resolve() for path in paths]):
        raise SettingsError(f"The scene {path} stands twice; name each once.")
    if name := _find_repeated([path.stem for path in paths]):
        raise SettingsError(f"Two scenes are called {name}, and would share their datasets; rename one.")
    return paths


def _find_repeated(values: Iterable[Any]) -> Any:
    """The first value that stands twice; None where each stands once."""
    return next((value for value, count in Counter(values).items() if count > 1), None)


# --- one scene, one placement -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgedView:
    """A rendered view: its sampling unit, the verdict on it, and its scores by `scorer.column`."""

    unit: str
    verdict: ViewVerdict
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgedPlacement:
    """All views of one placement in one scene, and how their rendering ended."""

    placement: str
    dataset: str
    views: tuple[JudgedView, ...]
    reason: str
    timings: dict[str, float]

    @property
    def usable(self) -> int:
        """How many views are usable."""
        return sum(view.verdict.is_usable for view in self.views)

    @property
    def directions(self) -> dict[str, set[tuple[int, int]]]:
        """The directions from which each subject has a usable view, by the subject's name."""
        found = defaultdict(set)
        for view in self.views:
            for thing in view.verdict.usable_things:
                azimuth, elevation = DIRECTION_DEG
                found[thing.name].add(
                    (math.floor(thing.azimuth_deg / azimuth), math.floor(thing.elevation_deg / elevation))
                )
        return dict(found)


def _judge_placement(
    scene: Path, placement: str, settings: PlacementSettings, scorers: Sequence[Stage], on_progress: OnProgress
) -> JudgedPlacement:
    """Render a scene with a placement, where that is not done yet, and judge the views of this run."""
    root = settings.out / f"{scene.stem}-{placement}"
    summary = _render_placement(scene, placement, root, settings, on_progress)
    dataset = Dataset(root)
    records = [view for view in dataset.views() if view.run == summary.run]
    scores = _score_views(dataset, settings.with_, scorers, on_progress) if records else {}
    things = find_things(dataset.scene(records[0].scene)) if records else ()
    judged = []
    for number, record in enumerate(records):
        on_progress(f"{root.name}: judging", number, len(records))
        view = View(record, dataset.view_folder(record.scene, record.view_id), dataset.scene(record.scene))
        judged.append(JudgedView(name_unit(record), judge_view(view, things), scores.get(record.view_id, {})))
    reason = summary.reason if len(records) < settings.views else ""
    return JudgedPlacement(placement, root.name, tuple(judged), reason, _add_timings(dataset, summary.run, records))


def _render_placement(
    scene: Path, placement: str, root: Path, settings: PlacementSettings, on_progress: OnProgress
) -> SceneSummary:
    summary = render(
        scene,
        out=root,
        blender=settings.blender,
        preset=placement,
        views=settings.views,
        resolution=settings.resolution,
        samples=settings.samples,
        lighting=settings.lighting,
        seed=settings.seed,
        on_progress=on_progress,
    )
    if summary.cancelled:
        raise KeyboardInterrupt
    (rendered,) = summary.scenes
    if not rendered.run or rendered.views < rendered.planned:
        raise BlendsetError(
            f"{scene} was not rendered to its end with {placement} ({rendered.reason}); mend that, and run the command "
            "again: finished views are kept."
        )
    return rendered


def name_unit(view: ViewRecord) -> str:
    """Return what a view shares with others of its placement: the subject that it is aimed at, or where it stands."""
    return view.subject or repr([round(number, 6) for number in view.camera.world_from_camera[3:12:4]])


def _add_timings(dataset: Dataset, run: str, views: Sequence[ViewRecord]) -> dict[str, float]:
    planning = dataset.run(run)["timings"] if views else {}
    return {
        "planning_s": sum(planning.get(name, 0.0) for name in ("opening_s", "planning_s")),
        "rendering_s": sum(sum(view.timings.values()) for view in views),
    }


def _score_views(
    dataset: Dataset, words: Sequence[str], scorers: Sequence[Stage], on_progress: OnProgress
) -> dict[str, dict[str, float]]:
    """The scores of each view by its id: columns of floats. What reads captions gets those of `metadata`."""
    if any("caption" in scorer.reads for scorer in scorers):
        caption(dataset, captioner="metadata", on_progress=on_progress)
    score(dataset, scorers=(IMAGE_STATS, *words), on_progress=on_progress)
    table = read_index_with_stages(dataset)
    stages = {IMAGE_STATS, *(scorer.name for scorer in scorers)}
    names = [
        column.name
        for column in table.schema
        if column.name.partition(".")[0] in stages and pa.types.is_floating(column.type)
    ]
    return {
        row["view_id"]: {name: float(row[name]) for name in names if row[name] is not None and math.isfinite(row[name])}
        for row in table.select(["view_id", *names]).to_pylist()
    }


# --- estimates --------------------------------------------------------------------------------------------------------


def _compare_scene(scene: str, judged: Sequence[JudgedPlacement], budget: int) -> ScenePlacements:
    subjects = sorted({name for placement in judged for name in placement.directions})
    results = tuple(_summarize_placement(placement, subjects, budget) for placement in judged)
    return ScenePlacements(scene, len(subjects), results)


def _summarize_placement(judged: JudgedPlacement, subjects: Sequence[str], budget: int) -> PlacementResult:
    faults = Counter(fault for view in judged.views for fault in view.verdict.faults)
    return PlacementResult(
        placement=judged.placement,
        dataset=judged.dataset,
        views=len(judged.views),
        usable=judged.usable,
        metrics=_measure_views(judged.views, budget) | _measure_subjects(judged.directions, subjects),
        scores=_average_scores(judged.views),
        faults={str(fault): count for fault, count in sorted(faults.items())},
        reason=judged.reason,
        timings=judged.timings,
    )


def _measure_views(views: Sequence[JudgedView], budget: int) -> dict[str, Estimate]:
    """The shares of the rendered views; views that the placement had no camera for are none of the budget's."""
    if not views:
        return {"budget": Estimate(0.0, 0.0, 0.0, 0)}
    flags = {
        "heuristics": [view.verdict.passes_heuristics for view in views],
        "framed": [view.verdict.is_framed for view in views],
        "usable": [view.verdict.is_usable for view in views],
    }
    _, units = np.unique([view.unit for view in views], return_inverse=True)
    counts = np.bincount(units).astype(np.float64)
    shares = {
        name: estimate_share(np.bincount(units, values).astype(np.float64), counts) for name, values in flags.items()
    }
    usable, part = shares["usable"], len(views) / budget
    return shares | {"budget": Estimate(usable.value * part, usable.low * part, usable.high * part, usable.units)}


def _measure_subjects(directions: Mapping[str, set[tuple[int, int]]], subjects: Sequence[str]) -> dict[str, Estimate]:
    """How many of the subjects have usable views, and from how many directions."""
    counts = np.array([len(directions.get(name, ())) for name in subjects], np.float64)
    found = {"subjects": estimate_share((counts > 0).astype(np.float64), np.ones(len(counts)))} if len(counts) else {}
    return found | ({"directions": estimate_mean(counts)} if len(counts) > 1 else {})


def _average_scores(views: Sequence[JudgedView]) -> dict[str, Estimate]:
    """The mean of each score over units, where at least two have it."""
    names = sorted({name for view in views for name in view.scores})
    return {name: estimate_mean(means) for name in names if len(means := _average_units(views, name)) > 1}


def _average_units(views: Sequence[JudgedView], name: str) -> Any:
    """The mean of a score in each unit that has it, (N,)."""
    units = defaultdict(list)
    for view in views:
        if name in view.scores:
            units[view.unit].append(view.scores[name])
    return np.array([np.mean(values) for values in units.values()])


def _compare_over_scenes(placements: Sequence[str], scenes: Sequence[ScenePlacements]) -> dict[str, Any]:
    """The means over scenes of each placement, and the differences of the first to each other one, in pairs by scene.

    A metric that a placement lacks in a scene has neither.
    """
    values = {
        name: {
            metric: np.array([scene.results[number].metrics[metric].value for scene in scenes])
            for metric in METRICS
            if len(scenes) > 1 and all(metric in scene.results[number].metrics for scene in scenes)
        }
        for number, name in enumerate(placements)
    }
    first, *others = placements
    return {
        "means": {
            name: {metric: estimate_mean(one) for metric, one in metrics.items()} for name, metrics in values.items()
        },
        "differences": {
            name: {
                metric: estimate_paired(values[first][metric], one)
                for metric, one in values[name].items()
                if metric in values[first]
            }
            for name in others
        },
    }
