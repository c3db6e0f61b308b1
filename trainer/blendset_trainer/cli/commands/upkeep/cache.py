# SPDX-License-Identifier: Apache-2.0
"""`blendset cache`: which latents and text features are cached beside a dataset or photos, and which are unused.

Torch and its friends are imported when the command runs, not before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from blendset_trainer.cli.console import print_json, print_table
from blendset_trainer.cli.parser import DONE, Parser, add_command, parse_positive
from blendset_trainer.training.data.cache_uses import LAST_RUNS


def add_cache(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset cache`."""
    purpose = "Look after the latents and text features that training keeps"
    cache = commands.add_parser(
        "cache", help=purpose, description=f"{purpose}.", epilog="example: blendset cache info photos"
    )
    inner = cache.add_subparsers(required=True, metavar="COMMAND", title="commands")
    info = add_command(
        inner,
        "info",
        _print_info,
        "Show what is kept, by the model that made it",
        "blendset cache info kitchen-dataset",
    )
    collect = add_command(
        inner,
        "gc",
        _collect,
        "Show what is kept of pictures and captions that are gone, or for no late run, and remove it when told to",
        "blendset cache gc kitchen-dataset --yes",
    )
    for inner_command in (info, collect):
        inner_command.add_argument("folder", type=Path, metavar="FOLDER", help="a dataset's folder, or one of photos")
        inner_command.add_argument(
            "--cache-folder", default="", metavar="DIR", help="train.cache_folder of its runs, where they set it"
        )
    collect.add_argument(
        "--last-runs",
        type=parse_positive,
        default=LAST_RUNS,
        metavar="N",
        help="keep what any of the last N runs with different settings has used (default %(default)s)",
    )
    collect.add_argument("--yes", action="store_true", help="remove it")


def _print_info(arguments: argparse.Namespace) -> int:
    from blendset_trainer.training.data.cache_upkeep import describe_cache

    report = describe_cache(arguments.folder, arguments.cache_folder)
    if arguments.json:
        print_json({"made": report.groups, "damaged": [str(path) for path in report.damaged]})
        return DONE
    total = sum(group.bytes for group in report.groups)
    rows = [(group.made_by, str(group.entries), format_megabytes(group.bytes)) for group in report.groups]
    print_table(("made by", "entries", "MB"), [*rows, ("in all", str(report.entries), format_megabytes(total))])
    for path in report.damaged:
        print(f"{path} is damaged or was never finished; 'blendset cache gc' removes it")
    return DONE


def _collect(arguments: argparse.Namespace) -> int:
    from blendset_trainer.training.data.cache_upkeep import collect_unused

    report = collect_unused(arguments.folder, arguments.yes, arguments.cache_folder, arguments.last_runs)
    if arguments.json:
        print_json(report)
        return DONE
    for path in report.damaged:
        print(f"{path} is damaged or was never finished")
    print(f"{report.unused} of {report.entries} entries are of pictures or captions that are no longer there")
    if report.of_old_runs:
        print(f"{report.of_old_runs} more are for no settings of the last runs (--last-runs {arguments.last_runs})")
    if (report.unused or report.of_old_runs or report.damaged) and not report.removed:
        print("nothing was removed; --yes does it")
    return DONE


def format_megabytes(size: int) -> str:
    """A number of bytes in megabytes, with one decimal."""
    return f"{size / 1e6:.1f}"
