# SPDX-License-Identifier: Apache-2.0
"""The companion of Blendset's add-on: a library, its command line, and beside a GPU all that makes models of datasets.

Each command of `blendset` is a function here, with a settings class. They are imported when they are first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blendset_trainer.adoption.adopt import AdoptReport as AdoptReport
    from blendset_trainer.adoption.adopt import AdoptSettings as AdoptSettings
    from blendset_trainer.adoption.adopt import adopt as adopt
    from blendset_trainer.captioning.caption import CaptionReport as CaptionReport
    from blendset_trainer.captioning.caption import CaptionSettings as CaptionSettings
    from blendset_trainer.captioning.caption import caption as caption
    from blendset_trainer.diffusion.sample import SampleSettings as SampleSettings
    from blendset_trainer.diffusion.sample import sample as sample
    from blendset_trainer.diffusion.sample_files import SampleReport as SampleReport
    from blendset_trainer.evaluation.compare import compare as compare
    from blendset_trainer.evaluation.evaluate import evaluate as evaluate
    from blendset_trainer.evaluation.ladder.ablate import ablate as ablate
    from blendset_trainer.evaluation.ladder.records import Ablation as Ablation
    from blendset_trainer.evaluation.ladder.runs import plan_ladder as plan_ladder
    from blendset_trainer.evaluation.placements.compare_placements import PlacementReport as PlacementReport
    from blendset_trainer.evaluation.placements.compare_placements import compare_placements as compare_placements
    from blendset_trainer.evaluation.placements.settings import PlacementSettings as PlacementSettings
    from blendset_trainer.evaluation.records import Comparison as Comparison
    from blendset_trainer.evaluation.records import Evaluation as Evaluation
    from blendset_trainer.evaluation.settings import CompareSettings as CompareSettings
    from blendset_trainer.evaluation.settings import EvaluateSettings as EvaluateSettings
    from blendset_trainer.evaluation.votes.count import VoteResult as VoteResult
    from blendset_trainer.evaluation.votes.count import count_votes as count_votes
    from blendset_trainer.evolution.evolve import evolve as evolve
    from blendset_trainer.evolution.evolve import plan_evolution as plan_evolution
    from blendset_trainer.evolution.records import Evolution as Evolution
    from blendset_trainer.exporting.export import ExportReport as ExportReport
    from blendset_trainer.exporting.export import ExportSettings as ExportSettings
    from blendset_trainer.exporting.export import UnpackReport as UnpackReport
    from blendset_trainer.exporting.export import UnpackSettings as UnpackSettings
    from blendset_trainer.exporting.export import export as export
    from blendset_trainer.exporting.export import unpack as unpack
    from blendset_trainer.rendering.plan import PlanReport as PlanReport
    from blendset_trainer.rendering.plan import PlanSettings as PlanSettings
    from blendset_trainer.rendering.plan import plan as plan
    from blendset_trainer.rendering.render import RenderSettings as RenderSettings
    from blendset_trainer.rendering.render import render as render
    from blendset_trainer.rendering.verify import verify as verify
    from blendset_trainer.reporting.comparison import write_comparison_page as write_comparison_page
    from blendset_trainer.reporting.report import ReportFile as ReportFile
    from blendset_trainer.reporting.report import ReportSettings as ReportSettings
    from blendset_trainer.reporting.report import report as report
    from blendset_trainer.scoring.score import ScoreReport as ScoreReport
    from blendset_trainer.scoring.score import ScoreSettings as ScoreSettings
    from blendset_trainer.scoring.score import score as score
    from blendset_trainer.selection.select import SelectionReport as SelectionReport
    from blendset_trainer.selection.select import SelectSettings as SelectSettings
    from blendset_trainer.selection.select import select as select
    from blendset_trainer.stages.executors.settings import ExecutorSettings as ExecutorSettings
    from blendset_trainer.synthesis.engine import SynthesisReport as SynthesisReport
    from blendset_trainer.synthesis.prompts.settings import PromptSettings as PromptSettings
    from blendset_trainer.synthesis.prompts.writing import PromptReport as PromptReport
    from blendset_trainer.synthesis.prompts.writing import prompts as prompts
    from blendset_trainer.synthesis.settings import DeformableSettings as DeformableSettings
    from blendset_trainer.synthesis.settings import NovelViewsSettings as NovelViewsSettings
    from blendset_trainer.synthesis.settings import RestyleSettings as RestyleSettings
    from blendset_trainer.synthesis.settings import TextToImageSettings as TextToImageSettings
    from blendset_trainer.synthesis.synthesize import synthesize as synthesize
    from blendset_trainer.training.timesteps.calibration_settings import CalibrateSettings as CalibrateSettings
    from blendset_trainer.training.timesteps.dataset_calibration import CalibrateReport as CalibrateReport
    from blendset_trainer.training.timesteps.dataset_calibration import calibrate as calibrate
    from blendset_trainer.training.train import TrainReport as TrainReport
    from blendset_trainer.training.train import TrainSettings as TrainSettings
    from blendset_trainer.training.train import explain_training as explain_training
    from blendset_trainer.training.train import plan_training as plan_training
    from blendset_trainer.training.train import train as train

# Else idle threads of torch spin, which takes the CPU from whatever runs beside. Torch reads it when it is loaded, and
# every command, worker process and actor of Ray comes through here first. What a user has set stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "AdoptReport": "adoption.adopt:AdoptReport",
    "AdoptSettings": "adoption.adopt:AdoptSettings",
    "adopt": "adoption.adopt:adopt",
    "CaptionReport": "captioning.caption:CaptionReport",
    "CaptionSettings": "captioning.caption:CaptionSettings",
    "caption": "captioning.caption:caption",
    "SampleSettings": "diffusion.sample:SampleSettings",
    "sample": "diffusion.sample:sample",
    "SampleReport": "diffusion.sample_files:SampleReport",
    "compare": "evaluation.compare:compare",
    "evaluate": "evaluation.evaluate:evaluate",
    "ablate": "evaluation.ladder.ablate:ablate",
    "Ablation": "evaluation.ladder.records:Ablation",
    "plan_ladder": "evaluation.ladder.runs:plan_ladder",
    "PlacementReport": "evaluation.placements.compare_placements:PlacementReport",
    "compare_placements": "evaluation.placements.compare_placements:compare_placements",
    "PlacementSettings": "evaluation.placements.settings:PlacementSettings",
    "Comparison": "evaluation.records:Comparison",
    "Evaluation": "evaluation.records:Evaluation",
    "CompareSettings": "evaluation.settings:CompareSettings",
    "EvaluateSettings": "evaluation.settings:EvaluateSettings",
    "VoteResult": "evaluation.votes.count:VoteResult",
    "count_votes": "evaluation.votes.count:count_votes",
    "evolve": "evolution.evolve:evolve",
    "plan_evolution": "evolution.evolve:plan_evolution",
    "Evolution": "evolution.records:Evolution",
    "ExportReport": "exporting.export:ExportReport",
    "ExportSettings": "exporting.export:ExportSettings",
    "UnpackReport": "exporting.export:UnpackReport",
    "UnpackSettings": "exporting.export:UnpackSettings",
    "export": "exporting.export:export",
    "unpack": "exporting.export:unpack",
    "PlanReport": "rendering.plan:PlanReport",
    "PlanSettings": "rendering.plan:PlanSettings",
    "plan": "rendering.plan:plan",
    "RenderSettings": "rendering.render:RenderSettings",
    "render": "rendering.render:render",
    "verify": "rendering.verify:verify",
    "write_comparison_page": "reporting.comparison:write_comparison_page",
    "ReportFile": "reporting.report:ReportFile",
    "ReportSettings": "reporting.report:ReportSettings",
    "report": "reporting.report:report",
    "ScoreReport": "scoring.score:ScoreReport",
    "ScoreSettings": "scoring.score:ScoreSettings",
    "score": "scoring.score:score",
    "SelectionReport": "selection.select:SelectionReport",
    "SelectSettings": "selection.select:SelectSettings",
    "select": "selection.select:select",
    "ExecutorSettings": "stages.executors.settings:ExecutorSettings",
    "SynthesisReport": "synthesis.engine:SynthesisReport",
    "PromptSettings": "synthesis.prompts.settings:PromptSettings",
    "PromptReport": "synthesis.prompts.writing:PromptReport",
    "prompts": "synthesis.prompts.writing:prompts",
    "DeformableSettings": "synthesis.settings:DeformableSettings",
    "NovelViewsSettings": "synthesis.settings:NovelViewsSettings",
    "RestyleSettings": "synthesis.settings:RestyleSettings",
    "TextToImageSettings": "synthesis.settings:TextToImageSettings",
    "synthesize": "synthesis.synthesize:synthesize",
    "CalibrateSettings": "training.timesteps.calibration_settings:CalibrateSettings",
    "CalibrateReport": "training.timesteps.dataset_calibration:CalibrateReport",
    "calibrate": "training.timesteps.dataset_calibration:calibrate",
    "TrainReport": "training.train:TrainReport",
    "TrainSettings": "training.train:TrainSettings",
    "explain_training": "training.train:explain_training",
    "plan_training": "training.train:plan_training",
    "train": "training.train:train",
}
"""Where each public name is defined ("room.module:name"); each stands above too, for type checkers."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module, _, attribute = _HOMES[name].partition(":")
    globals()[name] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted(_HOMES)
