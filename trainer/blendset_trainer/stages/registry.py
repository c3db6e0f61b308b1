# SPDX-License-Identifier: Apache-2.0
"""Stages by the names that users write: `image-stats`, `clip:MODEL`.

A stage's module is imported only when the stage is asked for, so that torch is imported only where it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from blendset.errors import SettingsError
from blendset.options import find_nearest
from blendset_trainer.stages.stage import Stage


class UnknownStageError(SettingsError):
    """A word names no stage."""


@dataclass(frozen=True)
class Scheme:
    """A kind of stage. `maker` is its class, or a function that makes one ("module:name"); `argument` is what must
    follow the colon in its name ("MODEL"), "" where nothing may.
    """

    maker: str
    argument: str = ""

    def format_usage(self, name: str) -> str:
        """Return how a stage of this scheme is written: `clip:MODEL`."""
        return f"{name}:{self.argument}" if self.argument else name

    def matches(self, name: str, stage: str) -> bool:
        """Return whether `stage` can be the name of a stage of this scheme; a model's name follows the scheme's."""
        return stage == name or (bool(self.argument) and stage.startswith(f"{name}-"))


def find_stage(word: str, schemes: Mapping[str, Scheme]) -> Stage:
    """Return the stage that a word such as `clip:MODEL` names.

    Raises UnknownStageError for a word that names none, and whatever the stage raises where its model is not there.
    """
    name, colon, argument = word.partition(":")
    scheme = schemes.get(name)
    if scheme is None:
        near = find_nearest(name, list(schemes))
        raise UnknownStageError(
            f"There is no '{name}'; {f'did you mean {near}?' if near else f'choose from {format_choices(schemes)}.'}"
        )
    if bool(argument) != bool(scheme.argument) or (colon and not argument):
        raise UnknownStageError(f"'{word}' is no stage; write {scheme.format_usage(name)}.")
    module, _, maker = scheme.maker.partition(":")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else torch's idle threads take the CPU from the decoders
    make = getattr(import_module(module), maker)
    return cast(Stage, make(argument) if argument else make())


def format_choices(schemes: Mapping[str, Scheme]) -> str:
    """Return every scheme as it is written, separated by commas."""
    return ", ".join(scheme.format_usage(name) for name, scheme in schemes.items())
