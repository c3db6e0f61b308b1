# SPDX-License-Identifier: Apache-2.0
"""The batches that the loop trains on: a process's share of the sampler's micro-batches, loaded ahead in threads.

A sample that cannot be read is replaced by another of its source, the same on every run, and reported. Which one is
drawn anew each time, so that all that can be read are seen about equally often.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from blendset.errors import BlendsetError
from blendset.randomness import sample_uniform
from blendset_trainer.diffusion.images import CENTRE, cover_size
from blendset_trainer.training.data.prefetch import prefetch
from blendset_trainer.training.data.references import References, ReferenceSettings, draw_dropout, load_references
from blendset_trainer.training.data.sampler import Sampler, SampleRef
from blendset_trainer.training.data.sources import Sample, Source
from blendset_trainer.training.data.transforms import (
    Bucket,
    compute_canvas_size,
    find_nearest_buckets,
    load_loss_mask,
    load_pixels,
    make_content_key,
)

LoadLatents = Callable[[Source, str], torch.Tensor]
"""From a source and the `make_content_key` of a sample to its latents; BlendsetError where there are none."""
DRAWN_REPLACEMENTS = 32
"""How often a replacement is drawn; after that all samples are tried in order."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A micro-batch of B samples. `refs` are those that were loaded, after any replacement.

    `pixels` (B, 3, height, width) are 8-bit sRGB, or None where there are cached `latents` (B, 2C, h, w) instead;
    `conditions` (B, 6) are `Placement.conditions`; `mask` (B, 1, height, width) weighs the loss, None where no source
    masks; `weights`, `lowest` and `highest` (B,) are the samples' loss weights and bounds of log SNR, infinite without
    one; `references` are None where the model learns without them.
    """

    number: int
    refs: tuple[SampleRef, ...]
    ids: tuple[str, ...]
    sources: tuple[str, ...]
    captions: tuple[str, ...]
    pixels: torch.Tensor | None
    latents: torch.Tensor | None
    conditions: torch.Tensor
    mask: torch.Tensor | None
    weights: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor
    references: References | None

    @property
    def repeats(self) -> tuple[int, ...]:
        """How many times each sample's source had been gone through before."""
        return tuple(ref.repeat for ref in self.refs)

    @property
    def visibility(self) -> torch.Tensor | None:
        """Where attention may see the references (B, k, height, width); None without references."""
        return self.references.visibility if self.references else None


@dataclass(frozen=True, eq=False)
class _LoadedSample:
    """One sample, loaded."""

    ref: SampleRef
    sample: Sample
    source: Source
    caption: str
    pixels: NDArray[np.uint8] | None
    latents: torch.Tensor | None
    conditions: tuple[int, ...]
    mask: NDArray[np.float32] | None
    references: References | None


class Loader:
    """The batches of process `rank` of `processes`, from micro-batch `start` of the sampler on, without end.

    `cached` loads latents instead of pixels; with `references` each sample has some. Iterate it inside a `with`, which
    ends its threads. `failures` has, by sample id, why one could not be read, which a `strict` loader raises instead;
    `waited_s` is how long the loop has waited for data. Raises BlendsetError for a source without samples, or with
    random crops beside cached latents.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        shares: Mapping[str, float],
        buckets: Sequence[Bucket],
        *,
        micro_batch: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        processes: int = 1,
        threads: int = 4,
        cached: LoadLatents | None = None,
        references: ReferenceSettings | None = None,
        strict: bool = False,
    ) -> None:
        self._references, self._strict = references, strict
        self._sources, self._buckets, self._seed, self._cached = sources, buckets, seed, cached
        self._bucket_numbers = [find_nearest_buckets(source.sizes, buckets) for source in sources]
        if cached and (random := next((source for source in sources if source.settings.crop != "centre"), None)):
            raise BlendsetError(f"Source '{random.name}' is cropped anew each time; use crop = \"centre\" with caches.")
        self._masks = any(source.settings.background != 1 for source in sources)
        self.failures: dict[str, str] = {}
        self.waited_s = 0.0
        by_name = {source.name: numbers for source, numbers in zip(sources, self._bucket_numbers, strict=True)}
        sampler = Sampler(by_name, shares, micro_batch=micro_batch, seed=seed)
        numbered = enumerate(sampler.iterate_micro_batches(start), start)
        of_rank = ((number, refs) for number, refs in numbered if number % processes == rank)
        self._batches = prefetch(self._load_batch, of_rank, threads)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batches.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        started = time.perf_counter()
        batch = next(self._batches)
        self.waited_s += time.perf_counter() - started
        return batch

    def _load_batch(self, numbered: tuple[int, Sequence[SampleRef]]) -> Batch:
        number, refs = numbered
        items = [self._load_or_replace(ref) for ref in refs]
        return Batch(
            number=number,
            refs=tuple(item.ref for item in items),
            ids=tuple(item.sample.id for item in items),
            sources=tuple(item.source.name for item in items),
            captions=tuple(item.caption for item in items),
            pixels=_stack([item.pixels for item in items], channels_last=True),
            latents=torch.stack([item.latents for item in items if item.latents is not None]) if self._cached else None,
            conditions=torch.tensor([item.conditions for item in items]),
            mask=_stack([item.mask for item in items]),
            weights=torch.tensor([item.sample.weight for item in items]),
            lowest=torch.tensor([item.sample.lowest for item in items]),
            highest=torch.tensor([item.sample.highest for item in items]),
            references=References.stack([item.references for item in items if item.references])
            if self._references
            else None,
        )

    def _load_or_replace(self, ref: SampleRef) -> _LoadedSample:
        """The sample, or another one that can be read; BlendsetError where none can."""
        bucket = self._buckets[self._bucket_numbers[ref.source][ref.sample]]
        tried: dict[int, str] = {}
        for number in self._list_candidates(ref):
            if number not in tried:
                try:
                    return self._load(ref._replace(sample=number), bucket)
                except BlendsetError as error:
                    if self._strict:
                        raise
                    tried[number] = self.failures[self._sources[ref.source][number].id] = str(error)
        name, reason = self._sources[ref.source].name, list(tried.values())[-1]
        raise BlendsetError(f"Source '{name}' has no sample left that can be read, of {len(tried)}: {reason}")

    def _list_candidates(self, ref: SampleRef) -> Iterator[int]:
        """The number of the sample, then of others of its bucket as they are drawn, then of all; of other buckets too
        where pictures are read, for those can be cropped to any.
        """
        yield ref.sample
        numbers = self._bucket_numbers[ref.source]
        alike = np.flatnonzero(numbers == numbers[ref.sample])
        identity = self._sources[ref.source][ref.sample].id, ref.repeat
        for attempt in range(DRAWN_REPLACEMENTS):
            yield int(alike[int(sample_uniform(self._seed, "replacement", *identity, attempt) * len(alike))])
        yield from alike.tolist()
        if not self._cached:
            yield from range(len(numbers))

    def _load(self, ref: SampleRef, bucket: Bucket) -> _LoadedSample:
        source = self._sources[ref.source]
        sample, layout = source[ref.sample], source.settings.layout
        at = self._sample_crop(source, sample, ref.repeat)
        references, caption = None, source.choose_caption(sample, self._seed, ref.repeat)
        if self._references:
            load = partial(self._cached, source) if self._cached else None
            references = load_references(source, ref.sample, ref.repeat, bucket, self._references, self._seed, load)
            caption = "" if draw_dropout(self._references, self._seed, sample.id, ref.repeat)[0] else caption
        return _LoadedSample(
            ref=ref,
            sample=sample,
            source=source,
            caption=caption,
            pixels=None if self._cached else load_pixels(sample, layout, bucket, at),
            latents=self._cached(source, make_content_key(source.settings, sample, bucket)) if self._cached else None,
            mask=load_loss_mask(sample, layout, bucket, source.settings.background, at) if self._masks else None,
            conditions=cover_size(compute_canvas_size(sample.size, layout), bucket, at).conditions,
            references=references,
        )

    def _sample_crop(self, source: Source, sample: Sample, repeat: int) -> tuple[float, float]:
        """Where the sample is cropped this time: 0..1, right and down."""
        if source.settings.crop == "centre":
            return CENTRE
        right, down = (sample_uniform(self._seed, "crop", axis, sample.id, repeat) for axis in ("right", "down"))
        return right, down


def _stack(arrays: Sequence[NDArray[Any] | None], channels_last: bool = False) -> torch.Tensor | None:
    """The arrays as one tensor (B, channels, height, width); None where there are none."""
    present = [array for array in arrays if array is not None]
    if not present:
        return None
    stacked = np.stack(present)
    return torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)) if channels_last else stacked[:, None])
