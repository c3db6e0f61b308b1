# SPDX-License-Identifier: Apache-2.0
"""`blendset prompts`: writes prompts from a dataset's labels and captions, and says why others were left out.

Its options are the fields of `PromptSettings`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.console import print_json, print_table, show_progress
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command
from blendset_trainer.cli.settings_options import add_setting, read_settings
from blendset_trainer.stages.registry import UnknownStageError
from blendset_trainer.synthesis.prompts.curation import Curation, RemovedPrompt, load_curation
from blendset_trainer.synthesis.prompts.decontamination import IN_EVALUATION
from blendset_trainer.synthesis.prompts.prompt_files import Prompt, read_texts, write_prompts
from blendset_trainer.synthesis.prompts.settings import PromptSettings

NAMED = 20
"""Of the prompts that share words with the evaluation, so many are named."""


def add_prompts(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset prompts`."""
    prompts = add_command(
        commands,
        "prompts",
        _write_prompts,
        "Write prompts for further pictures of a dataset's subjects; the same seed writes the same prompts",
        "blendset prompts kitchen-dataset --with grammar --count 200 --out prompts.jsonl",
    )
    prompts.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    for each in fields(PromptSettings):
        add_setting(prompts, PromptSettings, each.name)


def _write_prompts(arguments: argparse.Namespace) -> int:
    dataset, removed = Dataset(arguments.dataset), list[RemovedPrompt]()
    curation, evaluation = _load_rules(arguments)
    settings = read_settings(PromptSettings, arguments)
    from blendset_trainer.synthesis.prompts.writing import compose_prompts  # it takes long to import

    kept: list[Prompt] = []
    try:
        prompts = compose_prompts(dataset, settings, curation, evaluation, removed)
    except UnknownStageError as error:
        raise UsageError(str(error)) from error
    with show_progress("prompts", quiet=arguments.json) as on_progress:
        for prompt in prompts:
            kept.append(prompt)
            on_progress(len(kept), settings.total)
    if not kept:
        raise BlendsetError(f"No prompt is left ({_format_reasons(removed)}); loosen --curate or ask another writer.")
    write_prompts(settings.out, kept)
    _print_report(settings, kept, removed, arguments.json)
    return DONE


def _load_rules(arguments: argparse.Namespace) -> tuple[Curation, list[str]]:
    """How to curate, and the texts that evaluate; UsageError for what is wrong in either."""
    try:
        evaluation = [text for path in arguments.keep_out for text in read_texts(path)]
        return load_curation(arguments.curate), evaluation
    except BlendsetError as error:
        raise UsageError(str(error)) from error


def _print_report(
    settings: PromptSettings, kept: Sequence[Prompt], removed: Sequence[RemovedPrompt], as_json: bool
) -> None:
    if as_json:
        print_json({"prompts": str(settings.out), "kept": len(kept), "removed": removed})
        return
    reasons = Counter(each.reason for each in removed)
    rows = [("written", len(kept) + len(removed)), *((f"  {why}", -many) for why, many in reasons.most_common())]
    print_table(("", "prompts"), [(what, str(many)) for what, many in [*rows, ("kept", len(kept))]])
    _name_contaminated([each for each in removed if each.reason == IN_EVALUATION])
    if len(kept) < settings.total:
        print(f"Only {len(kept)} of {settings.total} prompts could be made.", file=sys.stderr)
    print(f"\n{settings.out}")


def _name_contaminated(removed: Sequence[RemovedPrompt]) -> None:
    for each in removed[:NAMED]:
        print(f"shares '{each.detail}' with the evaluation: {each.prompt}", file=sys.stderr)
    if more := len(removed[NAMED:]):
        print(f"and {more} more, which --json names", file=sys.stderr)


def _format_reasons(removed: Sequence[RemovedPrompt]) -> str:
    reasons = Counter(each.reason for each in removed)
    return ", ".join(f"{many} {reason}" for reason, many in reasons.most_common()) or "none was written"
