# SPDX-License-Identifier: Apache-2.0
"""From what is asked for to the view that it will be: names, seeds and records that follow from the question alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blendset.files import sha256_bytes
from blendset.naming import slugify
from blendset.records import ViewRecord, encode_json
from blendset_trainer.diffusion.pipeline_settings import PipelineSettings
from blendset_trainer.synthesis.engine import ViewRequest
from blendset_trainer.synthetic_views import SYNTHETIC, SynthesisRecord, make_unknown_camera


@dataclass(frozen=True)
class SynthesisRequest:
    """A group of pictures: job, parents, prompt, the model and how it is run, seed, the job's own settings."""

    job: str
    parents: tuple[str, ...]
    prompt: str
    generator: PipelineSettings
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Tells it from every other; 10 hex."""
        return sha256_bytes(encode_json(self.make_record(self.seed)))[:10]

    def make_record(self, seed: int, parents: tuple[str, ...] = ()) -> SynthesisRecord:
        """How one of its pictures is made."""
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
    """The `number`-th picture of a group. It is about what its parent is about; where it keeps the parent's passes, all
    that the record says of geometry holds too, else only what `changes` say. `seed` is its own unless given.
    """
    seed = derive_seed(request, number) if seed is None else seed
    unknown: dict[str, Any] = {} if keeps_passes else _NOTHING_KNOWN
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


def blank_parent(scene: str, subject: str) -> ViewRecord:
    """Stands for the parent of pictures that have none, but are about something."""
    return ViewRecord(
        view_id="", run="", scene=scene, subject=subject, subject_label=subject, view_set="", view_index=0, seed=0,
        **_NOT_RENDERED, **_NOTHING_KNOWN,
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
_NOTHING_KNOWN: dict[str, Any] = {
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
    """Of the noise that a picture begins with: a function of what is asked for and its number, below 2**32."""
    return int(sha256_bytes(f"{request.digest} {number}".encode())[:8], 16)
