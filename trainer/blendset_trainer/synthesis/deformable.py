# SPDX-License-Identifier: Apache-2.0
"""`deformable`: sets of pictures from prompts alone, of one subject that no render can show in other poses (SynCD's
animals, arXiv 2502.01720).

The prompts of a set share a description and have different backgrounds; the pictures see each other's subject, which
the attention of its words finds while they are drawn.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.naming import slugify
from blendset.records import SceneRecord, write_json
from blendset.tokens import Grid
from blendset_trainer.cli.commands.synthesize import generator_from
from blendset_trainer.cli.parser import UsageError
from blendset_trainer.diffusion.families import FAMILIES
from blendset_trainer.diffusion.randomness import seed_generators
from blendset_trainer.synthesis.engine import GeneratedImage, RequestBatch, ViewRequest, generate_by_group
from blendset_trainer.synthesis.pipeline_synthesizer import PipelineSynthesizer, repeat_texts
from blendset_trainer.synthesis.prompts.files import DEFORMABLE, SET, Prompt, read_prompts
from blendset_trainer.synthesis.requests import SynthesisRequest, blank_parent, make_view_request
from blendset_trainer.synthesis.subject_attention import FollowedSubject, word_tokens

JOB = "deformable"
SCENE = "prompts"
"""Where pictures are kept that belong to no scene."""
PIPELINES = [name for name, family in FAMILIES.items() if family.joint_attention]
"""Captions and pictures meet in one attention there, so that words have queries."""


@dataclass
class Deformable(PipelineSynthesizer):
    """See `work.Synthesizer`. Sides in pixels; None leaves them to the pipeline."""

    width: int | None = None
    height: int | None = None

    def generate(self, dataset: Dataset, batch: RequestBatch) -> Sequence[GeneratedImage | BlendsetError]:
        return generate_by_group(batch, self._drawn)

    @torch.no_grad()
    def _drawn(self, wanted: Sequence[ViewRequest]) -> list[GeneratedImage]:
        """The pictures of one set."""
        prompts = [each.record.prompt for each in wanted]
        if len(prompts) < 2:
            raise BlendsetError(f"The set of '{prompts[0][:40]}...' has one prompt; give it several, with one 'set'.")
        for fault in filter(None, self._pipeline.refuse_truncated_prompts(prompts)):
            raise fault
        words = [word_tokens(self._readers, prompt, wanted[0].view.subject_label) for prompt in prompts]
        height, width = self._sides
        with FollowedSubject(self._pipeline.module, words, self._grid(height, width)) as followed:
            return list(
                self._pipeline(
                    prompt=prompts,
                    height=height,
                    width=width,
                    generator=seed_generators([each.record.seed for each in wanted]),
                    callback_on_step_end=followed,
                    output_type="np",
                    **repeat_texts(self._options, len(prompts)),
                ).images
            )

    @property
    def _readers(self) -> list[tuple[Any, int]]:
        """The tokenizers whose tokens the denoiser attends to, each with the number of its first."""
        return FAMILIES[self.generator.pipeline].list_joint_tokenizers(self._pipeline.pipeline)

    @property
    def _sides(self) -> tuple[int, int]:
        own = self._pipeline.pipeline.default_sample_size * self._pipeline.pixels_per_latent
        return self.height or own, self.width or own

    def _grid(self, height: int, width: int) -> Grid:
        self._pipeline.check_sides((height, width))
        pixels = self._pipeline.size_divisor
        return height // pixels, width // pixels


def request_sets(synthesizer: Deformable, prompts: Iterable[Prompt], variants: int, seed: int) -> Iterator[ViewRequest]:
    """A picture of each prompt in each of `variants` sets; every set shows an individual of its own."""
    size = {"width": synthesizer.width, "height": synthesizer.height}
    for (label, _), group in groupby(prompts, key=lambda each: (each.label, each.parts.get(SET, each.prompt))):
        texts = [each.prompt for each in group]
        for variant in range(variants):
            settings = {"set": texts, "variant": variant, **size}
            asked = SynthesisRequest(JOB, (), "", synthesizer.generator, seed, settings)
            subject = f"{slugify(label, 28)}-{asked.digest}"
            for number, text in enumerate(texts):
                wanted = make_view_request(asked, blank_parent(SCENE, label), number, subject=subject)
                yield replace(wanted, record=replace(wanted.record, prompt=text))


def plan_deformable(arguments: argparse.Namespace, dataset: Dataset) -> tuple[Deformable, list[ViewRequest], list[str]]:
    """What `blendset synthesize --job deformable` asks for."""
    if arguments.prompts is None:
        raise UsageError("There is nothing to ask for; give --prompts FILE, of 'blendset prompts --kind deformable'.")
    prompts = [each for each in read_prompts(arguments.prompts) if each.kind == DEFORMABLE]
    if not prompts:
        raise BlendsetError(f"{arguments.prompts} has no prompt of kind '{DEFORMABLE}'; write some with that --kind.")
    generator = generator_from(arguments)
    if generator.pipeline not in PIPELINES:
        raise BlendsetError(
            f"{generator.model} is a {generator.pipeline}, whose captions do not ask where things are; give a "
            f"{' or a '.join(PIPELINES)}."
        )
    if not dataset.scene_path(SCENE).exists():
        write_json(dataset.scene_path(SCENE), _NOWHERE)
    synthesizer = Deformable(generator, arguments.width, arguments.height)
    return synthesizer, list(request_sets(synthesizer, prompts, arguments.variants, arguments.seed)), []


_NOWHERE = SceneRecord(
    scene=SCENE, blend_name="", blend_sha256="", blender_scene="", frame=0, metres_per_unit=1.0, objects=(),
    missing_files=(), notes=("pictures of prompts, which no scene shows",),
)  # fmt: skip
