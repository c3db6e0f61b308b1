# SPDX-License-Identifier: Apache-2.0
"""From what is asked of a generator to the views that it will make: ids, seeds and records, which follow from the
request alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blendset.files import sha256_bytes
from blendset.naming import slugify
from blendset.randomness import derive_image_seed
from blendset.records import ViewRecord, encode_json
from blendset_trainer.diffusion.pipeline_settings import PipelineSettings, find_pipeline
from blendset_trainer.synthesis.engine import ViewRequest
from blendset_trainer.synthesis.settings import SynthesisSettings
from blendset_trainer.synthetic_views import PROMPTS_SCENE, SYNTHETIC, SynthesisRecord, make_unknown_camera


@dataclass(frozen=True)
class SynthesisRequest:
    """A group of images: job, ids of the parent views, prompt, the generator and how it is run, seed, and the job's own
    settings.
    """

    job: str
    parents: tuple[str, ...]
    prompt: str
    generator: PipelineSettings
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Ten hex digits of the hash over all of it, which the names of its views carry."""
        return sha256_bytes(encode_json(self.make_record(self.seed)))[:10]

    def make_record(self, seed: int, parents: tuple[str, ...] = ()) -> SynthesisRecord:
        """The record of one of its images, which starts from `seed`; `parents` where they are not the group's."""
        generator = self.generator
        return SynthesisRecord(
            job=self.job,
            parents=parents or self.parents,
            prompt=self.prompt,
            negative_prompt=generator.negative_prompt,
            model=generator.model,
            revision=generator.revision,
            pipeline=generator.pipeline,
            scheduler=dict(generator.scheduler),
            steps=generator.steps,
            guidance=generator.guidance,
            seed=seed,
            settings={**self.settings, **generator.extras},
        )


def find_generator(settings: SynthesisSettings, controlnet: str = "") -> PipelineSettings:
    """The pipeline that settings name and how it is run; BlendsetError where there is none that diffusers can run."""
    return find_pipeline(
        settings.model,
        settings.steps,
        cfg_scale=settings.cfg_scale,
        embedded_guidance=settings.embedded_guidance,
        negative_prompt=settings.negative_prompt,
        precision=settings.precision or "",
        remote_code=settings.remote_code,
        controlnet=controlnet,
    )


def make_view_request(
    request: SynthesisRequest,
    parent: ViewRecord,
    number: int,
    *,
    parents: tuple[str, ...] = (),
    keeps_passes: bool = False,
    seed: int | None = None,
    **changes: Any,
) -> ViewRequest:
    """The request for image `number` of a group. Its view has the subject of its parent.

    Where the view keeps the parent's passes it keeps all that the record says of geometry, too; else it has only what
    `changes` say. `seed` is derived from the group and the number unless it is given.
    """
    seed = derive_seed(request, number) if seed is None else seed
    unknown: dict[str, Any] = {} if keeps_passes else _UNKNOWN_GEOMETRY
    view = replace(
        parent,
        view_id=f"{slugify(parent.subject or 'scene', 28)}-{request.digest}-{number:02d}",
        run=f"{request.job}-{request.digest}",
        view_set=f"{slugify(request.job)}-{request.digest}",
        view_index=number,
        seed=seed,
        **(_NOT_RENDERED | unknown | changes),
    )
    return ViewRequest(view, request.make_record(seed, parents), view.view_set, parent.view_id if keeps_passes else "")


def blank_parent(subject: str, label: str) -> ViewRecord:
    """A record that stands for the parent of images that have none, but that show a subject with this label."""
    return ViewRecord(
        view_id="", run="", scene=PROMPTS_SCENE, subject=subject, subject_label=label, view_set="", view_index=0,
        seed=0, **_NOT_RENDERED, **_UNKNOWN_GEOMETRY,
    )  # fmt: skip


_NOT_RENDERED: dict[str, Any] = {
    "source": SYNTHETIC,
    "exposure_ev": 0.0,
    "samples": 0,
    "lighting": "prompt",
    "statistics": {},
    "failed_checks": (),
    "files": {},
    "timings": {},
}
_UNKNOWN_GEOMETRY: dict[str, Any] = {
    "camera": make_unknown_camera(),
    "subject_objects": (),
    "azimuth_deg": None,
    "elevation_deg": None,
    "distance": None,
    "visible_fraction": None,
    "subject_share": None,
    "truncation": None,
    "visible_objects": (),
}


def derive_seed(request: SynthesisRequest, number: int) -> int:
    """The seed of the noise that image `number` of a group starts from, below 2**32: a function of the two."""
    return derive_image_seed(request.digest, number)
