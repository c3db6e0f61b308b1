# SPDX-License-Identifier: Apache-2.0
"""`blendset blender`: finds, installs and checks Blenders."""

from __future__ import annotations

import argparse
import os

from blendset.jobs.blenders import find_blender, install_profile
from blendset.jobs.messages import event_to_dict
from blendset_trainer.cli.console import print_json, print_note, print_table
from blendset_trainer.cli.parser import DONE, FAILED, Parser, add_command
from blendset_trainer.rendering import private_blenders
from blendset_trainer.rendering.worker import find_addon


def add_blender(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset blender` and its commands."""
    does = "Find, install and check Blenders"
    blender = commands.add_parser("blender", help=does, description=f"{does}.", epilog="example: blendset blender list")
    inner = blender.add_subparsers(required=True, metavar="COMMAND", title="commands")
    install = add_command(
        inner,
        "install",
        _install,
        "Make a private Blender from the bpy package, for machines that have none",
        f"blendset blender install --version {private_blenders.NEWEST}",
    )
    install.add_argument("--version", default=private_blenders.NEWEST, help="which Blender (default %(default)s)")
    add_command(
        inner, "list", _list, "Show the Blenders that are here; the first that works is used", "blendset blender list"
    )
    check = add_command(
        inner,
        "check",
        _check,
        "Render one frame on each device of a Blender",
        "blendset blender check --blender /opt/blender/blender",
    )
    check.add_argument("--blender", metavar="PATH", help="a Blender executable, or a Python that has bpy")


def _install(arguments: argparse.Namespace) -> int:
    blender = private_blenders.install(arguments.version, os.environ)
    print_json(private_blenders.describe_blender(blender)) if arguments.json else print(f"{blender} is ready")
    return DONE


def _list(arguments: argparse.Namespace) -> int:
    candidates = list(private_blenders.find_blenders(os.environ))
    if arguments.json:
        print_json([private_blenders.describe_candidate(*candidate) for candidate in candidates])
    elif not candidates:
        print("No Blender was found; install one, or run 'blendset blender install'.")
    else:
        print_table(("found by", "Blender"), [(source, str(result)) for source, _, result in candidates])
    return DONE


def _check(arguments: argparse.Namespace) -> int:
    blender = find_blender(arguments.blender, os.environ)
    devices = []
    for device in private_blenders.try_devices(blender, install_profile(blender, find_addon()), print_note):
        devices.append(device)
        if not arguments.json:
            outcome = device.error or f"{device.seconds:.1f} s"
            print(f"{device.type}  {device.name}: {outcome}", flush=True)
    if arguments.json:
        print_json(
            private_blenders.describe_blender(blender) | {"devices": [event_to_dict(device) for device in devices]}
        )
    return FAILED if any(device.error for device in devices) else DONE
