# SPDX-License-Identifier: Apache-2.0
"""Options of a command, derived from the fields of a settings dataclass, and settings from what was given."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from blendset.errors import BlendsetError
from blendset_trainer.cli.parser import UsageError, parse_positive, parse_share

Settings = TypeVar("Settings")


def get_flag(option: Field[Any]) -> str:
    """How the command line spells a field: its own flag, else its name with dashes."""
    return option.metadata["flag"] or f"--{option.name.replace('_', '-')}"


def add_setting(parser: argparse._ActionsContainer, settings: type[Any], name: str) -> None:
    """Add the option of one field. Its type, default, choices, help and metavar are the field's; a tuple of texts is an
    option that may be repeated, a tuple of paths one that takes several words.
    """
    option = next(each for each in fields(settings) if each.name == name)
    kind = _without_none(get_type_hints(settings)[name])
    words: dict[str, Any] = {"dest": name, "help": option.metadata["help"]}
    if option.default is MISSING:
        words["required"] = True
    elif isinstance(option.default, tuple):
        words["default"] = list(option.default)
    else:
        words["default"] = option.default
    if kind is bool:
        words["action"] = "store_true"
    else:
        words |= _value_words(option, kind)
    parser.add_argument(get_flag(option), **words)


def read_settings(settings: type[Settings], arguments: argparse.Namespace) -> Settings:
    """The settings that a command line gives; UsageError for what they do not allow."""
    values: Mapping[str, Any] = vars(arguments)
    names = [each.name for each in fields(settings)]  # type: ignore[arg-type]
    try:
        return settings(**{name: _freeze(values[name]) for name in names})
    except BlendsetError as error:
        raise UsageError(str(error)) from error


def _value_words(option: Field[Any], kind: Any) -> dict[str, Any]:
    """What argparse is to know of an option that takes a value."""
    words: dict[str, Any] = {"metavar": option.metadata["metavar"] or None}
    if option.metadata["choices"]:
        words["choices"] = option.metadata["choices"]
    elif parse := _parser_for(option, kind):
        words["type"] = parse
    if kind == tuple[str, ...]:
        words["action"] = "append"
    elif kind == tuple[Path, ...]:
        words["nargs"] = "+"
    return words


def _parser_for(option: Field[Any], kind: Any) -> Any:
    """What reads a word of an option; None where it is taken as it is. argparse names it in its message."""
    limits = option.metadata["at_least"], option.metadata["at_most"]
    if kind == tuple[int, int]:
        return _layout
    if kind == tuple[Path, ...]:
        return Path
    if kind is int and limits[0] == 1:
        return parse_positive
    if kind is float and limits == (0, 1):
        return parse_share
    return kind if kind in (int, float, Path) else None


def _layout(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    return parse_positive(rows), parse_positive(columns)


def _without_none(kind: Any) -> Any:
    if get_origin(kind) is not UnionType:
        return kind
    return next(each for each in get_args(kind) if each is not NoneType)


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
