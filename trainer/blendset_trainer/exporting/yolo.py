# SPDX-License-Identifier: Apache-2.0
"""YOLO: images/<split>, labels/<split> with a box to a line, and data.yaml, as Ultralytics reads them.

The format: https://docs.ultralytics.com/datasets/detect. Held-out views are the split `val`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from blendset.masks import Mask
from blendset.records import ViewRecord
from blendset_trainer.exporting.instances import SceneInstances, compute_bbox, find_instances
from blendset_trainer.exporting.source import ExportSource, write_file

TRAIN, VAL = "train", "val"
NOTHING_HELD_OUT = (
    "No view is held out, so data.yaml names the pictures of training for validation too; export a selection with "
    "held-out views."
)


def export(source: ExportSource, out: Path) -> int:
    """Write a picture and a file of boxes for each view; views of which object ids are not known are left out.

    A picture that shows no instance has an empty file, as Ultralytics takes pictures of background. Return the number
    of views written.
    """
    source = source.select_with_ids()
    instances = find_instances(source)
    classes = _number_classes(instances)
    splits = source.group_by_split(TRAIN, VAL)
    for split, views in splits.items():
        for view in views:
            name, picture = source.read_upright(view)
            boxes = _format_boxes(source, view, instances[view.scene], classes)
            write_file(out / "images" / split / name, picture)
            write_file(out / "labels" / split / f"{PurePosixPath(name).stem}.txt", boxes.encode())
    if not splits:
        return 0
    write_file(out / "data.yaml", _format_header(list(splits), list(classes)).encode())
    if VAL not in splits:
        source.notes.append(NOTHING_HELD_OUT)
    return len(source.views)


def _number_classes(instances: Mapping[str, SceneInstances]) -> dict[str, int]:
    """Number the labels of all scenes from 0 by name, so that every split has the same numbers."""
    labels = sorted({instance.label for scene in instances.values() for instance in scene.instances})
    return {label: number for number, label in enumerate(labels)}


def _format_boxes(source: ExportSource, view: ViewRecord, instances: SceneInstances, classes: Mapping[str, int]) -> str:
    """The lines of a view's boxes, one for each instance in the picture."""
    masks = instances.find_masks(source.read_ids(view))
    return "".join(f"{classes[instance.label]} {_format_box(mask)}\n" for instance, mask in masks)


def _format_box(mask: Mask) -> str:
    """Centre, width and height of a mask's box, as shares of the mask's (H, W)."""
    left, top, width, height = compute_bbox(mask)
    rows, columns = mask.shape
    shares = ((left + width / 2) / columns, (top + height / 2) / rows, width / columns, height / rows)
    return " ".join(f"{share:.8f}" for share in shares)


def _format_header(splits: Sequence[str], classes: Sequence[str]) -> str:
    """data.yaml: where the splits lie beside it, and the classes by number. Ultralytics refuses it without a `val`."""
    folders = {split: f"images/{split if split in splits else splits[0]}" for split in (TRAIN, VAL)}
    lines = [f"{split}: {folder}" for split, folder in folders.items()]
    names = [f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(classes)]
    return "\n".join([*lines, "names:", *names]) + "\n"
