# SPDX-License-Identifier: Apache-2.0
"""Latents and text features on disk, in safetensors shards, under keys that are hashes of all that they depend on.

So an entry is never stale, only unused: it names what it was made from, and `find_unused` compares that with what is
there today.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from blendset.dataset import CACHE
from blendset.errors import BlendsetError, DiskError
from blendset.files import TEMPORARY_FILES, atomic_write, sha256_bytes, translate_disk_errors
from blendset.records import encode_json

FEATURES = "features"
"""The folder in the cache of a dataset or a folder of photos."""
MADE_BY, ORIGINS = "made_by", "origins"
"""Metadata of a shard: the model that made its entries; what each was made from, by key, as JSON."""
DEBRIS_AGE_S = 3600.0
"""The age after which a temporary file is no longer being written."""

Features = Mapping[str, torch.Tensor]


def make_latent_key(content: str, revision: str, dtype: torch.dtype) -> str:
    """The key of an image's latents: its `transforms.make_content_key`, the VAE's revision, the dtype on disk."""
    return _hash_parts("latents", content, revision, str(dtype))


def make_text_key(text: str, revision: str) -> str:
    """The key of a prompt's features: the prompt, the text encoders' revision."""
    return _hash_parts("text", text, revision)


def hash_caption(words: str) -> str:
    """The hash of a caption for `Entry.origins`."""
    return sha256_bytes(words.encode())


def _hash_parts(*parts: str) -> str:
    return sha256_bytes(encode_json(parts))[:32]


def get_features_folder(folder: Path) -> Path:
    """The folder of the features in a dataset, a folder of photos, or a place of its own."""
    return folder / CACHE / FEATURES


def find_cache_folder(pictures: Path, elsewhere: str = "") -> Path:
    """The folder with the cache of a dataset or a folder of photos: that folder, or one of its own `elsewhere`."""
    if not elsewhere:
        return pictures
    full = pictures.resolve()
    return Path(os.path.expanduser(elsewhere)) / f"{full.name}-{sha256_bytes(os.fsencode(full))[:8]}"


@dataclass(frozen=True)
class Entry:
    """Tensors by name, and the hashes of the pictures or of the caption that they were made from."""

    features: Features
    origins: Sequence[str]


@dataclass(frozen=True)
class CacheGroup:
    """What one model has made: how many entries, and the bytes of their shards."""

    made_by: str
    entries: int
    bytes: int


@dataclass(frozen=True, eq=False)
class _Shard:
    """An open shard: the names of each key's tensors, and the hashes of what they were made from."""

    path: Path
    handle: Any
    made_by: str
    names: Mapping[str, Sequence[str]]
    origins: Mapping[str, Sequence[str]]

    def read_entry(self, key: str) -> Entry:
        return Entry({name: self.handle.get_tensor(f"{key}/{name}") for name in self.names[key]}, self.origins[key])


class FeatureCache:
    """The features in a folder, as it was when it was opened, with what was added through this object since.

    Opening reads headers only, and features are read through memory maps. Any number of readers and writers may share
    the folder. `damaged` are the shards that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        """Open `<folder>/cache/features`, of a dataset or a folder of photos; it need not be there yet."""
        self.root = get_features_folder(folder)
        self.damaged: list[Path] = []
        self._shards: dict[Path, _Shard] = {}
        self._shard_of: dict[str, _Shard] = {}
        for path in sorted(self.root.glob("*.safetensors")):
            self._open(path)

    def __len__(self) -> int:
        return len(self._shard_of)

    def __contains__(self, key: str) -> bool:
        return key in self._shard_of

    def get(self, key: str) -> Features:
        """The features under a key; BlendsetError where there are none."""
        if key not in self:
            raise BlendsetError(f"{self.root} has no entry {key}; start the training again, which fills it.")
        return self._shard_of[key].read_entry(key).features

    def add(self, entries: Mapping[str, Entry], made_by: str) -> None:
        """Write entries as one shard, completely or not at all; those that are there already are left out.

        Raises BlendsetError where the folder cannot be written.
        """
        fresh = {key: entry for key, entry in sorted(entries.items()) if key not in self}
        if fresh:
            with self._offer_another_folder():
                self._write(fresh, made_by)

    def check_writable(self) -> None:
        """Raise BlendsetError where the folder cannot be written, which is better known before anything is encoded."""
        probe = self.root / f".{os.getpid()}.probe.tmp"
        with self._offer_another_folder():
            atomic_write(probe, b"")
        _unlink(probe)

    @contextmanager
    def _offer_another_folder(self) -> Iterator[None]:
        """Say in errors of the disk which setting moves the cache."""
        try:
            yield
        except DiskError as error:
            reason = getattr(error.__cause__, "strerror", None) or error
            raise DiskError(
                f"{self.root} cannot be written ({reason}); set train.cache_folder to a folder with space where you "
                "may write, or train.cache to false."
            ) from error

    def summarize(self) -> list[CacheGroup]:
        """A summary of the entries for each model that made them."""
        names = sorted({shard.made_by for shard in self._shards.values()})
        return [self._summarize_group(name) for name in names]

    def list_keys(self) -> set[str]:
        """The keys of all entries."""
        return {*self._shard_of}

    def find_unused(self, origins: Collection[str]) -> set[str]:
        """The keys of entries that were made from anything but these pictures and captions, by hash."""
        known = set(origins)
        shards = self._shards.values()
        return {key for shard in shards for key, hashes in shard.origins.items() if not known.issuperset(hashes)}

    def list_debris(self) -> list[Path]:
        """The paths of damaged shards, and of what killed writers left."""
        before = time.time() - DEBRIS_AGE_S
        temporary = [path for path in sorted(self.root.glob(TEMPORARY_FILES)) if path.stat().st_mtime < before]
        return [*self.damaged, *temporary]

    def remove(self, keys: Collection[str]) -> None:
        """Remove these entries, and debris. The other entries of a shard are written anew first, so that they are never
        missing.
        """
        for shard in list(self._shards.values()):
            others = {key: shard.read_entry(key) for key in shard.names if key not in keys}
            if len(others) < len(shard.names):
                if others:
                    self._write(others, shard.made_by)
                self._close(shard)
                _unlink(shard.path)
        for path in self.list_debris():
            _unlink(path)
        self.damaged.clear()

    def _summarize_group(self, made_by: str) -> CacheGroup:
        shards = [shard for shard in self._shards.values() if shard.made_by == made_by]
        keys = {key for shard in shards for key in shard.names}
        return CacheGroup(made_by, len(keys), sum(shard.path.stat().st_size for shard in shards))

    def _write(self, entries: Mapping[str, Entry], made_by: str) -> None:
        tensors = {
            f"{key}/{name}": tensor.detach().cpu().contiguous()
            for key, entry in entries.items()
            for name, tensor in entry.features.items()
        }
        origins = {key: list(entry.origins) for key, entry in entries.items()}
        path = self.root / f"{_hash_parts(*sorted(entries))}.safetensors"
        atomic_write(path, save(tensors, {MADE_BY: made_by, ORIGINS: json.dumps(origins)}))
        self._open(path)

    def _open(self, path: Path) -> None:
        try:
            handle: Any = safe_open(path, framework="pt")
            metadata = handle.metadata()
            origins = json.loads(metadata[ORIGINS])
            names: dict[str, list[str]] = {key: [] for key in origins}
            for tensor_name in handle.keys():  # noqa: SIM118 - it is no mapping
                key, _, name = tensor_name.partition("/")
                names[key].append(name)
        except (OSError, SafetensorError, TypeError, LookupError, ValueError):
            self.damaged.append(path)
            return
        shard = self._shards[path] = _Shard(path, handle, metadata[MADE_BY], names, origins)
        self._shard_of |= dict.fromkeys(names, shard)

    def _close(self, shard: _Shard) -> None:
        del self._shards[shard.path]
        self._shard_of = {key: holder for key, holder in self._shard_of.items() if holder is not shard}


def _unlink(path: Path) -> None:
    with translate_disk_errors(path):
        path.unlink(missing_ok=True)
