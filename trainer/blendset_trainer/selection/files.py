# SPDX-License-Identifier: Apache-2.0
"""Selections on disk: `selections/<name>.parquet`, and beside it the drops. What is there is never replaced."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import atomic_write, slug
from blendset_trainer.selection.select import Selection


def selection_path(dataset: Dataset, name: str) -> Path:
    """Where a selection lies; BlendsetError for a name that is not legal everywhere."""
    if slug(name) != name:
        raise BlendsetError(f"'{name}' cannot name a selection; call it '{slug(name)}', say.")
    return dataset.root / "selections" / f"{name}.parquet"


def drops_path(path: Path) -> Path:
    """Where the drops of the selection at `path` lie."""
    return path.with_suffix(".drops.parquet")


def write_selection(path: Path, selection: Selection) -> None:
    """Write the drops, then the selection; the same selection again changes nothing, another one is refused."""
    drops, chosen = _parquet(selection.drops), _parquet(selection.chosen)
    if path.exists() and path.read_bytes() != chosen:
        raise BlendsetError(f"{path} holds another selection; choose another --name, or delete it first.")
    atomic_write(drops_path(path), drops)
    atomic_write(path, chosen)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())
