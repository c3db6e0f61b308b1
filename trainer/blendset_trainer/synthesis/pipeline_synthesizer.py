# SPDX-License-Identifier: Apache-2.0
"""The base of every job's synthesizer: a diffusers pipeline that is loaded once per process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blendset_trainer.diffusion.pipeline_settings import PipelineSettings


@dataclass
class PipelineSynthesizer:
    """A synthesizer by a pipeline, which arrives in `setup` and does not travel between processes."""

    generator: PipelineSettings

    @property
    def revision(self) -> str:
        """The revision of the pipeline's weights."""
        return self.generator.revision

    def setup(self) -> None:
        """Load the pipeline; BlendsetError where it does not take what the settings say."""
        self._pipeline = self.generator.load()
        self._options = self.generator.make_call_options(self._pipeline)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}


def name_sides(width: int | None, height: int | None) -> dict[str, int]:
    """The sides that are set, in pixels, by name; the pipeline decides on the others."""
    return {name: side for name, side in (("width", width), ("height", height)) if side}


def repeat_texts(options: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Arguments of a call for `count` prompts: a text becomes a list of as many."""
    return {name: [value] * count if isinstance(value, str) else value for name, value in options.items()}
