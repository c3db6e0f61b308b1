# SPDX-License-Identifier: Apache-2.0
"""`blendset ablate`: trains every rung of a ladder with seed after seed, until it is clear how each differs from the
first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from blendset.errors import BlendsetError
from blendset.records import write_json
from blendset_trainer.api.progress import OnProgress, OnReport, ignore_progress, ignore_report
from blendset_trainer.evaluation.ladder.measuring import Figures, Judge, refuse_unknown_figure
from blendset_trainer.evaluation.ladder.records import ABLATION, OPEN, Ablation, RungFigure, RungResult
from blendset_trainer.evaluation.ladder.runs import LadderRun, list_trained_prompts, plan_runs
from blendset_trainer.evaluation.ladder.seeds import compute_confidence, estimate_over_seeds, judge_difference
from blendset_trainer.evaluation.ladder.settings import AblateSettings, read_ladder
from blendset_trainer.evaluation.metrics import Metric
from blendset_trainer.evaluation.statistics.intervals import Replicates
from blendset_trainer.evaluation.trusted import Trusted, read_trusted
from blendset_trainer.readers.prompt_lists import read_prompt_list
from blendset_trainer.scoring.score import make_scorers

ONE_SEED = "there is one seed, so the intervals hold for these very models; another seed may rank the rungs otherwise"


def ablate(
    ladder: Path | str, *, on_progress: OnProgress = ignore_progress, report: OnReport = ignore_report
) -> Ablation:
    """Train the rungs of a ladder's file, let each model draw the same prompts, and write `ablation.json` into its
    folder; the same call again goes on where it was interrupted.

    All rungs are trained with one seed before the next. From the second seed on, it ends when the deciding figure of
    every rung differs from the first rung's, or hardly does. Raises SettingsError for a file that is no ladder, and
    BlendsetError where a run cannot be trained or its pictures cannot be measured.
    """
    settings = read_ladder(Path(ladder))
    runs, stages = plan_runs(settings), make_scorers(settings.measure, "ablate")
    refuse_unknown_figure(settings, stages)
    prompts = [listed.prompt for listed in read_prompt_list(Path(settings.prompts))]
    notes = [*list_trained_prompts(runs[: len(settings.rung)], prompts)]
    for note in notes:
        report(f"{note}.")
    judge = Judge(settings, prompts, stages, read_trusted(stages, settings.measure, on_progress))
    found = run_until_clear(runs, judge, on_progress, report)
    ablation = make_ablation(judge, found, notes)
    write_json(Path(settings.out) / ABLATION, ablation)
    return ablation


def run_until_clear(
    runs: Sequence[LadderRun], judge: Judge, on_progress: OnProgress, report: OnReport
) -> dict[str, list[Figures]]:
    """Return the figures of each rung by its name, one for each seed, of as many seeds as it takes."""
    settings = judge.settings
    found: dict[str, list[Figures]] = {rung.name: [] for rung in settings.rung}
    for number, run in enumerate(runs):
        figures = judge.make_figures(run, on_progress, report)
        found[run.rung].append(figures)
        if settings.by not in {metric.name for metric in figures}:
            raise BlendsetError(f"The pictures of {run.name} have no {settings.by}; draw more, or decide by another.")
        is_last = (number + 1) % len(settings.rung) == 0
        if is_last and is_clear(settings, list_results(settings, found, only=settings.by)):
            break
    return found


def is_clear(settings: AblateSettings, results: Sequence[RungResult]) -> bool:
    """Return whether it is known of every rung, over two seeds or more, how its deciding figure differs from the
    first's.
    """
    figures = [figure for each in results[1:] if (figure := each.find_figure(settings.by))]
    return all(len(figure.values) > 1 and figure.verdict != OPEN for figure in figures)


def list_results(
    settings: AblateSettings, found: Mapping[str, Sequence[Figures]], only: str = ""
) -> tuple[RungResult, ...]:
    """Return each rung with the figures that all models have, or with `only` one."""
    first = found[settings.rung[0].name]
    metrics = [
        metric for metric in first[0]
        if only in ("", metric.name) and all(metric in figures for each in found.values() for figures in each)
    ]  # fmt: skip
    return tuple(
        RungResult(
            name=rung.name,
            figures=tuple(_make_figures(settings, metrics, found[rung.name], None if number == 0 else first)),
        )
        for number, rung in enumerate(settings.rung)
    )


def _make_figures(
    settings: AblateSettings, metrics: Sequence[Metric], rung: Sequence[Figures], first: Sequence[Figures] | None
) -> Iterator[RungFigure]:
    """The figures of a rung, with their differences to those of the first."""
    confidence = compute_confidence(len(settings.seeds))
    for metric in metrics:
        runs = [figures[metric] for figures in rung]
        difference = first and estimate_over_seeds(_subtract(runs, [each[metric] for each in first]), confidence)
        smallest = settings.smallest if metric.name == settings.by else 0.0
        yield RungFigure(
            name=metric.name,
            scale=metric.scale,
            better=metric.better,
            values=tuple(run.value for run in runs),
            estimate=estimate_over_seeds(runs, confidence),
            difference=difference or None,
            verdict=judge_difference(difference, smallest) if difference else "",
        )


def _subtract(runs: Sequence[Replicates], others: Sequence[Replicates]) -> list[Replicates]:
    return [run.subtract_paired(other) for run, other in zip(runs, others, strict=True)]


def make_ablation(judge: Judge, found: Mapping[str, Sequence[Figures]], notes: Sequence[str]) -> Ablation:
    """Return the record of a ladder from the figures of its models."""
    settings, trusted = judge.settings, judge.trusted
    results = list_results(settings, found)
    seeds = settings.seeds[: len(found[settings.rung[0].name])]
    return Ablation(
        by=settings.by,
        smallest=settings.smallest,
        prompts=len(set(judge.prompts)),
        images=settings.images,
        against=trusted.title,
        seeds=seeds,
        planned=len(settings.seeds),
        confidence=compute_confidence(len(settings.seeds)),
        clear=is_clear(settings, results),
        rungs=results,
        notes=(
            *notes,
            *trusted.notes,
            *_find_captions(judge.prompts, trusted),
            *([ONE_SEED] if len(seeds) == 1 else []),
        ),
    )


def _find_captions(prompts: Sequence[str], trusted: Trusted) -> list[str]:
    """A sentence where prompts are captions of trusted pictures, so that both show the same."""
    common = set(prompts) & trusted.captions
    return [f"{len(common)} of {len(set(prompts))} prompts are captions of {trusted.title}"] if common else []
