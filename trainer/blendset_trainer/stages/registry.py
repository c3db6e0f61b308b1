# SPDX-License-Identifier: Apache-2.0
"""Stages by the names that the command line gives them: `image-stats`, `clip:MODEL`. A stage's module is imported only
when it is asked for, so that nobody waits for torch who does not need it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from blendset.options import nearest
from blendset_trainer.cli.parser import UsageError
from blendset_trainer.stages.stage import Stage


@dataclass(frozen=True)
class Scheme:
    """Where a stage's class, or a function that makes one, stands ("module:name"), and what follows the colon, if
    anything must: "MODEL".
    """

    maker: str
    argument: str = ""

    def spelled(self, name: str) -> str:
        """How a stage of this scheme is asked for."""
        return f"{name}:{self.argument}" if self.argument else name

    def makes(self, name: str, stage: str) -> bool:
        """Whether a stage of this scheme can be called so; a model's name follows the scheme's."""
        return stage == name or (bool(self.argument) and stage.startswith(f"{name}-"))


def stage_of(word: str, schemes: Mapping[str, Scheme]) -> Stage:
    """The stage that a word names; UsageError for one that names none."""
    name, colon, argument = word.partition(":")
    scheme = schemes.get(name)
    if scheme is None:
        near = nearest(name, list(schemes))
        raise UsageError(
            f"There is no '{name}'; {f'did you mean {near}?' if near else f'choose from {names(schemes)}.'}"
        )
    if bool(argument) != bool(scheme.argument) or (colon and not argument):
        raise UsageError(f"'{word}' is no stage; write {scheme.spelled(name)}.")
    module, _, maker = scheme.maker.partition(":")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else torch's threads burn, as they wait, what decodes views
    make = getattr(import_module(module), maker)
    return cast(Stage, make(argument) if argument else make())


def names(schemes: Mapping[str, Scheme]) -> str:
    """All that can be asked for, as it is written."""
    return ", ".join(scheme.spelled(name) for name, scheme in schemes.items())
