# SPDX-License-Identifier: Apache-2.0
"""The runs of a ladder: each rung with each seed, as a training configuration of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.errors import SettingsError
from blendset.naming import join_names, slugify
from blendset.options import find_nearest, read_toml, refuse_settings
from blendset_trainer.evaluation.ladder.settings import AblateSettings, RungSettings, read_ladder
from blendset_trainer.training.settings import TrainConfig, apply_changes, make_train_config
from blendset_trainer.training.setup import list_captions, load_sources

RUNS = "runs"


@dataclass(frozen=True)
class LadderRun:
    """A rung that is trained with one seed: its configuration, and the name of its folder."""

    rung: str
    seed: int
    name: str
    config: TrainConfig

    @property
    def folder(self) -> Path:
        """Where the run, its pictures and their figures are."""
        return Path(self.config.out)


def plan_ladder(ladder: Path | str) -> list[LadderRun]:
    """Return the runs of a ladder's file in the order in which `ablate` trains them: all rungs with one seed, then with
    the next. Raises SettingsError for a file that is no ladder, or whose rungs cannot be trained.
    """
    return plan_runs(read_ladder(Path(ladder)))


def plan_runs(settings: AblateSettings) -> list[LadderRun]:
    """Return the runs of a ladder, seed by seed; SettingsError where a rung is no configuration."""
    with refuse_settings():
        shared = read_toml(Path(settings.train))
        make_train_config(shared, settings.train)
        return [_make_run(settings, shared, rung, seed) for seed in settings.seeds for rung in settings.rung]


def _make_run(settings: AblateSettings, shared: Mapping[str, Any], rung: RungSettings, seed: int) -> LadderRun:
    where = f"{settings.train}, changed by rung '{rung.name}'"
    name = f"{slugify(rung.name)}-{seed}"
    values = change_sources(shared, rung, where)
    values |= {"seed": seed, "out": str(Path(settings.out) / RUNS / name)}
    return LadderRun(rung.name, seed, name, make_train_config(values, where))


def change_sources(shared: Mapping[str, Any], rung: RungSettings, where: str) -> dict[str, Any]:
    """Return the tables of a run's configuration with the changes of a rung, in which sources go by their names.

    Raises SettingsError for a source that there is not.
    """
    sources = {source.get("name", ""): source for source in shared.get("source", ())}
    changed = apply_changes({**shared, "source": sources}, rung.set)
    for name in (*changed["source"], *rung.without):
        if name not in sources:
            near = find_nearest(name, list(sources))
            cure = f"did you mean '{near}'?" if near else f"there are {', '.join(sources)}."
            raise SettingsError(f"{where}: there is no source '{name}'; {cure}")
    cap = {} if rung.max_samples is None else {"max_samples": rung.max_samples}
    changed["source"] = [{**source, **cap} for name, source in changed["source"].items() if name not in rung.without]
    return changed


def list_trained_prompts(runs: Sequence[LadderRun], prompts: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each run that trains on captions which are among the prompts."""
    for run in runs:
        captions = set(list_captions(load_sources(run.config).training))
        if common := [prompt for prompt in dict.fromkeys(prompts) if prompt in captions]:
            yield (
                f"rung '{run.rung}' trains on {len(common)} of the {len(set(prompts))} prompts "
                f"({join_names([repr(each) for each in common], 1)}), which its model may know by heart; keep them out"
            )
