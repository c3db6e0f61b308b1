# SPDX-License-Identifier: Apache-2.0
"""Selections on disk: `selections/<name>.parquet` and the drops next to it. A selection is never overwritten."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import atomic_write, explain_read_errors
from blendset.naming import slugify
from blendset_trainer.stages.folder import read_parquet

SELECTIONS = "selections"
DROPS_SUFFIX = ".drops.parquet"
CHOSEN = pa.schema(
    {"view_id": pa.string(), "weight": pa.float32(), "source": pa.string(), "noise_band": pa.string(),
     "split": pa.string()}
)  # fmt: skip
"""The columns of the chosen views."""
DROPS = pa.schema({"view_id": pa.string(), "reason": pa.string(), "figure": pa.float64(), "duplicate_of": pa.string()})
"""The columns of the dropped views: the reason, the value that decided, and the view that a duplicate looks like."""
TRAIN, HELD_OUT = "train", "held-out"
"""Values of the column `split`."""
RULES, PRESET, TABLE_HASH = b"rules", b"preset", b"table"
"""Keys of the schema metadata of the chosen views: the rules as TOML, the preset that they are from, and the hash of
the columns that decided."""


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


def write_selection(path: Path, chosen: pa.Table, drops: pa.Table) -> None:
    """Write the drops, then the chosen views; BlendsetError where another selection has this path."""
    data = _to_parquet(chosen)
    if path.exists() and path.read_bytes() != data:
        raise BlendsetError(f"{path} holds another selection; choose another --name, or delete it first.")
    atomic_write(get_drops_path(path), _to_parquet(drops))
    atomic_write(path, data)


def read_chosen(dataset: Dataset, name: str) -> pa.Table:
    """Return the views that a selection chose, in order of choice, with the schema CHOSEN.

    Raises BlendsetError, which names the dataset's selections, where there is none of this name.
    """
    names = list_selections(dataset)
    if name not in names:
        there = f"it has {', '.join(names)}" if names else "make one with 'blendset select'"
        raise BlendsetError(f"{dataset.root} has no selection '{name}'; {there}.")
    return _read_table(get_selection_path(dataset, name), CHOSEN)


def read_drops(dataset: Dataset, name: str) -> pa.Table:
    """Return the views that a selection left out, with the schema DROPS; BlendsetError where the file is missing."""
    return _read_table(get_drops_path(get_selection_path(dataset, name)), DROPS)


def read_recipe(chosen: pa.Table) -> tuple[str, str]:
    """Return the rules (TOML) that made a selection and the preset that they are from; "" where it does not say."""
    metadata = chosen.schema.metadata or {}
    return metadata.get(RULES, b"").decode(errors="replace"), metadata.get(PRESET, b"").decode(errors="replace")


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    with explain_read_errors(path, "make the selection again"):
        table = read_parquet(path)
        columns = table.select(schema.names)  # a KeyError for one that it lacks
        return columns.cast(schema).replace_schema_metadata(table.schema.metadata)


def _to_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())
