# SPDX-License-Identifier: Apache-2.0
"""`blendset prompts`: writes prompts from a dataset's labels and captions, and says why others were left out.

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
        "Write prompts for further pictures of a dataset's subjects; the same seed writes the same prompts",
        "blendset prompts kitchen-dataset --with grammar --count 200 --out prompts.jsonl",
    )
    add_dataset(command)
    add_settings(command, PromptSettings)


def _write_prompts(arguments: argparse.Namespace) -> int:
    settings = read_settings(PromptSettings, arguments)
    from blendset_trainer.synthesis.prompts.writing import prompts  # it takes long to import

    with report_progress(quiet=arguments.json) as on_progress:
        report = prompts(arguments.dataset, settings, on_progress=on_progress)
    if arguments.json:
        print_json({"prompts": str(report.out), "kept": len(report.kept), "removed": report.removed})
    else:
        _print_report(report, settings.total)
    return DONE


def _print_report(report: PromptReport, total: int) -> None:
    reasons = Counter(prompt.reason for prompt in report.removed).most_common()
    counts = [
        ("written", len(report.kept) + len(report.removed)),
        *((f"  {reason}", -count) for reason, count in reasons),
    ]
    print_table(("", "prompts"), [(what, str(count)) for what, count in [*counts, ("kept", len(report.kept))]])
    _name_contaminated([prompt for prompt in report.removed if prompt.reason == IN_EVALUATION])
    if len(report.kept) < total:
        print(f"Only {len(report.kept)} of {total} prompts could be made.", file=sys.stderr)
    print(f"\n{report.out}")


def _name_contaminated(removed: Sequence[RemovedPrompt]) -> None:
    for each in removed[:NAMED]:
        print(f"shares '{each.detail}' with the evaluation: {each.prompt}", file=sys.stderr)
    if more := len(removed[NAMED:]):
        print(f"and {more} more, which --json names", file=sys.stderr)
