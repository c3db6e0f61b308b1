# SPDX-License-Identifier: Apache-2.0
"""Runs a synthesis: the images that are requested become views of the dataset, each once, completely or not at all.

A batch that was interrupted is generated again, all of it, and views that are there already stay as they are, so that a
run that was killed ends with the same bytes as one that was not.
"""

from __future__ import annotations

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
from blendset_trainer.readers.images import encode_png
from blendset_trainer.stages.executors.task import Executor, ShardResult
from blendset_trainer.synthesis.search.report import SearchReport
from blendset_trainer.synthetic_views import (
    PROMPTS_SCENE,
    SYNTHESIS,
    SynthesisRecord,
    add_prompts_scene,
    has_camera,
    make_unknown_camera,
)

GeneratedImage = NDArray[np.float32]
"""(H, W, 3), sRGB in 0..1."""
TOO_LARGE = "make smaller pictures, or fewer in a set"
FLAT_RANGE = 1 / 255
"""An image whose levels all lie within so much shows nothing."""


@dataclass(frozen=True)
class ViewRequest:
    """A view to be generated: its record in the dataset (without files, which are not known yet), and the record of how
    it is made. It keeps the passes of view `passes_of`, unless that is "".

    The views of one `group` are written together or not at all.
    """

    view: ViewRecord
    record: SynthesisRecord
    group: str
    passes_of: str = ""

    @property
    def view_id(self) -> str:
        """The view's name in the dataset."""
        return self.view.view_id

    def __hash__(self) -> int:
        return hash(self.view_id)


RequestBatch = tuple[ViewRequest, ...]


class Synthesizer(Protocol):
    """A generator with its settings: a small picklable object, which loads its model in `setup`."""

    @property
    def revision(self) -> str:
        """The revision of the model's weights."""

    def setup(self) -> None:
        """Load the model; called once per process, before the first images."""

    def generate(self, dataset: Dataset, batch: RequestBatch) -> Sequence[GeneratedImage | BlendsetError]:
        """One image for each request, or the error that says why there is none."""


@dataclass(frozen=True)
class SynthesisTask:
    """A synthesizer and the dataset that it adds to; see `executors.task.Task`."""

    dataset: Dataset
    stage: Synthesizer

    def compute(self, batch: RequestBatch) -> ShardResult:
        """Generate and write the views of a batch that are not there yet."""
        missing = [request for request in batch if not self.dataset.has_view(request.view.scene, request.view_id)]
        if not missing:
            return ShardResult(len(batch))
        failed: dict[str, str] = {}
        notes: list[str] = []
        images = run_within_memory(
            lambda some: self.stage.generate(self.dataset, tuple(some)), batch, _get_group, TOO_LARGE, notes
        )
        pairs = list(zip(batch, images, strict=True))
        faults = {request.group: fault for request, image in pairs[::-1] if (fault := find_fault(request, image))}
        for request, image in pairs:
            if request in missing and request.group in faults:
                failed[request.view_id] = str(faults[request.group])
            elif request in missing and not isinstance(image, BlendsetError):
                self._write_view(request, image)
        return ShardResult(len(batch), failed, tuple(notes))

    def _write_view(self, request: ViewRequest, image: GeneratedImage) -> None:
        """Write the view's files, its record last."""
        levels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
        view = request.view
        if not has_camera(view.camera):
            view = replace(view, camera=make_unknown_camera(levels.shape[1], levels.shape[0]))
        payload = {RGB: encode_png(Image.fromarray(levels)), SYNTHESIS: encode_json(request.record)}
        if request.passes_of:
            payload[PASSES] = (self.dataset.view_folder(view.scene, request.passes_of) / PASSES).read_bytes()
        statistics = collect_metrics(compute_statistics(levels @ LUMA, None))
        self.dataset.write_view(replace(view, statistics=statistics), payload)


def find_fault(request: ViewRequest, image: GeneratedImage | BlendsetError) -> BlendsetError | None:
    """The error that says why there is no image, or why it cannot be used; None where nothing is wrong."""
    if isinstance(image, BlendsetError):
        return image
    size = request.view.camera.height, request.view.camera.width
    if has_camera(request.view.camera) and image.shape[:2] != size:
        what = f"is not {size[1]} x {size[0]} pixels, as its render is; render at a size that the model makes"
    elif not np.isfinite(image).all():
        what = "is not finite; use --precision fp32 or bf16"
    elif np.ptp(image) < FLAT_RANGE:
        what = "is of one colour, as a safety checker or an overflow makes it; try another seed, prompt or precision"
    else:
        return None
    return BlendsetError(f"What {request.record.model} made for {request.view_id} {what}.")


def generate_by_group(
    batch: RequestBatch, generate_group: Callable[[Sequence[ViewRequest]], Sequence[GeneratedImage]]
) -> list[GeneratedImage | BlendsetError]:
    """Generate each group of a batch by itself; where that fails, each request of the group gets the error."""
    images: list[GeneratedImage | BlendsetError] = []
    for _, group in groupby(batch, key=_get_group):
        requests = list(group)
        try:
            images += run_within_memory(generate_group, requests, _get_group, TOO_LARGE, [])
        except BlendsetError as error:
            images += [error] * len(requests)
    return images


def _get_group(request: ViewRequest) -> str:
    return request.group


def batch_requests(requests: Sequence[ViewRequest], size: int) -> list[RequestBatch]:
    """Batches of at least `size` requests (the last may have fewer), each of complete groups."""
    batches: list[RequestBatch] = []
    for _, group in groupby(requests, key=_get_group):
        if batches and len(batches[-1]) < size:
            batches[-1] += tuple(group)
        else:
            batches.append(tuple(group))
    return batches


@dataclass(frozen=True)
class SynthesisReport:
    """What a run did: how many views were made now, how many were there before, and by id why others failed.

    `notes` say what the machine had too little room for, `left_out` why views of the dataset have no request. `search`
    is how the settings were chosen, where they were searched.
    """

    made: int
    kept: int
    failed: dict[str, str]
    notes: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    search: SearchReport | None = None


def generate_views(
    dataset: Dataset,
    synthesizer: Synthesizer,
    requests: Sequence[ViewRequest],
    executor: Executor,
    batch_size: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SynthesisReport:
    """Generate the views that are requested, at least `batch_size` at once, and bring the dataset's index up to date.

    Safe to interrupt and to run again. A request that comes twice is one view. `on_progress` is called with the number
    of views that are done and of all.
    """
    requests = list({request.view_id: request for request in requests}.values())
    there = {request.view_id for request in requests if dataset.has_view(request.view.scene, request.view_id)}
    batches = batch_requests(requests, batch_size)
    todo = [batch for batch in batches if not there.issuperset(request.view_id for request in batch)]
    failed: dict[str, str] = {}
    notes: dict[str, None] = {}
    if any(request.view.scene == PROMPTS_SCENE for request in requests):
        add_prompts_scene(dataset)
    done, total = len(requests) - sum(map(len, todo)), len(requests)
    on_progress(done, total)
    try:
        for result in executor.run(SynthesisTask(dataset, synthesizer), todo) if todo else ():
            done += result.views
            failed |= result.unreadable
            notes |= dict.fromkeys(result.notes)
            on_progress(done, total)
    finally:
        dataset.rebuild_index()
    return SynthesisReport(total - len(there) - len(failed), len(there), failed, tuple(notes))
