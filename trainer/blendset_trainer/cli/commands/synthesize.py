# SPDX-License-Identifier: Apache-2.0
"""`blendset synthesize`: the jobs by name, and the command that runs one.

Its options are the fields of the jobs' settings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.console import print_json, show_progress
from blendset_trainer.cli.parser import DONE, FAILED, Parser, UsageError, add_command
from blendset_trainer.cli.settings_options import add_setting, read_settings
from blendset_trainer.cli.stage_options import add_executor, make_executor
from blendset_trainer.synthesis.settings import (
    DeformableSettings,
    NovelViewsSettings,
    RestyleSettings,
    SynthesisSettings,
    TextToImageSettings,
)

if TYPE_CHECKING:
    from blendset_trainer.synthesis.engine import SynthesisReport, Synthesizer, ViewRequest

    Plan = Callable[[Dataset, SynthesisSettings], tuple[Synthesizer, list[ViewRequest], list[str]]]


@dataclass(frozen=True)
class SynthesisJob:
    """A job: its settings, and the function that plans it ("module:name", imported when the job is run)."""

    settings: type[SynthesisSettings]
    plan: str

    @property
    def options(self) -> dict[str, object]:
        """Its options by name, each with its default."""
        return {each.name: each.default for each in fields(self.settings)}

    def load_plan(self) -> Plan:
        """Import the function that plans it."""
        module, _, name = self.plan.partition(":")
        plan: Plan = getattr(import_module(module), name)
        return plan


JOBS = {
    job.settings.job: job
    for job in (
        SynthesisJob(DeformableSettings, "blendset_trainer.synthesis.deformable:plan_deformable"),
        SynthesisJob(NovelViewsSettings, "blendset_trainer.synthesis.novel_views:plan_novel_views"),
        SynthesisJob(RestyleSettings, "blendset_trainer.synthesis.restyle:plan_restyle"),
        SynthesisJob(TextToImageSettings, "blendset_trainer.synthesis.text_to_image:plan_text_to_image"),
    )
}
FIRST = (
    "model",
    "selection",
    "captions",
    "variants",
    "seed",
    "steps",
    "width",
    "height",
    "cfg_scale",
    "embedded_guidance",
    "negative_prompt",
    "precision",
    "batch",
    "remote_code",
    "prompts",
)
"""The order of the options in the help; those under a job's heading follow."""
HEADINGS = {
    RestyleSettings.job: "restyle: view sets keep their geometry, from the renders' depth",
    NovelViewsSettings.job: "novel-views: a subject, cut out, from other sides",
}
"""Above the other options of these jobs, which are theirs alone."""


def add_synthesize(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset synthesize`."""
    added = add_command(
        commands,
        "synthesize",
        _run_synthesis,
        "Let a generator make views that join the dataset, with their parents; what is there already is not made again",
        "blendset synthesize kitchen-dataset --job text-to-image --model OWNER/MODEL --variants 4",
    )
    added.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    added.add_argument("--job", required=True, choices=tuple(JOBS), help="what is made of what")
    for name in FIRST:
        add_setting(added, next(job.settings for job in JOBS.values() if name in job.options), name)
    for job, heading in HEADINGS.items():
        group = added.add_argument_group(heading)
        for name in JOBS[job].options:
            if name not in FIRST:
                add_setting(group, JOBS[job].settings, name)
    add_executor(added)


def _refuse_other_jobs_options(arguments: argparse.Namespace) -> None:
    """UsageError for an option that the job would pass over."""
    defaults = {name: value for job in JOBS.values() for name, value in job.options.items()}
    for name in sorted(defaults.keys() - JOBS[arguments.job].options):
        if getattr(arguments, name) not in (defaults[name], []):
            jobs = " or ".join(other for other, job in JOBS.items() if name in job.options)
            raise UsageError(
                f"--{name.replace('_', '-')} is not for --job {arguments.job} but for {jobs}; leave it out."
            )


def _run_synthesis(arguments: argparse.Namespace) -> int:
    if not find_spec("diffusers"):
        raise BlendsetError("Synthesis needs diffusers; install 'blendset-trainer[train]'.")
    if arguments.remote_code and arguments.executor == "ray":
        raise UsageError("--remote-code runs here or in processes, not on Ray.")
    _refuse_other_jobs_options(arguments)
    job = JOBS[arguments.job]
    settings = read_settings(job.settings, arguments)
    from blendset_trainer.synthesis.engine import synthesize

    dataset = Dataset(arguments.dataset)
    synthesizer, requests, left_out = job.load_plan()(dataset, settings)
    with show_progress("pictures", quiet=arguments.json) as on_progress:
        report = synthesize(dataset, synthesizer, requests, make_executor(arguments), settings.batch, on_progress)
    return _print_report(report, left_out, dataset, arguments.json)


def _print_report(report: SynthesisReport, left_out: list[str], dataset: Dataset, as_json: bool) -> int:
    """Say what became of the requests; returns the exit code."""
    if as_json:
        print_json(asdict(report) | {"left_out": left_out})
    else:
        for line in (*left_out, *report.notes, *dict.fromkeys(report.failed.values())):
            print(line, file=sys.stderr)
        print(f"{dataset.root}: {report.made} pictures made now, {report.kept} before, {len(report.failed)} failed")
    return FAILED if report.failed and not report.made + report.kept else DONE
