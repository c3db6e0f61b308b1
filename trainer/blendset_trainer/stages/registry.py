# SPDX-License-Identifier: Apache-2.0
"""Stages by the names that users write: `image-stats`, `clip:MODEL`.

A stage's module is imported only when the stage is asked for, so that torch is imported only where it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

from blendset.errors import SettingsError
from blendset.options import find_nearest
from blendset_trainer.api.registry import Registry
from blendset_trainer.stages.stage import Stage


def set_options(stage: Stage, word: str, options: Mapping[str, Any], flags: Mapping[str, str], command: str) -> Stage:
    """Return a stage with options that are fields of it; those that are None are left as they are.

    Raises SettingsError for an option that it does not have; `word` and `flags` are the user's names of both.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    if unknown := [name for name in chosen if not has_option(stage, name)]:
        raise SettingsError(f"{flags[unknown[0]]} is not for '{word}'; see 'blendset {command} --help'.")
    return cast(Stage, replace(cast(Any, stage), **chosen)) if chosen else stage


def has_option(stage: Stage, name: str) -> bool:
    """Return whether a stage has a field of this name."""
    return is_dataclass(stage) and name in {field.name for field in fields(stage)}


class UnknownStageError(SettingsError):
    """A word names no stage."""


def find_stage(word: str, stages: Registry) -> Stage:
    """Return the stage that a word such as `clip:MODEL` names.

    Raises UnknownStageError for a word that names none, and whatever the stage raises where its model is not there.
    """
    name, colon, argument = word.partition(":")
    if name not in stages:
        near = find_nearest(name, list(stages))
        raise UnknownStageError(
            f"There is no '{name}'; {f'did you mean {near}?' if near else f'choose from {stages.format_choices()}.'}"
        )
    if bool(argument) != bool(stages[name].argument) or (colon and not argument):
        raise UnknownStageError(f"'{word}' is no stage; write {stages.usages[name]}.")
    return cast(Stage, stages.make(name, argument) if argument else stages.make(name))
