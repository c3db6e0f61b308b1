# SPDX-License-Identifier: Apache-2.0
"""What `blendset sample` wrote: pictures, and a samples.json that says of which prompt each is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from blendset.errors import BlendsetError
from blendset.files import explain_read_errors
from blendset.records import read_json
from blendset_trainer.adoption.layouts.local_files import find_inside, find_source, stamp_file
from blendset_trainer.adoption.layouts.words import Words, build_content
from blendset_trainer.adoption.pictures import PictureContent, SourcePicture
from blendset_trainer.readers.images import read_image_bytes

RECORD = "samples.json"


@dataclass(frozen=True)
class SamplesSource:
    """The pictures of a folder that `blendset sample` wrote; see `PictureSource`."""

    folder: Path
    prompts: dict[str, str]

    licence = ""
    findings = ()
    is_picklable = True

    @property
    def title(self) -> str:
        """The folder's name."""
        return self.folder.absolute().name

    def list_pictures(self) -> Iterator[SourcePicture]:
        """Yield the pictures in the order of their prompts."""
        for name, prompt in self.prompts.items():
            path = find_inside(self.folder, name)
            yield SourcePicture(name, f"{stamp_file(path)} {prompt}", partial(_read, path, prompt))


def _read(path: Path, prompt: str) -> PictureContent:
    return build_content(read_image_bytes(path), Words((prompt,)), path)


def is_record(path: Path) -> bool:
    """Return whether a file is the record of `blendset sample`."""
    if path.name != RECORD or not path.is_file():
        return False
    with suppress(BlendsetError):
        record = read_json(path)
        return isinstance(record, dict) and {"model", "pictures"} <= record.keys()
    return True  # a damaged one, which says so when it is opened


def open_source(source: str) -> SamplesSource:
    """Return the pictures that a samples.json, or that of a folder, lists; BlendsetError for one that is damaged."""
    found = find_source(source)
    folder = found if found.is_dir() else found.parent
    path = folder / RECORD
    record = read_json(path)
    with explain_read_errors(path, "sample again into another folder"):
        return SamplesSource(folder, {str(each["file"]): str(each["prompt"]) for each in record["pictures"]})
