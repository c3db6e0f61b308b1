# SPDX-License-Identifier: Apache-2.0
"""`blendset train`: fine-tunes a model as a TOML says; the same command again goes on where it was interrupted."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from blendset.errors import BlendsetError
from blendset.options import read_toml
from blendset_trainer.cli.console import print_json, print_table, show_progress
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command
from blendset_trainer.training_runs import PLAN_PNG

if TYPE_CHECKING:
    from blendset_trainer.training.settings import TrainConfig


def add_train(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset train`."""
    train = add_command(
        commands,
        "train",
        _train,
        "Fine-tune a diffusion model; the same command again goes on where it was interrupted",
        "blendset train kitchen.toml --dry-run",
    )
    train.add_argument("config", type=Path, metavar="CONFIG.toml", help="the run; see docs/training.md")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="train.batch=8, over the file")
    train.add_argument("--dry-run", action="store_true", help="show which source trains which noise, and train nothing")
    train.add_argument("--explain", action="store_true", help="show every option, and where its value comes from")


def _train(arguments: argparse.Namespace) -> int:
    if not find_spec("diffusers"):
        raise BlendsetError("Training needs diffusers; install 'blendset-trainer[train]'.")
    config = _load_config(arguments)
    if arguments.explain:
        return _explain(arguments, config)
    if arguments.dry_run:
        return _dry_run(arguments, config)
    from blendset_trainer.training.finishing import finish
    from blendset_trainer.training.loop import train
    from blendset_trainer.training.setup import make_accelerator, prepare

    accelerator = make_accelerator(config.model.precision)
    report = partial(accelerator.print, file=sys.stderr)
    quiet = arguments.json or not accelerator.is_main_process
    with show_progress("features encoded", quiet=quiet) as count:
        model, data, state = prepare(config, accelerator, report, lambda what, done, total: count(done, total))
    with show_progress("pictures seen", quiet=quiet) as count:
        train(model, data, state, count)
    for reason in state.loader.failures.values():
        report(f"left out: {reason}")
    folder, samples = finish(model, data, state), state.samples_seen
    if accelerator.is_main_process and arguments.json:
        print_json({"folder": str(folder), "samples": samples, "steps": state.step})
    elif accelerator.is_main_process:
        print(f"{samples} pictures seen; what was trained is in {folder}")
    return DONE


def _load_config(arguments: argparse.Namespace) -> TrainConfig:
    from blendset_trainer.training.settings import load_train_config

    try:
        return load_train_config(arguments.config, arguments.set)
    except BlendsetError as error:
        raise UsageError(str(error)) from error


def _explain(arguments: argparse.Namespace, config: TrainConfig) -> int:
    from blendset_trainer.training.settings import explain_config

    rows = explain_config(config, read_toml(arguments.config), str(arguments.config), arguments.set)
    if arguments.json:
        print_json([dict(zip(("option", "value", "from"), row, strict=True)) for row in rows])
    else:
        print_table(("option", "value", "from"), rows)
    return DONE


def _dry_run(arguments: argparse.Namespace, config: TrainConfig) -> int:
    from blendset_trainer.training.setup import make_dry_plan
    from blendset_trainer.training.timesteps.report import (
        PLAN_COLUMNS,
        format_plan_rows,
        make_plan_record,
        write_timestep_plan,
    )

    plan, sizes = make_dry_plan(config)
    write_timestep_plan(Path(config.out), plan, sizes, config.train.samples)
    if arguments.json:
        print_json(make_plan_record(plan, sizes, config.train.samples))
        return DONE
    print_table(PLAN_COLUMNS, format_plan_rows(plan, sizes, config.train.samples))
    for warning in plan.list_warnings():
        print(f"\n{warning}")
    print(f"\n{Path(config.out) / PLAN_PNG}")
    return DONE
