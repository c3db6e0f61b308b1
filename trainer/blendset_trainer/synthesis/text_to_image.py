# SPDX-License-Identifier: Apache-2.0
"""`text-to-image`: pictures of curated captions, several of each, of which a selection keeps the best.

SynthVLM (arXiv 2407.20756) makes one picture of each caption and selects by CLIPScore + 0.5 SSIM over all; the pictures
of one caption are a view set here, so that `view_set = 1` under [budgets] keeps the best of n by any scorer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import ViewRecord
from blendset_trainer.cli.commands.synthesize import generator_from
from blendset_trainer.diffusion.randomness import seed_generators
from blendset_trainer.synthesis.engine import GeneratedImage, RequestBatch, ViewRequest
from blendset_trainer.synthesis.parents import load_captioned_parents, load_parents
from blendset_trainer.synthesis.pipeline_synthesizer import PipelineSynthesizer, name_sides, repeat_texts
from blendset_trainer.synthesis.prompts.files import TEXT_TO_IMAGE, VIEW, read_prompts
from blendset_trainer.synthesis.requests import SynthesisRequest, make_view_request

JOB = "text-to-image"


@dataclass
class TextToImage(PipelineSynthesizer):
    """See `work.Synthesizer`. Sides in pixels; None leaves them to the pipeline."""

    width: int | None = None
    height: int | None = None

    @property
    def size(self) -> dict[str, int]:
        """What is asked for."""
        return name_sides(self.width, self.height)

    def setup(self) -> None:
        super().setup()
        self._pipeline.check_sides(self.size.values())
        if self._pipeline.takes_images:
            raise BlendsetError(
                f"{self.generator.model} is a {self.generator.pipeline}, which draws from pictures; give a model of "
                "text to image, or choose another --job."
            )

    @torch.no_grad()
    def generate(self, dataset: Dataset, batch: RequestBatch) -> Sequence[GeneratedImage | BlendsetError]:
        faults = self._pipeline.refuse_truncated_prompts([wanted.record.prompt for wanted in batch])
        sound = [wanted for wanted, fault in zip(batch, faults, strict=True) if fault is None]
        made = iter(self._drawn(sound) if sound else [])
        return [fault or next(made) for fault in faults]

    def _drawn(self, wanted: Sequence[ViewRequest]) -> Sequence[GeneratedImage]:
        return self._pipeline(  # type: ignore[no-any-return]
            prompt=[each.record.prompt for each in wanted],
            generator=seed_generators([each.record.seed for each in wanted]),
            output_type="np",
            **self.size,
            **repeat_texts(self._options, len(wanted)),
        ).images


def request_images(
    synthesizer: TextToImage, captioned: Sequence[tuple[ViewRecord, str]], variants: int, seed: int
) -> Iterator[ViewRequest]:
    """`variants` pictures of each caption; the view that it was written for is their parent."""
    for parent, caption in captioned:
        asked = SynthesisRequest(JOB, (parent.view_id,), caption, synthesizer.generator, seed, synthesizer.size)
        for number in range(variants):
            wanted = make_view_request(asked, parent, number)
            yield replace(wanted, group=wanted.view_id)  # each can be drawn without the others


def plan_text_to_image(
    arguments: argparse.Namespace, dataset: Dataset
) -> tuple[TextToImage, list[ViewRequest], list[str]]:
    """What `blendset synthesize --job text-to-image` asks for: pictures of the captions, or of a file of prompts."""
    synthesizer = TextToImage(generator_from(arguments), arguments.width, arguments.height)
    if arguments.prompts:
        captioned = read_captions(dataset, arguments.prompts)
    else:
        captioned = load_captioned_parents(dataset, arguments.selection, arguments.captions)
    return synthesizer, list(request_images(synthesizer, captioned, arguments.variants, arguments.seed)), []


def read_captions(dataset: Dataset, path: Path) -> list[tuple[ViewRecord, str]]:
    """What `blendset prompts --kind text-to-image` wrote, with the view that each was written for."""
    views = {view.view_id: view for view in load_parents(dataset)}
    found = [(each.parts.get(VIEW, ""), each.prompt) for each in read_prompts(path) if each.kind == TEXT_TO_IMAGE]
    if lost := [view_id for view_id, _ in found if view_id not in views]:
        raise BlendsetError(f"{path} is of view '{lost[0]}', which is no render of {dataset.root}; write prompts anew.")
    if not found:
        raise BlendsetError(f"{path} has no prompt of kind '{TEXT_TO_IMAGE}'; write some with that --kind.")
    return [(views[view_id], prompt) for view_id, prompt in found]
