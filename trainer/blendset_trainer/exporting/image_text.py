# SPDX-License-Identifier: Apache-2.0
"""Pictures with text files of the same name: the folder that other trainers of diffusion models read.

Held-out views lie in a folder of their own.
"""

from __future__ import annotations

from pathlib import Path

from blendset_trainer.exporting.source import ExportSource, name_picture, write_file
from blendset_trainer.selection.files import HELD_OUT


def export(source: ExportSource, out: Path) -> int:
    """Write a picture and a caption for each view; return the number of views.

    Raises BlendsetError where a view has no caption: a trainer would learn its picture from an empty text.
    """
    source.check_captions()
    for split, views in source.group_by_split("train", HELD_OUT).items():
        for view in views:
            write_file(out / split / name_picture(view), source.read_file(view))
            write_file(out / split / f"{view.view_id}.txt", source.captions[view.view_id].encode())
    return len(source.views)
