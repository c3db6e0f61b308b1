# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures, with those of the folders below it: captions in a .txt or .caption beside each, or in a
metadata.jsonl, .csv or .parquet of file_name and text, as `load_dataset("imagefolder")` reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from blendset.errors import BlendsetError
from blendset.files import sha256_bytes
from blendset_trainer.adoption.layouts.local_files import check_name, find_source, stamp_file
from blendset_trainer.adoption.layouts.words import Words, build_content, collect_words
from blendset_trainer.adoption.pictures import PictureContent, SourcePicture
from blendset_trainer.readers.images import read_image_bytes
from blendset_trainer.readers.photo_files import PhotoFiles, list_photo_files


@dataclass(frozen=True)
class FolderSource:
    """The pictures of a folder; see `PictureSource`."""

    folder: Path
    files: PhotoFiles

    licence = ""
    is_picklable = True

    @property
    def title(self) -> str:
        """The folder's name."""
        return self.folder.absolute().name

    @property
    def findings(self) -> tuple[str, ...]:
        """What is in the folder and not used, and what was guessed."""
        return tuple(map(str, (*self.files.findings, *self.files.caption_findings)))

    def list_pictures(self) -> Iterator[SourcePicture]:
        """Yield the pictures by their paths in the folder, in order."""
        for name, caption in self.files.captions.items():
            row = self.files.rows.get(name)
            words = replace(collect_words(row or {}), captions=(caption,) if caption else ())
            stamp = f"{stamp_file(self.folder / name)} {sha256_bytes(repr(words).encode())[:16]}"
            yield SourcePicture(name, stamp, partial(_read, self.folder, name, words, is_listed=row is not None))


def _read(folder: Path, name: str, words: Words, is_listed: bool) -> PictureContent:
    """Read a picture; BlendsetError where a table lists one that is not in the folder."""
    path = folder / (check_name(name) if is_listed else name)
    return build_content(read_image_bytes(path), words, path)


def open_source(source: str) -> FolderSource:
    """Return the pictures of a folder; BlendsetError where there are none, and for a table that cannot be read."""
    folder = find_source(source)
    if not folder.is_dir():
        raise BlendsetError(f"{folder} is no folder; give one that holds pictures.")
    files = list_photo_files(folder)
    if not files.captions:
        found = f" ({'; '.join(map(str, files.findings))})" if files.findings else ""
        raise BlendsetError(f"{folder} holds no pictures{found}; choose a folder with .jpg, .png or .webp files.")
    return FolderSource(folder, files)
