# SPDX-License-Identifier: Apache-2.0
"""The options of a command, derived from the fields of a settings dataclass, and the settings that a command line
gives."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from blendset.errors import BlendsetError
from blendset.options import split_values
from blendset_trainer.cli.parser import UsageError, parse_positive, parse_share
from blendset_trainer.stages.executors.settings import ExecutorSettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings")


def get_flag(option: Field[Any]) -> str:
    """The option of a field on the command line: its flag, else its name with dashes."""
    return option.metadata["flag"] or f"--{option.name.replace('_', '-')}"


def add_settings(
    parser: argparse._ActionsContainer, settings: type[DataclassInstance], one_of: tuple[str, ...] = ()
) -> None:
    """Add the options of all fields, in their order; those of where it runs stand last.

    Of the fields `one_of`, which stand first, a command line gives exactly one.
    """
    group = parser.add_mutually_exclusive_group(required=True) if one_of else parser
    where = {each.name for each in fields(ExecutorSettings)}
    for each in sorted(fields(settings), key=lambda each: each.name in where):
        add_setting(group if each.name in one_of else parser, settings, each.name)


def add_setting(parser: argparse._ActionsContainer, settings: type[Any], name: str) -> None:
    """Add the option of one field. Its type, default, choices, help and metavar are the field's; a tuple of texts is an
    option that may be repeated, a tuple of paths one that takes several words; a flag `--no-...` says that it is false.
    """
    option = next(each for each in fields(settings) if each.name == name)
    kind = _strip_none(get_type_hints(settings)[name])
    words: dict[str, Any] = {"dest": name}
    if option.default is MISSING:
        words["required"] = True
    elif isinstance(option.default, tuple):
        words["default"] = list(option.default)
    else:
        words["default"] = option.default
    if kind is bool:
        words["action"] = "store_false" if get_flag(option).startswith("--no-") else "store_true"
    else:
        words |= _make_value_words(option, kind)
    action = parser.add_argument(get_flag(option), **words)
    action.help = option.metadata["help"]
    if option.metadata["choices"]:
        action.choices = option.metadata["choices"]  # not sooner: argparse would list them at once


def read_settings(settings: type[Settings], arguments: argparse.Namespace) -> Settings:
    """The settings that a command line gives; UsageError for what they do not allow."""
    values: Mapping[str, Any] = vars(arguments)
    names = [each.name for each in fields(settings)]  # type: ignore[arg-type]
    try:
        return settings(**{name: _freeze(values[name]) for name in names})
    except BlendsetError as error:
        raise UsageError(str(error)) from error


def _make_value_words(option: Field[Any], kind: Any) -> dict[str, Any]:
    """The arguments of `add_argument` for an option that takes a value."""
    words: dict[str, Any] = {"metavar": option.metadata["metavar"] or None}
    if not option.metadata["choices"] and (parse := _choose_parser(option, kind)):
        words["type"] = parse
    if option.metadata["several"]:
        words |= {"action": "extend", "nargs": "+"}
    elif kind == tuple[str, ...] and not option.metadata["separator"]:
        words["action"] = "append"
    elif kind == tuple[Path, ...]:
        words["nargs"] = "+"
    return words


def _choose_parser(option: Field[Any], kind: Any) -> Any:
    """The function that parses a word of an option; None where the word is taken as it is."""
    limits = option.metadata["at_least"], option.metadata["at_most"]
    if option.metadata["separator"]:
        return partial(split_values, option)
    if kind == tuple[int, int]:
        return _parse_layout
    if kind == tuple[float, ...]:
        return _parse_numbers
    if kind == tuple[Path, ...]:
        return Path
    if kind is int and limits[0] == 1:
        return parse_positive
    if kind is float and limits == (0, 1):
        return parse_share
    return kind if kind in (int, float, Path) else None


def _parse_layout(text: str) -> tuple[int, int]:
    """Rows and columns, from "3x2"."""
    rows, _, columns = text.partition("x")
    return parse_positive(rows), parse_positive(columns)


_parse_layout.__name__ = "_layout"  # argparse names the type in its errors


def _parse_numbers(text: str) -> tuple[float, ...]:
    """Numbers, from "0,90,180"."""
    return tuple(map(float, text.split(",")))


_parse_numbers.__name__ = "_numbers"


def _strip_none(kind: Any) -> Any:
    """The type of a value that may also be None."""
    if get_origin(kind) is not UnionType:
        return kind
    return next(each for each in get_args(kind) if each is not NoneType)


def _freeze(value: Any) -> Any:
    """A tuple in place of argparse's list."""
    return tuple(value) if isinstance(value, list) else value
