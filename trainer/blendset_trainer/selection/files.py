# SPDX-License-Identifier: Apache-2.0
"""Selections on disk: `selections/<name>.parquet` and the drops next to it. A selection is never overwritten."""

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
    """Return the names of a dataset's selections, sorted."""
    paths = (dataset.root / SELECTIONS).glob("*.parquet")
    return sorted(path.stem for path in paths if not path.name.endswith(DROPS_SUFFIX))


def get_selection_path(dataset: Dataset, name: str) -> Path:
    """Return the path of a selection; BlendsetError for a name that not every file system allows."""
    if slugify(name) != name:
        raise BlendsetError(f"'{name}' cannot name a selection; call it '{slugify(name)}', say.")
    return dataset.root / SELECTIONS / f"{name}.parquet"


def get_drops_path(path: Path) -> Path:
    """Return the path of the drops of the selection at `path`."""
    return path.with_suffix(DROPS_SUFFIX)


def write_selection(path: Path, selection: ViewSelection) -> None:
    """Write the drops, then the selection; BlendsetError where another selection has this path."""
    drops, chosen = _to_parquet(selection.drops), _to_parquet(selection.chosen)
    if path.exists() and path.read_bytes() != chosen:
        raise BlendsetError(f"{path} holds another selection; choose another --name, or delete it first.")
    atomic_write(get_drops_path(path), drops)
    atomic_write(path, chosen)


def read_chosen(dataset: Dataset, name: str) -> pa.Table:
    """Return the views that a selection chose, in order of choice, as `select.CHOSEN`.

    Raises BlendsetError, which names the dataset's selections, where there is none of this name.
    """
    names = list_selections(dataset)
    if name not in names:
        there = f"it has {', '.join(names)}" if names else "make one with 'blendset select'"
        raise BlendsetError(f"{dataset.root} has no selection '{name}'; {there}.")
    return _read_table(get_selection_path(dataset, name))


def read_drops(dataset: Dataset, name: str) -> pa.Table:
    """Return the views that a selection left out, with the reasons, as `select.DROPS`; BlendsetError without them."""
    return _read_table(get_drops_path(get_selection_path(dataset, name)))


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise BlendsetError(f"{path} cannot be read ({error}); make the selection again.") from error


def _to_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())
