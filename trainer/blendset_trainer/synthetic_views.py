# SPDX-License-Identifier: Apache-2.0
"""The record of a synthesized view, synthesis.json: from which parents it was made, and how.

Such a view has `source` "synthetic". Where its geometry is that of a render, it has the camera and passes of that
render. Where its camera is unknown, the camera's focal length in pixels is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset
from blendset.records import FORMAT_VERSION, CameraRecord, SceneRecord, read_record, write_json
from blendset_trainer.stages.caption_forms import CAPTION_FORMS

SYNTHESIS, SYNTHETIC = "synthesis.json", "synthetic"
IDENTITY = tuple(float(index % 5 == 0) for index in range(16))


@dataclass(frozen=True, kw_only=True)
class SynthesisRecord:
    """The content of synthesis.json.

    `parents` are the ids of the views that it was made from, `guidance` each strength by its full name (`cfg_scale`,
    `embedded_guidance`, ...), `scheduler` its class and configuration, `settings` what only this job has.
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


PROMPTS_SCENE = "prompts"
"""The scene of a dataset that holds images which belong to none of Blender's."""
_EMPTY_SCENE = SceneRecord(
    scene=PROMPTS_SCENE, blend_name="", blend_sha256="", blender_scene="", frame=0, metres_per_unit=1.0, objects=(),
    missing_files=(), notes=("pictures of prompts, which no scene shows",),
)  # fmt: skip


def add_prompts_scene(dataset: Dataset) -> None:
    """Add the scene "prompts" to a dataset that lacks it."""
    if not dataset.scene_path(PROMPTS_SCENE).exists():
        write_json(dataset.scene_path(PROMPTS_SCENE), _EMPTY_SCENE)


def read_synthesis(folder: Path) -> SynthesisRecord:
    """Return the record in a synthesized view's folder; BlendsetError where it is missing or damaged."""
    return read_record(folder / SYNTHESIS, SynthesisRecord)


def make_unknown_camera(width: int = 0, height: int = 0) -> CameraRecord:
    """Return the record of an unknown camera, for a picture of this size in pixels; `has_camera` is false for it."""
    return CameraRecord(width, height, 0.0, 0.0, width / 2, height / 2, IDENTITY, 0.0, 0.0)


def has_camera(camera: CameraRecord) -> bool:
    """Return whether a view's camera is known."""
    return camera.fx > 0


def prompt_to_captions(prompt: str) -> dict[str, Any]:
    """Return the captions of a synthesized view: its prompt in both forms; none for an empty prompt."""
    return dict.fromkeys(CAPTION_FORMS, prompt) if prompt else {}
