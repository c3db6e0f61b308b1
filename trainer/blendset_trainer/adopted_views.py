# SPDX-License-Identifier: Apache-2.0
"""What is recorded of an adopted picture, a picture of other people: its name at its source, its licence, its origin.

The rows are parquet files in `adoptions/<scene>/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa

from blendset.dataset import Dataset
from blendset.files import explain_read_errors
from blendset_trainer.stages.folder import read_parquet

ADOPTIONS = "adoptions"
LEDGER_CURE = "delete it and adopt the source again: no picture is written twice"
LINKED, COPIED, STRIPPED, CONVERTED = "linked", "copied", "copied without metadata", "written as PNG"
"""What became of a picture's file."""


@dataclass(frozen=True, kw_only=True)
class AdoptedPicture:
    """A row: a view, and the picture of a source that it shows.

    `name` is what the source calls it, `number` counts pictures of one name from 0, `stamp` changes with the picture
    and what is said of it. `file` is one of the constants above; `licence`, `origin` (an address) and `creator` are ""
    where nobody says them.
    """

    view_id: str
    name: str
    number: int
    stamp: str
    file: str
    licence: str
    origin: str
    creator: str


_TYPES = {"number": pa.int32()}
SCHEMA = pa.schema([pa.field(each.name, _TYPES.get(each.name, pa.string())) for each in fields(AdoptedPicture)])


def read_adoptions(dataset: Dataset) -> pa.Table:
    """Return a row for each adopted picture of a dataset: the fields of `AdoptedPicture`."""
    folders = sorted(path for path in (dataset.root / ADOPTIONS).glob("*") if path.is_dir())
    return pa.concat_tables([pa.Table.from_batches([], SCHEMA), *map(read_source_rows, folders)])


def list_licences(dataset: Dataset, view_ids: Iterable[str]) -> list[str]:
    """Return, sorted, the licences of some views: of an adopted picture its own, else the dataset's; "" is one that
    nobody says.
    """
    rows = read_adoptions(dataset)
    own = dict(zip(rows["view_id"].to_pylist(), rows["licence"].to_pylist(), strict=True))
    return sorted({own.get(view_id, dataset.record.licence) for view_id in view_ids})


def read_adopted_names(dataset: Dataset) -> dict[str, str]:
    """Return by view id what each adopted picture of a dataset is called at its source."""
    rows = read_adoptions(dataset)
    return dict(zip(rows["view_id"].to_pylist(), rows["name"].to_pylist(), strict=True))


def read_source_rows(folder: Path, columns: Sequence[str] = tuple(SCHEMA.names)) -> pa.Table:
    """Return these columns of the rows of one source, from its folder in `adoptions/`."""
    tables = []
    for path in sorted(folder.glob("*.parquet")):
        with explain_read_errors(path, LEDGER_CURE):
            tables.append(read_parquet(path, columns))
    nothing = pa.Table.from_batches([], pa.schema([SCHEMA.field(name) for name in columns]))
    return pa.concat_tables([nothing, *tables])
