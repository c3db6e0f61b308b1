# SPDX-License-Identifier: Apache-2.0
"""What a dataset says of a synthesized view: synthesis.json beside its picture, from which parents and how it was made.

Such a view has `source` "synthetic". Where its geometry is a render's it has that view's camera and passes; where
nobody knows its camera, the camera's focal length in pixels is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blendset.records import FORMAT_VERSION, CameraRecord, read_record

SYNTHESIS, SYNTHETIC = "synthesis.json", "synthetic"
IDENTITY = tuple(float(index % 5 == 0) for index in range(16))


@dataclass(frozen=True, kw_only=True)
class SynthesisRecord:
    """synthesis.json. `parents` are the views it was made from, `guidance` each strength by its full name (`cfg_scale`,
    `embedded_guidance`, ...), `scheduler` its class and configuration, `settings` what the job alone has.
    """

    format_version: int = FORMAT_VERSION
    job: str
    parents: tuple[str, ...]
    prompt: str
    negative_prompt: str = ""
    model: str
    revision: str
    pipeline: str
    scheduler: dict[str, Any]
    steps: int
    guidance: dict[str, float]
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)


def read_synthesis(folder: Path) -> SynthesisRecord:
    """The record in a synthesized view's folder; BlendsetError where it is missing or damaged."""
    return read_record(folder / SYNTHESIS, SynthesisRecord)


def make_unknown_camera(width: int = 0, height: int = 0) -> CameraRecord:
    """Stands for the camera of a picture that no camera took; see `has_camera`."""
    return CameraRecord(width, height, 0.0, 0.0, width / 2, height / 2, IDENTITY, 0.0, 0.0)


def has_camera(camera: CameraRecord) -> bool:
    """Whether a view's camera is known."""
    return camera.fx > 0


def prompt_to_captions(prompt: str) -> dict[str, Any]:
    """The captions of a synthesized view: what was asked for, if that was said in words."""
    return {"short": prompt, "dense": prompt} if prompt else {}
