# SPDX-License-Identifier: Apache-2.0
"""`restyle`: a view set keeps its geometry and identity, and gets new surroundings, light and material from a prompt.

A depth-conditioned model denoises the views of a set together: each attends to the others' subject (shared attention),
and while the layout settles it takes over the latents of what the others show (SynCD, arXiv 2502.01720). Masks, object
ids and warps come from the renders' exact passes, so there is no first step without masks, and no object to guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import product
from typing import cast

import torch
from torch import Tensor

from blendset.correspondence import ViewGeometry
from blendset.dataset import RGB, Dataset
from blendset.errors import BlendsetError
from blendset.records import ViewRecord
from blendset.tokens import Grid
from blendset_trainer.diffusion.pipelines import GenericPipeline
from blendset_trainer.diffusion.randomness import seed_generator
from blendset_trainer.diffusion.shared_attention import ViewSets, share_attention
from blendset_trainer.diffusion.shared_attention.view_sets import SharingMode
from blendset_trainer.readers.images import load_rgb
from blendset_trainer.readers.prompt_lists import read_prompt_list
from blendset_trainer.synthesis.engine import GeneratedImage, RequestBatch, ViewRequest, generate_by_group
from blendset_trainer.synthesis.layouts import LatentLayout
from blendset_trainer.synthesis.parents import load_parents
from blendset_trainer.synthesis.pipeline_synthesizer import PipelineSynthesizer, repeat_texts
from blendset_trainer.synthesis.prompts.pools import read_pool
from blendset_trainer.synthesis.requests import SynthesisRequest, find_generator, make_view_request
from blendset_trainer.synthesis.settings import APART, RestyleSettings
from blendset_trainer.synthesis.view_sets import build_object_ids, compute_disparity, find_view_sets, load_geometry
from blendset_trainer.synthesis.warp import plan_warps
from blendset_trainer.synthesis.warp_callback import WarpCallback, WarpMode
from blendset_trainer.synthetic_views import has_camera

FLUX_CONTROL = "control_image"


@dataclass
class Restyle(PipelineSynthesizer):
    """The `Synthesizer` of this job."""

    settings: RestyleSettings

    def setup(self) -> None:
        """Load the pipeline; BlendsetError for one that cannot do this job."""
        super().setup()
        self._depth_argument = find_depth_argument(self._pipeline)

    def generate(self, dataset: Dataset, batch: RequestBatch) -> Sequence[GeneratedImage | BlendsetError]:
        """One image for each request, or the error that says why there is none."""
        return generate_by_group(batch, lambda requests: self._generate_set(dataset, requests))

    @torch.no_grad()
    def _generate_set(self, dataset: Dataset, requests: Sequence[ViewRequest]) -> list[GeneratedImage]:
        """The images of one set. An anchor is the first view's render, and stands before them in the batch."""
        if fault := self._pipeline.refuse_truncated_prompts([requests[0].record.prompt])[0]:
            raise fault
        anchors = requests[:1] if self.settings.anchor else []
        views = [load_geometry(dataset, each.view.scene, each.passes_of) for each in (*anchors, *requests)]
        layout = LatentLayout(self._pipeline, *views[0].passes.depth.shape)
        seeds = [anchor.record.seed ^ 1 for anchor in anchors] + [request.record.seed for request in requests]
        noise = layout.sample_noise(seeds)
        callback = self._make_callback(views, layout.grid)
        for anchor in anchors:
            render = load_rgb(dataset.view_folder(anchor.view.scene, anchor.passes_of) / RGB, cure="render it again")
            callback.anchor, callback.noise = layout.encode_image(render)[0], noise
        with self._share_attention(views, requests[0].view.subject_objects, layout):
            images = self._pipeline(
                prompt=[requests[0].record.prompt] * len(views),
                height=layout.height,
                width=layout.width,
                latents=callback.warp_noise(noise),
                callback_on_step_end=callback,
                output_type="np",
                generator=seed_generator(requests[0].record.seed),  # FLUX samples its depth's latents, too
                **{self._depth_argument: self._make_control_image(views)},
                **repeat_texts(self._options, len(views)),
            ).images
        return list(images[len(anchors) :])

    def _make_control_image(self, views: Sequence[ViewGeometry]) -> Tensor:
        """Depth as the pipeline takes it, (N, 3, H, W): a ControlNet's from 0 to 1, FLUX's from -1 to 1, because its
        pipeline does not scale tensors.
        """
        disparity = compute_disparity([view.passes for view in views])
        return 2 * disparity - 1 if self._depth_argument == FLUX_CONTROL else disparity

    def _share_attention(
        self, views: Sequence[ViewGeometry], objects: Sequence[int], layout: LatentLayout
    ) -> AbstractContextManager[None]:
        """Shared attention among the views, unless they are denoised apart."""
        if self.settings.share == APART:
            return nullcontext()
        mode = cast(SharingMode, self.settings.share)
        return share_attention(layout.denoiser, ViewSets(build_object_ids(views, objects, mode), layout.grid, mode))

    def _make_callback(self, views: Sequence[ViewGeometry], grid: Grid) -> WarpCallback:
        """An anchor is the first source of the warps; in a set without one the last view is, as in SynCD."""
        order = range(len(views)) if self.settings.anchor else range(len(views))[::-1]
        mode = cast(WarpMode, self.settings.warp)
        warps = [] if mode == "none" else plan_warps(views, grid, order)
        return WarpCallback(self._pipeline.pipeline.scheduler, grid, warps, mode, self.settings.warp_above)


def find_depth_argument(pipeline: GenericPipeline) -> str:
    """What a depth-conditioned pipeline's call names the image of depth; BlendsetError for one that takes none."""
    if not pipeline.depth_argument:
        raise BlendsetError(
            f"{pipeline.model} is a {pipeline.class_name}, which takes no depth, so the views would not keep their "
            "geometry; give a FLUX depth model, or a Stable Diffusion model with --controlnet."
        )
    return pipeline.depth_argument


def plan_restyle(dataset: Dataset, settings: RestyleSettings) -> tuple[Restyle, list[ViewRequest], list[str]]:
    """The synthesizer, its requests, and why some subjects have no set.

    Raises BlendsetError where no subject has one, and for a model that cannot be run.
    """
    synthesizer = Restyle(find_generator(settings, settings.controlnet), settings)
    requests: list[ViewRequest] = []
    parents = load_parents(dataset, settings.selection)
    views = [view for view in parents if has_camera(view.camera)]
    without = len(parents) - len(views)
    left_out = [f"{without} of {len(parents)} views are left out: they were not rendered."] if without else []
    for members in find_view_sets(dataset, views, settings.views, settings.covisible):
        if isinstance(members, BlendsetError):
            left_out.append(str(members))
            continue
        label = members[0].subject_label
        prompts = load_prompts(settings, label)
        if not prompts:
            left_out.append(f"No prompt of {settings.prompts} is for '{label}'.")
        for prompt, variant in product(prompts, range(settings.variants)):
            requests += _request_set(synthesizer, members, prompt, variant)
    if not requests:
        raise BlendsetError(left_out[0] if left_out else f"{dataset.root} holds no views of a subject.")
    return synthesizer, requests, list(dict.fromkeys(left_out))


def load_prompts(settings: RestyleSettings, label: str) -> list[str]:
    """The prompts for subjects with a label, each once: those of the settings, and those of the file that are for this
    label or for any.
    """
    prompts = list(settings.prompt)
    if settings.prompts and settings.prompts.suffix == ".jsonl":
        prompts += [prompt.prompt for prompt in read_pool(settings.prompts) if prompt.label in ("", label)]
    elif settings.prompts:
        prompts += [listed.prompt for listed in read_prompt_list(settings.prompts)]
    return list(dict.fromkeys(prompts))


def _request_set(
    synthesizer: Restyle, members: Sequence[ViewRecord], prompt: str, variant: int
) -> Iterator[ViewRequest]:
    settings = synthesizer.settings
    parents = tuple(view.view_id for view in members)
    recorded = {
        "share": settings.share,
        "warp": settings.warp,
        "warp_above": settings.warp_above,
        "anchor": settings.anchor,
        "variant": variant,
    }
    request = SynthesisRequest(RestyleSettings.job, parents, prompt, synthesizer.generator, settings.seed, recorded)
    for number, parent in enumerate(members):
        yield make_view_request(request, parent, number, parents=(parent.view_id,), keeps_passes=True)
