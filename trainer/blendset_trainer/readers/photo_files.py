# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder are photos, and which words belong to each: those of a .txt beside it, or of a table.

Whatever is in the folder and not used is found, too.
"""

from __future__ import annotations

import mimetypes
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from blendset.dataset import CACHE
from blendset.errors import BlendsetError
from blendset.files import read_text_file
from blendset_trainer.readers.findings import Finding, make_findings
from blendset_trainer.readers.images import list_image_suffixes
from blendset_trainer.readers.tables import TABLES, read_caption_table

CAPTION_SUFFIXES = (".txt", ".caption")
"""The endings of files with a caption; the first counts where a picture has both."""
SYSTEM_FILES = {"desktop.ini", "thumbs.db"}
"""What Windows leaves in folders, in lower case."""


@dataclass(frozen=True)
class PhotoFiles:
    """The photos of a folder by their paths in it, in order, each with its caption, None where there is none.

    `rows` are those of tables, of the photos that one lists. `findings` are about files, `caption_findings` about
    captions only.
    """

    captions: Mapping[str, str | None]
    findings: tuple[Finding, ...]
    caption_findings: tuple[Finding, ...]
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass
class _Tree:
    """The paths of the files below a folder, by what they are. `hidden` are pictures only."""

    pictures: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    dead_links: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    unreadable_names: list[str] = field(default_factory=list)

    def add(self, folder: str, name: str) -> None:
        """Sort a file in."""
        kind = _guess_kind(name)
        if not _is_utf_8(name):
            self.unreadable_names.append(name)
        elif os.path.islink(f"{folder}/{name}") and not os.path.exists(f"{folder}/{name}"):
            self.dead_links.append(name)
        elif _is_hidden(name):
            self.hidden += [name] * (kind == "picture")
        elif kind:
            by_kind = {"picture": self.pictures, "text": self.texts, "table": self.tables, "other": self.others}
            by_kind[kind].append(name)


@dataclass
class _Captions:
    """The captions of photos as they are found, and what is found about them."""

    by_photo: dict[str, str | None] = field(default_factory=dict)
    rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    guessed: list[str] = field(default_factory=list)
    no_text: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)


def list_photo_files(folder: Path) -> PhotoFiles:
    """The photos of a folder and of those below it, with what is found on the way.

    Raises BlendsetError for a table that cannot be read, and where there are two in one folder.
    """
    tree, captions = _walk(folder), _Captions()
    tables = _read_tables(folder, tree.tables, captions)
    alone = [name for name in tree.pictures if not _find_table(name, tables)]
    captions.unlisted = [
        name for name in tree.pictures if (table := _find_table(name, tables)) and name not in tables[table]
    ]
    texts = _read_texts(folder, alone, tree.texts, captions)
    used = Counter(texts.values())
    shared = sorted(name for name, text in texts.items() if used[text] > 1)
    return PhotoFiles(
        dict(sorted(captions.by_photo.items())),
        (
            *make_findings("left out, hidden", tree.hidden, matters=False),
            *make_findings("left out, links that lead nowhere", tree.dead_links),
            *make_findings("left out, names that are no UTF-8 (rename them)", tree.unreadable_names),
            *make_findings("left out, folders that cannot be opened", tree.closed),
            *make_findings("not read, no pictures by their names", tree.others),
            *make_findings("left out, not listed in the metadata file", captions.unlisted),
            *make_findings("listed more than once in the metadata file, the last time counts", captions.repeated),
        ),
        (
            *make_findings("caption files that are empty", captions.empty),
            *make_findings("caption files that are no text", captions.no_text),
            *make_findings("captions that are no UTF-8, read as Windows-1252 (save them as UTF-8)", captions.guessed),
            *make_findings("caption files without a picture", [name for name in tree.texts if name not in used]),
            *make_findings("pictures that share one caption file, for their names differ in the ending only", shared),
        ),
        captions.rows,
    )


def _walk(folder: Path) -> _Tree:
    """All files below a folder, once each; folders that links lead to come after all others."""
    tree, known, waiting = _Tree(), set[str](), [folder]

    def add_closed(error: OSError) -> None:
        tree.closed.append(os.path.relpath(error.filename, folder))

    while waiting:
        for here, folders, names in os.walk(waiting.pop(0), onerror=add_closed):
            folders.sort()
            if os.path.realpath(here) in known:
                folders.clear()
                continue
            known.add(os.path.realpath(here))
            waiting += [path for path in (Path(here, name) for name in folders) if path.is_symlink()]
            above = Path(here).relative_to(folder).as_posix()
            for name in sorted(names):
                tree.add(str(folder), name if above == "." else f"{above}/{name}")
    return tree


def _guess_kind(name: str) -> str:
    """What a file is by its name: a picture, a text, a table, something else; "" for what nobody looks for."""
    last = name.rpartition("/")[2]
    if last in TABLES:
        return "table"
    kind = _guess_kind_of_suffix(posixpath.splitext(last)[1].lower())
    return "" if kind == "other" and (last.lower() in SYSTEM_FILES or _is_hidden(name)) else kind


@cache
def _guess_kind_of_suffix(suffix: str) -> str:
    mime = mimetypes.guess_type(f"a{suffix}")[0] or ""
    if suffix in CAPTION_SUFFIXES:
        return "text"
    if suffix in list_image_suffixes() or mime.startswith("image/"):
        return "picture"
    return "" if mime.startswith("text/") or mime == "application/json" else "other"


def _is_hidden(name: str) -> bool:
    """Whether a file is hidden, as names with a dot are, or in the cache that Blendset keeps in the folder."""
    return name.startswith((".", f"{CACHE}/")) or name == CACHE or "/." in name


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_tables(folder: Path, names: Sequence[str], captions: _Captions) -> dict[str, set[str]]:
    """The photos that each table lists, by the table's folder; their captions are added to `captions`."""
    tables: dict[str, set[str]] = {}
    for name in names:
        below = PurePosixPath(name).parent
        if below.as_posix() in tables:
            raise BlendsetError(f"{folder / below} holds several of {', '.join(TABLES)}; keep one of them.")
        listed: dict[str, str | None] = {}
        on_guess = partial(_add_guess, captions, name)
        for file_name, caption, row in read_caption_table(folder / name, on_guess):
            photo = _find_listed(folder, below, file_name)
            captions.repeated += [photo] * (photo in listed)
            listed[photo], captions.rows[photo] = caption, row
        tables[below.as_posix()] = set(listed)
        captions.by_photo |= listed
    return tables


def _add_guess(captions: _Captions, name: str, sentence: str) -> None:
    captions.guessed.append(name)


def _find_listed(folder: Path, below: PurePosixPath, name: str) -> str:
    """The path in the folder of a file that a table below it names; Windows writes other separators."""
    path = name if below == PurePosixPath() else (below / name).as_posix()
    return path.replace("\\", "/") if "\\" in path and "\0" not in path and not (folder / path).exists() else path


def _find_table(photo: str, tables: Mapping[str, set[str]]) -> str:
    """The nearest folder above a photo that has a table; "" where none has."""
    if not tables:
        return ""
    return next((above.as_posix() for above in PurePosixPath(photo).parents if above.as_posix() in tables), "")


def _read_texts(folder: Path, photos: Sequence[str], texts: Sequence[str], captions: _Captions) -> dict[str, str]:
    """The file with the caption of each photo that has one; the captions are added to `captions`."""
    index = _index_texts(texts)
    found = {photo: text for photo in photos if (text := _find_text(photo, index))}
    read: dict[str, str | None] = {}
    for text in dict.fromkeys(found.values()):
        try:
            read[text] = read_text_file(folder / text, lambda _, text=text: captions.guessed.append(text)).strip()  # type: ignore[misc]
        except BlendsetError:
            read[text] = None
            captions.no_text.append(text)
        captions.empty += [text] * (read[text] == "")
    captions.by_photo |= {photo: read[found[photo]] if photo in found else None for photo in photos}
    return found


def _index_texts(names: Sequence[str]) -> dict[str, str]:
    """Files with captions by their paths without the ending, as they are and folded."""
    index: dict[str, str] = {}
    by_rank = sorted(names, key=lambda name: CAPTION_SUFFIXES.index(posixpath.splitext(name)[1].lower()))
    stems = {name: posixpath.splitext(name)[0] for name in by_rank}
    for keys in (stems, {name: _fold(stem) for name, stem in stems.items()}):
        for name, key in keys.items():
            index.setdefault(key, name)
    return index


def _find_text(photo: str, index: Mapping[str, str]) -> str:
    """The file with a photo's caption: a.txt of a.jpg, or a.jpg.txt; "" where there is none."""
    stem = posixpath.splitext(photo)[0]
    if stem in index:
        return index[stem]
    return next((index[key] for key in (photo, _fold(stem), _fold(photo)) if key in index), "")


def _fold(path: str) -> str:
    """A path without case and without the differences between systems in how accents are written."""
    return unicodedata.normalize("NFC", path).casefold()
