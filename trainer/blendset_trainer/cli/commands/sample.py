# SPDX-License-Identifier: Apache-2.0
"""`blendset sample`: pictures of prompts by a model, with the LoRA that was trained for it."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from blendset.errors import BlendsetError
from blendset_trainer.cli.console import print_json, show_progress
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command, parse_positive


def add_sample(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset sample`."""
    sample = add_command(
        commands,
        "sample",
        _sample,
        "Make pictures of prompts with a model; the same seed makes the same pictures",
        'blendset sample OWNER/MODEL --lora trained/lora --prompt "a red chair in a kitchen" --out pictures',
    )
    sample.add_argument("model", metavar="MODEL", help="a folder or a hub id of a diffusers pipeline")
    sample.add_argument("--lora", metavar="PATH", help="a LoRA that was trained for it")
    sample.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="give it again for more pictures")
    sample.add_argument("--prompts", type=Path, metavar="FILE", help="a text file, a prompt to a line")
    sample.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pictures go")
    sample.add_argument("--seed", type=int, default=0, help="of the first picture; each next has the next one")
    sample.add_argument("--steps", type=parse_positive, help="of the sampler (default: the pipeline's own)")
    sample.add_argument("--width", type=parse_positive, metavar="PX", help="default: what the model was made for")
    sample.add_argument("--height", type=parse_positive, metavar="PX", help="default: what the model was made for")
    sample.add_argument("--cfg-scale", type=float, help="classifier-free guidance (default: the pipeline's own)")
    sample.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="PICTURE",
        help="of what the pictures are to show, for a LoRA that was trained with references; give it again for more",
    )
    sample.add_argument("--image-scale", type=float, help="how far references are followed (default: the family's)")
    sample.add_argument("--text-scale", type=float, help="how far the prompt is, beside them (default: the family's)")


def _sample(arguments: argparse.Namespace) -> int:
    prompts = [*arguments.prompt, *_read_lines(arguments.prompts)]
    if not prompts:
        raise UsageError("There is nothing to make pictures of; give --prompt TEXT or --prompts FILE.")
    if arguments.reference and arguments.cfg_scale is not None:
        raise UsageError("--cfg-scale is for pictures without references; give --text-scale.")
    if not arguments.reference and (arguments.image_scale, arguments.text_scale) != (None, None):
        raise UsageError("--image-scale and --text-scale are for pictures with references; give --reference PICTURE.")
    if not find_spec("diffusers"):
        raise BlendsetError("Sampling needs diffusers; install 'blendset-trainer[train]'.")
    from blendset_trainer.diffusion.references import ReferenceGuidance
    from blendset_trainer.diffusion.sample_files import write_samples
    from blendset_trainer.diffusion.sampling import SamplingSettings

    settings = SamplingSettings(arguments.seed, arguments.steps, arguments.width, arguments.height, arguments.cfg_scale)
    guidance = ReferenceGuidance(tuple(arguments.reference), arguments.image_scale, arguments.text_scale)
    with show_progress("pictures", quiet=arguments.json) as on_progress:
        record = write_samples(arguments.model, arguments.lora, prompts, settings, guidance, arguments.out, on_progress)
    if arguments.json:
        print_json(record)
    else:
        print(f"{len(prompts)} pictures are in {arguments.out}")
    return DONE


def _read_lines(file: Path | None) -> list[str]:
    """The prompts of a file, one to a line; UsageError where it cannot be read."""
    if file is None:
        return []
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read ({error}); give a text file with a prompt to a line.") from error
