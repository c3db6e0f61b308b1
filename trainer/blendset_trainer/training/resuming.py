# SPDX-License-Identifier: Apache-2.0
"""What makes a run the run it is: its settings, its base model, its pictures. A run goes on as no other than it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError
from blendset.options import flatten_settings, structure, unstructure
from blendset_trainer.api.progress import OnReport
from blendset_trainer.training.checkpoints import Checkpoint, find_newest_checkpoint
from blendset_trainer.training.settings import TrainConfig

CHECKPOINTS = "checkpoints"
MAY_CHANGE = (
    *("out", "train.samples", "train.checkpoint_every", "train.keep", "train.log_every", "train.cache"),
    "keep_out",  # what it leaves out is not among the samples, which are compared
)
"""Settings that may change when a run is resumed: the weights at a given step do not depend on them."""
VALIDATION = "validation."
"""How the names of settings begin that decide on nothing but pictures on the way; that they changed is reported."""
WHERE_THE_MODEL_IS = "model.path", "model.revision"
"""Settings that may change where the base model is known to be the same."""


@dataclass(frozen=True)
class RunIdentity:
    """All that the weights of a run at a given step depend on: `model` is `Family.identity`, `samples` the hash of the
    sources' pictures and captions.
    """

    config: TrainConfig
    model: str
    samples: str

    @property
    def facts(self) -> dict[str, Any]:
        """The identity as plain data for a checkpoint."""
        return {"config": unstructure(self.config), "model": self.model, "samples": self.samples}


def find_checkpoint_of(identity: RunIdentity, report: OnReport) -> Checkpoint | None:
    """The newest sound checkpoint in the run's folder; None where there is none.

    `report` gets a sentence for what is passed over, and for settings that changed and change no weights. Raises
    BlendsetError where the checkpoint is of a run that began differently.
    """
    folder = Path(identity.config.out)
    checkpoint = find_newest_checkpoint(folder / CHECKPOINTS, report)
    if checkpoint is None:
        return None
    before = _read_config(checkpoint)
    changes = _list_changes(unstructure(before), unstructure(identity.config))
    refused = [*_list_refused(changes, checkpoint, before, identity)]
    if refused:
        raise BlendsetError(
            f"{folder} holds a run that began differently ({'; '.join(refused[:3])}); change it back, or give another "
            "out."
        )
    if checkpoint.step > identity.config.steps:
        raise BlendsetError(
            f"{folder} holds a run of {checkpoint.step * identity.config.train.batch} pictures, and train.samples is "
            f"{identity.config.train.samples}; give at least as many, or another out."
        )
    if looks := [change for name, change in changes.items() if name.startswith(VALIDATION)]:
        report(f"The run in {folder} goes on, from here with other validation pictures ({'; '.join(looks[:3])}).")
    return checkpoint


def _read_config(checkpoint: Checkpoint) -> TrainConfig:
    """The settings that a checkpoint was written with; options that did not exist then have their defaults."""
    try:
        return structure(TrainConfig, checkpoint.facts["config"], str(checkpoint.path))
    except (BlendsetError, KeyError) as error:
        raise BlendsetError(
            f"{checkpoint.path} was written by another version of Blendset; go on with that version, or give another "
            "out."
        ) from error


def _list_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What each setting was and is, by its name, where the two differ."""
    old, new = (flatten_settings(values, lists=True) for values in (before, now))
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return {name: f"{name} was {old.get(name, 'not set')} and is {new.get(name, 'not set')}" for name in names}


def _list_refused(
    changes: Mapping[str, str], checkpoint: Checkpoint, before: TrainConfig, identity: RunIdentity
) -> Iterator[str]:
    """What changed of all that the weights depend on."""
    model, now = checkpoint.facts.get("model", ""), identity.config
    allowed = (*MAY_CHANGE, VALIDATION, *(WHERE_THE_MODEL_IS if model == identity.model else ()))
    yield from (change for name, change in changes.items() if not name.startswith(allowed))
    if model not in ("", identity.model) and not changes.keys() & set(WHERE_THE_MODEL_IS):
        yield f"the base model {now.model.path} was {model[:12]} and is {identity.model[:12]}"
    if now.optimizer.schedule == "cosine" and before.steps != now.steps:
        yield f"optimizer.schedule is cosine, which falls until the end, and {changes['train.samples']}"
    if checkpoint.facts.get("samples") != identity.samples:
        yield "the sources hold other pictures or captions"
