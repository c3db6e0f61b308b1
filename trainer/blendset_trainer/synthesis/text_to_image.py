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
from blendset.errors import BlendsetError, SettingsError
from blendset.files import sha256_bytes
from blendset.naming import slugify
from blendset.records import ViewRecord
from blendset_trainer.diffusion.randomness import seed_generators
from blendset_trainer.synthesis.engine import GeneratedImage, RequestBatch, ViewRequest
from blendset_trainer.synthesis.parents import load_captioned_parents
from blendset_trainer.synthesis.pipeline_synthesizer import PipelineSynthesizer, name_sides, repeat_texts
from blendset_trainer.synthesis.prompts.pools import read_pool
from blendset_trainer.synthesis.prompts.prompt_files import VIEW, Prompt
from blendset_trainer.synthesis.requests import SynthesisRequest, blank_parent, find_generator, make_view_request
from blendset_trainer.synthesis.settings import TextToImageSettings
from blendset_trainer.synthetic_views import has_camera


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
    dataset: Dataset | None, settings: TextToImageSettings
) -> tuple[TextToImage, list[ViewRequest], list[str]]:
    """The synthesizer, its requests, and what to say of prompts whose views are not there: images of the prompts in a
    file, or of the dataset's captions.

    Raises BlendsetError where there is none, and for a model that cannot be run.
    """
    synthesizer = make_synthesizer(settings)
    captioned, remarks = load_prompts(dataset, settings)
    return synthesizer, list(request_images(synthesizer, captioned, settings.variants, settings.seed)), remarks


def make_synthesizer(settings: TextToImageSettings) -> TextToImage:
    """The synthesizer of settings; BlendsetError for a model that cannot be run."""
    return TextToImage(find_generator(settings), settings.width, settings.height)


def load_prompts(
    dataset: Dataset | None, settings: TextToImageSettings
) -> tuple[list[tuple[ViewRecord, str]], list[str]]:
    """What to draw, each prompt after the record of its parent; and what to say of prompts whose views are not there.

    Raises BlendsetError where there is nothing to draw.
    """
    if settings.prompts:
        return read_prompted_parents(dataset, settings.prompts)
    if not dataset:
        raise SettingsError(f"There is nothing to draw in {settings.out}; give --prompts FILE.")
    return load_captioned_parents(dataset, settings.selection, settings.captions), []


def request_images(
    synthesizer: TextToImage, captioned: Sequence[tuple[ViewRecord, str]], variants: int, seed: int
) -> Iterator[ViewRequest]:
    """Requests for `variants` images of each caption, whose parent is the view that the caption was written for, or a
    record without an id where it was written for none: then what the caption describes is a subject of its own.
    """
    for parent, caption in captioned:
        parents = (parent.view_id,) if parent.view_id else ()
        request = SynthesisRequest(
            TextToImageSettings.job, parents, caption, synthesizer.generator, seed, synthesizer.size
        )
        subject = _name_subject(parent, caption)
        for number in range(variants):
            view_request = make_view_request(request, parent, number, subject=subject)
            yield replace(view_request, group=view_request.view_id)  # each can be made without the others


def _name_subject(parent: ViewRecord, caption: str) -> str:
    """The subject of a caption's images: the parent's, or a photo itself, or what the caption describes."""
    if not parent.view_id:
        return f"{parent.subject}-{sha256_bytes(caption.encode())[:10]}"
    return parent.subject if has_camera(parent.camera) else parent.subject or parent.view_id


def read_prompted_parents(dataset: Dataset | None, path: Path) -> tuple[list[tuple[ViewRecord, str]], list[str]]:
    """The prompts of a file, each once, with the view of the dataset that it was written for; those that were written
    for none, or for one that is not there, with a blank record. The latter are counted in a sentence.

    Raises BlendsetError where the file has no prompt.
    """
    prompts: dict[tuple[str, str], Prompt] = {}
    for prompt in read_pool(path):
        prompts.setdefault((prompt.parts.get(VIEW, ""), prompt.prompt), prompt)
    named = {view_id for view_id, _ in prompts if view_id}
    views = {view.view_id: view for view in dataset.views() if view.view_id in named} if dataset and named else {}
    remarks = []
    if lost := [view_id for view_id, _ in prompts if view_id and view_id not in views]:
        where = f"{dataset.root} does not have" if dataset else "a new dataset does not have"
        remarks.append(
            f"{len(lost)} of {len(prompts)} prompts of {path} were written for views that {where}, such as {lost[0]}; "
            "their pictures have no parents."
        )
    parents = [(views.get(view_id) or _blank_parent_of(prompt), text) for (view_id, text), prompt in prompts.items()]
    return parents, remarks


def _blank_parent_of(prompt: Prompt) -> ViewRecord:
    """The record that stands for the parent of a prompt's images, with a name for what they show."""
    return blank_parent(slugify(prompt.label or prompt.prompt, 28), prompt.label)
