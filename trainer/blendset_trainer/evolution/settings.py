# SPDX-License-Identifier: Apache-2.0
"""Rounds of self-training as TOML: what is trained, drawn, preferred and weighed, and what judges."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from blendset.errors import SettingsError
from blendset.options import REQUIRED, option, read_toml, refuse_settings, structure

MAHALANOBIS, NEIGHBOURS = "mahalanobis", "neighbours"
ACCUMULATE, REPLACE = "accumulate", "replace"
BEST, LAST = "best", "last"


@dataclass(frozen=True)
class PreferenceSettings:
    """[preference]: which of the pictures that a model drew of a prompt is kept (best of n)."""

    scorers: tuple[str, ...] = option((), "what measures a round's pictures, as of 'blendset score --with'")
    by: tuple[str, ...] = option(
        (), "figures of which more is better, two or more; their mean rank chooses; empty keeps all pictures"
    )
    images: int = option(4, "pictures of each prompt, of which the best is kept", at_least=1)
    floor: bool = option(True, "keep no picture that is below the median of the base model's in one of the figures")


@dataclass(frozen=True)
class WeightSettings:
    """[weights]: how much a kept picture trains, by how far it is from the trusted ones (our form; RSIDiff's own
    formula is not published)."""

    scorer: str = option("", "a scorer with an embedding, such as dino:MODEL; empty lets all count the same")
    distance: str = option(
        MAHALANOBIS,
        "by a shrunk covariance, or to the fifth-nearest trusted picture",
        choices=(MAHALANOBIS, NEIGHBOURS),
    )
    temperature: float = option(1.0, "a larger one weighs distant pictures less lightly", at_least=0.01)
    lowest: float = option(0.1, "least weight, before all are brought to a mean of 1", at_least=0, at_most=1)


@dataclass(frozen=True)
class JudgeSettings:
    """[judge]: how each round's model is judged, on prompts and by a scorer that chose nothing."""

    prompts: str = option(REQUIRED, "a file of prompts that every round's model draws, and none is trained on")
    scorers: tuple[str, ...] = option(REQUIRED, "what measures their pictures, as of 'blendset evaluate --with'")
    by: str = option(
        REQUIRED,
        "the figure that must not fall, such as vqa-x.p_yes; its scorer selects nothing (more is better unless known)",
    )
    diversity: str = option("", "a figure of the whole set that must not fall either, such as dino-x.vendi")
    least_diversity: float = option(0.95, "share of the base model's that must remain", at_least=0, at_most=1)
    images: int = option(1, "pictures of each prompt", at_least=1)


@dataclass(frozen=True)
class EvolveSettings:
    """The content of an evolution's file. Paths are relative to the working directory, as those in a run's file."""

    judge: JudgeSettings
    train: str = option(REQUIRED, "the TOML file of a training run: the base model, and the trusted sources")
    prompts: str = option(REQUIRED, "a file of what each round's model draws, to be trained on")
    trusted: str = option(REQUIRED, "trusted pictures that weights and distances are of: a dataset or a folder")
    preference: PreferenceSettings = field(default_factory=PreferenceSettings)
    weights: WeightSettings = field(default_factory=WeightSettings)
    out: str = option("evolution", "a folder for the rounds and the result")
    rounds: int = option(6, "at most", at_least=1)
    patience: int = option(2, "stop after so many rounds in a row that are not accepted", at_least=1)
    pool: str = option(
        ACCUMULATE, "train on the pictures of all rounds, or of the last only", choices=(ACCUMULATE, REPLACE)
    )
    trusted_share: float = option(
        0.5, "share of the trusted sources at noise levels that own pictures train too", at_least=0, at_most=1
    )
    draws: str = option(
        BEST, "which model draws the next round: the last accepted one, or the last one", choices=(BEST, LAST)
    )
    curation: str = option("none", "rules that prompts must meet, as of 'blendset prompts --curate', such as rsidiff")
    band_lo: float = option(
        0.0, "own pictures train from this noise on, as a fraction of the model's own density", at_least=0, at_most=1
    )
    steps: int | None = option(None, "of the sampler; left out, the model family's", at_least=1)
    cfg_scale: float | None = option(None, "classifier-free guidance; left out, the model family's", at_least=0)
    seed: int = option(0, "all noise and all training follow from it", at_least=0)


def read_evolution(path: Path) -> EvolveSettings:
    """Return the settings of an evolution's file; SettingsError for what is none, or would judge itself."""
    with refuse_settings():
        settings = structure(EvolveSettings, read_toml(path), str(path))
    by = settings.preference.by
    if len(set(by)) == 1:
        raise SettingsError(
            f"{path}: preference.by names one figure, whose faults a model would learn; give two or more, or none."
        )
    if by and settings.preference.images == 1:
        raise SettingsError(
            f"{path}: of one picture of each prompt there is nothing to prefer; raise preference.images."
        )
    judging = settings.judge.by.split(".")[0]
    if judging in {name.split(".")[0] for name in by}:
        raise SettingsError(
            f"{path}: {judging} selects pictures and cannot judge them too; give judge.by a figure of another scorer."
        )
    return settings
