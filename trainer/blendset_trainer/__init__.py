# SPDX-License-Identifier: Apache-2.0
"""The companion of Blendset's add-on: a library, its command line, and beside a GPU all that makes models of datasets.

Each command of `blendset` is a function here, with a settings class. They are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blendset_trainer.captioning.caption import CaptionReport as CaptionReport
    from blendset_trainer.captioning.caption import CaptionSettings as CaptionSettings
    from blendset_trainer.captioning.caption import caption as caption
    from blendset_trainer.scoring.score import ScoreReport as ScoreReport
    from blendset_trainer.scoring.score import ScoreSettings as ScoreSettings
    from blendset_trainer.scoring.score import score as score
    from blendset_trainer.stages.executors.settings import ExecutorSettings as ExecutorSettings

_HOMES = {
    "caption": "captioning.caption:caption",
    "CaptionReport": "captioning.caption:CaptionReport",
    "CaptionSettings": "captioning.caption:CaptionSettings",
    "score": "scoring.score:score",
    "ScoreReport": "scoring.score:ScoreReport",
    "ScoreSettings": "scoring.score:ScoreSettings",
    "ExecutorSettings": "stages.executors.settings:ExecutorSettings",
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
