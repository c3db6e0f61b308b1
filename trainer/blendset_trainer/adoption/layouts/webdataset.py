# SPDX-License-Identifier: Apache-2.0
"""WebDataset shards: tar files in which the files of one picture have one name and different endings.

Pictures are read where they lie in the archive; nothing is unpacked.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from blendset.dataset import VIEW_RECORD
from blendset.errors import BlendsetError, SettingsError, describe_error
from blendset.files import READ_ERRORS, decode_text
from blendset.records import decode_json
from blendset_trainer.adoption.layouts.local_files import describe_damage, find_source, stamp_file
from blendset_trainer.adoption.layouts.tally import Tally
from blendset_trainer.adoption.layouts.words import Words, build_content, collect_words, sort_captions
from blendset_trainer.adoption.pictures import PictureContent, SourcePicture
from blendset_trainer.readers.images import list_image_suffixes

SHARD_ENDINGS = (".tar", ".tar.gz", ".tgz")
CAPTION_ENDINGS = ("txt", "text", "caption")
"""Of the files of a picture; the first that there is holds its caption."""
JSON = "json"
"""The ending of the file with all else that is said of a picture."""
SHARD_ERRORS = (*READ_ERRORS, tarfile.TarError, zlib.error)
"""What is raised over a damaged shard."""
_SAMPLE = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)", re.DOTALL)
"""A member's key and ending, as WebDataset divides them: at the first dot of the file's name."""
_GZIP = b"\x1f\x8b"
_BLOCK = tarfile.BLOCKSIZE
_TIMES = re.compile(rb"(\d+ [acm]time=[\d.]+\n)+")
"""An extended header that says no more than times, as Python writes before each file."""
_LOOK_AHEAD = 1 << 16
"""Bytes behind the end mark that must be zero, as writers fill them up."""
_UNUSED = "files in shards that are not read, by their endings"

Extent = tuple[int, int]
"""Where a member's data begin in its archive, and how many bytes they are."""


def open_source(source: str) -> WebDatasetSource:
    """Return the pictures of a shard, or of the folder that holds shards; SettingsError where there are none."""
    path = find_source(source)
    shards = sorted(shard for shard in path.rglob("*") if is_shard(shard)) if path.is_dir() else [path]
    if not shards or not all(shard.is_file() for shard in shards):
        raise SettingsError(f"{path} holds no shards; give a file or a folder of files that end in .tar or .tar.gz.")
    return WebDatasetSource(path, shards)


def is_shard(path: Path) -> bool:
    """Return whether a file is a shard by its name."""
    return path.name.lower().endswith(SHARD_ENDINGS) and not path.name.startswith(".")


@dataclass
class _Sample:
    """The files of one picture by their endings."""

    key: str
    members: dict[str, Extent] = field(default_factory=dict)


class WebDatasetSource:
    """The pictures of some shards below a folder, or of one."""

    licence = ""
    is_picklable = False

    def __init__(self, path: Path, shards: list[Path]) -> None:
        self.title = path.absolute().name if path.is_dir() else path.name.partition(".")[0]
        self.root = path if path.is_dir() else path.parent
        self.shards = shards
        self.tally = Tally()
        self.unused = Counter[str]()
        self.data = _ShardData()

    @property
    def findings(self) -> tuple[str, ...]:
        """Sentences about what is not used."""
        unused = ", ".join(f".{ending}: {count:,}" for ending, count in self.unused.most_common())
        return self.tally.format_sentences() + ((f"{_UNUSED}: {unused}",) if unused else ())

    def list_pictures(self) -> Iterator[SourcePicture]:
        """Yield the pictures of all shards in the order in which they lie there."""
        self.tally, self.unused = Tally(), Counter()
        for shard in self.shards:
            stamp = stamp_file(shard)
            for sample in self._list_samples(shard):
                yield from self._list_sample(shard, stamp, sample)

    def _list_sample(self, shard: Path, stamp: str, sample: _Sample) -> Iterator[SourcePicture]:
        if VIEW_RECORD in sample.members:
            raise BlendsetError(
                f"{shard} was made by 'blendset export --to webdataset'; run 'blendset unpack' on its folder instead."
            )
        pictures = _find_pictures(sample)
        self.unused.update(set(sample.members) - {*pictures, *CAPTION_ENDINGS, JSON})
        if not pictures:
            self.tally.add("samples without a picture", f"{sample.key} in {self._name(shard)}")
        for ending in pictures:
            offset, _ = sample.members[ending]
            read = partial(self._read, shard, sample, ending)
            yield SourcePicture(f"{sample.key}.{ending}", f"{stamp} {offset}", read)

    def _read(self, shard: Path, sample: _Sample, ending: str) -> PictureContent:
        files = {name: extent for name, extent in sample.members.items() if name in (*CAPTION_ENDINGS, JSON, ending)}
        data = {name: self.data.read(shard, extent) for name, extent in files.items()}
        return build_content(data[ending], _read_words(sample.key, data))

    def _list_samples(self, shard: Path) -> Iterator[_Sample]:
        """The samples of a shard up to where it is damaged; one that the damage cuts is none."""
        what = "damaged shards, of which only what lies before the damage is used"
        try:
            with open_shard(shard) as file:
                yield from self._group(
                    list_members(file, lambda fault: self.tally.add(what, f"{self._name(shard)}: {fault}"))
                )
        except SHARD_ERRORS as error:
            self.tally.add(what, f"{self._name(shard)}: {describe_damage(shard, error)}")

    def _group(self, members: Iterable[tuple[str, Extent | None]]) -> Iterator[_Sample]:
        """Members that follow one another and have one key are a sample."""
        sample = _Sample("")
        for name, extent in members:
            divided = _SAMPLE.fullmatch(name)
            if extent is None:
                self.tally.add("links in shards, which are not followed", name)
                continue
            if divided is None:
                self.tally.add("files in shards that are not read, for their names have no ending", name)
                continue
            key, ending = divided[1], divided[2].lower()
            if key != sample.key:
                yield from [sample] if sample.members else []
                sample = _Sample(key)
            if ending in sample.members:
                self.tally.add("files that come twice in a sample, of which the first is used", name)
            sample.members.setdefault(ending, extent)
        yield from [sample] if sample.members else []

    def _name(self, shard: Path) -> str:
        return shard.relative_to(self.root).as_posix()


def _find_pictures(sample: _Sample) -> list[str]:
    """The endings of a sample's pictures: one such as jpg; where there is none, all such as left.jpg."""
    endings = [ending for ending in sample.members if f".{ending.rpartition('.')[2]}" in list_image_suffixes()]
    return [ending for ending in endings if "." not in ending][:1] or endings


def _read_words(key: str, data: Mapping[str, bytes]) -> Words:
    """What the files beside a picture say of it."""
    notes: list[str] = []
    captions: list[object] = []
    ending = next((ending for ending in CAPTION_ENDINGS if ending in data), None)
    words = Words()
    if ending:
        try:
            captions.append(decode_text(data[ending], f"{key}.{ending}", notes.append))
        except BlendsetError as error:
            notes.append(str(error))
    if JSON in data:
        try:
            record = decode_json(data[JSON])
            words = collect_words(record if isinstance(record, dict) else {})
        except ValueError as error:
            notes.append(f"{key}.{JSON} is no JSON ({describe_error(error)})")
    sound, faults = sort_captions([*captions, *words.captions])
    return Words(sound, words.licence, words.origin, words.creator, (*notes, *words.notes, *faults))


# ---- archives --------------------------------------------------------------------------------------------------------


def open_shard(path: Path) -> BinaryIO:
    """Open an archive for reading as if it were not compressed; raises OSError."""
    file = path.open("rb")
    packed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file


class _Member(NamedTuple):
    """A member of an archive; the header of the next one begins at `next`."""

    name: str
    offset: int
    size: int
    next: int
    regular: bool = True
    link: bool = False


def list_members(file: BinaryIO, on_fault: Callable[[str], None]) -> Iterator[tuple[str, Extent | None]]:
    """Yield name and extent of the files of an archive, None for links, in order, without reading their data.

    `on_fault` is called with what is wrong with its end. Raises one of SHARD_ERRORS where it is damaged before.
    """
    start = 0
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while member := _read_plain_member(file, start) or _read_header(archive, start):
            if member.size < 0 or member.next <= start or not _has_byte(file, member.offset + member.size - 1):
                raise tarfile.ReadError(f"it ends in the middle of {member.name}")
            if member.regular or member.link:
                yield member.name, None if member.link else (member.offset, member.size)
            start = member.next
    file.seek(start)
    if len(file.read(_BLOCK)) < _BLOCK:
        on_fault("it has no end mark, so it may be cut short")
    elif file.read(_LOOK_AHEAD).strip(b"\0"):
        on_fault("more data follow its end mark, or a header that was overwritten with zeros")


def _read_plain_member(file: BinaryIO, start: int) -> _Member | None:
    """A member whose headers say only name, size and times; None where tarfile, which takes ten times as long, must
    look."""
    file.seek(start)
    blocks = file.read(3 * _BLOCK)
    kind, _, size = _parse_plain_header(blocks)
    if kind == tarfile.XHDTYPE and _TIMES.fullmatch(blocks[_BLOCK : _BLOCK + size]):
        blocks, start = blocks[2 * _BLOCK :], start + 2 * _BLOCK
    kind, name, size = _parse_plain_header(blocks)
    if kind not in (tarfile.REGTYPE, tarfile.AREGTYPE) or name.endswith(b"/") or b"\0" in name:
        return None
    data = start + _BLOCK
    return _Member(name.decode("utf-8", "replace"), data, size, data + size + -size % _BLOCK)


def _parse_plain_header(header: bytes) -> tuple[bytes, bytes, int]:
    """Kind, name and size that the first block says; no kind for a block that is no plain header, or damaged."""
    size, checksum = header[124:135], header[148:154]
    if header[345:346] != b"\0" or not (size.isdigit() and checksum.isdigit()):
        return b"", b"", 0
    if sum(header[:148]) + 8 * ord(" ") + sum(header[156:_BLOCK]) != int(checksum, 8):
        return b"", b"", 0
    return header[156:157], header[:100].rstrip(b"\0"), int(size, 8)


def _read_header(archive: tarfile.TarFile, start: int) -> _Member | None:
    """A member with any header, long names and times of its own too; None at the end of the archive."""
    assert archive.fileobj is not None
    archive.fileobj.seek(start)
    try:
        member = tarfile.TarInfo.fromtarfile(archive)
    except (tarfile.EmptyHeaderError, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
        return None
    regular = member.isreg() and not member.issparse()
    name = member.name.replace("\0", "\ufffd").encode(errors="surrogateescape").decode(errors="replace")
    return _Member(
        name,
        member.offset_data,
        member.size if regular else 0,
        archive.offset,
        regular,
        member.islnk() or member.issym(),
    )


def _has_byte(file: BinaryIO, position: int) -> bool:
    file.seek(position)
    return bool(file.read(1))


class _ShardData(threading.local):
    """Reads from shards; each thread keeps the one open that it read from last, and a packed one where it stands."""

    path: Path | None = None
    file: BinaryIO | None = None

    def read(self, path: Path, extent: Extent) -> bytes:
        """Return the bytes of a member; BlendsetError where they cannot be read."""
        offset, size = extent
        try:
            if self.file is None or self.path != path:
                self.close()
                self.file, self.path = open_shard(path), path
            self.file.seek(offset)
            data = self.file.read(size)
            if len(data) < size:
                raise EOFError("it is shorter than it was")
        except (*READ_ERRORS, zlib.error) as error:
            self.close()
            raise BlendsetError(f"{path} cannot be read ({describe_error(error)}); copy the shard again.") from error
        return data

    def close(self) -> None:
        """Close the shard that this thread holds open."""
        if self.file is not None:
            self.file.close()
        self.file = self.path = None
