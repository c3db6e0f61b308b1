# SPDX-License-Identifier: Apache-2.0
"""The folder of a stage's answers: append-only shards of rows, which stage they are of, and what could not be read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.errors import BlendsetError
from blendset.files import atomic_write, sha256_bytes
from blendset.records import as_plain, canonical_json, read_record, write_json
from blendset_trainer.stages.shards import ViewItem
from blendset_trainer.stages.stage import Stage, StageRecord, build_stage_record

STAGE_RECORD, QUARANTINE = "stage.json", "quarantine.json"
ROW_COLUMNS = ("view_id", "key", "scorer", "version", "revision")
"""Of every row, before the stage's own figures."""


class StageFolder:
    """`<dataset>/<kind>/<name>-<8 hex of version, parameters, revision>`; picklable."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def from_stage(cls, root: Path, stage: Stage) -> StageFolder:
        """Where the rows of a stage lie; nothing is made."""
        told = [stage.version, as_plain(stage.parameters), stage.revision]
        return cls(root / stage.kind / f"{stage.name}-{sha256_bytes(canonical_json(told))[:8]}")

    @property
    def record(self) -> StageRecord:
        return read_record(self.path / STAGE_RECORD, StageRecord)

    def list_shards(self) -> list[Path]:
        """The files of rows that there are."""
        return sorted(self.path.glob("*.parquet"))

    def compute_stamp(self) -> str:
        """Changes with the stage and with any file of rows."""
        states = [(path.name, path.stat()) for path in (self.path / STAGE_RECORD, *self.list_shards())]
        told = [[name, state.st_size, state.st_mtime_ns] for name, state in states]
        return sha256_bytes(canonical_json(told))

    def read_rows(self, columns: list[str] | None = None) -> pa.Table | None:
        """Every row that there is, stale ones too; None before the first shard."""
        shards = self.list_shards()
        return pa.concat_tables([_shard(path, columns) for path in shards]) if shards else None

    def read_keys(self) -> set[str]:
        """The keys of all rows."""
        rows = self.read_rows(["key"])
        return set() if rows is None else set(rows["key"].to_pylist())

    def write_shard(self, stage: Stage, items: Sequence[ViewItem], rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write the rows of items as one file, named by their keys; whole or not at all."""
        made_by = {"scorer": stage.name, "version": stage.version, "revision": stage.revision}
        full = [
            {"view_id": item.view_id, "key": item.key, **made_by, **row} for item, row in zip(items, rows, strict=True)
        ]
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(full, _schema(stage)), data, compression="zstd")
        path = self.path / f"{sha256_bytes(''.join(item.key for item in items).encode())[:32]}.parquet"
        atomic_write(path, data.getvalue())
        return path

    def write_record(self, stage: Stage) -> None:
        """Say whose folder this is, and that its stage is the one of its name that was asked for last."""
        write_json(self.path / STAGE_RECORD, build_stage_record(stage))

    def write_quarantine(self, reasons: Mapping[str, str]) -> None:
        """List the views that could not be read, with the reasons; the next run tries them again."""
        path = self.path / QUARANTINE
        if reasons:
            write_json(path, dict(reasons))
        else:
            path.unlink(missing_ok=True)


def _schema(stage: Stage) -> pa.Schema:
    told = [pa.field(name, pa.string()) for name in ROW_COLUMNS]
    return pa.schema(
        told + [pa.field(name, each.type, metadata={"scale": each.scale}) for name, each in stage.columns.items()]
    )


def _shard(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return read_parquet(path, columns)
    except (OSError, pa.ArrowException) as error:
        raise BlendsetError(f"{path} is damaged; delete it and run the command that wrote it again.") from error


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in one file; not `pyarrow.parquet.read_table`, which imports what takes longer than small files do."""
    with pq.ParquetFile(path) as file:
        return file.read(None if columns is None else list(columns))
