# SPDX-License-Identifier: Apache-2.0
"""Fills the caches of sources with the latents of their images and the text features of their captions.

An entry that is there is not computed again: an interrupted run goes on, and a changed image costs its own entry only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.families import Family
from blendset_trainer.readers.findings import Finding, make_findings
from blendset_trainer.training.data.cache_uses import record_run
from blendset_trainer.training.data.feature_cache import (
    Entry,
    FeatureCache,
    find_cache_folder,
    get_features_folder,
    hash_caption,
    make_latent_key,
    make_text_key,
)
from blendset_trainer.training.data.loader import LoadLatents
from blendset_trainer.training.data.prefetch import prefetch
from blendset_trainer.training.data.sources import Sample, Source
from blendset_trainer.training.data.train_data import EncodePrompts
from blendset_trainer.training.data.transforms import Bucket, find_nearest_buckets, load_pixels, make_content_key

MOMENTS = "moments"
"""The name of the posterior (mean and standard deviation) in an entry of latents."""
SHARD_ENTRIES, SHARD_BYTES = 256, 256 << 20
"""What a shard holds at most, and a killed run loses."""

EncodePixels = Callable[[torch.Tensor], torch.Tensor]
"""From 8-bit sRGB (B, 3, height, width) to the posterior of each image, (B, ...)."""
OnProgress = Callable[[int, int], None]
"""Called with what is done and how much there is to do."""
Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class _Latents:
    """A sample, the key of its latents, and the size of its crop."""

    key: str
    sample: Sample
    bucket: Bucket


def fill_caches(
    sources: Sequence[Source],
    model: Family,
    buckets: Sequence[Bucket],
    accelerator: Accelerator,
    on_progress: Callable[[str, int, int], None],
    cache_folder: str = "",
) -> tuple[dict[str, FeatureCache], list[tuple[str, Finding]]]:
    """The caches of sources by name, with everything that their samples need; each process fills its share. And what
    could not be read, after the name of its source, the same in every process.

    They lie beside the pictures, or in `cache_folder`. `on_progress` gets what is encoded, how much, of how much.
    Raises BlendsetError where a cache cannot be written, and for features that are not finite.
    """
    failures: list[tuple[str, str]] = []
    ranks = {"rank": accelerator.process_index, "processes": accelerator.num_processes}
    folders = {source.name: find_cache_folder(source.root, cache_folder) for source in sources}
    _record_keys(sources, model, buckets, folders)
    for source in sources:
        cache = FeatureCache(folders[source.name])
        failed = fill_latents(
            cache,
            source,
            buckets,
            lambda pixels: model.encode_images(pixels / 127.5 - 1).cpu(),
            revision=model.vae_revision,
            made_by=f"{model.model} (VAE)",
            dtype=model.dtype,
            on_progress=partial(on_progress, f"pictures of {source.name}"),
            **ranks,
        )
        fill_texts(
            cache,
            source,
            lambda prompts: {name: values.cpu() for name, values in model.encode_prompts(prompts).items()},
            revision=model.text_revision,
            made_by=f"{model.model} (text)",
            on_progress=partial(on_progress, f"captions of {source.name}"),
            **ranks,
        )
        failures += [(source.name, reason.rstrip(".")) for reason in failed.values()]
    failures = gather_object(failures)
    accelerator.wait_for_everyone()
    caches = {name: FeatureCache(folder) for name, folder in folders.items()}  # anew, with what others have added
    reasons = {name: [reason for source, reason in failures if source == name] for name in folders}
    return caches, [
        (name, found) for name, each in reasons.items() for found in make_findings("left out, cannot be read", each)
    ]


def _record_keys(
    sources: Sequence[Source], model: Family, buckets: Sequence[Bucket], folders: Mapping[str, Path]
) -> None:
    """Write down in each cache which keys this run uses, before it adds any: nobody frees them from now on."""
    used: dict[Path, set[str]] = {}
    for source in sources:
        keys = used.setdefault(get_features_folder(folders[source.name]), set())
        keys.update(item.key for item in _list_latents(source, buckets, model.vae_revision, model.dtype))
        keys.update(make_text_key(text, model.text_revision) for text in _list_texts(source))
    for root, each in used.items():
        record_run(root, each)


def keep_encoded(source: Source, cache: FeatureCache, model: Family, buckets: Sequence[Bucket]) -> Source:
    """The source with those of its samples whose latents are in its cache.

    Raises BlendsetError where a source that had samples has none left.
    """
    keys = [item.key for item in _list_latents(source, buckets, model.vae_revision, model.dtype)]
    kept = source.keep_samples(np.array([key in cache for key in keys], dtype=bool))
    if len(source) and not len(kept):
        raise BlendsetError(
            f"Source '{source.name}' has no picture that can be read; check the files in {source.root}."
        )
    return kept


def fill_latents(
    cache: FeatureCache,
    source: Source,
    buckets: Sequence[Bucket],
    encode: EncodePixels,
    *,
    revision: str,
    made_by: str,
    dtype: torch.dtype,
    batch: int = 8,
    rank: int = 0,
    processes: int = 1,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, str]:
    """Add the latents of centred crops that are missing. Returns, by sample id, why one could not be read.

    `revision` is the VAE's, `made_by` its name for people. Process `rank` of `processes` does its share. `on_progress`
    is called with the samples that are done.
    """
    missing = _find_missing_latents(cache, source, buckets, revision, dtype)
    todo = [item for item in missing if _belongs_to_rank(item.key, rank, processes)]
    if todo:
        cache.check_writable()
    groups = groupby(todo, key=lambda item: item.bucket)
    batches = [part for _, group in groups for part in _split(list(group), batch)]
    failures: dict[str, str] = {}

    def encode_batches() -> Iterator[dict[str, Entry]]:
        loaded = prefetch(partial(_load_pictures, source, failures), batches, threads=4)
        for done, (items, pixels) in enumerate(loaded, 1):
            values = encode(torch.stack(pixels)).to(dtype) if pixels else ()
            for item, value in zip(items, values, strict=True):
                _refuse_infinite(value, str(item.sample.pictures[0]), made_by)
            yield {
                item.key: Entry({MOMENTS: value}, item.sample.hashes) for item, value in zip(items, values, strict=True)
            }
            on_progress(min(done * batch, len(todo)), len(todo))

    _write_shards(cache, encode_batches(), made_by)
    return failures


def fill_texts(
    cache: FeatureCache,
    source: Source,
    encode: EncodePrompts,
    *,
    revision: str,
    made_by: str,
    batch: int = 32,
    rank: int = 0,
    processes: int = 1,
    on_progress: OnProgress = lambda done, total: None,
) -> None:
    """Add the features that are missing of every caption that the source's samples can have; see `fill_latents`."""
    texts = _list_texts(source)
    missing = [text for text in texts if make_text_key(text, revision) not in cache]
    todo = [text for text in missing if _belongs_to_rank(make_text_key(text, revision), rank, processes)]
    if todo:
        cache.check_writable()

    def encode_batches() -> Iterator[dict[str, Entry]]:
        for done, prompts in enumerate(_split(todo, batch), 1):
            features = encode(prompts)
            for values in features.values():
                for prompt, row in zip(prompts, values, strict=True):
                    _refuse_infinite(row, f"the caption '{prompt[:40]}'", made_by)
            yield {
                make_text_key(prompt, revision): Entry(
                    {name: values[row] for name, values in features.items()}, [hash_caption(texts[prompt])]
                )
                for row, prompt in enumerate(prompts)
            }
            on_progress(min(done * batch, len(todo)), len(todo))

    _write_shards(cache, encode_batches(), made_by)


def _list_texts(source: Source) -> dict[str, str]:
    """Every text that a source's samples can have as a prompt, and the caption that it is made of."""
    return {text: words for sample in source for text, words in source.list_captions(sample).items()}


def make_latents_reader(caches: Mapping[str, FeatureCache], revision: str, dtype: torch.dtype) -> LoadLatents:
    """A function that reads a sample's latents from the caches of sources by name, for a `Loader`."""
    return lambda source, content: caches[source.name].get(make_latent_key(content, revision, dtype))[MOMENTS]


def make_features_reader(caches: Sequence[FeatureCache], revision: str) -> EncodePrompts:
    """A function that reads the text features of prompts from caches, in place of `Family.encode_prompts`."""

    def read_features(prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        keys = [make_text_key(prompt, revision) for prompt in prompts]
        rows = [next((cache for cache in caches if key in cache), caches[0]).get(key) for key in keys]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    return read_features


def _find_missing_latents(
    cache: FeatureCache, source: Source, buckets: Sequence[Bucket], revision: str, dtype: torch.dtype
) -> list[_Latents]:
    """The samples without latents, bucket after bucket; one of those with the same content."""
    found: dict[str, _Latents] = {}
    for item in _list_latents(source, buckets, revision, dtype):
        if item.key not in cache:
            found.setdefault(item.key, item)
    ranks = {bucket: rank for rank, bucket in enumerate(buckets)}
    return sorted(found.values(), key=lambda item: ranks[item.bucket])


def _list_latents(source: Source, buckets: Sequence[Bucket], revision: str, dtype: torch.dtype) -> Iterator[_Latents]:
    """Every sample of a source with the key of its latents, in order."""
    for sample, number in zip(source, find_nearest_buckets(source.sizes, buckets).tolist(), strict=True):
        content = make_content_key(source.settings, sample, buckets[number])
        yield _Latents(make_latent_key(content, revision, dtype), sample, buckets[number])


def _refuse_infinite(values: torch.Tensor, what: str, made_by: str) -> None:
    """Raise BlendsetError where features of any shape are not finite."""
    if values.is_floating_point() and not values.isfinite().all():
        raise BlendsetError(
            f"{made_by} makes numbers that are not finite of {what}; set model.precision to bf16 or fp32, or take "
            "another model."
        )


def _belongs_to_rank(key: str, rank: int, processes: int) -> bool:
    """Whether this process computes an entry. Its key decides, so that all agree whatever is in the cache by now."""
    return int(key, 16) % processes == rank


def _load_pictures(
    source: Source, failures: dict[str, str], items: Sequence[_Latents]
) -> tuple[list[_Latents], list[torch.Tensor]]:
    """The items that could be read and their pixels, (3, height, width) each; `failures` gets the others."""
    readable, pixels = [], []
    for item in items:
        try:
            picture = load_pixels(item.sample, source.settings.layout, item.bucket)
        except BlendsetError as error:
            failures[item.sample.id] = str(error)
        else:
            readable.append(item)
            pixels.append(torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))))
    return readable, pixels


def _write_shards(cache: FeatureCache, batches: Iterable[dict[str, Entry]], made_by: str) -> None:
    """Add entries to the cache, a shard at a time; `batches` computes them as they are asked for."""
    waiting: dict[str, Entry] = {}
    for entries in batches:
        waiting |= entries
        size = sum(tensor.nbytes for entry in waiting.values() for tensor in entry.features.values())
        if len(waiting) >= SHARD_ENTRIES or size >= SHARD_BYTES:
            cache.add(waiting, made_by)
            waiting = {}
    cache.add(waiting, made_by)


def _split(items: list[Item], size: int) -> list[list[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
