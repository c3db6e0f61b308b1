# SPDX-License-Identifier: Apache-2.0
"""Selections on disk: `selections/<name>.parquet`, and beside it the drops. What is there is never replaced."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import atomic_write
from blendset.naming import slugify
from blendset_trainer.selection.select import ViewSelection

SELECTIONS = "selections"
DROPS_SUFFIX = ".drops.parquet"


def list_selections(dataset: Dataset) -> list[str]:
    """The selections of a dataset."""
    paths = (dataset.root / SELECTIONS).glob("*.parquet")
    return sorted(path.stem for path in paths if not path.name.endswith(DROPS_SUFFIX))


def get_selection_path(dataset: Dataset, name: str) -> Path:
    """Where a selection lies; BlendsetError for a name that is not legal everywhere."""
    if slugify(name) != name:
        raise BlendsetError(f"'{name}' cannot name a selection; call it '{slugify(name)}', say.")
    return dataset.root / SELECTIONS / f"{name}.parquet"


def get_drops_path(path: Path) -> Path:
    """Where the drops of the selection at `path` lie."""
    return path.with_suffix(DROPS_SUFFIX)


def write_selection(path: Path, selection: ViewSelection) -> None:
    """Write the drops, then the selection; the same selection again changes nothing, another one is refused."""
    drops, chosen = _parquet(selection.drops), _parquet(selection.chosen)
    if path.exists() and path.read_bytes() != chosen:
        raise BlendsetError(f"{path} holds another selection; choose another --name, or delete it first.")
    atomic_write(get_drops_path(path), drops)
    atomic_write(path, chosen)


def read_chosen(dataset: Dataset, name: str) -> pa.Table:
    """The views that a selection chose, in order; BlendsetError names the selections that there are."""
    names = list_selections(dataset)
    if name not in names:
        there = f"it has {', '.join(names)}" if names else "make one with 'blendset select'"
        raise BlendsetError(f"{dataset.root} has no selection '{name}'; {there}.")
    return _read(get_selection_path(dataset, name))


def read_drops(dataset: Dataset, name: str) -> pa.Table:
    """The views that a selection left out, with the reasons."""
    return _read(get_drops_path(get_selection_path(dataset, name)))


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise BlendsetError(f"{path} cannot be read ({error}); make the selection again.") from error


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())
