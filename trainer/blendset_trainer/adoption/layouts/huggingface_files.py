# SPDX-License-Identifier: Apache-2.0
"""Which files the rows of a Hugging Face dataset are in, by split: in a folder, or fetched from the Hub."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError, SettingsError, describe_value
from blendset.files import explain_read_errors
from blendset.records import decode_json
from blendset_trainer.adoption.layouts.hub import fetch_dataset
from blendset_trainer.adoption.layouts.json_items import read_head
from blendset_trainer.adoption.layouts.local_files import find_inside, is_there
from blendset_trainer.adoption.layouts.rows import RowFiles
from blendset_trainer.adoption.layouts.words import read_text
from blendset_trainer.readers.tables import TABLES

STATE, SPLITS, INFO = "state.json", "dataset_dict.json", "dataset_info.json"
"""What save_to_disk writes beside the rows: which files they are in, which splits there are, what is known of all."""
ROW_ENDINGS = (".parquet", ".arrow")
HUB_NAME = re.compile(r"([\w-][\w.-]*/[\w.-]+)(?::([^@#]+))?(?:@([^#]+))?(?:#(.+))?")
"""A dataset on the Hugging Face Hub: owner/name, and where they are needed :config, @revision and #split."""
CURE_OF_PARTS = "write owner/name:CONFIG@REVISION#SPLIT, of which only owner/name is always needed"
_SPLIT_OF_FILE = re.compile(r"(.+?)-\d+-of-\d+(-\w+)?")
_USUAL_SPLITS = {"train", "test", "validation", "valid", "val", "dev"}
_UNKNOWN_SPLIT = ""


def is_saved(names: Collection[str]) -> bool:
    """Return whether the files of a folder, by their names, are what save_to_disk makes."""
    return SPLITS in names or {STATE, INFO} <= set(names)


def is_row_file(path: Path) -> bool:
    """Return whether a file holds rows by its name."""
    return path.suffix.lower() in ROW_ENDINGS and path.name not in TABLES


def find_row_files(source: str) -> RowFiles:
    """Return the files of a dataset: a folder, a file, or an id of the Hub, each with #SPLIT behind it or without.

    Raises SettingsError where there is no such dataset or split, and BlendsetError where it cannot be fetched.
    """
    place, mark, split = source.rpartition("#")
    if is_there(source):
        return _choose_split(source, _find_files(Path(source)), "")
    if mark and is_there(place):
        return _choose_split(place, _find_files(Path(place)), split)
    match = HUB_NAME.fullmatch(source)
    if not match:
        raise SettingsError(f"{describe_value(source)} does not exist, and names nothing on the Hub; {CURE_OF_PARTS}.")
    name, config, revision, split = (part or "" for part in match.groups())
    return _choose_split(source, fetch_dataset(name, config, revision), split)


def _choose_split(source: str, found: RowFiles, split: str) -> RowFiles:
    files = [each for each in found.files if not split or each[0] == split]
    if not files and split:
        splits = ", ".join(dict.fromkeys(name for name, _ in found.files if name)) or "no splits by name"
        raise SettingsError(f"{source} has no split '{split}'; it has {splits}.")
    if not files:
        raise SettingsError(f"{source} holds no rows; give what save_to_disk made, or a folder of .parquet files.")
    return replace(found, files=files)


def _find_files(path: Path) -> RowFiles:
    if path.is_file():
        return RowFiles(path.stem, path.parent, [(_UNKNOWN_SPLIT, path)])
    title = path.absolute().name
    if (path / SPLITS).is_file():
        splits = _read_object(path / SPLITS).get("splits")
        names = [str(name) for name in splits] if isinstance(splits, list) else []
        files = [(name, file) for name in names for file in _list_saved(find_inside(path, name))]
        return RowFiles(title, path, files, _read_licence(path / names[0] / INFO) if names else "")
    if (path / STATE).is_file():
        return RowFiles(title, path, [("", file) for file in _list_saved(path)], _read_licence(path / INFO))
    files = [(_name_split(file), file) for file in sorted(path.rglob("*")) if is_row_file(file)]
    return RowFiles(title, path, files, _read_card_licence(path / "README.md"))


def _list_saved(folder: Path) -> list[Path]:
    """The files that save_to_disk says it wrote in a folder, in order."""
    state = _read_object(folder / STATE)
    if state.get("_indices_data_files"):
        raise BlendsetError(f"{folder} was saved by an old version of datasets; load and save it again with a new one.")
    listed = state.get("_data_files")
    values = [each.get("filename") for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    names = [value for value in values if isinstance(value, str)]
    if not names or len(names) < len(values):
        raise BlendsetError(f"{folder / STATE} names no files with rows; save the dataset again.")
    return [find_inside(folder, name) for name in names]


def _read_object(path: Path) -> Mapping[str, Any]:
    with explain_read_errors(path, "save the dataset again"):
        value = decode_json(path.read_bytes())
        if not isinstance(value, Mapping):
            raise ValueError("it holds no object")
        return value


def _read_licence(path: Path) -> str:
    return read_text(_read_object(path).get("license")) if path.is_file() else ""


def _read_card_licence(path: Path) -> str:
    """The licence that a dataset card says in its head; "" where there is none."""
    head = read_head(path).decode(errors="replace").partition("---")[2].partition("---")[0]
    found = re.search(r"^license:[ \t]*[\"']?([\w.+ -]+)", head, re.MULTILINE)
    return found[1].strip() if found else ""


def _name_split(path: Path) -> str:
    """The split that a file's name, or that of its folder, says as on the Hub: "train" of train-00000-of-00002."""
    match = _SPLIT_OF_FILE.fullmatch(path.stem)
    return match[1] if match else next((name for name in (path.stem, path.parent.name) if name in _USUAL_SPLITS), "")
