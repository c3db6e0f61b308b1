# SPDX-License-Identifier: Apache-2.0
"""The parser of the command line, and the options that several commands share.

A wrong word is answered in one sentence that names the nearest right one.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from blendset.config import Config, config_from_arguments
from blendset.errors import BlendsetError, SettingsError
from blendset.jobs.scenes import Summary
from blendset_trainer.rendering.plan import PlanReport

DONE, FAILED, WRONG_USAGE, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes; INCOMPLETE says that what there is is sound, and that views are missing because they failed."""


class UsageError(SettingsError):
    """The command line is wrong. As every SettingsError it gives exit code 2."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError, takes no abbreviations, and reports its own unknown options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse as argparse does; UsageError for what is unknown, which no parent parser reports then."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def format_help(self) -> str:
        """Return the help; the texts that are functions are called only now."""
        for action in self._actions:
            if callable(action.help):
                action.help = action.help()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's message, or with the nearest known word where a word is unknown."""
        wrong = re.search(r"(?:unrecognized arguments:|invalid choice:) '?([^\s'=]+)", message)
        if not wrong:
            raise UsageError(f"{message}; see '{self.prog} --help'.")
        near = difflib.get_close_matches(wrong[1], self._list_words(), n=1)
        cure = f"did you mean '{near[0]}'?" if near else f"see '{self.prog} --help'."
        raise UsageError(f"'{self.prog}' does not know '{wrong[1]}'; {cure}")

    def _list_words(self) -> list[str]:
        """Return every option and choice that this parser knows."""
        options = [word for action in self._actions for word in action.option_strings]
        return options + [str(word) for action in self._actions for word in action.choices or ()]


def add_command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    run: Callable[..., int],
    does: str,
    example: str,
    **options: Any,
) -> Parser:
    """Add a command, with the options that every command has, and return its parser; `run` runs it.

    `does` says in one sentence what it does, `example` is a command line.
    """
    parser = commands.add_parser(name, help=does, description=f"{does}.", epilog=f"example: {example}", **options)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output, for programs")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    parser.set_defaults(run=run)
    return parser


def parse_positive(text: str) -> int:
    """Return a whole number above 0: the type of an option."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


parse_positive.__name__ = "positive"  # argparse names the type in its errors


def parse_share(text: str) -> float:
    """Return a number from 0 to 1: the type of an option."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return number


parse_share.__name__ = "share"


def add_dataset(command: Parser, optional: bool = False) -> None:
    """Add DATASET to a command, which may be left out where it is `optional`."""
    many = "?" if optional else None
    command.add_argument("dataset", type=Path, nargs=many, metavar="DATASET", help="the dataset's folder")


def add_scenes(command: Parser) -> None:
    """Add SCENE to a command."""
    command.add_argument("scenes", nargs="+", metavar="SCENE", help=".blend files, folders of them, or patterns")


def choose_exit_code(ended: Summary | PlanReport) -> int:
    """Return DONE, FAILED where a scene has no view, or INCOMPLETE where some lack views that failed."""
    if ended.done:
        return DONE
    return INCOMPLETE if ended.sound else FAILED


def read_config(arguments: argparse.Namespace, default: Config | None = None) -> Config:
    """Return the configuration of file and command line, over `default`; UsageError for what is wrong in it."""
    try:
        return config_from_arguments(arguments, default)
    except BlendsetError as error:
        raise UsageError(str(error)) from error
