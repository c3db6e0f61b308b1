# SPDX-License-Identifier: Apache-2.0
"""Files that a crash cannot spoil: atomic writes, hashes, what a disk refuses in a sentence; and text of any editor."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from blendset.errors import BlendsetError, DiskError, describe_error

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TEMPORARY_FILES = ".*.tmp"
"""Glob of what an interrupted atomic_write leaves."""


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of some bytes as hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


CURES = {
    errno.ENOSPC: "free space on the disk and run the command again: finished views are kept",
    errno.EDQUOT: "free space in your quota and run the command again: finished views are kept",
    errno.EFBIG: "raise the limit on file sizes or choose a folder on another disk",
    errno.EROFS: "choose an output folder on a disk that is not read-only",
    errno.EACCES: "choose an output folder that you may write to",
    errno.EPERM: "choose an output folder that you may write to",
    errno.EEXIST: "choose the name of a folder, for this is a file",
    errno.ENOTDIR: "choose an output folder that lies in no file",
    errno.EISDIR: "choose the name of a file, for this is a folder",
    errno.ENAMETOOLONG: "choose an output folder with a shorter path",
    errno.ENOENT: "choose an output folder that exists, with a path that is not too long for this system",
}


READ_ERRORS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, RecursionError,
    NotImplementedError,
)  # fmt: skip
"""What readers of any format raise for a file that is missing, damaged or of another kind."""


@contextmanager
def explain_read_errors(path: Path | str, cure: str) -> Iterator[None]:
    """Turn what is raised while the file or line `path` is read into one sentence about it, which ends in `cure`."""
    try:
        yield
    except READ_ERRORS as error:
        raise BlendsetError(f"{path} cannot be read ({describe_error(error)}); {cure}.") from error


@contextmanager
def translate_disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one sentence about `path`."""
    try:
        yield
    except OSError as error:
        cure = CURES.get(error.errno or 0, "check the disk and run the command again")
        raise DiskError(f"{path} could not be written ({error.strerror}); {cure}.") from error


def atomic_write(path: Path, data: bytes | memoryview, sync_folder: bool = True) -> None:
    """Write a file whole or not at all, whatever happens in between; its folders are made.

    Syncing the folder, which makes the name survive a power cut too, takes longer than all the rest: of several files
    in one folder only the last needs it. Raises BlendsetError where the disk refuses (full, read-only, forbidden).
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink()
        if sync_folder:
            sync_directory(path.parent)


def write_many(files: Mapping[Path, bytes]) -> None:
    """Write several files, each whole or not at all; their folders are made.

    The disk is waited for when all are written, and not after each, which is several times as fast for small files.
    Their folders are not waited for: after a power cut a file may be missing, but none is torn. Raises BlendsetError
    where the disk refuses.
    """
    temporaries = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp") for path in files}
    try:
        for path, temporary in temporaries.items():
            with translate_disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(files[path])
        for path, temporary in temporaries.items():
            with translate_disk_errors(path), temporary.open("r+b") as file:
                os.fsync(file.fileno())
        for path, temporary in temporaries.items():
            with translate_disk_errors(path):
                temporary.replace(path)
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink()


def link_file(source: Path, path: Path) -> bool:
    """Let `path` be another name of the file at `source`, in one step; its folders are made.

    Return False where the disk has no such links, or `source` is on another disk. Raises BlendsetError where the disk
    refuses the folder.
    """
    real = os.path.realpath(source) if source.is_symlink() else source
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.link(real, path)
        except OSError:
            return False
    return True


def sync_directory(folder: Path) -> None:
    """Make a rename survive a power cut, where the system lets a folder be opened (Windows does not)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def replace_folder(folder: Path, only_empty: bool = False) -> Iterator[Path]:
    """Yield an empty folder, which replaces `folder` when the block succeeds and is removed when it fails.

    With `only_empty` a folder that holds something is not replaced. Raises BlendsetError where the disk refuses.
    """
    folder = folder.absolute()
    staged, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{end}") for end in ("tmp", "old"))
    with translate_disk_errors(folder):
        staged.mkdir(parents=True)
        try:
            yield staged
            if only_empty:
                with suppress(FileNotFoundError):
                    folder.rmdir()  # Windows renames onto no folder, not even an empty one
            elif folder.exists():
                folder.rename(old)
            staged.rename(folder)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            shutil.rmtree(staged, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def lock_folder(path: Path, blocking: bool = True, name: str = "Blendset") -> Iterator[None]:
    """Hold the lock file at `path` alone; the system lets go of it when the process ends, however it ends.

    Waits for another holder, or raises BlendsetError saying that `name` is already running there.
    """
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while not _try_lock(path, handle):
            if not blocking:
                raise BlendsetError(f"{name} is already running in {path.parent}; let it end or choose another folder.")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _try_lock(path: Path, handle: int) -> bool:
    with translate_disk_errors(path):
        try:
            if sys.platform == "win32":
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # as POSIX and Windows say that another process holds it
            return False
    return True


MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""The bytes that a text may begin with, and the encoding that they stand for."""
OLD_WINDOWS = "cp1252"
"""What text without a mark is in, where it is no UTF-8: that of Windows in western Europe and America."""


def read_text_file(
    path: Path, on_guess: Callable[[str], None] | None = None, cure: str = "give the path of a text file"
) -> str:
    r"""Return the text of a file, with "\n" at the ends of lines.

    UTF-8 is read with or without a mark, UTF-16 and UTF-32 with one. Text in anything else is read as Windows-1252, and
    `on_guess` is called with a sentence about that; without `on_guess` it is refused. Raises BlendsetError for a file
    that cannot be read, with this cure, or that holds no text.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # the second for a name that no system takes
        raise BlendsetError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); {cure}.") from error
    return decode_text(data, str(path), on_guess)


def decode_text(data: bytes, name: str, on_guess: Callable[[str], None] | None = None) -> str:
    """Return the text of a file's bytes; `name` is the file's in sentences. See `read_text_file`."""
    encoding = next((encoding for mark, encoding in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8" or on_guess is None:
            raise BlendsetError(f"{name} is no text in {encoding.upper()}; save it as UTF-8.") from error
        text = _decode_old_windows(data, name)
        on_guess(f"{name} is no UTF-8 and was read as Windows-1252; save it as UTF-8 if letters came out wrong.")
    if "\0" in text:
        where = f"null byte in line {text[: text.index(chr(0))].count(chr(10)) + 1}"
        raise BlendsetError(
            f"{name} holds no text, or text without a mark of its encoding ({where}); save it as UTF-8."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode_old_windows(data: bytes, name: str) -> str:
    try:
        return data.decode(OLD_WINDOWS)
    except UnicodeDecodeError as error:
        raise BlendsetError(f"{name} is no text in UTF-8 or Windows-1252; save it as UTF-8.") from error
