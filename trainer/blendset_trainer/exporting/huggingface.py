# SPDX-License-Identifier: Apache-2.0
"""Hugging Face: data/<split>-*.parquet with the pictures inside, which `load_dataset` and the Hub's viewer show.

Held-out views are the split `test`. Parquet is for looking and publishing; random reads want the dataset itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.dataset import RECORD_COLUMNS, get_picture_name
from blendset.records import ViewRecord, to_plain
from blendset_trainer.exporting.licences import OWNERSHIP, describe_ownership
from blendset_trainer.exporting.source import ExportSource, name_picture, split_by_size
from blendset_trainer.stages.tables import read_index
from blendset_trainer.things import label_visible_objects, read_part_labels

MAX_FILE_BYTES = 500_000_000
"""Bytes of pictures in one file; what the Hub advises."""
ROW_GROUP_SIZE = 100
"""Rows that a reader loads to show one of them."""

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
SCHEMA_METADATA = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})}
"""Tells `datasets` that the column `image` holds pictures."""
COLUMNS = ("caption", *RECORD_COLUMNS)


def export(source: ExportSource, out: Path, max_file_bytes: int = MAX_FILE_BYTES) -> int:
    """Write the parquet files of each split, each under about `max_file_bytes`; return the number of views written."""
    schema = build_schema(source)
    labels = read_part_labels(source.dataset, source.views)
    (out / "data").mkdir()
    for split, views in source.group_by_split("train", "test").items():
        files = list(split_by_size(views, lambda view: view.files[get_picture_name(view)].bytes, max_file_bytes))
        for number, members in enumerate(files):
            path = out / "data" / f"{split}-{number:05d}-of-{len(files):05d}.parquet"
            _write_file(source, members, labels, schema, path)
    return len(source.views)


def build_schema(source: ExportSource) -> pa.Schema:
    """The columns of an export: the picture, the columns of the index that are about the view, and where there are
    adopted pictures whose each picture is."""
    index = read_index(source.dataset).schema
    ownership = [pa.field(name, pa.string()) for name in OWNERSHIP if source.adoptions]
    columns = [pa.field("image", IMAGE), *(index.field(name) for name in COLUMNS), *ownership]
    return pa.schema(columns, SCHEMA_METADATA)


def _write_file(
    source: ExportSource,
    views: Sequence[ViewRecord],
    labels: Mapping[str, Mapping[int, str]],
    schema: pa.Schema,
    path: Path,
) -> None:
    with path.open("wb") as data, pq.ParquetWriter(data, schema) as writer:
        for start in range(0, len(views), ROW_GROUP_SIZE):
            rows = [_build_row(source, view, labels) for view in views[start : start + ROW_GROUP_SIZE]]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _build_row(source: ExportSource, view: ViewRecord, labels: Mapping[str, Mapping[int, str]]) -> dict[str, Any]:
    """All that is known of a view, by name; the schema selects its columns. `labels` are those of parts, by scene."""
    values = to_plain(replace(view, visible_objects=label_visible_objects(view, labels.get(view.scene, {}))))
    known = {
        "image": {"bytes": source.read_file(view), "path": name_picture(view)},
        "caption": source.captions.get(view.view_id),
    }
    return {**values, **values["camera"], **describe_ownership(source, view), **known}
