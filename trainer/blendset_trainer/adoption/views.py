# SPDX-License-Identifier: Apache-2.0
"""From a picture of a source to a view of a dataset: its id, its files, its record.

A JPEG, PNG or WebP of 8 bits keeps its bytes but for its metadata; anything else is written as PNG, upright and in
sRGB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blendset.dataset import IDS, PICTURES, Dataset, get_picture_name
from blendset.errors import BlendsetError
from blendset.files import sha256_bytes
from blendset.naming import slugify
from blendset.records import ViewRecord, VisibleObject
from blendset_trainer.adopted_views import CONVERTED, COPIED, LINKED, STRIPPED, AdoptedPicture
from blendset_trainer.adoption.metadata import strip_metadata
from blendset_trainer.adoption.pictures import PictureContent, SourceInstance, SourcePicture
from blendset_trainer.readers.images import FIRST_FRAME, DecodedImage, decode_image, encode_png
from blendset_trainer.synthetic_views import make_unknown_camera

INSPECTED_SIDE = 64
"""Pixels of a side to which pictures are decoded to see whether they are sound, where their format has a fast way."""
NAME_OF_FORMAT = {"PNG": PICTURES[0], "JPEG": PICTURES[1], "MPO": PICTURES[1], "WEBP": PICTURES[2]}
"""By Pillow's name of the format; MPO is what phones write, a JPEG with further ones behind its end."""
PLAIN_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
"""Pillow's modes of 8 bits or fewer whose colours are grey or RGB."""
PNG_DEPTH = 24
"""Where a PNG says how many bits its numbers have."""
MAX_IDS = 65535
CURE = "restore it and run the command again"


@dataclass(frozen=True)
class AdoptionOptions:
    """What pictures are adopted as: their `source`, whether files are copied and keep their metadata, and the licence
    and creator of pictures whose source does not say them.
    """

    source: str
    copy: bool
    keep_metadata: bool
    licence: str
    creator: str

    @cached_property
    def digest(self) -> str:
        """Eight hex digits that change with any of them."""
        return sha256_bytes(repr(self).encode(errors="replace"))[:8]


@dataclass(frozen=True, eq=False)
class PictureRequest:
    """A picture to adopt as a view of a scene: its number among those of its name, the ids of its instances, and as
    what.
    """

    scene: str
    picture: SourcePicture
    number: int
    ids: tuple[int, ...]
    options: AdoptionOptions

    @property
    def key(self) -> tuple[str, int]:
        """What tells the picture from all others of its source."""
        return self.picture.name, self.number

    @property
    def title(self) -> str:
        """What the picture is called in sentences for the user: its name, with its place where others have it too."""
        return f"{self.picture.name} ({self.number + 1})" if self.number else self.picture.name

    @property
    def stamp(self) -> str:
        """A text that changes when the picture, or what it is adopted as, changes."""
        return f"{self.picture.stamp} {self.options.digest}"

    @property
    def view_id(self) -> str:
        """The id of its view, which follows from the scene, the name and the number."""
        name = self.picture.name
        identity = sha256_bytes(f"{self.scene}\0{name}\0{self.number}".encode(errors="replace"))
        return f"{slugify(PurePosixPath(name).stem, 28)}-{identity[:10]}"


@dataclass(frozen=True, eq=False)
class PreparedView:
    """A view whose files are written, and whose record is not: its row, its folder, its record, its captions, and what
    the reader noted.
    """

    row: AdoptedPicture
    folder: Path
    record: ViewRecord
    captions: Mapping[str, str]
    variants: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """The hash of its picture."""
        return self.record.files[get_picture_name(self.record)].sha256


def prepare_view(dataset: Dataset, request: PictureRequest) -> PreparedView:
    """Read a picture and write the files of its view; BlendsetError for one that cannot be read, or written."""
    content, options = request.picture.read(), request.options
    path = content.path or Path(request.picture.name)
    decoded = decode_image(content.data, path, CURE, draft=INSPECTED_SIDE)
    name, data, file = _make_file(content, decoded, path, options)
    view = _make_record(request, decoded.size, options.source)
    payload, links = {name: data}, {name: content.path} if file == LINKED and content.path else {}
    if content.instances:
        ids = _draw_ids(content.instances, request.ids, decoded.size)
        payload[IDS] = encode_png(Image.fromarray(ids))
        view = replace(view, visible_objects=_list_visible(ids, request))
    return PreparedView(
        AdoptedPicture(
            view_id=view.view_id,
            name=request.picture.name,
            number=request.number,
            stamp=request.stamp,
            file=file,
            licence=content.licence or options.licence,
            origin=content.origin,
            creator=content.creator or options.creator,
        ),
        *dataset.write_view_files(view, payload, links),
        content.captions,
        content.variants,
        (*decoded.notes, *content.notes),
    )


def _make_file(
    content: PictureContent, decoded: DecodedImage, path: Path, options: AdoptionOptions
) -> tuple[str, bytes, str]:
    """The name of a picture in its view, its bytes there, and what became of its file."""
    if _is_plain(content.data, decoded):
        try:
            data = content.data
            if not options.keep_metadata:
                data = strip_metadata(data, decoded.file_format, decoded.orientation)
            same = COPIED if options.copy or content.path is None else LINKED
            return NAME_OF_FORMAT[decoded.file_format], data, same if data is content.data else STRIPPED
        except ValueError:  # a file that is built in an odd way is decoded all the same
            pass
    return NAME_OF_FORMAT["PNG"], encode_png(decode_image(content.data, path, CURE).image), CONVERTED


def _is_plain(data: bytes, decoded: DecodedImage) -> bool:
    """Whether any reader shows a file as ours does: of a known format, with one frame and 8 bits."""
    is_deep = decoded.file_format == "PNG" and data[PNG_DEPTH] > 8
    has_frames = FIRST_FRAME in decoded.notes
    return decoded.file_format in NAME_OF_FORMAT and decoded.file_mode in PLAIN_MODES and not (is_deep or has_frames)


def _make_record(request: PictureRequest, size: tuple[int, int], source: str) -> ViewRecord:
    """The record of a picture of a size (width, height), whose camera nobody knows and which has no subject."""
    unknown: dict[str, Any] = dict.fromkeys(
        ("azimuth_deg", "elevation_deg", "distance", "visible_fraction", "subject_share", "truncation")
    )
    return ViewRecord(
        view_id=request.view_id, run=f"adopt-{request.scene}", scene=request.scene, subject="", subject_label="",
        subject_objects=(), view_set="", view_index=0, source=source, camera=make_unknown_camera(*size),
        visible_objects=(), exposure_ev=0.0, samples=0, seed=0, lighting="unknown", statistics={}, failed_checks=(),
        files={}, timings={}, **unknown,
    )  # fmt: skip


def _draw_ids(instances: Sequence[SourceInstance], ids: Sequence[int], size: tuple[int, int]) -> NDArray[np.uint16]:
    """The id of what each pixel (H, W) shows, 0 for nothing; BlendsetError for a mask of another size."""
    drawn = np.zeros(size[::-1], np.uint16)
    for instance, number in zip(instances, ids, strict=True):
        mask = instance.draw_mask()
        if mask.shape != drawn.shape:
            raise BlendsetError(
                f"A mask of '{instance.label}' has {mask.shape[1]} x {mask.shape[0]} pixels and the picture "
                f"{size[0]} x {size[1]}; mend the annotations, or leave them out."
            )
        drawn[mask] = number
    return drawn


def _list_visible(ids: NDArray[np.uint16], request: PictureRequest) -> tuple[VisibleObject, ...]:
    """The objects of an id map (H, W), by id."""
    labels = dict(zip(request.ids, request.picture.labels, strict=True))
    numbers, pixels = np.unique(ids[ids > 0], return_counts=True)
    return tuple(
        VisibleObject(number, labels[number], count, count / ids.size)
        for number, count in zip(numbers.tolist(), pixels.tolist(), strict=True)
    )
