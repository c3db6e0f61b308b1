# SPDX-License-Identifier: Apache-2.0
"""What was adopted from a source: a row for each picture, with its name there, its licence and where it comes from.

The rows are append-only parquet files in `adoptions/<scene>/`. A picture is adopted when it has a row, so that a run
that was interrupted goes on with the first that has none.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from blendset.dataset import Dataset
from blendset.files import atomic_write, explain_read_errors, sha256_bytes
from blendset.records import FORMAT_VERSION, read_record, write_json
from blendset_trainer.adopted_views import ADOPTIONS, LEDGER_CURE, SCHEMA, AdoptedPicture, read_source_rows
from blendset_trainer.stages.folder import read_parquet

RECORD, QUARANTINE = "adoption.json", "quarantine.json"


@dataclass(frozen=True, kw_only=True)
class AdoptionRecord:
    """adoption.json: where a scene's pictures come from, `source` as a resolved path or an id.

    `stamp` is of the source (see `source_stamp`) when all of its pictures were adopted; "" where some are not, or where
    it can change without anybody's notice. `findings` are what was found then.
    """

    format_version: int = FORMAT_VERSION
    scene: str
    source: str
    stamp: str = ""
    findings: tuple[str, ...] = ()


class Ledger:
    """The rows of one source in a dataset."""

    def __init__(self, dataset: Dataset, scene: str) -> None:
        self.path = dataset.root / ADOPTIONS / scene
        self.rows = WrittenRows(self.path)

    def read_stamps(self) -> dict[tuple[str, int], str]:
        """Return the stamp of each adopted picture by its name and number."""
        rows = read_source_rows(self.path, ["name", "number", "stamp"])
        return {
            (name, number): stamp
            for name, number, stamp in zip(*map(pa.ChunkedArray.to_pylist, rows.columns), strict=True)
        }

    def read_record(self) -> AdoptionRecord | None:
        """Return the record of the source; None where nothing was adopted from it yet."""
        path = self.path / RECORD
        return read_record(path, AdoptionRecord) if path.exists() else None

    def write_record(self, record: AdoptionRecord) -> None:
        """Write the record of the source."""
        write_json(self.path / RECORD, record)

    def add(self, rows: Sequence[AdoptedPicture]) -> None:
        """Add rows as one file, which appears whole."""
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], SCHEMA), data, compression="zstd")
        name = sha256_bytes("\0".join(f"{row.view_id} {row.stamp}" for row in rows).encode())[:32]
        atomic_write(self.path / f"{name}.parquet", data.getvalue())

    def write_quarantine(self, faults: Mapping[str, str]) -> None:
        """Write by name why pictures cannot be adopted; the next run tries them again."""
        path = self.path / QUARANTINE
        if faults:
            write_json(path, dict(faults))
        else:
            path.unlink(missing_ok=True)

    def count_rows(self) -> int:
        """Return how many pictures have a row."""
        return int(read_source_rows(self.path, ["number"]).num_rows)

    def find_newest_change(self) -> int:
        """Return when a file of rows was last written, in nanoseconds; 0 where there is none."""
        return max((path.stat().st_mtime_ns for path in self.path.glob("*.parquet")), default=0)


class WrittenRows:
    """The parquet files of a folder whose rows are of views. A run removes the rows that were there before it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def remove(self, view_ids: Sequence[str]) -> None:
        """Rewrite the files that hold rows of these views, without these rows."""
        for path in sorted({path for view_id in view_ids for path in self._paths.get(view_id, ())}):
            with explain_read_errors(path, LEDGER_CURE):
                table = read_parquet(path)
                left = table.filter(pc.invert(pc.is_in(table["view_id"], value_set=pa.array(view_ids, pa.string()))))
            if left.num_rows:
                data = io.BytesIO()
                pq.write_table(left, data, compression="zstd")
                atomic_write(path, data.getvalue())
            else:
                path.unlink()

    @cached_property
    def _paths(self) -> dict[str, list[Path]]:
        """The files with rows of each view. They are looked for once, for a source may change as a whole."""
        paths: dict[str, list[Path]] = {}
        for path in sorted(self._folder.glob("*.parquet")):
            with explain_read_errors(path, LEDGER_CURE):
                for view_id in read_parquet(path, ["view_id"])["view_id"].to_pylist():
                    paths.setdefault(view_id, []).append(path)
        return paths
