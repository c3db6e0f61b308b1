# SPDX-License-Identifier: Apache-2.0
"""`blendset synthesize`: the jobs by name, and the command that runs one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.console import print_json, show_progress
from blendset_trainer.cli.parser import DONE, FAILED, Parser, UsageError, add_command, parse_positive, parse_share
from blendset_trainer.cli.stage_options import add_executor, make_executor
from blendset_trainer.stages.caption_forms import CAPTION_FORMS, DENSE

if TYPE_CHECKING:
    from blendset_trainer.synthesis.engine import SynthesisReport, Synthesizer, ViewRequest

    Planned = tuple[Synthesizer, list[ViewRequest], list[str]]
    Plan = Callable[[argparse.Namespace, Dataset], Planned]

JOBS = {
    "deformable": "blendset_trainer.synthesis.deformable:plan_deformable",
    "novel-views": "blendset_trainer.synthesis.novel_views:plan_novel_views",
    "restyle": "blendset_trainer.synthesis.restyle:plan_restyle",
    "text-to-image": "blendset_trainer.synthesis.text_to_image:plan_text_to_image",
}
"""Each with the function that says what is to be made, and by what."""
OF_SIZE = "width", "height"
READS = {
    "deformable": ("prompts", "variants", *OF_SIZE),
    "novel-views": ("selection", "variants", "layout", "background", *OF_SIZE),
    "restyle": (
        "selection",
        "prompt",
        "prompts",
        "variants",
        "views",
        "covisible",
        "controlnet",
        "share",
        "warp",
        "warp_above",
        "anchor",
    ),
    "text-to-image": ("selection", "captions", "prompts", "variants", *OF_SIZE),
}
"""The options that a job reads, of those that not all do."""


def add_synthesize(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset synthesize`."""
    added = add_command(
        commands,
        "synthesize",
        _synthesize,
        "Let a generator make views that join the dataset, with their parents; what is there already is not made again",
        "blendset synthesize kitchen-dataset --job text-to-image --model OWNER/MODEL --variants 4",
    )
    added.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    added.add_argument("--job", required=True, choices=tuple(JOBS), help="what is made of what")
    added.add_argument("--model", required=True, metavar="MODEL", help="a folder or a hub id of a diffusers pipeline")
    added.add_argument("--selection", default="", metavar="NAME", help="the views to begin with (default: all renders)")
    added.add_argument("--captions", choices=CAPTION_FORMS, default=DENSE, help="default %(default)s")
    added.add_argument(
        "--variants", type=parse_positive, default=1, metavar="N", help="pictures of each caption or prompt"
    )
    added.add_argument("--seed", type=int, default=0, help="everything random follows from it")
    added.add_argument(
        "--steps", type=parse_positive, default=30, metavar="N", help="of the sampler (default %(default)s)"
    )
    added.add_argument("--width", type=parse_positive, metavar="PX", help="default: what the model was made for")
    added.add_argument("--height", type=parse_positive, metavar="PX", help="default: what the model was made for")
    added.add_argument("--cfg-scale", type=float, help="classifier-free guidance (default: the pipeline's own)")
    added.add_argument("--embedded-guidance", type=float, help="of distilled models (default: the pipeline's own)")
    added.add_argument("--negative-prompt", default="", metavar="TEXT", help="what pictures should not be")
    added.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="", help="default: bf16 on a GPU")
    added.add_argument(
        "--batch", type=parse_positive, default=4, metavar="N", help="pictures at once (default %(default)s)"
    )
    added.add_argument(
        "--remote-code", default="", metavar="MODEL", help="run the pipeline.py of this folder or hub id"
    )
    added.add_argument(
        "--prompts", type=Path, metavar="FILE", help="what 'blendset prompts' wrote; for restyle also a text file"
    )
    restyle = added.add_argument_group("restyle: view sets keep their geometry, from the renders' depth")
    restyle.add_argument(
        "--prompt", action="append", default=[], metavar="TEXT", help="of a whole set; may be repeated"
    )
    restyle.add_argument("--views", type=parse_positive, default=3, metavar="N", help="of a set (default %(default)s)")
    restyle.add_argument(
        "--covisible", type=parse_share, default=0.25, metavar="SHARE",
        help="least share of the subject that a view has in common with another of its set (default %(default)s)",
    )  # fmt: skip
    restyle.add_argument("--controlnet", default="", metavar="MODEL", help="for depth, with a Stable Diffusion model")
    restyle.add_argument(
        "--share", choices=("foreground", "same-object", "same-object+scene", "apart"), default="foreground",
        help="what views see of one another (default %(default)s, SynCD's)",
    )  # fmt: skip
    restyle.add_argument("--warp", choices=("noisy", "clean", "none"), default="noisy", help="default %(default)s")
    restyle.add_argument("--warp-above", type=float, default=0.8, metavar="SIGMA", help="default %(default)s, of flow")
    restyle.add_argument("--anchor", action="store_true", help="let the first view's render stand among them")
    novel = added.add_argument_group("novel-views: a subject, cut out, from other sides")
    novel.add_argument(
        "--layout", type=_layout, metavar="ROWSxCOLUMNS", help="of the model's views (default: known of Zero123++)"
    )
    novel.add_argument("--background", choices=("grey", "white"), default="grey", help="default %(default)s")
    add_executor(added)
    options = sorted({name for names in READS.values() for name in names})
    added.set_defaults(defaults={name: added.get_default(name) for name in options})


def _refuse_unread(arguments: argparse.Namespace) -> None:
    """UsageError for an option that the job would pass over."""
    for name, default in arguments.defaults.items():
        if getattr(arguments, name) != default and name not in READS[arguments.job]:
            jobs = " or ".join(job for job, names in READS.items() if name in names)
            raise UsageError(
                f"--{name.replace('_', '-')} is not for --job {arguments.job} but for {jobs}; leave it out."
            )


def _layout(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    return parse_positive(rows), parse_positive(columns)


def _synthesize(arguments: argparse.Namespace) -> int:
    if not find_spec("diffusers"):
        raise BlendsetError("Synthesis needs diffusers; install 'blendset-trainer[train]'.")
    if arguments.remote_code and arguments.executor == "ray":
        raise UsageError("--remote-code runs here or in processes, not on Ray.")
    _refuse_unread(arguments)
    from blendset_trainer.synthesis.engine import synthesize

    dataset = Dataset(arguments.dataset)
    module, _, function = JOBS[arguments.job].partition(":")
    plan: Plan = getattr(import_module(module), function)
    synthesizer, wanted, left_out = plan(arguments, dataset)
    with show_progress("pictures", quiet=arguments.json) as on_progress:
        report = synthesize(dataset, synthesizer, wanted, make_executor(arguments), arguments.batch, on_progress)
    return _told(report, left_out, dataset, arguments.json)


def _told(report: SynthesisReport, left_out: list[str], dataset: Dataset, as_json: bool) -> int:
    if as_json:
        print_json(asdict(report) | {"left_out": left_out})
    else:
        for line in (*left_out, *report.notes, *dict.fromkeys(report.failed.values())):
            print(line, file=sys.stderr)
        print(f"{dataset.root}: {report.made} pictures made now, {report.kept} before, {len(report.failed)} failed")
    return FAILED if report.failed and not report.made + report.kept else DONE


def generator_from(arguments: argparse.Namespace) -> Any:
    """The generator that a command line asks for."""
    from blendset_trainer.diffusion.pipeline_settings import find_pipeline

    names = ("cfg_scale", "embedded_guidance", "negative_prompt", "precision", "remote_code", "controlnet")
    return find_pipeline(arguments.model, arguments.steps, **{name: getattr(arguments, name) for name in names})


def prompts_from(arguments: argparse.Namespace, label: str) -> list[str]:
    """What is asked for of subjects with a label: each --prompt, and of the file what is for that label or for any."""
    from blendset_trainer.synthesis.prompts.files import read_prompts, read_texts

    found = list(arguments.prompt)
    if arguments.prompts and arguments.prompts.suffix == ".jsonl":
        found += [each.prompt for each in read_prompts(arguments.prompts) if each.label in ("", label)]
    elif arguments.prompts:
        found += read_texts(arguments.prompts)
    elif not found:
        raise UsageError("There is nothing to ask for; give --prompt TEXT or --prompts FILE.")
    return list(dict.fromkeys(found))
