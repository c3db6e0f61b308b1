# SPDX-License-Identifier: Apache-2.0
"""`restyle`: a view set keeps its geometry and identity, and gets new surroundings, light and material from a prompt.

A depth-conditioned model draws the views of a set together: each sees the others' subject through shared attention and
takes what they show over while the layout settles (SynCD, arXiv 2502.01720). Masks, identities and warps come from the
renders' exact passes, so there is no first step without masks, and no object to guess.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from blendset.cameras import Camera
from blendset.correspondence import ViewGeometry, choose_view_sets
from blendset.dataset import RGB, Dataset
from blendset.errors import BlendsetError
from blendset.exr import Passes, read_passes
from blendset.records import ViewRecord
from blendset_trainer.export.source import has_passes
from blendset_trainer.shared_attention import ViewSets, shared_attention
from blendset_trainer.shared_attention.view_sets import Mode
from blendset_trainer.synthesis.command import generator_from, prompts_from
from blendset_trainer.synthesis.parents import parent_views
from blendset_trainer.synthesis.pipelines import Generator, noise_generators, refuse_overlong
from blendset_trainer.synthesis.steering import Steering, Warping
from blendset_trainer.synthesis.wanting import Asked, wanted_view
from blendset_trainer.synthesis.warp import SYNCD_WINDOW, plan_warps
from blendset_trainer.synthesis.work import Batch, Picture, Wanted

JOB = "restyle"
APART = "apart"
SHARING = (*get_args(Mode), APART)


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
class Restyle:
    """See `work.Synthesizer`."""

    generator: Generator
    how: Restyling

    @property
    def revision(self) -> str:
        return self.generator.revision

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def setup(self) -> None:
        self._pipeline = self.generator.load()
        self._options = self.generator.options(self._pipeline)
        self._control = control_name(self._pipeline, self.generator.model)

    def pictures(self, dataset: Dataset, batch: Batch) -> Sequence[Picture | BlendsetError]:
        made: list[Picture | BlendsetError] = []
        for _, group in groupby(batch, key=lambda wanted: wanted.group):
            members = list(group)
            try:
                made += self._drawn(dataset, members)
            except BlendsetError as error:
                made += [error] * len(members)
        return made

    @torch.no_grad()
    def _drawn(self, dataset: Dataset, wanted: Sequence[Wanted]) -> list[Picture]:
        """The pictures of one set."""
        for fault in refuse_overlong(self._pipeline, [wanted[0].made.prompt]):
            if fault:
                raise fault
        views = [geometry_of(dataset, each.view.scene, each.passes_of) for each in wanted]
        objects = wanted[0].view.subject_objects
        first = [0] if self.how.anchor else []  # the anchor stands where the first view does
        seen = [views[number] for number in (*first, *range(len(views)))]
        height, width = views[0].passes.depth.shape
        self._refuse_size(height, width)
        steering = self._steering(seen, height, width)
        noise = self._noise([wanted[0].made.seed ^ 1] * len(first) + [each.made.seed for each in wanted], height, width)
        if first:
            steering.anchor, steering.noise = self._encoded(dataset, wanted[0]), noise
        sets = ViewSets(ids_of(seen, objects, self.how.share), self._grid(height, width), _mode(self.how.share))
        count = len(seen)
        options: dict[str, Any] = {**self._options, self._control: disparity([each.passes for each in seen])}
        if "negative_prompt" in options:
            options["negative_prompt"] = [options["negative_prompt"]] * count
        sharing = nullcontext() if self.how.share == APART else shared_attention(self._denoiser, sets)
        with sharing:
            pictures = self._pipeline(
                prompt=[wanted[0].made.prompt] * count,
                height=height,
                width=width,
                latents=steering.begin(noise),
                callback_on_step_end=steering,
                output_type="np",
                **options,
            ).images
        return list(pictures[len(first) :])

    @property
    def _denoiser(self) -> Any:
        return getattr(self._pipeline, "transformer", None) or self._pipeline.unet

    def _steering(self, views: Sequence[ViewGeometry], height: int, width: int) -> Steering:
        grid = self._grid(height, width)
        order = range(len(views)) if self.how.anchor else [*reversed(range(len(views)))]
        warps = [] if self.how.warp == "none" else plan_warps(views, grid, list(order))
        return Steering(self._pipeline.scheduler, grid, warps, self.how.warp, self.how.warp_above)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the denoiser's tokens: latents of a U-Net, two by two of them of FLUX."""
        pixels = self._pipeline.vae_scale_factor * (2 if hasattr(self._pipeline, "_pack_latents") else 1)
        return height // pixels, width // pixels

    def _refuse_size(self, height: int, width: int) -> None:
        multiple = 2 * self._pipeline.vae_scale_factor
        if height % multiple or width % multiple:
            raise BlendsetError(
                f"Renders of {width} x {height} pixels are no multiple of {multiple}, which {self.generator.model} "
                "draws; render at another resolution."
            )

    def _noise(self, seeds: Sequence[int], height: int, width: int) -> Tensor:
        """What each picture begins as, in the pipeline's layout."""
        factor, channels = self._pipeline.vae_scale_factor, self._pipeline.vae.config.latent_channels
        size = (channels, height // factor, width // factor)
        noise = torch.stack([torch.randn(size, generator=each) for each in noise_generators(seeds)])
        return self._packed(noise)

    def _packed(self, latents: Tensor) -> Tensor:
        if hasattr(self._pipeline, "_pack_latents"):
            latents = self._pipeline._pack_latents(latents, *latents.shape)
        return latents.to(self._pipeline.device, self._denoiser.dtype)

    def _encoded(self, dataset: Dataset, wanted: Wanted) -> Tensor:
        """The latents of the render that a picture has its passes of."""
        vae = self._pipeline.vae
        path = dataset.view_folder(wanted.view.scene, wanted.passes_of) / RGB
        pixels = self._pipeline.image_processor.preprocess(_opened(path)).to(vae.device, vae.dtype)
        latents = vae.encode(pixels).latent_dist.mode() - (vae.config.get("shift_factor") or 0.0)
        return self._packed(latents * vae.config.scaling_factor)[0]


def control_name(pipeline: Any, model: str) -> str:
    """What a depth-conditioned pipeline calls the picture of depth; BlendsetError for one that takes none."""
    kind = type(pipeline).__name__
    if "Control" not in kind or "Img2Img" in kind or "Inpaint" in kind:
        raise BlendsetError(
            f"{model} is a {kind}, which takes no depth, so the views would not keep their geometry; give a FLUX depth "
            "model, or a Stable Diffusion model with --controlnet."
        )
    return "control_image" if kind.startswith("Flux") else "image"


def _mode(share: str) -> Mode:
    return "foreground" if share == APART else share  # type: ignore[return-value]


def _opened(path: Any) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.convert("RGB")


def geometry_of(dataset: Dataset, scene: str, view_id: str) -> ViewGeometry:
    """The camera and passes of a view."""
    from blendset.dataset import PASSES, VIEW_RECORD
    from blendset.records import read_record

    folder = dataset.view_folder(scene, view_id)
    record = read_record(folder / VIEW_RECORD, ViewRecord)
    return ViewGeometry(Camera.from_record(record.camera), read_passes(folder / PASSES))


def disparity(passes: Sequence[Passes]) -> Tensor:
    """1 / depth of a set as pictures (N, 3, H, W) in 0..1, with one range for all of them; 0 where there is nothing.

    SynCD gives each picture a range of its own, which makes one object's grey differ from view to view.
    """
    inverse = np.stack([np.where(np.isfinite(each.depth), 1 / each.depth, 0.0) for each in passes])
    there = inverse[inverse > 0]
    low, high = (float(there.min()), float(there.max())) if there.size else (0.0, 1.0)
    scaled = np.where(inverse > 0, (inverse - low) / max(high - low, 1e-9), 0.0).astype(np.float32)
    return torch.from_numpy(scaled)[:, None].expand(-1, 3, -1, -1).contiguous()


def ids_of(views: Sequence[ViewGeometry], objects: Sequence[int], share: str) -> Tensor:
    """Ids (1, N, H, W) as shared attention reads them: the parts of the subject are one object, and in mode
    "foreground" the only one. BlendsetError where no view shows the subject.
    """
    ids = np.stack([view.passes.id for view in views]).astype(np.int64)
    subject = np.isin(ids, list(objects)) if objects else ids > 0
    if not subject.any():
        raise BlendsetError("The masks of the view set cover nothing: no view shows its subject; choose other views.")
    ids = np.where(subject, objects[0] if objects else 1, 0 if share == "foreground" else ids)
    return torch.from_numpy(ids)[None]


def view_sets_of(
    dataset: Dataset, views: Sequence[ViewRecord], size: int
) -> Iterator[tuple[ViewRecord, ...] | BlendsetError]:
    """Sets of `size` views of one subject, by what they show of one another; for a subject that has none, why."""

    def subject(view: ViewRecord) -> tuple[str, str]:
        return view.scene, view.subject

    for (scene, name), group in groupby(sorted(views, key=subject), key=subject):
        members = [view for view in group if has_passes(view)]
        what = f"{name or 'the whole scene'} of {scene}"
        if len(members) < max(size, 2):
            yield BlendsetError(
                f"There are {len(members)} views with passes of {what}, and a set needs {max(size, 2)}; "
                "render more of them (--preset orbit-4)."
            )
            continue
        geometries = [geometry_of(dataset, scene, view.view_id) for view in members]
        objects = members[0].subject_objects
        if not any(view.of(objects).any() for view in geometries):
            yield BlendsetError(f"The masks of {what} cover nothing: no view shows it; choose other views.")
            continue
        found = choose_view_sets(geometries, size, objects)
        if not found:
            yield BlendsetError(f"No {size} views of {what} show enough of the same; render views that are nearer.")
        yield from (tuple(members[number] for number in numbers) for numbers in found)


def planned(arguments: argparse.Namespace, dataset: Dataset) -> tuple[Restyle, list[Wanted], list[str]]:
    """What `blendset synthesize --job restyle` asks for, and why some subjects have no set."""
    how = Restyling(arguments.share, arguments.warp, arguments.warp_above, arguments.anchor)
    synthesizer = Restyle(generator_from(arguments), how)
    wanted: list[Wanted] = []
    left_out: list[str] = []
    for members in view_sets_of(dataset, parent_views(dataset, arguments.selection), arguments.views):
        if isinstance(members, BlendsetError):
            left_out.append(str(members))
            continue
        prompts = prompts_from(arguments, members[0].subject_label)
        for prompt in prompts:
            wanted += _wanted_set(synthesizer, members, prompt, arguments.seed)
    if not wanted:
        raise BlendsetError(left_out[0] if left_out else f"{dataset.root} holds no views of a subject.")
    return synthesizer, wanted, left_out


def _wanted_set(synthesizer: Restyle, members: Sequence[ViewRecord], prompt: str, seed: int) -> Iterator[Wanted]:
    parents = tuple(view.view_id for view in members)
    settings = {"share": synthesizer.how.share, "warp": synthesizer.how.warp, "anchor": synthesizer.how.anchor,
                "warp_above": synthesizer.how.warp_above, "controlnet": synthesizer.generator.controlnet}  # fmt: skip
    asked = Asked(JOB, parents, prompt, synthesizer.generator, seed, settings)
    for number, parent in enumerate(members):
        yield wanted_view(asked, parent, number, parents=(parent.view_id,), keeps_passes=True)
