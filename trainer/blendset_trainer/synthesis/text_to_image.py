# SPDX-License-Identifier: Apache-2.0
"""`text-to-image`: images of curated captions, several of each, of which a selection keeps the best.

SynthVLM (arXiv 2407.20756) makes one image of each caption and selects by CLIPScore + 0.5 SSIM over all. Here the
images of one caption are a view set, so that `view_set = 1` under [budgets] keeps the best of n by any scorer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import ViewRecord
from blendset_trainer.diffusion.randomness import seed_generators
from blendset_trainer.synthesis.engine import GeneratedImage, RequestBatch, ViewRequest
from blendset_trainer.synthesis.parents import load_captioned_parents, load_parents
from blendset_trainer.synthesis.pipeline_synthesizer import PipelineSynthesizer, name_sides, repeat_texts
from blendset_trainer.synthesis.prompts.prompt_files import TEXT_TO_IMAGE, VIEW, read_prompts
from blendset_trainer.synthesis.requests import SynthesisRequest, find_generator, make_view_request
from blendset_trainer.synthesis.settings import TextToImageSettings


@dataclass
class TextToImage(PipelineSynthesizer):
    """The `Synthesizer` of this job. Sides in pixels; None leaves them to the pipeline."""

    width: int | None = None
    height: int | None = None

    @property
    def size(self) -> dict[str, int]:
        """The sides that were asked for, by name."""
        return name_sides(self.width, self.height)

    def setup(self) -> None:
        """Load the pipeline; BlendsetError for one that cannot do this job."""
        super().setup()
        self._pipeline.check_sides(self.size.values())
        if self._pipeline.takes_images:
            raise BlendsetError(
                f"{self.generator.model} is a {self.generator.pipeline}, which draws from pictures; give a model of "
                "text to image, or choose another job."
            )

    @torch.no_grad()
    def generate(self, dataset: Dataset, batch: RequestBatch) -> Sequence[GeneratedImage | BlendsetError]:
        """One image for each request, or the error that says why there is none."""
        faults = self._pipeline.refuse_truncated_prompts([request.record.prompt for request in batch])
        sound = [request for request, fault in zip(batch, faults, strict=True) if fault is None]
        images = iter(self._generate_images(sound) if sound else [])
        return [fault or next(images) for fault in faults]

    def _generate_images(self, requests: Sequence[ViewRequest]) -> Sequence[GeneratedImage]:
        return self._pipeline(  # type: ignore[no-any-return]
            prompt=[request.record.prompt for request in requests],
            generator=seed_generators([request.record.seed for request in requests]),
            output_type="np",
            **self.size,
            **repeat_texts(self._options, len(requests)),
        ).images


def plan_text_to_image(
    dataset: Dataset, settings: TextToImageSettings
) -> tuple[TextToImage, list[ViewRequest], list[str]]:
    """The synthesizer, its requests, and why views were left out (never any): images of the dataset's captions, or of
    those in a file of prompts. Raises BlendsetError where there is none, and for a model that cannot be run.
    """
    synthesizer = TextToImage(find_generator(settings), settings.width, settings.height)
    if settings.prompts:
        captioned = read_captioned_parents(dataset, settings.prompts)
    else:
        captioned = load_captioned_parents(dataset, settings.selection, settings.captions)
    return synthesizer, list(request_images(synthesizer, captioned, settings.variants, settings.seed)), []


def request_images(
    synthesizer: TextToImage, captioned: Sequence[tuple[ViewRecord, str]], variants: int, seed: int
) -> Iterator[ViewRequest]:
    """Requests for `variants` images of each caption, whose parent is the view that the caption was written for."""
    for parent, caption in captioned:
        request = SynthesisRequest(
            TextToImageSettings.job, (parent.view_id,), caption, synthesizer.generator, seed, synthesizer.size
        )
        for number in range(variants):
            view_request = make_view_request(request, parent, number)
            yield replace(view_request, group=view_request.view_id)  # each can be made without the others


def read_captioned_parents(dataset: Dataset, path: Path) -> list[tuple[ViewRecord, str]]:
    """The prompts that `blendset prompts --kind text-to-image` wrote, each with the view that it was written for.

    Raises BlendsetError where there is none, and for a view that the dataset lacks.
    """
    views = {view.view_id: view for view in load_parents(dataset)}
    prompts = [
        (prompt.parts.get(VIEW, ""), prompt.prompt) for prompt in read_prompts(path) if prompt.kind == TEXT_TO_IMAGE
    ]
    if lost := [view_id for view_id, _ in prompts if view_id not in views]:
        raise BlendsetError(f"{path} is of view '{lost[0]}', which is no render of {dataset.root}; write prompts anew.")
    if not prompts:
        raise BlendsetError(f"{path} has no prompt of kind '{TEXT_TO_IMAGE}'; write some with that --kind.")
    return [(views[view_id], prompt) for view_id, prompt in prompts]
