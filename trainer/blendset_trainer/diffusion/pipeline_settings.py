# SPDX-License-Identifier: Apache-2.0
"""A pipeline by name, and how it makes its images: steps, guidance by its full name, precision, a ControlNet, code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline

from blendset.errors import BlendsetError
from blendset.records import to_plain
from blendset_trainer.diffusion.families import load_families
from blendset_trainer.diffusion.pipelines import (
    PRECISIONS,
    GenericPipeline,
    compute_pipeline_revision,
    find_commit,
    load_pipeline,
    read_model_config,
)
from blendset_trainer.models.loading import choose_device
from blendset_trainer.models.weights import compute_revision, explain_load_errors, find_model, find_model_index


@dataclass(frozen=True)
class RemoteCode:
    """A pipeline's own code: the name that the user gave for it, its file, and the revision of that."""

    name: str
    path: str
    revision: str


@dataclass(frozen=True)
class PipelineSettings:
    """A pipeline by name and how it is run; None leaves a value to the pipeline. Small and picklable."""

    model: str
    revision: str
    pipeline: str
    scheduler: Mapping[str, Any]
    steps: int
    cfg_scale: float | None = None
    embedded_guidance: float | None = None
    negative_prompt: str = ""
    precision: str = ""
    remote_code: RemoteCode | None = None
    controlnet: str = ""
    controlnet_revision: str = ""

    def load(self) -> GenericPipeline:
        """The pipeline on the best device, on an accelerator in bf16 where no precision is set."""
        device = choose_device()
        dtype = PRECISIONS[self.precision or ("fp32" if device.type == "cpu" else "bf16")]
        revision = find_commit(self.revision)
        _, index = find_model_index(self.model, "model_index.json", revision or "")
        parts = read_model_config(index)
        kind, controlnet = self._load_controlnet(dtype) if self.controlnet else (DiffusionPipeline, {})
        pipeline = load_pipeline(
            self.model,
            parts,
            f"a {self.pipeline}",
            pipeline_class=kind,
            trust_remote_code=self.remote_code is not None,
            revision=revision,
            dtype=dtype,
            custom_pipeline=self.remote_code.path if self.remote_code else None,
            **controlnet,
        )
        return GenericPipeline(pipeline.to(device), self.model)

    def _load_controlnet(self, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
        """The class of the pipeline with a ControlNet, and the ControlNet as its component."""
        with explain_load_errors(self.controlnet, "a ControlNet"):
            controlnet = diffusers.ControlNetModel.from_pretrained(
                self.controlnet, revision=find_commit(self.controlnet_revision), dtype=dtype, use_safetensors=True
            )
        return getattr(diffusers, find_controlled_pipelines()[self.pipeline]), {"controlnet": controlnet}

    @property
    def extras(self) -> dict[str, str]:
        """What else decides on the images, where it is set: remote code, a ControlNet, the precision."""
        code = self.remote_code
        values = {
            "remote_code": code.name if code else "",
            "remote_code_revision": code.revision if code else "",
            "controlnet": self.controlnet,
            "controlnet_revision": self.controlnet_revision,
            "precision": self.precision,
        }
        return {name: value for name, value in values.items() if value}

    @property
    def guidance(self) -> dict[str, float]:
        """The scales of guidance that are set, by their full names."""
        scales = {"cfg_scale": self.cfg_scale, "embedded_guidance": self.embedded_guidance}
        return {name: scale for name, scale in scales.items() if scale is not None}

    def make_call_options(self, pipeline: GenericPipeline) -> dict[str, Any]:
        """Arguments of the pipeline's call; BlendsetError for guidance that it does not take."""
        parameters = pipeline.call_parameters
        options: dict[str, Any] = {"num_inference_steps": self.steps}
        options |= {name: False for name in ("use_resolution_binning", "clean_caption") if name in parameters}
        limit = pipeline.max_tokens
        if all(pipeline.tokenizers) and limit < (pipeline.default_max_tokens or 0):
            options["max_sequence_length"] = limit  # the rest would be padding
        return options | pipeline.make_guidance_options(self.cfg_scale, self.embedded_guidance, self.negative_prompt)


def find_controlled_pipelines() -> dict[str, str]:
    """The pipelines that take a ControlNet, each with its class that has one."""
    return {name: family.controlnet_class for name, family in load_families().items() if family.controlnet_class}


def find_pipeline(
    model: str, steps: int, *, controlnet: str = "", remote_code: str = "", **settings: Any
) -> PipelineSettings:
    """The settings of a model's pipeline: class, scheduler and revision are read, its weights are not.

    `remote_code` names the folder or hub repository whose pipeline.py may run; no other code but diffusers' does.
    Raises BlendsetError for a model that is no pipeline, or that takes no ControlNet or remote code as it is named.
    """
    source, index = find_model_index(model, "model_index.json")
    parts = read_model_config(index)
    file, name = _find_class(parts)
    if controlnet and name not in (controlled := find_controlled_pipelines()):
        raise BlendsetError(f"{model} is a {name}, which takes no --controlnet; {' and '.join(controlled)} do.")
    if remote_code:
        settings |= {"remote_code": _find_remote_code(model, file, remote_code)}
    elif file or name not in dir(diffusers):
        raise BlendsetError(
            f"{model} is a {name}, which is none of diffusers' own; read the code that it needs, and name what holds "
            f"it: --remote-code {model if file else 'OWNER/REPOSITORY'}."
        )
    if controlnet:
        settings |= {"controlnet": controlnet, "controlnet_revision": find_model(controlnet).revision}
    return PipelineSettings(
        source, compute_pipeline_revision(index.parent), name, _read_scheduler(model, source, parts), steps, **settings
    )


def _find_class(index: Mapping[str, Any]) -> tuple[str, str]:
    """The file beside the weights that has the pipeline's class, "" for diffusers' own, and the name of the class."""
    named = index.get("_class_name")
    return (str(named[0]), str(named[1])) if isinstance(named, list) and len(named) == 2 else ("", str(named))


def _read_scheduler(model: str, source: str, index: Mapping[str, Any]) -> dict[str, Any]:
    """The class and the configuration of a pipeline's scheduler."""
    scheduler = index.get("scheduler") or [None, ""]
    with explain_load_errors(model, "a diffusers pipeline"):
        kind = getattr(diffusers, str(scheduler[1]), None)
        config = dict(kind.load_config(source, subfolder="scheduler")) if kind else {}
    values = {name: _to_json(value) for name, value in config.items() if not name.startswith("_")}
    plain: dict[str, Any] = to_plain({"class": scheduler[1], **values})
    return plain


def _find_remote_code(model: str, file: str, name: str) -> RemoteCode:
    """The code that the user named. diffusers runs what lies beside the weights, so no other may be named then."""
    if file and name != model:
        raise BlendsetError(f"{model} brings code of its own and runs no other; name it with --remote-code {model}.")
    path = find_model_index(name, f"{file or 'pipeline'}.py")[1].absolute()
    return RemoteCode(name, str(path), compute_revision(path))


def _to_json(value: Any) -> Any:
    """A value that JSON takes: some schedulers have infinite bounds, which become text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
