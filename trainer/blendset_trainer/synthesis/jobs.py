# SPDX-License-Identifier: Apache-2.0
"""The jobs of a synthesis by name: a further job is a line of this table.

Nothing here imports torch; the module of a job is imported when the job is planned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from blendset.dataset import Dataset
from blendset.errors import SettingsError
from blendset.options import find_nearest
from blendset_trainer.synthesis.settings import (
    DeformableSettings,
    NovelViewsSettings,
    RestyleSettings,
    SynthesisSettings,
    TextToImageSettings,
    WithOut,
)

if TYPE_CHECKING:
    from blendset_trainer.synthesis.engine import Synthesizer, ViewRequest

    Plan = Callable[[Dataset | None, SynthesisSettings], tuple[Synthesizer, list[ViewRequest], list[str]]]


@dataclass(frozen=True)
class SynthesisJob:
    """A job: its settings, the function that plans it ("module:name"), its purpose in a sentence without a full stop,
    and options of the command line that stand in its example.
    """

    settings: type[SynthesisSettings]
    plan: str
    purpose: str
    example: str

    @property
    def needs_dataset(self) -> bool:
        """Whether it begins with the views of a dataset; else it can make a dataset of its own."""
        return not issubclass(self.settings, WithOut)

    def load_plan(self) -> Plan:
        """Import the function that plans it."""
        module, _, name = self.plan.partition(":")
        plan: Plan = getattr(import_module(module), name)
        return plan


JOBS = {
    job.settings.job: job
    for job in (
        SynthesisJob(
            RestyleSettings,
            "blendset_trainer.synthesis.restyle:plan_restyle",
            "Give view sets that keep their geometry new surroundings, light and material, from the renders' depth",
            '--model OWNER/DEPTH-MODEL --prompt "a red sofa in a sunlit loft"',
        ),
        SynthesisJob(
            NovelViewsSettings,
            "blendset_trainer.synthesis.novel_views:plan_novel_views",
            "Show subjects, cut out of their renders, from other sides",
            "--model sudo-ai/zero123plus-v1.2 --remote-code sudo-ai/zero123plus-pipeline",
        ),
        SynthesisJob(
            DeformableSettings,
            "blendset_trainer.synthesis.deformable:plan_deformable",
            "Make sets of pictures of one subject from prompts alone, such as animals in other poses",
            "--model OWNER/MODEL --prompts PROMPTS.jsonl --out animals",
        ),
        SynthesisJob(
            TextToImageSettings,
            "blendset_trainer.synthesis.text_to_image:plan_text_to_image",
            "Make pictures of prompts of any origin, or of the views' captions",
            "--model OWNER/MODEL --prompts PROMPTS.txt --variants 4 --out pictures",
        ),
    )
}
"""In the order of the help."""


def find_job(name: str) -> SynthesisJob:
    """Return the job of a name; SettingsError with the nearest name where there is none."""
    if job := JOBS.get(name):
        return job
    near = find_nearest(name, list(JOBS))
    cure = f"did you mean '{near}'?" if near else f"choose from {', '.join(JOBS)}."
    raise SettingsError(f"There is no job '{name}'; {cure}")
