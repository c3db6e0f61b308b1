# SPDX-License-Identifier: Apache-2.0
"""From files, folders and patterns to the scenes that they name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from blendset.errors import SettingsError

Scenes = Path | str | Iterable[Path | str]
""".blend files, folders of them, or patterns such as "kitchens/*.blend"; one or several."""


def find_scenes(scenes: Scenes) -> list[Path]:
    """Return the .blend files that these files, folders and patterns name, each once, in a fixed order.

    Raises SettingsError for a word that names none.
    """
    words = [scenes] if isinstance(scenes, str | Path) else scenes
    paths = [path for word in words for path in _expand_word(os.fspath(word))]
    return list({path.resolve(): path for path in paths}.values())


def _expand_word(word: str) -> Sequence[Path]:
    path = Path(os.path.expanduser(word))
    if path.is_file():
        return [path]
    inside = path.rglob("*.blend") if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
    scenes = sorted(file for file in inside if file.is_file())
    if not scenes and not path.exists() and not glob.has_magic(str(path)):
        raise SettingsError(f"{word} does not exist; check the path.")
    if not scenes:
        raise SettingsError(f"{word} names no scene; give a .blend file, a folder that holds some, or a pattern.")
    return scenes
