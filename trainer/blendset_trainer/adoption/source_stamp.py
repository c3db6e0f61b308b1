# SPDX-License-Identifier: Apache-2.0
"""Tells whether a source on disk, or the part of a dataset that was adopted from it, has changed since the last run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from blendset.dataset import Dataset, is_block

DOCUMENTS = (".json", ".jsonl")


def compute_stamp(source: Path, settings: object) -> str:
    """Return a hash over the names, sizes and times of all files in a folder, or of one file, and over the settings of
    the adoption.

    It is "" for what is not on this machine, and for JSON, which names pictures that lie elsewhere.
    """
    if not source.exists() or source.suffix.lower() in DOCUMENTS:
        return ""
    digest = hashlib.sha256(repr(settings).encode(errors="replace"))
    for line in _list_files(source) if source.is_dir() else [f"{source} {_format_state(source)}"]:
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _list_files(folder: Path) -> Iterator[str]:
    """Yield a line for each file below a folder, in any fixed order; folders that links lead to are entered once."""
    waiting, known = [str(folder)], set[str]()
    while waiting:
        here = waiting.pop()
        if (real := os.path.realpath(here)) in known:
            continue
        known.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            yield f"{here} is closed\n"
            continue
        for entry in entries:
            if _is_folder(entry):
                waiting.append(entry.path)
            else:
                yield f"{entry.path}\0{_format_state(entry)}\n"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # of links that lead to one another
        return False


def _format_state(entry: os.DirEntry[str] | Path) -> str:
    try:
        state = entry.stat()
    except OSError:
        return "leads nowhere"
    return f"{state.st_size} {state.st_mtime_ns}"


def count_views(dataset: Dataset, scene: str) -> int:
    """Return how many views of a scene there are, by their folders."""
    top = dataset.root / "views" / scene
    blocks = [Path(entry) for entry in os.scandir(top) if is_block(Path(entry))] if top.is_dir() else []
    return sum(not is_block(Path(entry.name)) for folder in (top, *blocks) if folder.is_dir()
               for entry in os.scandir(folder))  # fmt: skip
