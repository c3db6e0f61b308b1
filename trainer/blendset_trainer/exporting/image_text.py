# SPDX-License-Identifier: Apache-2.0
"""One picture, one text file of the same name: the folder that other trainers of diffusion models read.

Held-out views lie in a folder of their own.
"""

from __future__ import annotations

from pathlib import Path

from blendset.errors import BlendsetError
from blendset_trainer.exporting.source import Source, write
from blendset_trainer.selection.splits import HELD_OUT


def export(source: Source, out: Path) -> int:
    """Raises BlendsetError where a view has no caption, for trainers would learn its picture from no words."""
    if silent := [view.view_id for view in source.views if view.view_id not in source.captions]:
        raise BlendsetError(
            f"{source.dataset.root} has no caption for {silent[0]} ({len(silent)} in all); run 'blendset caption'."
        )
    for split, views in source.splits("train", HELD_OUT).items():
        for view in views:
            write(out / split / f"{view.view_id}.png", source.read(view))
            write(out / split / f"{view.view_id}.txt", source.captions[view.view_id].encode())
    return len(source.views)
