# SPDX-License-Identifier: Apache-2.0
"""Hugging Face: data/<split>-*.parquet with the pictures inside, which `load_dataset` and the Hub's viewer show.

Held-out views are the split `test`. Parquet is for looking and publishing; random reads want the dataset itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.dataset import RECORD_COLUMNS, RGB, Dataset
from blendset.records import ViewRecord, to_plain
from blendset_trainer.exporting.source import Source, parts
from blendset_trainer.stages.tables import read_index

FILE_BYTES = 500_000_000
"""Of pictures in one file; what the Hub advises."""
ROWS_AT_ONCE = 100
"""A row group: what a reader loads to show one row."""

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
IS_PICTURE = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})}
"""What makes the column `image` pictures to `datasets`."""
COLUMNS = ("caption", *RECORD_COLUMNS)


def export(source: Source, out: Path, file_bytes: int = FILE_BYTES) -> int:
    """Write the shards of each split, each under about `file_bytes`."""
    schema = schema_of(source.dataset)
    (out / "data").mkdir()
    for split, views in source.splits("train", "test").items():
        files = list(parts(views, lambda view: view.files[RGB].bytes, file_bytes))
        for number, members in enumerate(files):
            _write_file(source, members, schema, out / "data" / f"{split}-{number:05d}-of-{len(files):05d}.parquet")
    return len(source.views)


def schema_of(dataset: Dataset) -> pa.Schema:
    """The picture, then the columns of the index that are about the view."""
    index = read_index(dataset).schema
    return pa.schema([pa.field("image", IMAGE), *(index.field(name) for name in COLUMNS)], IS_PICTURE)


def _write_file(source: Source, views: Sequence[ViewRecord], schema: pa.Schema, path: Path) -> None:
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(views), ROWS_AT_ONCE):
            rows = [_row(source, view) for view in views[start : start + ROWS_AT_ONCE]]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _row(source: Source, view: ViewRecord) -> dict[str, Any]:
    """All that is known of a view; the schema takes its columns."""
    values = to_plain(view)
    picture = {"bytes": source.read(view), "path": f"{view.view_id}.png"}
    return {**values, **values["camera"], "image": picture, "caption": source.captions.get(view.view_id)}
