# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that are no UTF-8, as files of Blender 2.4 and old importers hold them: Python cannot read those at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

from blendset.errors import BlendsetError
from blendset.naming import join_names

from .datablocks import iterate_datablocks

NAMED = 3
"""This many names are listed, the others counted."""


def decode_name(data: bytes) -> str:
    """The text that a name most likely stands for: UTF-8 that was cut off within its last letter, else Windows's
    Western letters. What is neither becomes U+FFFD."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        start = data[: error.start]
        is_cut = error.end == len(data) and error.reason == "unexpected end of data" and not start.isascii()
        return start.decode() if is_cut else data.decode("cp1252", errors="replace")


def decode_text(text: str) -> str:
    """The text of a path or a property: Blender hands out the bytes of those that are no UTF-8 as lone surrogates."""
    return text if text.isprintable() else decode_name(text.encode(errors="surrogateescape"))


def repair_names() -> list[str]:
    """Rename whatever in the open file has a name that is no UTF-8, in memory; return what a person should know.

    Raises BlendsetError for such a name in a linked library, where nothing can be renamed.
    """
    repaired = []
    for thing, data in _find_unreadable_names():
        if getattr(thing.id_data, "library", None) is not None:
            raise BlendsetError(
                f"{decode_text(thing.id_data.library.filepath)} is linked and holds a name that is no UTF-8 "
                f"('{decode_name(data)}'); rename that in Blender."
            )
        thing.name = decode_name(data)
        repaired.append(str(thing.name))
    return [f"{len(repaired)} names are no UTF-8 and are read as {_list_names(repaired)}"] if repaired else []


def check_names() -> None:
    """Raise BlendsetError where a name in the open file is no UTF-8: a window renames nothing of the user's."""
    if names := [decode_name(data) for _, data in _find_unreadable_names()]:
        raise BlendsetError(f"{len(names)} names in this file are no UTF-8 ({_list_names(names)}); rename them.")


def _list_names(names: list[str]) -> str:
    return join_names([f"'{name}'" for name in names], NAMED)


def _find_unreadable_names() -> Iterator[tuple[Any, bytes]]:
    """Yield what has a name that Python cannot read, and that name's bytes."""
    for thing in _iterate_named():
        try:
            thing.name  # noqa: B018 - reading it is the question
        except UnicodeDecodeError as error:
            yield thing, error.object


def _iterate_named() -> Iterator[Any]:
    """Yield every datablock, view layer and node."""
    trees: list[Any] = []
    for datablock in iterate_datablocks():
        yield datablock
        if isinstance(datablock, bpy.types.Scene):
            yield from datablock.view_layers
        tree = datablock if isinstance(datablock, bpy.types.NodeTree) else getattr(datablock, "node_tree", None)
        trees += [tree] if tree is not None else []
    for tree in trees:
        yield from tree.nodes
