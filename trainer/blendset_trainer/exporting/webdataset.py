# SPDX-License-Identifier: Apache-2.0
"""WebDataset shards that become the same folder again, byte for byte, and an index for random access to their files.

<split>-*.tar hold the views, records.tar everything else, index.parquet the offset of each file in its archive.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.dataset import CACHE, INDEX, INDEX_CURE, VIEW_RECORD
from blendset.errors import BlendsetError
from blendset.files import explain_read_errors
from blendset.records import ViewRecord, decode_json
from blendset_trainer.exporting.source import ExportSource, read_bytes, split_by_size
from blendset_trainer.selection.files import HELD_OUT
from blendset_trainer.stages.folder import read_parquet

SHARD_BYTES = 512_000_000
RECORDS, CONTENTS = "records.tar", "index.parquet"
VIEWS = "views"
CAPTION = "txt"
"""The suffix of the member with a view's caption, for loaders of pictures and texts; a dataset keeps it elsewhere."""
SCHEMA = pa.schema(
    {"shard": pa.string(), "member": pa.string(), "view_id": pa.string(), "offset": pa.int64(), "size": pa.int64()}
)


# ---- packing ---------------------------------------------------------------------------------------------------------


def export(source: ExportSource, out: Path, shard_bytes: int = SHARD_BYTES) -> int:
    """Pack the views into shards of at most about `shard_bytes`; return the number of views.

    Of the dataset's index only the lines about these views are packed.
    """
    for split, views in source.group_by_split("train", HELD_OUT).items():
        for number, members in enumerate(split_by_size(views, _sum_file_bytes, shard_bytes)):
            files = (file for view in members for file in _read_view_files(source, view))
            _write_archive(out / f"{split}-{number:06d}.tar", files)
    _write_archive(out / RECORDS, _read_other_files(source))
    rows = [row for archive in sorted(out.glob("*.tar")) for row in list_members(archive)]
    with (out / CONTENTS).open("wb") as data:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), data)
    return len(source.views)


def _sum_file_bytes(view: ViewRecord) -> int:
    return sum(entry.bytes for entry in view.files.values())


def _read_view_files(source: ExportSource, view: ViewRecord) -> Iterator[tuple[str, bytes]]:
    """Read a view's files as names and bytes. To WebDataset a name's part before the first dot is the sample."""
    folder = source.dataset.view_folder(view.scene, view.view_id)
    sample = folder.relative_to(source.dataset.root).as_posix()
    for name in sorted(view.files):
        yield f"{sample}.{name}", source.read_file(view, name)
    yield f"{sample}.{VIEW_RECORD}", read_bytes(folder / VIEW_RECORD)
    if view.view_id in source.captions:
        yield f"{sample}.{CAPTION}", source.captions[view.view_id].encode()


def _read_other_files(source: ExportSource) -> Iterator[tuple[str, bytes]]:
    """Read all files but the views, caches, and hidden files, which are locks and debris."""
    root = source.dataset.root
    for top in sorted(root.iterdir()):
        for path in sorted(top.rglob("*")) if top.is_dir() and top.name not in (VIEWS, CACHE) else [top]:
            relative = path.relative_to(root)
            if path.is_file() and not any(part.startswith(".") for part in relative.parts):
                yield relative.as_posix(), _filter_index(source) if path == root / INDEX else read_bytes(path)


def _filter_index(source: ExportSource) -> bytes:
    """Read the lines of metadata.jsonl about the source's views."""
    views = {view.view_id for view in source.views}
    path = source.dataset.root / INDEX
    lines = read_bytes(path).splitlines(keepends=True)
    with explain_read_errors(path, INDEX_CURE):
        return b"".join(line for line in lines if line.strip() and decode_json(line).get("view_id") in views)


def _write_archive(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a tar whose members have neither time nor owner, so that equal files give equal bytes."""
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


# ---- unpacking -------------------------------------------------------------------------------------------------------


def unpack(shards: Path, out: Path) -> int:
    """Restore a dataset in an empty folder from the shards that `export` wrote; return the number of its files.

    Raises BlendsetError where an archive is missing, damaged, or would write anywhere but into `out`.
    """
    rows_of_shard: dict[str, list[Mapping[str, Any]]] = {}
    for row in _read_contents(shards / CONTENTS):
        rows_of_shard.setdefault(row["shard"], []).append(row)
    for shard, rows in rows_of_shard.items():
        archive = shards / shard
        try:
            if not archive.is_file():
                raise tarfile.ReadError("it is missing")
            if list(list_members(archive)) != rows:
                raise tarfile.ReadError(f"its files are not those that {CONTENTS} lists")
            _unpack_archive(archive, out)
        except tarfile.TarError as error:
            raise BlendsetError(f"{archive} cannot be unpacked ({error}); copy the shards again.") from error
    return sum(map(len, rows_of_shard.values()))


def _read_contents(path: Path) -> list[dict[str, Any]]:
    """Read the rows of index.parquet; BlendsetError where it is missing, damaged or of another kind."""
    try:
        if not path.is_file():
            raise pa.ArrowInvalid("it is missing")
        table = read_parquet(path)
        if not table.schema.equals(SCHEMA):
            raise pa.ArrowInvalid("it has other columns")
    except (OSError, pa.ArrowException) as error:
        raise BlendsetError(
            f"{path} cannot be read ({error}); give a folder that 'blendset export --to webdataset' made."
        ) from error
    return list(table.to_pylist())


def list_members(archive: Path) -> Iterator[dict[str, Any]]:
    """List the files of an archive as rows of SCHEMA: a reader seeks to `offset` in `shard` and reads `size` bytes."""
    with tarfile.open(archive, "r:") as file:
        for member in file:
            path = PurePosixPath(member.name)
            yield {
                "shard": archive.name,
                "member": member.name,
                "view_id": path.name.partition(".")[0] if _is_view_file(path) else "",
                "offset": member.offset_data,
                "size": member.size,
            }


def _unpack_archive(path: Path, out: Path) -> None:
    """Unpack one archive; BlendsetError where a member would lie outside of `out`."""
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            target = out / _restore_path(member.name)
            data = archive.extractfile(member) if member.isreg() else None
            if data is None or not target.resolve().is_relative_to(out.resolve()):
                raise BlendsetError(
                    f"{path} holds {member.name!r}, which is no file inside a dataset; use archives of another source."
                )
            if target.suffix or target.name != CAPTION:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(data, file)


def _is_view_file(member: PurePosixPath) -> bool:
    return member.parts[:1] == (VIEWS,)


def _restore_path(name: str) -> PurePosixPath:
    """A member's path in the dataset; the inverse of what `_read_view_files` does to names."""
    path = PurePosixPath(name)
    if not _is_view_file(path):
        return path
    sample, _, file = path.name.partition(".")
    return path.parent / sample / file
