# SPDX-License-Identifier: Apache-2.0
"""`--search`: the settings under which a scorer rates pictures of a sample of prompts best.

SynthVLM (arXiv 2407.20756) chose its own so, by CLIPScore over 1,000 captions. Every setting draws the same prompts
from the same noise. The pictures are a dataset of their own below `cache/`, whose rows resume as any dataset's do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from blendset.dataset import CACHE, Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.files import sha256_bytes
from blendset.naming import join_names
from blendset.randomness import derive_image_seed, sample_uniform
from blendset.records import FORMAT_VERSION, DatasetRecord, encode_json, read_record, write_json
from blendset_trainer.api.progress import OnProgress
from blendset_trainer.stages.catalogue import SCORERS
from blendset_trainer.stages.executors.task import Executor
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.registry import find_stage
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.stage import Column, Stage, build_stage_record
from blendset_trainer.stages.tables import read_index, read_valid_columns
from blendset_trainer.synthesis.engine import ViewRequest, generate_views
from blendset_trainer.synthesis.requests import SynthesisRequest, blank_parent, make_view_request
from blendset_trainer.synthesis.search.grid import Choice, describe_options, parse_grid
from blendset_trainer.synthesis.search.report import SearchReport, TriedSettings
from blendset_trainer.synthesis.settings import TextToImageSettings
from blendset_trainer.synthesis.text_to_image import TextToImage, make_synthesizer

SEARCHES = "searches"
"""The folder of a dataset with a file for each search."""
CONFIDENCE = 0.95
Figures = NDArray[np.float64]
"""(settings, prompts), NaN where a picture has no figure."""


@dataclass(frozen=True, kw_only=True)
class _KeptSearch:
    """The content of a file in `searches/`: the report, the prompts of the sample, and the figures of each setting,
    null where a picture has none."""

    format_version: int = FORMAT_VERSION
    report: SearchReport
    prompts: tuple[str, ...]
    figures: tuple[tuple[float | None, ...], ...]


def search_settings(
    dataset: Dataset,
    settings: TextToImageSettings,
    prompts: Sequence[str],
    executor: Executor,
    on_progress: OnProgress,
) -> SearchReport:
    """Draw a sample of prompts under every setting of `settings.search`, score the pictures, and choose.

    The result is kept in the dataset as `searches/<digest>.json`, and read from there the next time. Raises
    SettingsError for a column that a scorer does not have, and BlendsetError where it has no figures of such pictures.
    """
    scorer, column = find_figure(settings.by)
    grid = parse_grid(settings.search, [each.name for each in fields(settings)])
    synthesizers = [make_synthesizer(drop_search(settings, **choice)) for choice in grid]
    if len(sample := choose_sample(prompts, settings.on, settings.seed)) < 2:
        raise SettingsError("A search compares settings over several prompts, and there is one; leave --search out.")
    requests = [request_trials(each, sample, settings.seed) for each in synthesizers]
    identity = [[each.record for each in chain(*requests)], build_stage_record(scorer), column]
    digest = sha256_bytes(encode_json(identity))[:10]
    path = dataset.root / SEARCHES / f"{digest}.json"
    if path.exists():
        return read_record(path, _KeptSearch).report
    trial, reasons = _open_trial(dataset, digest), dict[str, None]()
    figures = np.full((len(grid), len(sample)), np.nan)
    for number, synthesizer in enumerate(synthesizers):
        progress = partial(on_progress, f"setting {number + 1} of {len(grid)}")
        made = generate_views(trial, synthesizer, requests[number], executor, settings.batch, progress)
        figures[number], failures = _score_trials(trial, scorer, column, requests[number], executor, on_progress)
        reasons |= dict.fromkeys([*made.failed.values(), *failures])
        if np.isnan(figures[number]).all():
            why = next(iter(reasons), "choose a scorer of pictures and captions, such as clip:MODEL")
            raise BlendsetError(f"--by {settings.by} has no figure of any picture of a prompt: {why.rstrip('.')}.")
    report = compare_settings(grid, figures, f"{scorer.name}.{column}", settings, list(reasons))
    write_json(path, _KeptSearch(report=report, prompts=tuple(sample), figures=tuple(map(_list_numbers, figures))))
    return report


def drop_search(settings: TextToImageSettings, **options: Any) -> TextToImageSettings:
    """The settings without their search, and with these options."""
    return replace(settings, **{"search": (), "by": ""} | options)


def find_figure(words: str) -> tuple[Stage, str]:
    """Return the scorer that `clip:MODEL` or `NAME.column` names, and its column.

    Raises SettingsError for a column that it does not have, and where it has several figures and none is named; and
    what `find_stage` raises for a word that names no scorer.
    """
    name, dot, column = words.rpartition(".")
    try:
        scorer = find_stage(words, SCORERS)
    except BlendsetError as error:
        try:
            scorer = find_stage(name if dot else words, SCORERS)
        except BlendsetError:
            raise error from None
        if column not in (figures := _list_figures(scorer)):
            raise SettingsError(f"--by {words}: {name} has no figure '{column}' but {', '.join(figures)}.") from None
        return scorer, column
    return scorer, _find_only_figure(scorer, words)


def _list_figures(scorer: Stage) -> list[str]:
    return [name for name, column in scorer.columns.items() if _is_number(column)]


def _is_number(column: Column) -> bool:
    return bool(pa.types.is_floating(column.type) or pa.types.is_integer(column.type))


def _find_only_figure(scorer: Stage, words: str) -> str:
    """The column of a scorer that has one figure, whole numbers aside where there are others; SettingsError else."""
    names = _list_figures(scorer)
    fractions = [name for name in names if pa.types.is_floating(scorer.columns[name].type)]
    if len(only := fractions or names) == 1:
        return only[0]
    what = (
        f"has several figures; write --by {words}.COLUMN with one of {', '.join(names)}" if names else "has no figure"
    )
    raise SettingsError(f"--by {words} {what}.")


def choose_sample(prompts: Sequence[str], most: int, seed: int) -> list[str]:
    """At most so many of the prompts, each once, in their order; which, follows from the seed and each prompt alone."""
    each = list(dict.fromkeys(prompts))
    first = set(sorted(each, key=lambda text: sample_uniform(seed, "search", text))[:most])
    return [text for text in each if text in first]


def request_trials(synthesizer: TextToImage, prompts: Sequence[str], seed: int) -> list[ViewRequest]:
    """A request for each prompt, whose noise is the same whatever the synthesizer is."""
    requests = []
    for prompt in prompts:
        request = SynthesisRequest(TextToImageSettings.job, (), prompt, synthesizer.generator, seed, synthesizer.size)
        noise = derive_image_seed(sha256_bytes(f"{seed} {prompt}".encode()), 0)
        view_request = make_view_request(request, blank_parent("trial", ""), 0, seed=noise)
        requests.append(replace(view_request, group=view_request.view_id))
    return requests


def _open_trial(dataset: Dataset, digest: str) -> Dataset:
    """The dataset of a search's pictures, which are none of the dataset's own."""
    root = dataset.root / CACHE / SEARCHES / digest
    record = DatasetRecord(name=f"search {digest}", licence="", creator="", sources=(), render_settings={})
    return Dataset.create_or_open(root, record, mix_settings=True)


def _score_trials(
    trial: Dataset,
    scorer: Stage,
    column: str,
    requests: Sequence[ViewRequest],
    executor: Executor,
    on_progress: OnProgress,
) -> tuple[list[float], list[str]]:
    """The figure of each picture, NaN where it has none, and why."""
    trial.rebuild_index({request.view_id: request.record.prompt for request in requests})
    failures = run_stage(trial, scorer, executor, on_progress).describe_failures()
    index = read_index(trial)
    rows = read_valid_columns(StageFolder.from_stage(trial.root, scorer), index)
    values = rows[column].to_pylist() if rows is not None else []
    figures = dict(zip(index["view_id"].to_pylist(), values, strict=False))
    return [math.nan if (figure := figures.get(each.view_id)) is None else figure for each in requests], failures


def compare_settings(
    grid: Sequence[Choice], figures: Figures, by: str, settings: TextToImageSettings, failures: Sequence[str] = ()
) -> SearchReport:
    """Choose the setting with the greatest mean; among those that do not differ from it, the cheapest, then the first.

    Two settings differ where the 95 % interval of their paired difference, over the prompts that have a figure under
    every setting, leaves zero out. Raises BlendsetError where fewer than two prompts have one.
    """
    whole = np.isfinite(figures).min(axis=0)
    count, left_out = int(whole.sum()), list(dict.fromkeys(failures))
    if count < 2:
        why = f": {left_out[0]}" if left_out else "."
        raise BlendsetError(f"{by} has a figure under every setting for {count} prompts, and needs two{why}")
    if lost := figures.shape[1] - count:
        left_out.insert(0, f"{lost} of {figures.shape[1]} prompts have no figure under some setting, and do not count.")
    figures = figures[:, whole]
    best = int(figures.mean(axis=1).argmax())
    tried = []
    for choice, row in zip(grid, figures, strict=True):
        mean, behind = compute_interval(row), compute_interval(figures[best] - row)
        tried.append(TriedSettings(dict(choice), *mean, *behind))
    alike = [number for number, each in enumerate(tried) if each.behind_interval[0] <= 0]
    chosen = min(alike, key=lambda number: (_compute_cost(drop_search(settings, **grid[number])), number))
    reason = _explain_choice(tried, best, chosen, alike)
    return SearchReport(by, figures.shape[1], tuple(tried), dict(grid[chosen]), reason, tuple(left_out))


def compute_interval(values: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """The mean of values (N,), N at least 2, and its 95 % interval by Student's t."""
    mean = float(values.mean())
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, (mean - half, mean + half)


def _compute_cost(settings: TextToImageSettings) -> float:
    """What a picture costs beside the others: steps times pixels, as far as the settings say them."""
    return settings.steps * (settings.width or 1) * (settings.height or 1)


def _explain_choice(tried: Sequence[TriedSettings], best: int, chosen: int, alike: Sequence[int]) -> str:
    names = [describe_options(each.options) for each in tried]
    if len(alike) == 1:
        return f"{names[best]} is the best of {len(tried)} settings and is used."
    others = join_names([names[number] for number in alike if number != best], 3)
    taken = "the cheapest of them, or the first, is used" if len(alike) > 2 else "the cheaper, or the first, is used"
    return f"{names[best]} has the greatest mean and does not differ from {others}; {taken}: {names[chosen]}."


def _list_numbers(row: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in row)
