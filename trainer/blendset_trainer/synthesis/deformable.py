# SPDX-License-Identifier: Apache-2.0
"""`deformable`: sets of images from prompts alone, of one subject that no render can show in other poses (SynCD's
animals, arXiv 2502.01720).

The prompts of a set share a description and have different backgrounds. The images attend to each other's subject,
which the attention to its words finds while they are denoised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.naming import slugify
from blendset.tokens import Grid
from blendset_trainer.diffusion.families import FAMILIES, Family, load_families
from blendset_trainer.diffusion.randomness import seed_generators
from blendset_trainer.synthesis.engine import GeneratedImage, RequestBatch, ViewRequest, generate_by_group
from blendset_trainer.synthesis.pipeline_synthesizer import PipelineSynthesizer, repeat_texts
from blendset_trainer.synthesis.prompts.prompt_files import DEFORMABLE, SET, Prompt, read_prompts
from blendset_trainer.synthesis.requests import SynthesisRequest, blank_parent, find_generator, make_view_request
from blendset_trainer.synthesis.settings import DeformableSettings
from blendset_trainer.synthesis.subject_attention import SubjectAttention, find_word_tokens


@dataclass
class Deformable(PipelineSynthesizer):
    """The `Synthesizer` of this job. Sides in pixels; None leaves them to the pipeline."""

    width: int | None = None
    height: int | None = None

    def generate(self, dataset: Dataset, batch: RequestBatch) -> Sequence[GeneratedImage | BlendsetError]:
        """One image for each request, or the error that says why there is none."""
        return generate_by_group(batch, self._generate_set)

    @torch.no_grad()
    def _generate_set(self, requests: Sequence[ViewRequest]) -> list[GeneratedImage]:
        """The images of one set."""
        prompts = [request.record.prompt for request in requests]
        if len(prompts) < 2:
            raise BlendsetError(f"The set of '{prompts[0][:40]}...' has one prompt; give it several, with one 'set'.")
        for fault in filter(None, self._pipeline.refuse_truncated_prompts(prompts)):
            raise fault
        label = requests[0].view.subject_label
        words = [find_word_tokens(self._tokenizers, prompt, label) for prompt in prompts]
        height, width = self._sides
        with SubjectAttention(self._pipeline.module, words, self._compute_grid(height, width)) as attention:
            return list(
                self._pipeline(
                    prompt=prompts,
                    height=height,
                    width=width,
                    generator=seed_generators([request.record.seed for request in requests]),
                    callback_on_step_end=attention,
                    output_type="np",
                    **repeat_texts(self._options, len(prompts)),
                ).images
            )

    @property
    def _tokenizers(self) -> list[tuple[Any, int]]:
        """The tokenizers whose tokens the denoiser attends to, each with the number of its first token."""
        family: type[Family] = FAMILIES.load(self.generator.pipeline)
        return family.list_joint_tokenizers(self._pipeline.pipeline)

    @property
    def _sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        default = self._pipeline.pipeline.default_sample_size * self._pipeline.pixels_per_latent
        return self.height or default, self.width or default

    def _compute_grid(self, height: int, width: int) -> Grid:
        """Rows and columns of the denoiser's tokens; BlendsetError for a side that the pipeline does not draw."""
        self._pipeline.check_sides((height, width))
        pixels = self._pipeline.size_divisor
        return height // pixels, width // pixels


def plan_deformable(
    dataset: Dataset | None, settings: DeformableSettings
) -> tuple[Deformable, list[ViewRequest], list[str]]:
    """The synthesizer, its requests, and why prompts were left out (never any).

    Raises BlendsetError where the file has no prompt of this kind, and for a model that cannot be run or whose captions
    have no queries.
    """
    prompts = [prompt for prompt in read_prompts(settings.prompts) if prompt.kind == DEFORMABLE]
    if not prompts:
        raise BlendsetError(f"{settings.prompts} has no prompt of kind '{DEFORMABLE}'; write some with that --kind.")
    generator = find_generator(settings)
    # where captions and images meet in one attention, words have queries
    pipelines = [name for name, family in load_families().items() if family.joint_attention]
    if generator.pipeline not in pipelines:
        raise BlendsetError(
            f"{generator.model} is a {generator.pipeline}, whose captions do not ask where things are; give a "
            f"{' or a '.join(pipelines)}."
        )
    synthesizer = Deformable(generator, settings.width, settings.height)
    return synthesizer, list(request_sets(synthesizer, prompts, settings.variants, settings.seed)), []


def request_sets(synthesizer: Deformable, prompts: Iterable[Prompt], variants: int, seed: int) -> Iterator[ViewRequest]:
    """Requests for an image of each prompt in each of `variants` sets; each set shows an individual of its own."""
    size = {"width": synthesizer.width, "height": synthesizer.height}
    for (label, _), group in groupby(prompts, key=_get_set):
        texts = [prompt.prompt for prompt in group]
        for variant in range(variants):
            settings = {"set": texts, "variant": variant, **size}
            request = SynthesisRequest(DeformableSettings.job, (), "", synthesizer.generator, seed, settings)
            subject = f"{slugify(label, 28)}-{request.digest}"
            for number, text in enumerate(texts):
                view_request = make_view_request(request, blank_parent(label, label), number, subject=subject)
                yield replace(view_request, record=replace(view_request.record, prompt=text))


def _get_set(prompt: Prompt) -> tuple[str, str]:
    """What tells the sets of a file apart; a prompt of no set is one by itself."""
    return prompt.label, prompt.parts.get(SET, prompt.prompt)
