# SPDX-License-Identifier: Apache-2.0
"""Files that a source names: only those inside its folder, and a stamp that tells when one has changed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from blendset.errors import BlendsetError, SettingsError, describe_error, describe_value
from blendset_trainer.adoption.layouts.words import find_text_fault

MISSING = "missing"
"""The stamp of a file that is not there."""
_POINTER = b"version https://git-lfs"
_SEPARATOR, _DRIVE, _CONTROL = re.compile(r"[/\\]"), re.compile(r"[A-Za-z]:"), re.compile(r"[\x00-\x1f]")


def stamp_file(path: Path | str) -> str:
    """Return a text that changes when a file changes: its size and its time in nanoseconds."""
    try:
        now = os.stat(path)
    except (OSError, ValueError):  # the second for a name that no system takes
        return MISSING
    return f"{now.st_size} {now.st_mtime_ns}"


def describe_damage(path: Path, error: BaseException) -> str:
    """Return what is wrong with a file that a library cannot read, as a part of a sentence."""
    try:
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                return "it is a pointer of Git LFS; run `git lfs pull` there"
    except OSError:
        pass
    return describe_error(error)


def is_there(path: str) -> bool:
    """Return whether there is a file or folder of this path; no path is too odd to ask."""
    try:
        return os.path.exists(path)  # False for "", too
    except ValueError:  # a null byte
        return False


def find_source(source: str) -> Path:
    """Return the path of a source on this machine; SettingsError where there is none."""
    if not is_there(source):
        raise SettingsError(
            f"{describe_value(source)} does not exist; give a folder, a file, or owner/name on the Hugging Face Hub."
        )
    return Path(source)


def check_name(name: str) -> str:
    """Return the name of a file as this system writes it; BlendsetError for one that does not stay in a folder."""
    if find_text_fault(name) or not name.strip() or _CONTROL.search(name):
        raise BlendsetError(f"{describe_value(name)} is no name of a file; mend it in the source.")
    if name.startswith(("/", "\\")) or ".." in _SEPARATOR.split(name) or _DRIVE.match(name):
        raise BlendsetError(f"{name} does not stay in its folder; move the picture there, and mend its name.")
    return name


def find_inside(folder: Path, name: str) -> Path:
    """Return the path of a file that a source names; BlendsetError for a name that does not stay in the folder."""
    return find_picture([folder], name)


def find_picture(folders: Sequence[Path], name: str) -> Path:
    """Return the path of a picture in the first of some folders that has it, else where it should be in the first.

    Raises BlendsetError for a name that does not stay in a folder.
    """
    paths = _list_paths(folders, name)
    return Path(next((path for path in paths if is_there(path)), paths[0]))


def has_picture(folders: Sequence[Path], name: str) -> bool:
    """Return whether one of some folders has a picture."""
    return stamp_picture(folders, name) != MISSING


def stamp_picture(folders: Sequence[Path], name: str) -> str:
    """Return the stamp of a picture that `find_picture` finds, or MISSING."""
    try:
        return next((stamp for path in _list_paths(folders, name) if (stamp := stamp_file(path)) != MISSING), MISSING)
    except BlendsetError:
        return MISSING


def _list_paths(folders: Sequence[Path], name: str) -> list[str]:
    """Where a picture may be; a name with separators of Windows is also tried with those of other systems."""
    names = [check_name(name), *([name.replace("\\", "/")] if "\\" in name else ())]
    return [os.path.join(folder, each) for each in names for folder in folders]
