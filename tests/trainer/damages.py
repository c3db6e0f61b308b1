# SPDX-License-Identifier: Apache-2.0
"""Damage to files, as disks, editors and programs do it: each function below changes one file in one way.

`draw` is hypothesis's: it chooses where and how much. A function returns what it has done, as far as its name does not
say it.
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import strategies as st

State = dict[str, bytes | str | None]
"""What lies below a folder by relative name: the bytes of a file, where a link leads, None for a folder."""

DEEP = b"[" * 100_000
ODD_VALUES: tuple[Any, ...] = (
    None, True, "", "x" * 5000, "../../../etc", "\ud800", "\x00", "%s{}[/]\n", -1, 0, 1, 2**31, 2**64, 10**400,
    1e308, float("nan"), float("inf"), [], {}, [[]], [None], {"": None}, [1, "a"], {"a": {"b": []}},
)  # fmt: skip


def read_state(root: Path) -> State:
    """All that lies below a folder."""
    state: State = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        state[name] = os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
    return state


def restore_state(root: Path, state: State, now: State) -> None:
    """Make what lies below a folder the same as before; `now` is what lies there."""
    for name in sorted(now.keys() | state.keys()):
        if name in now and (name not in state or (now[name] is None) != (state[name] is None)):
            remove(root / name)
    for name, data in state.items():
        path = root / name
        if data is None:
            path.mkdir(exist_ok=True, parents=True)
        elif isinstance(data, bytes) and (path.is_symlink() or now.get(name) != data or not path.exists()):
            remove(path)
            path.write_bytes(data)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# --- ruin -------------------------------------------------------------------------------------------------------------


def empty(path: Path, draw: Any) -> str:
    path.write_bytes(b"")
    return ""


def delete(path: Path, draw: Any) -> str:
    remove(path)
    return ""


def become_folder(path: Path, draw: Any) -> str:
    remove(path)
    path.mkdir()
    (path / "inside").write_bytes(b"")
    return ""


def become_dangling_link(path: Path, draw: Any) -> str:
    remove(path)
    path.symlink_to("nowhere")
    return ""


def become_link_to_itself(path: Path, draw: Any) -> str:
    remove(path)
    path.symlink_to(path.name)
    return ""


def become_noise(path: Path, draw: Any) -> str:
    path.write_bytes(bytes(range(255, -1, -1)) * 3)
    return ""


def become_picture(path: Path, draw: Any) -> str:
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x08\0\0\0\x08")
    return ""


def become_brackets(path: Path, draw: Any) -> str:
    path.write_bytes(DEEP)
    return ""


def become_null(path: Path, draw: Any) -> str:
    path.write_bytes(b"null\n")
    return ""


def become_list(path: Path, draw: Any) -> str:
    path.write_bytes(b'[1, "two", null]\n')
    return ""


def become_zeros(path: Path, draw: Any) -> str:
    path.write_bytes(b"\0" * path.stat().st_size)
    return ""


RUINS = (
    empty, delete, become_folder, become_dangling_link, become_link_to_itself, become_noise, become_picture,
    become_brackets, become_null, become_list, become_zeros,
)  # fmt: skip
"""Damage that leaves nothing of what the file was."""


# --- change -----------------------------------------------------------------------------------------------------------


def truncate(path: Path, draw: Any) -> str:
    data = path.read_bytes()
    kept = draw(st.integers(0, max(len(data) - 1, 0)))
    path.write_bytes(data[:kept])
    return f"cut to {kept} of {len(data)} bytes"


def zero_range(path: Path, draw: Any) -> str:
    data = bytearray(path.read_bytes())
    start = draw(st.integers(0, max(len(data) - 1, 0)))
    length = draw(st.integers(1, 64))
    data[start : start + length] = bytes(len(data[start : start + length]))
    path.write_bytes(data)
    return f"{length} zeros at {start}"


def flip_bits(path: Path, draw: Any) -> str:
    data = bytearray(path.read_bytes())
    places = draw(st.lists(st.integers(0, max(len(data) - 1, 0)), min_size=1, max_size=4))
    for place in places if data else ():
        data[place] ^= draw(st.integers(1, 255))
    path.write_bytes(data)
    return f"bytes flipped at {places}"


def change_value(path: Path, draw: Any) -> str:
    """Another value, or none, somewhere in a JSON, JSONL or TOML file; of another file, other bytes."""
    text = path.read_bytes().decode("utf-8", "replace")
    if path.suffix == ".toml":
        try:
            what, value = _change_tree(tomllib.loads(text), draw, plain=True)
            path.write_text(tomli_w.dumps(value if isinstance(value, dict) else {"value": value}), encoding="utf-8")
        except (tomllib.TOMLDecodeError, TypeError, ValueError):
            return flip_bits(path, draw)
        return what
    if path.suffix not in (".json", ".jsonl"):
        return flip_bits(path, draw)
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    number = draw(st.integers(0, max(len(lines) - 1, 0)))
    try:
        what, value = _change_tree(json.loads(lines[number]), draw)
    except (ValueError, IndexError):
        return flip_bits(path, draw)
    lines[number] = json.dumps(value)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"line {number + 1}: {what}"


def _change_tree(tree: Any, draw: Any, plain: bool = False) -> tuple[str, Any]:
    """Change one place of a tree of plain data."""
    places = [place for place in _list_places(tree) if place]
    place = draw(st.sampled_from(places)) if places else ()
    values = [value for value in ODD_VALUES if not plain or _is_toml(value)]
    value = draw(st.sampled_from(["delete", "rename", *values]))
    if not place:
        return f"all becomes {value!r}", value
    inner = tree
    for key in place[:-1]:
        inner = inner[key]
    if value == "delete":
        del inner[place[-1]]
    elif value == "rename" and isinstance(inner, dict):
        inner[f"{place[-1]}x"] = inner.pop(place[-1])
    else:
        inner[place[-1]] = value
    return f"{'.'.join(map(str, place))} becomes {str(value)[:30]!r}", tree


def _is_toml(value: Any) -> bool:
    """Whether TOML can hold a value."""
    try:
        tomllib.loads(tomli_w.dumps({"value": value}))
    except (TypeError, ValueError):
        return False
    return True


def _list_places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _list_places(value, (*at, key))


CHANGES = (truncate, zero_range, flip_bits, change_value)
"""Damage that leaves a file of the same kind, with something wrong in it."""
