# SPDX-License-Identifier: Apache-2.0
"""A ladder as TOML: one training configuration, what each rung changes of it, and the figure that decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.errors import SettingsError
from blendset.naming import slugify
from blendset.options import REQUIRED, option, read_toml, refuse_settings, structure
from blendset_trainer.evaluation.settings import MeasureSettings


@dataclass(frozen=True)
class RungSettings:
    """What a rung changes of the configuration that all rungs share."""

    name: str = option(REQUIRED, "what tables call the rung")
    set: tuple[str, ...] = option(
        (), 'changes such as "train.samples=100"; of a source by its name, "source.synthetic.selection=best"'
    )
    without: tuple[str, ...] = option((), "names of sources that are left out")
    max_samples: int | None = option(None, "of each source, train on so many samples at most", at_least=1)


@dataclass(frozen=True)
class AblateSettings:
    """The content of a ladder's file. Paths are relative to the working directory, as those in a run's file."""

    train: str = option(REQUIRED, "the TOML file of the run that every rung changes")
    prompts: str = option(REQUIRED, "a file of what every model draws, and none is trained on")
    scorers: tuple[str, ...] = option(REQUIRED, "what measures the pictures, as of 'blendset evaluate --with'")
    by: str = option(REQUIRED, "the figure that decides, such as dino-vit-b-14.mmd2")
    out: str = option("ladder", "a folder for the runs, their pictures and the result")
    against: str = option("", "trusted pictures, for distances to them")
    references: str = option("", "pictures of the subjects that are to be in the pictures")
    images: int = option(1, "pictures of each prompt", at_least=1)
    steps: int | None = option(None, "of the sampler; left out, the model family's", at_least=1)
    cfg_scale: float | None = option(None, "classifier-free guidance; left out, the model family's", at_least=0)
    seeds: tuple[int, ...] = option((0, 1, 2), "each rung is trained once with each", at_least=0)
    smallest: float = option(0.0, "a smaller difference of the figure does not matter", at_least=0)
    rung: tuple[RungSettings, ...] = ()

    @property
    def measure(self) -> MeasureSettings:
        """How the pictures of all rungs are measured."""
        return MeasureSettings(
            scorers=self.scorers,
            against=Path(self.against) if self.against else None,
            references=Path(self.references) if self.references else None,
        )


def read_ladder(path: Path) -> AblateSettings:
    """Return the settings of a ladder's file; SettingsError for what is none."""
    with refuse_settings():
        settings = structure(AblateSettings, read_toml(path), str(path))
    if len(settings.rung) < 2:
        raise SettingsError(f"{path} has {len(settings.rung)} rung; write a [[rung]] table for each of two or more.")
    for what, names in (
        ("rungs are called", [slugify(rung.name) for rung in settings.rung]),
        ("seeds are", list(settings.seeds)),
    ):
        if repeated := find_repeated(names):
            raise SettingsError(f"{path}: two {what} '{repeated[0]}'; change one of them.")
    return settings


def find_repeated(values: list[Any]) -> list[Any]:
    """Return those of some values that stand among them twice or more, sorted."""
    return sorted({value for value in values if values.count(value) > 1})
