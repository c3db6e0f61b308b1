# SPDX-License-Identifier: Apache-2.0
"""Fills a source's cache with the latents of its pictures and the features of its captions, once for all visits.

What is there already is not made again, so an interrupted run goes on, and a changed picture costs its own entry only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch

from blendset.errors import BlendsetError
from blendset_trainer.training.data.feature_cache import Entry, FeatureCache, latent_key, text_key, text_origin
from blendset_trainer.training.data.loader import Cached
from blendset_trainer.training.data.prefetch import ahead
from blendset_trainer.training.data.sources import Sample, Source
from blendset_trainer.training.data.transforms import Bucket, content_key, nearest_buckets, pixels

MOMENTS = "moments"
SHARD_ENTRIES, SHARD_BYTES = 256, 256 << 20
"""What a shard holds at most, and a killed run loses."""

Moments = Callable[[torch.Tensor], torch.Tensor]
"""From 8-bit sRGB (B, 3, height, width) to what is kept of each (B, ...)."""
Encode = Callable[[Sequence[str]], Mapping[str, torch.Tensor]]
"""From B texts to features by name, each (B, ...)."""
OnProgress = Callable[[int, int], None]
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class _Picture:
    """A sample whose latents are to be made."""

    key: str
    sample: Sample
    bucket: Bucket


def fill_latents(
    cache: FeatureCache,
    source: Source,
    buckets: Sequence[Bucket],
    moments: Moments,
    *,
    revision: str,
    made_by: str,
    dtype: torch.dtype,
    batch: int = 8,
    rank: int = 0,
    processes: int = 1,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, str]:
    """Make the latents that are missing, in centred crops, and return what could not be read: why, by sample id.

    `revision` tells VAEs apart, `made_by` names it to people. Each of several processes does its part. `on_progress`
    hears of samples done, and of all to do.
    """
    missing = _missing_pictures(cache, source, buckets, revision, dtype)
    todo = [picture for picture in missing if _is_mine(picture.key, rank, processes)]
    groups = groupby(todo, key=lambda picture: picture.bucket)
    batches = [its for _, group in groups for its in _cut(list(group), batch)]
    failures: dict[str, str] = {}

    def made() -> Iterator[dict[str, Entry]]:
        for done, (pictures, seen) in enumerate(ahead(partial(_read, source, failures), batches, threads=4), 1):
            values = moments(torch.stack(seen)).to(dtype) if seen else ()
            yield {
                picture.key: Entry({MOMENTS: value}, picture.sample.hashes)
                for picture, value in zip(pictures, values, strict=True)
            }
            on_progress(min(done * batch, len(todo)), len(todo))

    _keep(cache, made(), made_by)
    return failures


def fill_texts(
    cache: FeatureCache,
    source: Source,
    encode: Encode,
    *,
    revision: str,
    made_by: str,
    batch: int = 32,
    rank: int = 0,
    processes: int = 1,
    on_progress: OnProgress = lambda done, total: None,
) -> None:
    """Make the features that are missing of all words that can go with a source's samples; see `fill_latents`."""
    texts = {text: words for sample in source for text, words in source.texts(sample).items()}
    missing = [text for text in texts if text_key(text, revision) not in cache]
    todo = [text for text in missing if _is_mine(text_key(text, revision), rank, processes)]

    def made() -> Iterator[dict[str, Entry]]:
        for done, some in enumerate(_cut(todo, batch), 1):
            features = encode(some)
            yield {
                text_key(text, revision): Entry(
                    {name: values[place] for name, values in features.items()}, [text_origin(texts[text])]
                )
                for place, text in enumerate(some)
            }
            on_progress(min(done * batch, len(todo)), len(todo))

    _keep(cache, made(), made_by)


def cached_latents(caches: Mapping[str, FeatureCache], revision: str, dtype: torch.dtype) -> Cached:
    """What a feed reads instead of pictures, from the caches of its sources by name."""
    return lambda source, content: caches[source.name].get(latent_key(content, revision, dtype))[MOMENTS]


def _missing_pictures(
    cache: FeatureCache, source: Source, buckets: Sequence[Bucket], revision: str, dtype: torch.dtype
) -> list[_Picture]:
    """The samples without latents, bucket after bucket; of those with the same content, one."""
    places = nearest_buckets(source.sizes, buckets)
    found: dict[str, _Picture] = {}
    for number in np.argsort(places, kind="stable").tolist():
        sample, bucket = source[number], buckets[places[number]]
        key = latent_key(content_key(sample, source.settings.layout, bucket), revision, dtype)
        if key not in cache:
            found.setdefault(key, _Picture(key, sample, bucket))
    return list(found.values())


def _is_mine(key: str, rank: int, processes: int) -> bool:
    """Whether this process makes an entry; by its key, for what the others have made meanwhile must not decide."""
    return int(key, 16) % processes == rank


def _read(
    source: Source, failures: dict[str, str], pictures: Sequence[_Picture]
) -> tuple[list[_Picture], list[torch.Tensor]]:
    """The pictures that could be read and their pixels, each (3, height, width)."""
    read, seen = [], []
    for picture in pictures:
        try:
            shown = pixels(picture.sample, source.settings.layout, picture.bucket)
        except BlendsetError as error:
            failures[picture.sample.id] = str(error)
        else:
            read.append(picture)
            seen.append(torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1))))
    return read, seen


def _keep(cache: FeatureCache, made: Iterable[dict[str, Entry]], made_by: str) -> None:
    """Add entries to the cache, a shard at a time."""
    waiting: dict[str, Entry] = {}
    for entries in made:
        waiting |= entries
        size = sum(tensor.nbytes for entry in waiting.values() for tensor in entry.features.values())
        if len(waiting) >= SHARD_ENTRIES or size >= SHARD_BYTES:
            cache.add(waiting, made_by)
            waiting = {}
    cache.add(waiting, made_by)


def _cut(items: list[Item], size: int) -> list[list[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
