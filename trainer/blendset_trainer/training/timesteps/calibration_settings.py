# SPDX-License-Identifier: Apache-2.0
"""The settings of a calibration, which can be read without torch."""

from __future__ import annotations

from dataclasses import dataclass

from blendset.errors import SettingsError
from blendset.options import REQUIRED, Settings, option

MIN_PICTURES = 8
"""Pictures of a source, with fewer of which an interval says nothing."""


@dataclass(frozen=True, kw_only=True)
class CalibrateSettings(Settings):
    """What is measured: `clean` and `source` name selections or sources, `vae` a model in whose latents to measure,
    "" for pixels.
    """

    clean: str = option(REQUIRED, "a selection, or a source such as render", metavar="NAME")
    source: str = option(REQUIRED, "a selection, or a source such as synthetic", metavar="NAME")
    resolution: int = option(256, "side of a picture in training (default 256)", metavar="PX")
    tolerance: float = option(0.1, "by how much denoisers may differ (default 0.1)", metavar="X")
    pictures: int = option(500, "most pictures of each (default 500)", metavar="N")
    vae: str = option("", "measure in the latents of this model, not in pixels", metavar="MODEL")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution < 1 or self.pictures < MIN_PICTURES or not 0 < self.tolerance < 1:
            raise SettingsError(
                f"Take at least {MIN_PICTURES} --pictures, a --resolution above 0 and a --tolerance between 0 and 1."
            )
