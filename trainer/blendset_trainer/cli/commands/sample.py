# SPDX-License-Identifier: Apache-2.0
"""`blendset sample`: pictures of prompts by a model, with the LoRA that was trained for it."""

from __future__ import annotations

import argparse

from blendset_trainer.cli.console import print_json, print_note, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.diffusion.sample import SampleSettings, sample


def add_sample(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset sample`."""
    parser = add_command(
        commands,
        "sample",
        _sample,
        "Make pictures of prompts with a model; the same seed makes the same pictures",
        'blendset sample OWNER/MODEL --lora trained/lora --prompt "a red chair in a kitchen" --out pictures',
    )
    parser.add_argument("model", metavar="MODEL", help="a folder or a hub id of a diffusers pipeline")
    add_settings(parser, SampleSettings)


def _sample(arguments: argparse.Namespace) -> int:
    settings = read_settings(SampleSettings, arguments)
    with report_progress(quiet=arguments.json) as on_progress:
        report = sample(arguments.model, settings, on_progress=on_progress, report=print_note)
    if arguments.json:
        print_json(report)
    else:
        print(f"{len(report.pictures)} pictures are in {settings.out}")
    return DONE
