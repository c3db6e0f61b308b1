# SPDX-License-Identifier: Apache-2.0
"""The work of a synthesis: pictures that are wanted become views of the dataset, each once, whole or not at all.

A batch that was interrupted is made again as a whole, and what is there already stays as it is, so that a run that was
killed ends with the bytes of one that was not.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blendset.dataset import PASSES, RGB, Dataset
from blendset.errors import BlendsetError
from blendset.quality import LUMA, collect_metrics, compute_statistics
from blendset.records import ViewRecord, encode_json
from blendset_trainer.models.memory import run_within_memory
from blendset_trainer.stages.executors.task import Executor, ShardResult
from blendset_trainer.synthetic_views import SYNTHESIS, SynthesisRecord, has_camera, make_unknown_camera

GeneratedImage = NDArray[np.float32]
"""(height, width, 3), sRGB in 0..1."""
TOO_LARGE = "make smaller pictures, or fewer in a set"
FLAT = 1 / 255
"""A picture whose levels all lie within so much is none."""


@dataclass(frozen=True)
class ViewRequest:
    """A picture to be made: its view, but for the files, and how it is made. It keeps the passes of view `passes_of`.

    Pictures of one `group` are made together or not at all.
    """

    view: ViewRecord
    record: SynthesisRecord
    group: str
    passes_of: str = ""

    @property
    def view_id(self) -> str:
        return self.view.view_id

    def __hash__(self) -> int:
        return hash(self.view_id)


RequestBatch = tuple[ViewRequest, ...]


class Synthesizer(Protocol):
    """A generator with its settings: a small picklable object; the model arrives in `setup`."""

    @property
    def revision(self) -> str:
        """Of the model's weights."""

    def setup(self) -> None:
        """Once per process, before the first pictures."""

    def generate(self, dataset: Dataset, batch: RequestBatch) -> Sequence[GeneratedImage | BlendsetError]:
        """A picture for each that is wanted, or why there is none."""


@dataclass(frozen=True)
class SynthesisTask:
    """A synthesizer and the dataset that it adds to; see `executors.task.Task`."""

    dataset: Dataset
    stage: Synthesizer

    def compute(self, batch: RequestBatch) -> ShardResult:
        """Make and write what of a batch is not there yet."""
        missing = [wanted for wanted in batch if not self.dataset.has_view(wanted.view.scene, wanted.view_id)]
        if not missing:
            return ShardResult(len(batch))
        failed: dict[str, str] = {}
        notes: list[str] = []
        pictures = run_within_memory(
            lambda some: self.stage.generate(self.dataset, tuple(some)), batch, _group_of, TOO_LARGE, notes
        )
        made = list(zip(batch, pictures, strict=True))
        faults = {wanted.group: fault for wanted, picture in made[::-1] if (fault := find_fault(wanted, picture))}
        for wanted, picture in made:
            if wanted in missing and wanted.group in faults:
                failed[wanted.view_id] = str(faults[wanted.group])
            elif wanted in missing and not isinstance(picture, BlendsetError):
                self._write(wanted, picture)
        return ShardResult(len(batch), failed, tuple(notes))

    def _write(self, wanted: ViewRequest, picture: GeneratedImage) -> None:
        """The view's files, its record last."""
        levels = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
        view = wanted.view
        if not has_camera(view.camera):
            view = replace(view, camera=make_unknown_camera(levels.shape[1], levels.shape[0]))
        png = io.BytesIO()
        Image.fromarray(levels).save(png, "PNG")
        payload = {RGB: png.getvalue(), SYNTHESIS: encode_json(wanted.record)}
        if wanted.passes_of:
            payload[PASSES] = (self.dataset.view_folder(view.scene, wanted.passes_of) / PASSES).read_bytes()
        self.dataset.write_view(
            replace(view, statistics=collect_metrics(compute_statistics(levels @ LUMA, None))), payload
        )


def find_fault(request: ViewRequest, image: GeneratedImage | BlendsetError) -> BlendsetError | None:
    """Why there is no picture, or why it cannot be used at all."""
    if isinstance(image, BlendsetError):
        return image
    size = request.view.camera.height, request.view.camera.width
    if has_camera(request.view.camera) and image.shape[:2] != size:
        what = f"is not {size[1]} x {size[0]} pixels, as its render is; render at a size that the model makes"
    elif not np.isfinite(image).all():
        what = "is not finite; use --precision fp32 or bf16"
    elif np.ptp(image) < FLAT:
        what = "is of one colour, as a safety checker or an overflow makes it; try another seed, prompt or precision"
    else:
        return None
    return BlendsetError(f"What {request.record.model} made for {request.view_id} {what}.")


def generate_by_group(
    batch: RequestBatch, generate_group: Callable[[Sequence[ViewRequest]], Sequence[GeneratedImage]]
) -> list[GeneratedImage | BlendsetError]:
    """The pictures of each group, drawn by itself, or for each of its members why there are none."""
    made: list[GeneratedImage | BlendsetError] = []
    for _, group in groupby(batch, key=_group_of):
        members = list(group)
        try:
            made += run_within_memory(generate_group, members, _group_of, TOO_LARGE, [])
        except BlendsetError as error:
            made += [error] * len(members)
    return made


def _group_of(wanted: ViewRequest) -> str:
    return wanted.group


def batch_requests(requests: Sequence[ViewRequest], size: int) -> list[RequestBatch]:
    """Batches of at least `size` pictures (the last may have fewer); groups stay whole."""
    found: list[RequestBatch] = []
    for _, group in groupby(requests, key=_group_of):
        if found and len(found[-1]) < size:
            found[-1] += tuple(group)
        else:
            found.append(tuple(group))
    return found


@dataclass(frozen=True)
class SynthesisReport:
    """What a run did: pictures made now, pictures that were there, and those that failed, with the reasons."""

    made: int
    kept: int
    failed: dict[str, str]
    notes: tuple[str, ...]


def synthesize(
    dataset: Dataset,
    synthesizer: Synthesizer,
    requests: Sequence[ViewRequest],
    executor: Executor,
    batch_size: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SynthesisReport:
    """Make what is wanted, `size` pictures at once, and bring the index up to date; safe to interrupt and run again."""
    requests = list({each.view_id: each for each in requests}.values())  # what is asked for twice is the same view
    there = {each.view_id for each in requests if dataset.has_view(each.view.scene, each.view_id)}
    todo = [
        batch for batch in batch_requests(requests, batch_size) if not there.issuperset(each.view_id for each in batch)
    ]
    failed: dict[str, str] = {}
    notes: dict[str, None] = {}
    done, total = len(requests) - sum(map(len, todo)), len(requests)
    on_progress(done, total)
    try:
        for each in executor.run(SynthesisTask(dataset, synthesizer), todo) if todo else ():
            done += each.views
            failed |= each.unreadable
            notes |= dict.fromkeys(each.notes)
            on_progress(done, total)
    finally:
        dataset.rebuild_index()
    return SynthesisReport(total - len(there) - len(failed), len(there), failed, tuple(notes))
