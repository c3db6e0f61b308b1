# SPDX-License-Identifier: Apache-2.0
"""The folder of a stage's rows: append-only parquet files, the record of the stage, and the views that failed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.files import atomic_write, explain_read_errors, sha256_bytes
from blendset.records import encode_json, read_record, to_plain, write_json
from blendset_trainer.stages.shards import ViewItem
from blendset_trainer.stages.stage import Stage, StageRecord, build_stage_record

STAGE_RECORD, QUARANTINE = "stage.json", "quarantine.json"
SHARD_CURE = "delete it and run the command that wrote it again"
ROW_COLUMNS = ("view_id", "key", "scorer", "version", "revision")
"""Columns that every row has before the stage's own."""


class StageFolder:
    """The folder `<dataset>/<kind>/<name>-<8 hex digits of version, parameters and revision>`; picklable."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def from_stage(cls, root: Path, stage: Stage) -> StageFolder:
        """Return the folder of a stage's rows in the dataset at `root`; nothing is created."""
        identity = [stage.version, to_plain(stage.parameters), stage.revision]
        return cls(root / stage.kind / f"{stage.name}-{sha256_bytes(encode_json(identity))[:8]}")

    @property
    def record(self) -> StageRecord:
        """The record in stage.json; BlendsetError where it is missing or damaged."""
        return read_record(self.path / STAGE_RECORD, StageRecord)

    def list_shards(self) -> list[Path]:
        """Return the files of rows, sorted by name."""
        return sorted(self.path.glob("*.parquet"))

    def compute_stamp(self) -> str:
        """Return a hash that changes with the stage's record and with any file of rows."""
        files = []
        for path in (self.path / STAGE_RECORD, *self.list_shards()):
            with explain_read_errors(path, SHARD_CURE):
                files.append([path.name, path.stat().st_size, path.stat().st_mtime_ns])
        return sha256_bytes(encode_json(files))

    def read_rows(self, columns: list[str] | None = None) -> pa.Table | None:
        """Return all rows, stale ones too, or None where there are no files yet."""
        shards = self.list_shards()
        return pa.concat_tables([_read_shard(path, columns) for path in shards]) if shards else None

    def read_keys(self) -> set[str]:
        """Return the keys of all rows."""
        rows = self.read_rows(["key"])
        return set() if rows is None else set(rows["key"].to_pylist())

    def write_shard(self, stage: Stage, items: Sequence[ViewItem], rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write the rows of these items as one file, which appears whole, and return its path. Keys give its name."""
        origin = {"scorer": stage.name, "version": stage.version, "revision": stage.revision}
        full = [
            {"view_id": item.view_id, "key": item.key, **origin, **row} for item, row in zip(items, rows, strict=True)
        ]
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(full, _build_schema(stage)), data, compression="zstd")
        path = self.path / f"{sha256_bytes(''.join(item.key for item in items).encode())[:32]}.parquet"
        atomic_write(path, data.getvalue())
        return path

    def write_record(self, stage: Stage) -> None:
        """Write stage.json; its time marks this stage as the one of its name that ran last."""
        write_json(self.path / STAGE_RECORD, build_stage_record(stage))

    def write_quarantine(self, reasons: Mapping[str, str]) -> None:
        """Write quarantine.json: by view id, why views could not be read; the next run tries them again."""
        path = self.path / QUARANTINE
        if reasons:
            write_json(path, dict(reasons))
        else:
            path.unlink(missing_ok=True)


def _build_schema(stage: Stage) -> pa.Schema:
    common = [pa.field(name, pa.string()) for name in ROW_COLUMNS]
    columns = stage.columns.items()
    return pa.schema(
        common + [pa.field(name, column.type, metadata={"scale": column.scale}) for name, column in columns]
    )


def _read_shard(path: Path, columns: list[str] | None) -> pa.Table:
    with explain_read_errors(path, SHARD_CURE):
        return read_parquet(path, columns)


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table in one file, or these columns of it.

    `pyarrow.parquet.read_table` imports more, which takes longer than a small file. pyarrow itself opens no file whose
    name is no UTF-8, and takes a first folder `~` for a person's own.
    """
    with path.open("rb") as data, pq.ParquetFile(data) as file:
        table = file.read(None if columns is None else list(columns))
    return table if columns is None else table.select(list(columns))  # a KeyError for one that it lacks
