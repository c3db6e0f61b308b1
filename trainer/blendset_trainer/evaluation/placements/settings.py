# SPDX-License-Identifier: Apache-2.0
"""What `blendset compare --placements` takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blendset.config import LIGHTING
from blendset.errors import SettingsError
from blendset.options import REQUIRED, Settings, option
from blendset.placement.presets import PRESETS
from blendset_trainer.rendering.run_options import BLENDER_HELP
from blendset_trainer.stages.catalogue import SCORERS

PLACEMENTS = ("blendset", "blendfusion", "random", "anchor-sweep")


@dataclass(frozen=True, kw_only=True)
class PlacementSettings(Settings):
    """Which placements are compared, and the budget that each has in each scene."""

    placements: tuple[str, ...] = option(
        PLACEMENTS,
        "presets to compare, each with the first (default: all of the paper's, and ours)",
        flag="--preset",
        choices=PRESETS,
        separator=",",
        metavar="PRESET,...",
    )
    views: int = option(
        48, "the budget: views rendered per scene and placement (default %(default)s)", metavar="N", at_least=1
    )
    resolution: int = option(
        128, "pixels on the longer side (default %(default)s)", metavar="PX", at_least=16, at_most=16384
    )
    samples: int = option(8, "samples per pixel (default %(default)s)", metavar="N", at_least=1)
    lighting: str = option(
        "auto", "auto adds light for presets that judge it; any other is the same for all", choices=LIGHTING
    )
    seed: int = option(0, "everything random follows from it", at_least=0, at_most=2**31 - 1)
    out: Path = option(REQUIRED, "folder of the datasets and of placements.json", metavar="FOLDER")
    blender: str | None = option(None, BLENDER_HELP, metavar="PATH")
    with_: tuple[str, ...] = option((), SCORERS.format_choices, flag="--with", metavar="SCORER,...", separator=",")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.placements)) < len(self.placements):
            name = max(self.placements, key=self.placements.count)
            raise SettingsError(f"The placement '{name}' stands twice; name each once.")
