# SPDX-License-Identifier: Apache-2.0
"""COCO's annotations: captions_*.json and instances_*.json, with the pictures in a folder beside them.

The format: https://cocodataset.org/#format-data. Annotations are read again when their picture is, so that large files
take little memory.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from blendset.errors import BlendsetError, SettingsError, describe_error
from blendset.masks import Mask
from blendset_trainer.adoption.layouts.coco_masks import parse_mask
from blendset_trainer.adoption.layouts.json_items import Extent, read_head, read_item, scan_json
from blendset_trainer.adoption.layouts.local_files import find_picture, find_source, has_picture, stamp_picture
from blendset_trainer.adoption.layouts.tally import Tally
from blendset_trainer.adoption.layouts.words import Words, build_content, collect_words, read_text, sort_captions
from blendset_trainer.adoption.pictures import PictureContent, SourceInstance, SourcePicture
from blendset_trainer.readers.images import read_image_bytes
from blendset_trainer.stages.caption_forms import SHORT

ANNOTATIONS, IMAGES = "annotations", "images"
"""The folder of COCO's files, and one in which others keep the folders of pictures."""
KINDS = ("captions_", "instances_")
"""How the names of files that are read begin, where a folder has any such."""
MAX_SIDE = 1 << 16
_NUMBERS = int, str
_HEAD = re.compile(rb'\s*\{.*"(images|annotations|categories|licenses)"\s*:', re.DOTALL)


def is_document(path: Path) -> bool:
    """Return whether a file looks like COCO's JSON at its beginning."""
    return path.suffix.lower() == ".json" and bool(_HEAD.match(read_head(path)))


def open_source(source: str) -> CocoSource:
    """Return the pictures of a folder with COCO's files, or of one file; SettingsError where there are none."""
    path = find_source(source)
    documents = _find_documents(path) if path.is_dir() else [path]
    if not documents or not all(document.is_file() for document in documents):
        raise SettingsError(f"{path} holds no JSON of COCO; give a folder with annotations/*.json, or such a file.")
    return CocoSource(path, documents)


def _find_documents(folder: Path) -> list[Path]:
    """The files of COCO in the first place that has some: a folder `annotations`, the folder itself, those below it."""
    for files in (folder.glob(f"{ANNOTATIONS}/*.json"), folder.glob("*.json"), folder.glob("*/*.json")):
        if documents := sorted(filter(is_document, files)):
            return documents
    return []


class _Instance(NamedTuple):
    """An instance of a picture: its area in pixels, its label, and where its annotation is."""

    area: float
    label: str
    document: Path
    extent: Extent


@dataclass
class _Picture:
    """What COCO's files say of a picture, and where."""

    document: Path
    entry: Extent
    captions: list[tuple[Path, Extent]] = field(default_factory=list)
    instances: list[_Instance] = field(default_factory=list)

    @property
    def checksum(self) -> str:
        """A checksum of all that is said of the picture."""
        extents = self.entry, *(extent for _, extent in self.captions), *(each.extent for each in self.instances)
        return f"{zlib.crc32(repr([extent.checksum for extent in extents]).encode()):08x}"


@dataclass
class _Annotations:
    """What stands in one file, by the picture's number."""

    images: dict[object, tuple[str, Extent]] = field(default_factory=dict)
    captions: defaultdict[object, list[Extent]] = field(default_factory=lambda: defaultdict(list))
    instances: defaultdict[object, list[tuple[float, object, Extent]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    labels: dict[object, str] = field(default_factory=dict)
    licences: dict[object, str] = field(default_factory=dict)


class CocoSource:
    """The pictures that some of COCO's files list."""

    licence = ""
    is_picklable = True

    def __init__(self, path: Path, documents: list[Path]) -> None:
        self.title = path.absolute().name if path.is_dir() else path.stem
        self.all_documents = documents
        known = [document for document in documents if document.name.startswith(KINDS)]
        self.documents = known or documents
        self.tally = Tally()

    @property
    def findings(self) -> tuple[str, ...]:
        """Sentences about what is not used."""
        return self.tally.format_sentences()

    def list_pictures(self) -> Iterator[SourcePicture]:
        """Yield the pictures of each split in the order in which they are listed first."""
        self.tally = Tally()
        for document in self.all_documents:
            if document not in self.documents:
                self.tally.add("files of annotations that are not read", document.name)
        splits: dict[tuple[Path, str], list[Path]] = {}
        for document in self.documents:
            splits.setdefault((document.parent, _name_split(document)), []).append(document)
        is_empty = True
        for (_, split), documents in splits.items():
            for picture in self._list_split(split, documents):
                is_empty = False
                yield picture
        if is_empty:
            document = self.documents[0]
            folders = " or ".join(dict.fromkeys(map(str, _list_folders(_name_split(document), document))))
            raise BlendsetError(f"None of the pictures that {document} lists is here; put them into {folders}.")

    def _list_split(self, split: str, documents: Sequence[Path]) -> Iterator[SourcePicture]:
        pictures: dict[str, _Picture] = {}
        licences: dict[Path, Mapping[object, str]] = {}
        for document in documents:
            annotations = self._read_annotations(document)
            licences[document] = annotations.licences
            self._merge(pictures, document, annotations)
        folders = _list_folders(split, documents[0])
        folder = next((each for each in folders if any(has_picture([each], name) for name in pictures)), None)
        if folder is None:
            self.tally.add("files of annotations none of whose pictures is here", documents[0].name)
            return
        root = _find_root(documents[0])
        prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
        for name, picture in pictures.items():
            picture.instances.sort(key=lambda instance: -instance.area)  # so that the small lie on top of the large
            stamp = f"{stamp_picture([folder], name)} {picture.checksum}"
            read = partial(_read, folder, name, picture, licences[picture.document])
            labels = tuple(instance.label for instance in picture.instances)
            yield SourcePicture(prefix + name, stamp, read, labels)

    def _read_annotations(self, document: Path) -> _Annotations:
        found = _Annotations()
        for key, value, extent in scan_json(document):
            if not isinstance(value, Mapping):
                continue
            if key == "images":
                self._add_image(found, value, extent)
            elif key == "annotations":
                self._add_annotation(found, value, extent)
            elif key == "categories":
                found.labels[_read_number(value, "id")] = read_text(value.get("name"))
            elif key == "licenses":
                found.licences[_read_number(value, "id")] = _format_licence(value)
        return found

    def _add_image(self, found: _Annotations, value: Mapping[str, Any], extent: Extent) -> None:
        name = value.get("file_name")
        if not isinstance(name, str) or not name:
            self.tally.add("pictures that are listed without a file name", str(_read_number(value, "id")))
            return
        found.images[_read_number(value, "id")] = name, extent

    def _add_annotation(self, found: _Annotations, value: Mapping[str, Any], extent: Extent) -> None:
        image = _read_number(value, "image_id")
        if "caption" in value:
            found.captions[image].append(extent)
        elif value.get("iscrowd"):
            self.tally.add("annotations of crowds, which are no instances and are left out", "")
        elif not value.get("segmentation"):
            self.tally.add("annotations without a mask, such as boxes alone, which are left out", "")
        else:
            found.instances[image].append((_read_area(value), _read_number(value, "category_id"), extent))

    def _merge(self, pictures: dict[str, _Picture], document: Path, found: _Annotations) -> None:
        """Add what one file says to what the others of the split say of the same pictures."""
        names = set[str]()
        for image, (name, extent) in found.images.items():
            if name in names:
                self.tally.add("pictures that are listed twice in a file, and are one", name)
            names.add(name)
            picture = pictures.setdefault(name, _Picture(document, extent))
            picture.captions += [(document, caption) for caption in found.captions.pop(image, ())]
            for area, category, instance in found.instances.pop(image, ()):
                if label := found.labels.get(category):
                    picture.instances.append(_Instance(area, label, document, instance))
                else:
                    self.tally.add("annotations of a category that has no name, which are left out", str(category))
        for image in (*found.captions, *found.instances):
            self.tally.add("pictures with annotations that are not listed", str(image))


def _name_split(document: Path) -> str:
    """What a file's name says behind its kind: "train2017" of "captions_train2017.json"."""
    return document.stem.partition("_")[2] if document.name.startswith(KINDS) else document.stem


def _find_root(document: Path) -> Path:
    """The folder that holds COCO's folders, from which the names of pictures are written."""
    folder = document.absolute().parent
    return folder.parent if folder.name == ANNOTATIONS else folder


def _list_folders(split: str, document: Path) -> Sequence[Path]:
    """Where the pictures of a split are looked for."""
    root = _find_root(document)
    return root / split, root / IMAGES / split, root / IMAGES, root, document.absolute().parent


def _read_number(value: Mapping[str, Any], key: str) -> object:
    """A number, or a text that stands for one; None for anything else."""
    number = value.get(key)
    return number if type(number) in _NUMBERS else None


def _format_licence(value: Mapping[str, Any]) -> str:
    """A licence's name and address in words."""
    name, address = read_text(value.get("name")), read_text(value.get("url"))
    return f"{name} ({address})" if name and address else name or address


def _read_area(value: Mapping[str, Any]) -> float:
    """The pixels of an instance, as its annotation says them; 0 where it does not."""
    area = value.get("area")
    return float(area) if isinstance(area, int | float) and abs(area) < MAX_SIDE**2 else 0.0


# ---- one picture -----------------------------------------------------------------------------------------------------


def _read(folder: Path, name: str, picture: _Picture, licences: Mapping[object, str]) -> PictureContent:
    path = find_picture([folder], name)
    data = read_image_bytes(path, "put it there, or take it out of the annotations")
    entry = read_item(picture.document, picture.entry)
    captions, notes = sort_captions(read_item(*place)["caption"] for place in picture.captions)
    instances, faults = _read_instances(name, picture, entry.get("height"), entry.get("width"))
    words = collect_words({key: value for key, value in entry.items() if key != "license"})
    licence = licences.get(_read_number(entry, "license"), "") or read_text(entry.get("license"))
    words = Words(captions, licence, words.origin, words.creator, (*notes, *faults))
    return build_content(data, words, path, SHORT, instances)


def _read_instances(
    name: str, picture: _Picture, height: Any, width: Any
) -> tuple[tuple[SourceInstance, ...], tuple[str, ...]]:
    """The instances of a picture; one whose mask is damaged has no pixels, and a note."""
    instances, notes = [], []
    if picture.instances and not all(type(side) is int and 0 < side <= MAX_SIDE for side in (height, width)):
        raise BlendsetError(f"{name} has no height and width in {picture.document}; mend it, or adopt captions alone.")
    for _, label, document, extent in picture.instances:
        try:
            draw = parse_mask(read_item(document, extent)["segmentation"], height, width)
        except ValueError as error:
            notes.append(f"the mask of an instance of '{label}' is left out, for {describe_error(error)}")
            draw = partial(_draw_nothing, height, width)
        instances.append(SourceInstance(label, draw))
    return tuple(instances), tuple(notes)


def _draw_nothing(height: int, width: int) -> Mask:
    """A mask (height, width) without a pixel."""
    return np.zeros((height, width), bool)
