# SPDX-License-Identifier: Apache-2.0
"""COCO instances: annotations/instances_<split>.json beside one folder of pictures per split.

The format: https://cocodataset.org/#format-data. Held-out views are the split `val`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.records import ViewRecord, to_plain
from blendset_trainer.exporting.instances import Instance, Instances, bounding_box, instances_of
from blendset_trainer.exporting.source import Source, as_json, with_passes, write

Category = tuple[str, str]
"""Name and supercategory."""


def export(source: Source, out: Path) -> int:
    """One annotation per thing in a picture, from the id pass; views without passes are left out."""
    things = instances_of(source)
    categories = _categories(things.values())
    exported = 0
    for split, views in source.splits("train", "val").items():
        images, annotations = [], []
        for view in with_passes(views):
            exported += 1
            images.append(_image(view, exported))
            annotations += _annotations(source, view, things[view.scene], exported, categories)
            write(out / split / f"{view.view_id}.png", source.read(view))
        for number, annotation in enumerate(annotations, start=1):
            annotation["id"] = number
        document = _frame(source, categories) | {"images": images, "annotations": annotations}
        write(out / "annotations" / f"instances_{split}.json", as_json(document))
    return exported


def _frame(source: Source, categories: Mapping[Category, int]) -> dict[str, Any]:
    record = source.dataset.record
    return {
        "info": {"description": record.name, "contributor": record.creator},
        "licenses": [{"id": 1, "name": record.licence}],
        "categories": [
            {"id": number, "name": name, "supercategory": above} for (name, above), number in categories.items()
        ],
    }


def _categories(scenes: Iterable[Instances]) -> dict[Category, int]:
    """Numbers from 1 for all that the scenes hold, so that every split counts alike."""
    found = sorted({_category(thing) for scene in scenes for thing in scene.things})
    return {category: number for number, category in enumerate(found, start=1)}


def _category(thing: Instance) -> Category:
    return thing.label, "structure" if thing.structural else "object"


def _image(view: ViewRecord, number: int) -> dict[str, Any]:
    """The picture and, beyond COCO, its scene and its camera in Blendset's convention (along -Z, +Y up)."""
    return {
        "id": number,
        "license": 1,
        "file_name": f"{view.view_id}.png",
        "width": view.camera.width,
        "height": view.camera.height,
        "scene": view.scene,
        "camera": to_plain(view.camera),
    }


def _annotations(
    source: Source, view: ViewRecord, things: Instances, image: int, categories: Mapping[Category, int]
) -> list[dict[str, Any]]:
    seen = things.seen_in(source.dataset.passes(view).id)
    return [
        {"image_id": image, "category_id": categories[_category(thing)], "object": thing.name, **_outline(mask)}
        for thing, mask in seen
    ]


def _outline(mask: NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
        "area": int(mask.sum()),
        "bbox": bounding_box(mask),
        "iscrowd": 0,
    }


def run_lengths(mask: NDArray[np.bool_]) -> str:
    """COCO's compressed run-length encoding of a mask (H, W).

    Lengths of runs down the columns, the first of zeros; from the fourth on each minus the one two before; each number
    in groups of five bits, lowest first, the sixth bit telling that more follow, as characters from "0" on.
    """
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    lengths = np.diff(edges, prepend=0, append=flat.size)
    differences = lengths.copy()
    differences[3:] -= lengths[1:-2]
    return "".join(_word(int(each)) for each in differences)


def _word(number: int) -> str:
    word = ""
    while True:
        group, number = number & 31, number >> 5
        last = number == (-1 if group & 16 else 0)  # the highest bit written is the sign
        word += chr(48 + group + (0 if last else 32))
        if last:
            return word
