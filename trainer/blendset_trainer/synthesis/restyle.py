# SPDX-License-Identifier: Apache-2.0
"""`restyle`: a view set keeps its geometry and identity, and gets new surroundings, light and material from a prompt.

A depth-conditioned model draws the views of a set together: each sees the others' subject through shared attention and
takes what they show over while the layout settles (SynCD, arXiv 2502.01720). Masks, identities and warps come from the
renders' exact passes, so there is no first step without masks, and no object to guess.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from typing import cast

import torch
from PIL import Image
from torch import Tensor

from blendset.correspondence import ViewGeometry
from blendset.dataset import RGB, Dataset
from blendset.errors import BlendsetError
from blendset.records import ViewRecord
from blendset.tokens import Grid
from blendset_trainer.cli.commands.synthesize import generator_from, prompts_from
from blendset_trainer.cli.parser import UsageError
from blendset_trainer.diffusion.pipelines import GenericPipeline
from blendset_trainer.diffusion.randomness import seed_generator
from blendset_trainer.diffusion.shared_attention import ViewSets, shared_attention
from blendset_trainer.diffusion.shared_attention.view_sets import Mode
from blendset_trainer.synthesis.engine import GeneratedImage, RequestBatch, ViewRequest, generate_by_group
from blendset_trainer.synthesis.layouts import Layout
from blendset_trainer.synthesis.parents import load_parents
from blendset_trainer.synthesis.pipeline_synthesizer import PipelineSynthesizer, repeat_texts
from blendset_trainer.synthesis.requests import SynthesisRequest, make_view_request
from blendset_trainer.synthesis.steering import Steering, Warping
from blendset_trainer.synthesis.view_sets import disparity, geometry_of, ids_of, view_sets_of
from blendset_trainer.synthesis.warp import SYNCD_WINDOW, plan_warps

JOB = "restyle"
APART = "apart"
FLUX_CONTROL = "control_image"


@dataclass(frozen=True)
class Restyling:
    """How the views of a set are drawn together. `share` is a mode of `shared_attention`, or "apart"; `warp` what is
    taken from one view to another while there is more noise than flow's sigma `warp_above`; `anchor` lets the first
    view's render stand among them.
    """

    share: str = "foreground"
    warp: Warping = "noisy"
    warp_above: float = SYNCD_WINDOW
    anchor: bool = False


@dataclass
class Restyle(PipelineSynthesizer):
    """See `work.Synthesizer`."""

    how: Restyling

    def setup(self) -> None:
        super().setup()
        self._control = find_depth_argument(self._pipeline)

    def generate(self, dataset: Dataset, batch: RequestBatch) -> Sequence[GeneratedImage | BlendsetError]:
        return generate_by_group(batch, lambda members: self._drawn(dataset, members))

    @torch.no_grad()
    def _drawn(self, dataset: Dataset, wanted: Sequence[ViewRequest]) -> list[GeneratedImage]:
        """The pictures of one set; an anchor stands before them, where the first view does."""
        if fault := self._pipeline.refuse_truncated_prompts([wanted[0].record.prompt])[0]:
            raise fault
        anchors = wanted[:1] if self.how.anchor else []
        views = [geometry_of(dataset, each.view.scene, each.passes_of) for each in (*anchors, *wanted)]
        layout = Layout(self._pipeline, *views[0].passes.depth.shape)
        noise = layout.noise([each.record.seed ^ 1 for each in anchors] + [each.record.seed for each in wanted])
        steering = self._steering(views, layout.grid)
        for each in anchors:
            with Image.open(dataset.view_folder(each.view.scene, each.passes_of) / RGB) as render:
                steering.anchor, steering.noise = layout.latents(render.convert("RGB"))[0], noise
        with self._sharing(views, wanted[0].view.subject_objects, layout):
            pictures = self._pipeline(
                prompt=[wanted[0].record.prompt] * len(views),
                height=layout.height,
                width=layout.width,
                latents=steering.begin(noise),
                callback_on_step_end=steering,
                output_type="np",
                generator=seed_generator(wanted[0].record.seed),  # FLUX draws its depth's latents, too
                **{self._control: self._depth(views)},
                **repeat_texts(self._options, len(views)),
            ).images
        return list(pictures[len(anchors) :])

    def _depth(self, views: Sequence[ViewGeometry]) -> Tensor:
        """Depth as the pipeline takes it, (N, 3, H, W): ControlNet's from 0 to 1, FLUX's from -1 to 1, for it scales
        no tensor."""
        shown = disparity([each.passes for each in views])
        return 2 * shown - 1 if self._control == FLUX_CONTROL else shown

    def _sharing(
        self, views: Sequence[ViewGeometry], objects: Sequence[int], layout: Layout
    ) -> AbstractContextManager[None]:
        """Shared attention among the views, unless they are drawn apart."""
        if self.how.share == APART:
            return nullcontext()
        mode = cast(Mode, self.how.share)
        return shared_attention(layout.denoiser, ViewSets(ids_of(views, objects, mode), layout.grid, mode))

    def _steering(self, views: Sequence[ViewGeometry], grid: Grid) -> Steering:
        """An anchor lends first; of a set without one the last view does, as SynCD's."""
        order = range(len(views)) if self.how.anchor else range(len(views))[::-1]
        warps = [] if self.how.warp == "none" else plan_warps(views, grid, order)
        return Steering(self._pipeline.pipeline.scheduler, grid, warps, self.how.warp, self.how.warp_above)


def find_depth_argument(pipeline: GenericPipeline) -> str:
    """What a depth-conditioned pipeline's call names the image of depth; BlendsetError for one that takes none."""
    if not pipeline.depth_argument:
        raise BlendsetError(
            f"{pipeline.model} is a {pipeline.class_name}, which takes no depth, so the views would not keep their "
            "geometry; give a FLUX depth model, or a Stable Diffusion model with --controlnet."
        )
    return pipeline.depth_argument


def plan_restyle(arguments: argparse.Namespace, dataset: Dataset) -> tuple[Restyle, list[ViewRequest], list[str]]:
    """What `blendset synthesize --job restyle` asks for, and why some subjects have no set."""
    if arguments.views < 2:
        raise UsageError("A set of one view has nothing to agree with; give --views 2 or more.")
    how = Restyling(arguments.share, arguments.warp, arguments.warp_above, arguments.anchor)
    synthesizer = Restyle(generator_from(arguments), how)
    wanted: list[ViewRequest] = []
    left_out: list[str] = []
    views = load_parents(dataset, arguments.selection)
    for members in view_sets_of(dataset, views, arguments.views, arguments.covisible):
        if isinstance(members, BlendsetError):
            left_out.append(str(members))
            continue
        label = members[0].subject_label
        prompts = prompts_from(arguments, label)
        if not prompts:
            left_out.append(f"No prompt of {arguments.prompts} is for '{label}'.")
        for prompt, variant in product(prompts, range(arguments.variants)):
            wanted += _request_set(synthesizer, members, prompt, variant, arguments.seed)
    if not wanted:
        raise BlendsetError(left_out[0] if left_out else f"{dataset.root} holds no views of a subject.")
    return synthesizer, wanted, list(dict.fromkeys(left_out))


def _request_set(
    synthesizer: Restyle, members: Sequence[ViewRecord], prompt: str, variant: int, seed: int
) -> Iterator[ViewRequest]:
    parents = tuple(view.view_id for view in members)
    settings = {**asdict(synthesizer.how), "variant": variant}
    asked = SynthesisRequest(JOB, parents, prompt, synthesizer.generator, seed, settings)
    for number, parent in enumerate(members):
        yield make_view_request(asked, parent, number, parents=(parent.view_id,), keeps_passes=True)
