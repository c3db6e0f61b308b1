# SPDX-License-Identifier: Apache-2.0
"""`blendset` on the command line: one command per stage, each safe to run twice.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 sound but incomplete, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from blendset import __version__
from blendset.errors import SettingsError
from blendset_trainer.cli.commands.ablate import add_ablate
from blendset_trainer.cli.commands.adopt import add_adopt
from blendset_trainer.cli.commands.calibrate import add_calibrate
from blendset_trainer.cli.commands.caption import add_caption
from blendset_trainer.cli.commands.compare import add_compare
from blendset_trainer.cli.commands.evaluate import add_evaluate
from blendset_trainer.cli.commands.evolve import add_evolve
from blendset_trainer.cli.commands.export import add_export, add_unpack
from blendset_trainer.cli.commands.plan import add_plan
from blendset_trainer.cli.commands.prompts import add_prompts
from blendset_trainer.cli.commands.render import add_render
from blendset_trainer.cli.commands.report import add_report
from blendset_trainer.cli.commands.sample import add_sample
from blendset_trainer.cli.commands.score import add_score
from blendset_trainer.cli.commands.select import add_select
from blendset_trainer.cli.commands.synthesize import add_synthesize, replace_job_option
from blendset_trainer.cli.commands.train import add_train
from blendset_trainer.cli.commands.upkeep.blender import add_blender
from blendset_trainer.cli.commands.upkeep.cache import add_cache
from blendset_trainer.cli.commands.verify import add_verify
from blendset_trainer.cli.console import print_any_name, print_error
from blendset_trainer.cli.parser import FAILED, INTERRUPTED, WRONG_USAGE, Parser

COMMANDS = (
    add_plan,
    add_render,
    add_verify,
    add_adopt,
    add_caption,
    add_score,
    add_select,
    add_report,
    add_export,
    add_unpack,
    add_prompts,
    add_train,
    add_calibrate,
    add_cache,
    add_sample,
    add_evaluate,
    add_compare,
    add_ablate,
    add_evolve,
    add_synthesize,
    add_blender,
)
"""The functions that add the commands to the parser, in the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of these words, or of the process's arguments, and return its exit code."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's request to end is treated as Ctrl-C
    words = list(sys.argv[1:] if argv is None else argv)
    print_any_name()
    try:
        arguments = build_parser().parse_args(replace_job_option(words))
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # of `blendset ... | head`, which reads no further
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - what is no BlendsetError is a fault of ours, and says so
        print_error(error, with_traceback="--debug" in words)
        return WRONG_USAGE if isinstance(error, SettingsError) else FAILED
    except KeyboardInterrupt:
        print("blendset: interrupted; what is finished is kept, and the same command goes on.", file=sys.stderr)
        return INTERRUPTED


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    top = Parser(
        prog="blendset",
        description="Turns Blender scenes into training sets.",
        epilog="example: blendset render kitchen.blend --out kitchen-dataset",
    )
    top.add_argument("--version", action="version", version=f"blendset {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for add_command in COMMANDS:
        add_command(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
