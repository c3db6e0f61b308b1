# SPDX-License-Identifier: Apache-2.0
"""Loading any diffusers pipeline, and saying how it makes its pictures: steps, guidance by its full name, precision."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging
from transformers.utils import logging as transformers_logging

from blendset.errors import BlendsetError
from blendset.records import read_json, to_plain
from blendset_trainer.models.loading import best_device
from blendset_trainer.models.weights import compute_revision, explain_load_errors, find_model, find_model_index

for each in (logging, transformers_logging):
    each.disable_progress_bar()  # a command has a bar of its own
    each.set_verbosity_error()

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class RemoteCode:
    """A pipeline's own code: the name that it was asked for by, its file, and the revision of that."""

    name: str
    path: str
    revision: str


@dataclass(frozen=True)
class Generator:
    """A pipeline by name and how it is run; None leaves a figure to the pipeline. Small and picklable."""

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

    def load(self) -> Any:
        """The pipeline on the best device, in bf16 there unless told otherwise."""
        device = best_device()
        dtype = PRECISIONS[self.precision or ("fp32" if device.type == "cpu" else "bf16")]
        revision = commit_of(self.revision)
        _, index = find_model_index(self.model, "model_index.json", revision or "")
        parts = read_json(index)
        absent = [name for name, kind in parts.items() if isinstance(kind, list) and kind[0] is None]
        kind, more = self._controlled(dtype) if self.controlnet else (DiffusionPipeline, {})
        with explain_load_errors(self.model, f"a {self.pipeline}"):
            pipeline = kind.from_pretrained(
                self.model,
                revision=revision,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=self.remote_code is not None,
                custom_pipeline=self.remote_code.path if self.remote_code else None,
                **dict.fromkeys(absent),
                **more,
            )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def _controlled(self, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
        """The pipeline's class with a ControlNet, and that."""
        with explain_load_errors(self.controlnet, "a ControlNet"):
            controlnet = diffusers.ControlNetModel.from_pretrained(
                self.controlnet, revision=commit_of(self.controlnet_revision), dtype=dtype, use_safetensors=True
            )
        return getattr(diffusers, CONTROLLED[self.pipeline]), {"controlnet": controlnet}

    @property
    def run_by(self) -> dict[str, str]:
        """What else decides on its pictures: other code than diffusers', a ControlNet, the precision asked for."""
        code = self.remote_code
        told = {
            "remote_code": code.name if code else "",
            "remote_code_revision": code.revision if code else "",
            "controlnet": self.controlnet,
            "controlnet_revision": self.controlnet_revision,
            "precision": self.precision,
        }
        return {name: value for name, value in told.items() if value}

    @property
    def guidance(self) -> dict[str, float]:
        """Each strength that was asked for, by its full name."""
        told = {"cfg_scale": self.cfg_scale, "embedded_guidance": self.embedded_guidance}
        return {name: value for name, value in told.items() if value is not None}

    def options(self, pipeline: Any) -> dict[str, Any]:
        """Arguments of the pipeline's call. A model that is distilled for guidance takes it as an input
        (`guidance_scale` there), and classifier-free guidance besides (`true_cfg_scale`).
        """
        takes = inspect.signature(pipeline.__call__).parameters
        options: dict[str, Any] = {"num_inference_steps": self.steps}
        options |= {name: False for name in ("use_resolution_binning", "clean_caption") if name in takes}
        _, limit = reads(pipeline)
        if all(tokenizers(pipeline)) and limit < (read_by_default(pipeline) or 0):
            options["max_sequence_length"] = limit  # the rest would be padding
        free = "true_cfg_scale" if "true_cfg_scale" in takes else "guidance_scale"
        embedded = getattr(getattr(pipeline, "transformer", None), "config", {}).get("guidance_embeds", False)
        if self.cfg_scale is not None:
            if embedded and free == "guidance_scale":
                raise BlendsetError(f"{self.model} takes no classifier-free guidance; leave --cfg-scale out.")
            if free not in takes:
                raise BlendsetError(f"{self.model} takes no guidance; leave --cfg-scale out.")
            options[free] = self.cfg_scale
        if self.embedded_guidance is not None:
            if not embedded:
                raise BlendsetError(f"{self.model} has no guidance embedded; use --cfg-scale.")
            options["guidance_scale"] = self.embedded_guidance
        if self.negative_prompt:
            if "negative_prompt" not in takes:
                raise BlendsetError(f"{self.model} takes no negative prompt; leave it out.")
            options["negative_prompt"] = self.negative_prompt
        return options


@dataclass
class ByPipeline:
    """What every job's synthesizer is: a generator, whose pipeline arrives in `setup` and does not travel."""

    generator: Generator

    @property
    def revision(self) -> str:
        return self.generator.revision

    def setup(self) -> None:
        self._pipeline = self.generator.load()
        self._options = self.generator.options(self._pipeline)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}


def asked_sides(width: int | None, height: int | None) -> dict[str, int]:
    """The sides that were asked for, by name; the pipeline decides on the others."""
    return {name: side for name, side in (("width", width), ("height", height)) if side}


CONTROLLED = {
    "StableDiffusionPipeline": "StableDiffusionControlNetPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLControlNetPipeline",
}
SHA256 = 64
"""Letters of the hash that stands for a local model's revision; a hub's commit has fewer."""


def commit_of(revision: str) -> str | None:
    """What to ask the hub for; None for local files."""
    return revision if revision and len(revision) < SHA256 else None


def generator_of(model: str, steps: int, *, controlnet: str = "", remote_code: str = "", **how: Any) -> Generator:
    """What is known of a pipeline without its weights: class, scheduler, revision.

    `remote_code` names the folder or hub repository whose pipeline.py may run; no other code but diffusers' does.
    """
    source, index = find_model_index(model, "model_index.json")
    parts = read_json(index)
    file, name = _class_of(parts)
    if controlnet and name not in CONTROLLED:
        raise BlendsetError(f"{model} is a {name}, which takes no --controlnet; {' and '.join(CONTROLLED)} do.")
    if remote_code:
        how |= {"remote_code": _remote_code(model, file, remote_code)}
    elif file or name not in dir(diffusers):
        raise BlendsetError(
            f"{model} is a {name}, which is none of diffusers' own; read the code that it needs, and name what holds "
            f"it: --remote-code {model if file else 'OWNER/REPOSITORY'}."
        )
    if controlnet:
        how |= {"controlnet": controlnet, "controlnet_revision": find_model(controlnet).revision}
    scheduler = parts.get("scheduler") or [None, ""]
    with explain_load_errors(model, "a diffusers pipeline"):
        kind = getattr(diffusers, str(scheduler[1]), None)
        configured = kind.load_config(source, subfolder="scheduler") if kind else {}
    settings = {name: _plain(value) for name, value in dict(configured).items() if not name.startswith("_")}
    return Generator(
        source,
        _revision(index.parent),
        name,
        to_plain({"class": scheduler[1], **settings}),
        steps,
        **how,
    )


def _class_of(parts: Mapping[str, Any]) -> tuple[str, str]:
    """The file beside the weights that a pipeline's class is in, "" where it is diffusers', and its name."""
    named = parts.get("_class_name")
    return (str(named[0]), str(named[1])) if isinstance(named, list) else ("", str(named))


def _remote_code(model: str, file: str, named: str) -> RemoteCode:
    """What was named to be run. diffusers takes what lies beside the weights, so no other may be named then."""
    if file and named != model:
        raise BlendsetError(f"{model} brings code of its own and runs no other; name it with --remote-code {model}.")
    path = find_model_index(named, f"{file or 'pipeline'}.py")[1].absolute()
    return RemoteCode(named, str(path), compute_revision(path))


def _revision(folder: Path) -> str:
    return folder.name if folder.parent.name == "snapshots" else compute_revision(folder)


def _plain(value: Any) -> Any:
    """As JSON takes it: some schedulers have infinite bounds."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def refuse_overlong(pipeline: Any, prompts: Sequence[str]) -> list[BlendsetError | None]:
    """Why a prompt's end would not be read, by prompt; None where it is read whole."""
    tokenizer, limit = reads(pipeline)
    if tokenizer is None:
        return [None] * len(prompts)
    counts = [len(ids) for ids in tokenizer(list(prompts), truncation=False, verbose=False).input_ids]
    return [
        None
        if count <= limit
        else BlendsetError(
            f"The prompt '{prompt[:40]}...' has {count} tokens and {type(pipeline).__name__} reads {limit}; shorten it."
        )
        for prompt, count in zip(prompts, counts, strict=True)
    ]


def reads(pipeline: Any) -> tuple[Any, int]:
    """The tokenizer that reads most of a prompt, None where there is none, and how many tokens are read of it."""
    readers = filter(None, tokenizers(pipeline))
    furthest = max(readers, key=lambda reader: int(reader.model_max_length), default=None)
    limits = [read_by_default(pipeline), furthest.model_max_length if furthest else None]
    return furthest, min((limit for limit in limits if limit is not None), default=0)


def read_by_default(pipeline: Any) -> int | None:
    """How many tokens a pipeline reads unless told otherwise; None where it cannot be told."""
    takes = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
    return takes.default if takes is not None and isinstance(takes.default, int) else None


def tokenizers(pipeline: Any) -> list[Any]:
    """One for each text encoder, None where that is left out."""
    return [part for name, part in pipeline.components.items() if name.startswith("tokenizer")]


def refuse_sides(pipeline: Any, sides: Iterable[int]) -> None:
    """BlendsetError for a side, in pixels, that a pipeline does not draw: all take multiples of two latents."""
    multiple = 2 * pipeline.vae_scale_factor
    for side in sides:
        if side % multiple:
            raise BlendsetError(
                f"A side of {side} pixels is no multiple of {multiple}, which {type(pipeline).__name__} draws; choose "
                "another size."
            )


def noise_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One for each picture, on the CPU, so that every device starts from the same noise."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def for_each(options: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Arguments of a call for so many prompts: texts are said once for each."""
    return {name: [value] * count if isinstance(value, str) else value for name, value in options.items()}
