# SPDX-License-Identifier: Apache-2.0
"""`blendset prompts`: writes prompts for a dataset or for no scene, or curates pools, and says why others went.

Its options are the fields of `PromptSettings`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from blendset_trainer.cli.console import print_json, print_table, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command, add_dataset
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.synthesis.prompts.curation import RemovedPrompt
from blendset_trainer.synthesis.prompts.decontamination import IN_EVALUATION
from blendset_trainer.synthesis.prompts.settings import PromptSettings

if TYPE_CHECKING:
    from blendset_trainer.synthesis.prompts.writing import PromptReport

NAMED = 20
"""Of the prompts that share words with the evaluation, so many are named."""


def add_prompts(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset prompts`."""
    command = add_command(
        commands,
        "prompts",
        _write_prompts,
        "Write prompts for pictures of a dataset's subjects or of no scene, or curate those that exist",
        "blendset prompts kitchen-dataset --with grammar --count 200 --out prompts.jsonl",
    )
    add_dataset(command, optional=True)
    add_settings(command, PromptSettings)


def _write_prompts(arguments: argparse.Namespace) -> int:
    settings = read_settings(PromptSettings, arguments)
    from blendset_trainer.synthesis.prompts.writing import prompts  # it takes long to import

    with report_progress(quiet=arguments.json) as on_progress:
        report = prompts(arguments.dataset, settings, on_progress=on_progress)
    if arguments.json:
        notes = list(report.notes.values())
        print_json({"prompts": str(report.out), "kept": len(report.kept), "removed": report.removed, "notes": notes})
    else:
        _print_report(report, "read" if settings.pool else "written")
    return DONE


def _print_report(report: PromptReport, origin: str) -> None:
    reasons = Counter(prompt.reason for prompt in report.removed).most_common()
    counts = [
        (origin, str(len(report.kept) + len(report.removed))),
        *((f"  {reason}", str(-count)) for reason, count in reasons),
        *((f"  {what}", "not looked at") for what in report.notes),
        ("kept", str(len(report.kept))),
    ]
    print_table(("", "prompts"), counts)
    for note in report.notes.values():
        print(note, file=sys.stderr)
    _name_contaminated([prompt for prompt in report.removed if prompt.reason == IN_EVALUATION])
    if report.total and len(report.kept) < report.total:
        print(f"Only {len(report.kept)} of {report.total} prompts could be made.", file=sys.stderr)
    print(f"\n{report.out}")


def _name_contaminated(removed: Sequence[RemovedPrompt]) -> None:
    for each in removed[:NAMED]:
        print(f"shares '{each.detail}' with the evaluation: {each.prompt}", file=sys.stderr)
    if more := len(removed[NAMED:]):
        print(f"and {more} more, which --json names", file=sys.stderr)
