# SPDX-License-Identifier: Apache-2.0
"""`blendset evolve`: a model is bettered in rounds by its own selected pictures, and stopped before it is harmed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError, SettingsError
from blendset.options import read_toml, refuse_settings, unstructure
from blendset.records import encode_json, write_json
from blendset_trainer.api.progress import OnProgress, OnReport, ignore_progress, ignore_report, prefix_progress
from blendset_trainer.evaluation.models import find_model
from blendset_trainer.evolution.judging import Figures, compare_figures, make_judge
from blendset_trainer.evolution.records import EVOLUTION, ROUND, SETTINGS, Evolution, RoundRecord, SettingsRecord
from blendset_trainer.evolution.rounds import (
    compute_floor,
    draw_round,
    get_round_folder,
    keep_pictures,
    make_round_config,
    read_trusted_pictures,
    refuse_unknown_preference,
    train_round,
)
from blendset_trainer.evolution.settings import LAST, EvolveSettings, read_evolution
from blendset_trainer.evolution.stopping import explain_stop, judge_round
from blendset_trainer.readers.prompt_lists import read_prompt_list
from blendset_trainer.synthesis.prompts.curation import RemovedPrompt, curate_prompts, load_curation
from blendset_trainer.synthesis.prompts.prompt_files import FREE, Prompt
from blendset_trainer.training.settings import make_train_config


def evolve(
    evolution: Path | str, *, on_progress: OnProgress = ignore_progress, report: OnReport = ignore_report
) -> Evolution:
    """Make the rounds of an evolution's file and write `evolution.json` into its folder; the same call again goes on
    where it was interrupted.

    In each round the best model so far draws the training prompts, the best pictures are chosen and weighed, and the
    base model is trained on them beside the trusted sources. Raises SettingsError for a file that is none, and
    BlendsetError where a round cannot be made.
    """
    settings = read_evolution(Path(evolution))
    shared, prompts, held_out = read_inputs(settings)
    base = find_model(Path(make_train_config(shared, settings.train).model.path))
    if base is None:
        raise SettingsError(f"{settings.train}: model.path is no folder with a diffusers pipeline; give one.")
    refuse_unknown_preference(settings)
    judge, trusted = make_judge(settings, held_out, on_progress), read_trusted_pictures(settings, on_progress)
    keep_settings(settings, shared)
    figures = judge.make_figures(0, base, prefix_progress(on_progress, "round 0"))
    rounds = [_record_base(settings, base, figures)]
    floor = None
    while not (stopped := explain_stop(rounds, settings.rounds, settings.patience)):
        number, best = len(rounds), _find_best(rounds)
        drawing = rounds[-1] if settings.draws == LAST else best
        progress = prefix_progress(on_progress, f"round {number}")
        measured = draw_round(settings, number, Path(drawing.model), prompts, progress)
        if floor is None and settings.preference.by:
            floor = compute_floor(measured, settings.preference.by)
        kept = keep_pictures(settings, measured, floor, trusted)
        model = train_round(make_round_config(settings, shared, number), progress, report)
        found = compare_figures(judge.make_figures(number, model, progress), figures)
        accepted, reason = judge_round(found, rounds[0], best, settings.judge)
        rounds.append(
            RoundRecord(
                number=number, model=str(model), drawn=kept.drawn, kept=kept.kept, least_weight=kept.least_weight,
                greatest_weight=kept.greatest_weight, figures=found, accepted=accepted, reason=reason,
            )
        )  # fmt: skip
        write_json(get_round_folder(settings, number) / ROUND, rounds[-1])
        report(f"round {number} is {'accepted' if accepted else 'not accepted'}: {reason}.")
    result = Evolution(
        by=settings.judge.by,
        diversity=settings.judge.diversity,
        rounds=tuple(rounds),
        best=_find_best(rounds).number,
        stopped=stopped,
    )
    write_json(Path(settings.out) / EVOLUTION, result)
    return result


def read_inputs(settings: EvolveSettings) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return the tables of the training run, the prompts to draw, and those that the judge holds out.

    Raises SettingsError where a prompt is in both.
    """
    with refuse_settings():
        shared = dict(read_toml(Path(settings.train)))
        make_train_config(shared, settings.train)
    prompts, held_out = (
        [listed.prompt for listed in read_prompt_list(Path(path))]
        for path in (settings.prompts, settings.judge.prompts)
    )
    if common := sorted(set(prompts) & set(held_out)):  # before rules leave any out
        raise SettingsError(
            f"{len(common)} prompts of {settings.prompts} are in {settings.judge.prompts} too, on which nothing is "
            f"trained ('{common[0]}'); take them out of one."
        )
    return shared, curate(prompts, settings.curation), held_out


def plan_evolution(evolution: Path | str) -> dict[str, tuple[int, int]]:
    """Return what an evolution's file will cost, each round and in all: pictures that are drawn, and trained on.

    Nothing is written. Raises SettingsError for a file that is none.
    """
    settings = read_evolution(Path(evolution))
    shared, prompts, held_out = read_inputs(settings)
    drawn, judged = len(prompts) * settings.preference.images, len(held_out) * settings.judge.images
    trained = make_train_config(shared, settings.train).train.samples
    return {
        "pictures to choose from": (drawn, drawn * settings.rounds),
        "pictures for the judge": (judged, judged * (settings.rounds + 1)),
        "pictures seen in training": (trained, trained * settings.rounds),
    }


def curate(prompts: Sequence[str], rules: str) -> list[str]:
    """Return the prompts that meet rules by name; BlendsetError where none does."""
    rows, removed = [Prompt(prompt, "", FREE, {}, "", 0) for prompt in prompts], list[RemovedPrompt]()
    kept = [row.prompt for row in curate_prompts(rows, load_curation(rules), removed)]
    if not kept:
        raise BlendsetError(
            f"None of {len(prompts)} prompts meets the rules '{rules}' ({removed[0].reason}); loosen them."
        )
    return kept


def keep_settings(settings: EvolveSettings, shared: dict[str, Any]) -> None:
    """Write what an evolution is begun with; BlendsetError where its folder was begun with something else. Only when it
    ends may change."""
    path = Path(settings.out) / SETTINGS
    kept = {name: value for name, value in unstructure(settings).items() if name not in ("rounds", "patience")}
    record = SettingsRecord(settings=kept, train=shared)
    if path.is_file() and path.read_bytes() != encode_json(record):
        raise BlendsetError(
            f"{settings.out} was begun with other settings or another base model; give another out, or delete it."
        )
    write_json(path, record)


def _record_base(settings: EvolveSettings, base: Path, figures: Figures) -> RoundRecord:
    record = RoundRecord(
        number=0, model=str(base), figures=compare_figures(figures, None), accepted=True, reason="the base model"
    )
    write_json(get_round_folder(settings, 0) / ROUND, record)
    return record


def _find_best(rounds: list[RoundRecord]) -> RoundRecord:
    """The last round whose model was accepted."""
    return next(each for each in reversed(rounds) if each.accepted)
