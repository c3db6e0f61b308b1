# SPDX-License-Identifier: Apache-2.0
"""`blendset synthesize`: a command for each job, whose options are the fields of the job's settings."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, NoReturn

from blendset_trainer.cli.console import print_json, print_table, report_progress
from blendset_trainer.cli.parser import DONE, FAILED, Parser, UsageError, add_command, add_dataset
from blendset_trainer.cli.settings_options import add_settings, get_flag, read_settings
from blendset_trainer.stages.run import MAX_REASONS
from blendset_trainer.synthesis.jobs import JOBS, SynthesisJob
from blendset_trainer.synthesis.search.grid import describe_options
from blendset_trainer.synthesis.synthesize import synthesize

if TYPE_CHECKING:
    from blendset_trainer.synthesis.engine import SynthesisReport
    from blendset_trainer.synthesis.search.report import SearchReport

PURPOSE = (
    "Let a generator make views that join the dataset, with their parents; what is there already is not made again"
)
OLD_OPTION = "--job"
"""How a job was named before each had a command."""


class JobParser(Parser):
    """The parser of a job. It says of an option of other jobs whose it is."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's message, or with what is known of an unknown option."""
        unknown = re.search(r"unrecognized arguments: (?:.*? )?(--[\w-]+)", message)
        if unknown and (jobs := [name for name, job in JOBS.items() if unknown[1] in _list_flags(job)]):
            raise UsageError(f"{unknown[1]} is not for '{self.prog}' but for {' or '.join(jobs)}; leave it out.")
        super().error(message)


def add_synthesize(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset synthesize` and a command for each job."""
    parser = commands.add_parser(
        "synthesize",
        help=PURPOSE,
        description=f"{PURPOSE}.",
        epilog=f"example: {_format_example('restyle', JOBS['restyle'])}",
    )
    inner: argparse._SubParsersAction[Parser] = parser.add_subparsers(
        required=True, metavar="JOB", title="jobs", parser_class=JobParser
    )
    for name, job in JOBS.items():
        command = add_command(inner, name, _synthesize, job.purpose, _format_example(name, job))
        add_dataset(command, optional=not job.needs_dataset)
        add_settings(command, job.settings)
        command.set_defaults(settings=job.settings)


def replace_job_option(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with `synthesize DATASET --job NAME` in its new spelling.

    The old one is taken for one more release, with a sentence on stderr.
    """
    names_job = len(words) > 2 and words[1] in JOBS and not words[2].startswith("-")  # else a dataset of that name
    if words[:1] != ["synthesize"] or names_job:
        return list(words)
    words = [part for word in words for part in (word.split("=", 1) if word.startswith(f"{OLD_OPTION}=") else [word])]
    if OLD_OPTION not in words[:-1]:
        return words
    at = words.index(OLD_OPTION)
    name = words[at + 1]
    if name in JOBS:
        spelling = f"blendset synthesize {name} DATASET ..."
        print(f"blendset: write '{spelling}'; {OLD_OPTION} is taken for one more release.", file=sys.stderr)
    return ["synthesize", name, *words[1:at], *words[at + 2 :]]


def _list_flags(job: SynthesisJob) -> list[str]:
    return [get_flag(field) for field in fields(job.settings)]


def _format_example(name: str, job: SynthesisJob) -> str:
    return f"blendset synthesize {name} {'kitchen-dataset ' if job.needs_dataset else ''}{job.example}"


def _synthesize(arguments: argparse.Namespace) -> int:
    settings = read_settings(arguments.settings, arguments)
    with report_progress(quiet=arguments.json) as on_progress:
        report = synthesize(arguments.dataset, settings, on_progress=on_progress)
    return _print_report(report, arguments)


def _print_report(report: SynthesisReport, arguments: argparse.Namespace) -> int:
    """Say what became of the requests; returns the exit code."""
    if arguments.json:
        print_json(asdict(report))
    else:
        if report.search:
            _print_search(report.search)
        reasons = list(dict.fromkeys(report.failed.values()))
        more = [f"{len(reasons) - MAX_REASONS} more reasons; --json has all"] if len(reasons) > MAX_REASONS else []
        for line in (*report.left_out, *report.notes, *reasons[:MAX_REASONS], *more):
            print(line, file=sys.stderr)
        counts = f"{report.made} pictures made now, {report.kept} before, {len(report.failed)} failed"
        print(f"{arguments.dataset or arguments.out}: {counts}")
    return FAILED if report.failed and not report.made + report.kept else DONE


def _print_search(search: SearchReport) -> None:
    """Print the table of a search, and what it chose."""
    print_table(
        ("setting", search.by, "95 % interval", "behind the best", "95 % interval"),
        [
            (describe_options(each.options), f"{each.mean:.4g}", _format_interval(each.interval), f"{each.behind:.3g}",
             _format_interval(each.behind_interval))
            for each in search.settings
        ],
    )  # fmt: skip
    for line in search.left_out:
        print(line, file=sys.stderr)
    print(f"{search.reason} ({search.prompts} prompts)")


def _format_interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}"
