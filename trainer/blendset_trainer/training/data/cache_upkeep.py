# SPDX-License-Identifier: Apache-2.0
"""Looks after the cache of a dataset or a folder of photos: what it holds, and what of it nothing uses any more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blendset.errors import BlendsetError
from blendset_trainer.stages.caption_forms import CAPTION_FORMS
from blendset_trainer.training.data.cache_uses import LAST_RUNS, forget_old_runs, read_last_keys
from blendset_trainer.training.data.feature_cache import CacheGroup, FeatureCache, find_cache_folder, hash_caption
from blendset_trainer.training.data.photos import load_photos
from blendset_trainer.training.data.views import load_view_rows


@dataclass(frozen=True)
class CacheReport:
    """What a cache holds: its entries in all, those of each model, and the files that cannot be read."""

    entries: int
    groups: tuple[CacheGroup, ...]
    damaged: tuple[Path, ...]


@dataclass(frozen=True)
class CollectReport:
    """What of a cache is unused: of how many `entries`, with which damaged files, and whether it was removed.

    `unused` are of pictures or captions that are gone, `of_old_runs` of those that are left but no late run has used.
    """

    entries: int
    unused: int
    damaged: tuple[Path, ...]
    removed: bool
    of_old_runs: int = 0


def describe_cache(folder: Path, elsewhere: str = "") -> CacheReport:
    """Return what the cache of a dataset or a folder of photos holds.

    `elsewhere` is the `train.cache_folder` of its runs. Raises BlendsetError where there is no such folder.
    """
    cache = open_cache(folder, elsewhere)
    return CacheReport(len(cache), tuple(cache.summarize()), tuple(cache.list_debris()))


def collect_unused(
    folder: Path, remove: bool = False, elsewhere: str = "", last_runs: int = LAST_RUNS
) -> CollectReport:
    """Find the entries that are of no use, and damaged files; may remove both.

    Of no use are entries of pictures and captions that are no longer in a folder, and those that no configuration of
    the `last_runs` runs has used, where runs have written down what they use.
    `elsewhere` is the `train.cache_folder` of its runs. Raises BlendsetError where there is no such folder.
    """
    cache = open_cache(folder, elsewhere)
    entries, unused, debris = len(cache), cache.find_unused(hash_origins(folder, elsewhere)), cache.list_debris()
    last = read_last_keys(cache.root, last_runs)
    old = set() if last is None else cache.list_keys() - unused - last
    if remove:
        cache.remove(unused | old)
        forget_old_runs(cache.root, last_runs)
    return CollectReport(entries, len(unused), tuple(debris), remove, len(old))


def open_cache(folder: Path, elsewhere: str = "") -> FeatureCache:
    """Return the cache of a dataset or a folder of photos; BlendsetError where there is no such folder."""
    if not folder.is_dir():
        raise BlendsetError(f"{folder} is no folder; give that of a dataset, or of photos.")
    return FeatureCache(find_cache_folder(folder, elsewhere))


def hash_origins(folder: Path, elsewhere: str = "") -> set[str]:
    """The hashes of all pictures and captions of a dataset or a folder of photos, as `Entry.origins` has them."""
    rows = (
        load_view_rows(folder)
        if (folder / "dataset.json").is_file()
        else load_photos(folder, find_cache_folder(folder, elsewhere)).rows
    )
    captions = {text or "" for form in CAPTION_FORMS for text in rows[form].to_pylist()}
    return {*rows["sha256"].to_pylist(), *map(hash_caption, captions | {""})}
