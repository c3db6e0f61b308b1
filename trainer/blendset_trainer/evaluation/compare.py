# SPDX-License-Identifier: Apache-2.0
"""`blendset compare`: the same figures of several sets of pictures, or of what models draw, and how they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from blendset.dataset import CAPTION
from blendset.errors import SettingsError
from blendset.naming import slugify
from blendset.options import resolve_settings
from blendset.randomness import sample_uniform
from blendset.records import write_json
from blendset_trainer.api.progress import OnProgress, ignore_progress, prefix_progress
from blendset_trainer.evaluation.alignment import align
from blendset_trainer.evaluation.evaluate import add_retrieval, make_evaluation, measure_source
from blendset_trainer.evaluation.lineage import join_lineages, read_model_lineage, refuse_judging_itself
from blendset_trainer.evaluation.measurement import Measurement
from blendset_trainer.evaluation.metrics import Metric
from blendset_trainer.evaluation.models import draw_pictures, find_model
from blendset_trainer.evaluation.records import (
    COMPARISON,
    EXAMPLES,
    Comparison,
    Difference,
    Examples,
    ExampleUnit,
)
from blendset_trainer.evaluation.settings import QUESTIONS, CompareSettings
from blendset_trainer.evaluation.sources import OpenSource, open_source
from blendset_trainer.evaluation.statistics.estimates import Estimate
from blendset_trainer.evaluation.statistics.intervals import Replicates, estimate_paired, estimate_unpaired
from blendset_trainer.evaluation.summary import compute_set_metrics, list_means
from blendset_trainer.evaluation.trusted import read_trusted, refuse_common_pictures
from blendset_trainer.evaluation.votes.model_voter import vote_by_model
from blendset_trainer.evaluation.votes.page import write_ballot
from blendset_trainer.models.chat.finding import find_chat_model
from blendset_trainer.readers.prompt_lists import read_prompt_list
from blendset_trainer.scoring.score import make_scorers

EXAMPLE_UNITS = 8
"""Of paired sets, whose pictures stand beside each other on the comparison's page."""


def compare(
    sources: Sequence[Path | str],
    settings: CompareSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> Comparison:
    """Measure sets of pictures in the same way, over the same units or as many of each, and write `comparison.json`.

    A source is whatever `evaluate` takes, or a model, which draws `images` pictures of each of `prompts` first.
    `options` are fields of `CompareSettings`. Raises SettingsError for wrong options, and BlendsetError for sets that
    cannot be compared, or that only the scorer that selected their data would judge.
    """
    settings = resolve_settings(CompareSettings, settings, options)
    if len(sources) < 2:
        raise SettingsError("There is nothing to compare; give two datasets, folders of pictures or models, or more.")
    stages, titles = make_scorers(settings, "compare"), make_titles(sources)
    opened = [open_titled(source, title, settings, on_progress) for source, title in zip(sources, titles, strict=True)]
    lineage = join_lineages(each.lineage for each in opened)
    measured = [measure_source(each, stages, settings, on_progress) for each in opened]
    refuse_judging_itself((metric for each in measured for metric in each.values), lineage)
    trusted = read_trusted(stages, settings, on_progress)
    for each in measured:
        refuse_common_pictures(each, trusted)
    aligned, is_paired, notes = align(measured, settings.seed)
    aligned = [add_retrieval(each, stages) for each in aligned]
    sets = [compute_set_metrics(each, trusted, settings.seed) for each in aligned]
    comparison = Comparison(
        evaluations=tuple(
            make_evaluation(slugify(each.title), each, trusted, found, lineage, settings.seed)
            for each, found in zip(aligned, sets, strict=True)
        ),
        differences=tuple(list_differences(aligned, sets, is_paired)),
        notes=tuple(notes),
    )
    write_json(settings.out / COMPARISON, comparison)
    examples = choose_examples(aligned, settings.out, settings.seed) if is_paired else Examples(units=())
    write_json(settings.out / EXAMPLES, examples)
    if settings.vote:
        write_vote(settings.vote, aligned, is_paired, settings, on_progress)
    return comparison


def make_titles(sources: Sequence[Path | str]) -> list[str]:
    """Return a short name for each source, all different: the end of its path, as long as needed.

    Raises SettingsError for one that is given twice.
    """
    parts = [Path(source).parts for source in sources]
    if len(set(parts)) < len(parts):
        raise SettingsError(
            f"{max(sources, key=list(sources).count)} is given twice; a set does not differ from itself."
        )
    for length in range(1, max(map(len, parts)) + 1):
        titles = ["/".join(each[-length:]) for each in parts]
        if len(set(titles)) == len(titles):
            return titles
    return [str(source) for source in sources]


def open_titled(source: Path | str, title: str, settings: CompareSettings, on_progress: OnProgress) -> OpenSource:
    """Return the pictures of a source, or those that a model draws, as a dataset below the comparison's folder."""
    folder, model = settings.out / slugify(title), find_model(Path(source))
    if model is None:
        opened = open_source(source, folder, settings, on_progress)
        return replace(opened, title=title)
    if settings.prompts is None:
        raise SettingsError(f"{source} is a model; give --prompts FILE with what it is to draw.")
    prompts = [listed.prompt for listed in read_prompt_list(settings.prompts)]
    drawn = settings.out / f"{folder.name}-samples"
    draw_pictures(
        model, prompts, settings.images, settings.seed, settings.steps, drawn, prefix_progress(on_progress, title)
    )
    opened = open_source(drawn, folder, replace(settings, prompts=None), on_progress)
    return replace(opened, title=title, lineage=join_lineages([opened.lineage, read_model_lineage(model)]))


def write_vote(
    page: Path, measured: Sequence[Measurement], is_paired: bool, settings: CompareSettings, on_progress: OnProgress
) -> None:
    """Write a page on which people choose between pictures of the same unit, and let the settings' model vote on it.

    Raises SettingsError for sets of different units.
    """
    if not is_paired:
        raise SettingsError(f"--vote needs pictures of the same {measured[0].unit}s in all sets; compare such ones.")
    systems = {each.title: group_pictures(each) for each in measured}
    question, count, prompts = QUESTIONS[settings.question], settings.vote_pairs, map_prompts(measured)
    write_ballot(systems, prompts, page, count=count, seed=settings.seed, question=question, on_progress=on_progress)
    if settings.voter:
        scheme, _, spec = settings.voter.partition(":")
        vote_by_model(page, find_chat_model(scheme, spec), on_progress=on_progress)


def group_pictures(measured: Measurement) -> dict[str, list[Path]]:
    """Return the files of the pictures of each unit."""
    files: dict[str, list[Path]] = {}
    for key, name in zip(measured.keys, measured.index["rgb_file_name"].to_pylist(), strict=True):
        files.setdefault(str(key), []).append(measured.dataset.root / name)
    return files


def choose_examples(measured: Sequence[Measurement], out: Path, seed: int) -> Examples:
    """Return a few units of paired sets, drawn at random, with a picture of each set."""
    files = [group_pictures(each) for each in measured]
    order = sorted(files[0], key=lambda unit: sample_uniform(seed, "examples", unit))
    prompts = map_prompts(measured)
    return Examples(
        units=tuple(
            ExampleUnit(
                unit=unit,
                prompt=prompts[unit],
                pictures=tuple(_relate(each[unit][0], out) for each in files),
            )
            for unit in order[:EXAMPLE_UNITS]
        )
    )


def map_prompts(measured: Sequence[Measurement]) -> dict[str, str]:
    """Return the prompt of each unit, "" where its pictures have none."""
    return {str(key): caption or "" for each in measured
            for key, caption in zip(each.keys, each.index[CAPTION].to_pylist(), strict=True)}  # fmt: skip


def _relate(path: Path, folder: Path) -> str:
    """A path from a folder on where it lies below, else from the root on."""
    path, folder = path.absolute(), folder.absolute()
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def list_differences(
    measured: Sequence[Measurement], sets: Sequence[Mapping[Metric, Replicates]], is_paired: bool
) -> Iterator[Difference]:
    """Yield how each set but the first differs from the first in every figure that both have."""
    means = [list_means(each) for each in measured]
    for number, other in enumerate(measured[1:], 1):
        for metric, (units, values) in means[0].items():
            if metric in means[number]:
                estimate = _subtract_means((units, values), means[number][metric], is_paired)
                yield Difference(name=metric.name, other=other.title, estimate=estimate, is_paired=is_paired)
        for metric, first in sets[0].items():
            if metric in sets[number]:
                estimate = _subtract_sets(first, sets[number][metric], is_paired)
                yield Difference(name=metric.name, other=other.title, estimate=estimate, is_paired=is_paired)


def _subtract_means(first: tuple[Any, Any], other: tuple[Any, Any], is_paired: bool) -> Estimate | None:
    """The mean of `other` minus that of `first`, both units (U,) with values (U,); None for one common unit or none."""
    if not is_paired:
        return estimate_unpaired(other[1], first[1])
    _, rows, others = np.intersect1d(first[0], other[0], return_indices=True)
    return estimate_paired(other[1][others], first[1][rows]) if len(rows) > 1 else None


def _subtract_sets(first: Replicates, other: Replicates, is_paired: bool) -> Estimate:
    if is_paired and len(first.parts) == len(other.parts):
        return other.subtract_paired(first).estimate()
    return other.estimate_unpaired(first)
