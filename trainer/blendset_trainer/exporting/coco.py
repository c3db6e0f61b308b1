# SPDX-License-Identifier: Apache-2.0
"""COCO instances: annotations/instances_<split>.json beside one folder of pictures per split.

The format: https://cocodataset.org/#format-data. Held-out views are the split `val`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blendset.masks import Mask
from blendset.records import ViewRecord, to_plain
from blendset_trainer.exporting.instances import (
    Category,
    SceneInstances,
    compute_bbox,
    find_instances,
    get_category,
    number_categories,
)
from blendset_trainer.exporting.licences import describe_coco_image, list_all_licences
from blendset_trainer.exporting.source import ExportSource, encode_json, write_file


def export(source: ExportSource, out: Path) -> int:
    """Write one annotation per instance in a picture; views of which object ids are not known are left out.

    Return the number of views written.
    """
    source = source.select_with_ids()
    instances = find_instances(source)
    categories, licences = number_categories(instances.values()), list_all_licences(source)
    exported = 0
    for split, views in source.group_by_split("train", "val").items():
        images, annotations = [], []
        for view in views:
            exported += 1
            name, picture = source.read_upright(view)
            images.append(_format_image(view, exported, name, describe_coco_image(source, view, licences)))
            annotations += _format_annotations(source, view, instances[view.scene], exported, categories)
            write_file(out / split / name, picture)
        for number, annotation in enumerate(annotations, start=1):
            annotation["id"] = number
        document = _build_header(source, categories, licences) | {"images": images, "annotations": annotations}
        write_file(out / "annotations" / f"instances_{split}.json", encode_json(document))
    return exported


def _build_header(source: ExportSource, categories: Mapping[Category, int], licences: Sequence[str]) -> dict[str, Any]:
    """Info, licences and categories, which all splits share."""
    record = source.dataset.record
    return {
        "info": {"description": record.name, "contributor": record.creator},
        "licenses": [{"id": number, "name": name} for number, name in enumerate(licences, 1)],
        "categories": [
            {"id": number, "name": name, "supercategory": supercategory}
            for (name, supercategory), number in categories.items()
        ],
    }


def _format_image(view: ViewRecord, number: int, name: str, ownership: Mapping[str, Any]) -> dict[str, Any]:
    """An image and, beyond COCO, its scene and its camera in Blendset's convention (along -Z, +Y up)."""
    return {
        "id": number,
        **ownership,
        "file_name": name,
        "width": view.camera.width,
        "height": view.camera.height,
        "scene": view.scene,
        "camera": to_plain(view.camera),
    }


def _format_annotations(
    source: ExportSource, view: ViewRecord, instances: SceneInstances, image: int, categories: Mapping[Category, int]
) -> list[dict[str, Any]]:
    """The annotations of one view, without their ids."""
    masks = instances.find_masks(source.read_ids(view))
    return [
        {
            "image_id": image,
            "category_id": categories[get_category(instance)],
            "object": instance.name,
            **_format_mask(mask),
        }
        for instance, mask in masks
    ]


def _format_mask(mask: Mask) -> dict[str, Any]:
    """The fields of an annotation that follow from its mask (H, W)."""
    return {
        "segmentation": {"size": list(mask.shape), "counts": encode_rle(mask)},
        "area": int(mask.sum()),
        "bbox": compute_bbox(mask),
        "iscrowd": 0,
    }


def encode_rle(mask: Mask) -> str:
    """Encode a mask (H, W) as COCO's compressed run-length encoding.

    Runs go down the columns, the first run is of zeros. From the fourth on, the length two runs before is subtracted.
    Each number is written in groups of five bits, lowest first; a sixth bit says that more follow; each group is a
    character from "0" on.
    """
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    lengths = np.diff(edges, prepend=0, append=flat.size)
    differences = lengths.copy()
    differences[3:] -= lengths[1:-2]
    return "".join(_encode_number(int(difference)) for difference in differences)


def _encode_number(number: int) -> str:
    """The characters of one signed number, see `encode_rle`."""
    characters = ""
    while True:
        group, number = number & 31, number >> 5
        is_last = number == (-1 if group & 16 else 0)  # the highest bit written is the sign
        characters += chr(48 + group + (0 if is_last else 32))
        if is_last:
            return characters
