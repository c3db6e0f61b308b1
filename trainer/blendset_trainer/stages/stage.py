# SPDX-License-Identifier: Apache-2.0
"""What a stage of curation is, what it reads of a view, and how it describes the columns that it computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from blendset.dataset import IDS, PASSES, get_picture_name
from blendset.errors import BlendsetError
from blendset.exr import Passes, read_ids, read_passes
from blendset.files import sha256_bytes
from blendset.records import FORMAT_VERSION, SceneRecord, ViewRecord, to_plain
from blendset_trainer.readers.images import decode_ids, decode_rgb

Decoded = TypeVar("Decoded")

CAPTIONS, SCORES = KINDS = ("captions", "scores")
INPUTS = {
    "rgb": "rgb_sha256",
    "passes": "passes_sha256",
    "ids": "passes_sha256",
    "record": "record_sha256",
    "caption": "caption",
}
"""What a stage can read, each with the column of `tables.read_index` that changes when it changes."""
COSINE, SHARE, GREY_LEVELS = "cosine, -1 to 1", "share, 0 to 1", "grey levels, 0 to 255"
PROBABILITY = "probability, 0 to 1"
"""Scales that columns of several stages share."""


@dataclass(frozen=True, eq=False)
class View:
    """A view of the dataset as a stage reads it. Pixels are read at first use.

    Reading raises BlendsetError for a file that is missing, damaged or not as it was written. `caption` is the index's,
    "" where there is none.
    """

    record: ViewRecord
    folder: Path
    scene: SceneRecord
    caption: str = ""

    @cached_property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """The picture (height, width, 3), sRGB."""
        return np.asarray(decode_rgb(self.read_picture(), self.picture_path, self.cure))

    @cached_property
    def passes(self) -> Passes:
        """The render passes, each (height, width)."""
        return self._read_passes(read_passes)

    @cached_property
    def ids(self) -> npt.NDArray[np.uint32]:
        """The object ids (height, width) of the passes, without decoding the others, or of a picture without passes."""
        if "passes" in vars(self):
            return self.passes.id
        return self._read_passes(read_ids) if self.has_passes else decode_ids(self._read_bytes(IDS), self.folder / IDS)

    @property
    def has_passes(self) -> bool:
        """Whether the view has render passes; photographs and synthetic views may have a picture only."""
        return PASSES in self.record.files

    @property
    def has_ids(self) -> bool:
        """Whether it is known which object each pixel shows, from passes or for a picture without them."""
        return self.has_passes or IDS in self.record.files

    @property
    def picture_path(self) -> Path:
        """The file of the picture."""
        return self.folder / get_picture_name(self.record)

    @property
    def cure(self) -> str:
        """What to do about a picture that is damaged."""
        return "render it again" if self.has_passes else "restore it"

    def read_picture(self) -> bytes:
        """Return the bytes of the picture's file; BlendsetError where they are not those that were written."""
        return self._read_bytes(self.picture_path.name)

    @property
    def subject_mask(self) -> npt.NDArray[np.bool_] | None:
        """The mask (height, width) of the subject; None for a view without a subject or without object ids."""
        if not self.record.subject or not self.has_ids:
            return None
        return np.isin(self.ids, self.record.subject_objects)

    def _read_passes(self, read: Callable[[bytes], Decoded]) -> Decoded:
        data = self._read_bytes(PASSES)
        try:
            return read(data)
        except BlendsetError as error:
            raise BlendsetError(f"{self.folder / PASSES}: {error}") from error

    def _read_bytes(self, name: str) -> bytes:
        path, entry = self.folder / name, self.record.files.get(name)
        if entry is None:
            raise BlendsetError(f"{self.folder} has no {name}; choose views that have one.")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BlendsetError(f"{path} cannot be read ({error.strerror}); {self.cure}.") from error
        if sha256_bytes(data) != entry.sha256:
            raise BlendsetError(f"{path} was changed: its SHA-256 is not the one in its record; {self.cure}.")
        return data


@dataclass(frozen=True)
class Column:
    """A column that a stage computes. `scale` says what its numbers mean ("cosine, -1 to 1"); "" for text."""

    type: pa.DataType
    scale: str = ""


class Stage(Protocol):
    """A captioner or a scorer. It is small, picklable and holds parameters only; its model is loaded in `setup`."""

    @property
    def name(self) -> str:
        """The stage's name, a slug, which stands before its columns' names."""

    @property
    def version(self) -> str:
        """The version of the code, which changes when its answers change."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The settings that the answers depend on, as plain data."""

    @property
    def revision(self) -> str:
        """The revision of the model's weights; "" without a model."""

    @property
    def kind(self) -> Literal["captions", "scores"]:
        """The dataset's folder that holds the rows."""

    @property
    def reads(self) -> frozenset[str]:
        """Keys of INPUTS: what a row depends on, and what is decoded ahead."""

    @property
    def whole_sets(self) -> bool:
        """Whether all views of a view set must be in one batch."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns of a row, by name."""

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""

    def compute_rows(self, views: Sequence[View]) -> Sequence[dict[str, Any] | BlendsetError]:
        """Return one row per view, in their order: a value for each column, None where it has none.

        A BlendsetError instead of a row says why there is none now; the next run tries that view again.
        """


@runtime_checkable
class ReviewingStage(Stage, Protocol):
    """A stage that looks at the rows of a shard together before they are written."""

    def review_rows(
        self, records: Sequence[ViewRecord], rows: Sequence[Mapping[str, Any]], notes: list[str]
    ) -> Sequence[Mapping[str, Any] | BlendsetError]:
        """Return what becomes of each row: itself, or a BlendsetError; sentences for the user are added to `notes`."""


@dataclass(frozen=True)
class SimpleStage(ABC):
    """What most stages have in common: no model, the picture as input, and the fields of a dataclass as parameters."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The stage's name, a slug."""

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, Column]:
        """The columns of a row, by name."""

    @property
    def version(self) -> str:
        """The version of the code."""
        return "1"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The fields of the dataclass."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def revision(self) -> str:
        """No model has no revision."""
        return ""

    @property
    def reads(self) -> frozenset[str]:
        """The picture alone."""
        return frozenset({"rgb"})

    @property
    def whole_sets(self) -> bool:
        """Any views may be in one batch."""
        return False

    def setup(self) -> None:  # noqa: B027
        """Do nothing, for there is no model."""

    @abstractmethod
    def compute_rows(self, views: Sequence[View]) -> Sequence[dict[str, Any] | BlendsetError]:
        """Return one row per view; see `Stage.compute_rows`."""


class Scorer(SimpleStage):
    """A scorer that says only its name, its columns and how it computes them."""

    kind: ClassVar[Literal["scores"]] = "scores"


class Captioner(SimpleStage):
    """A captioner that says only its name, its columns and how it writes them."""

    kind: ClassVar[Literal["captions"]] = "captions"


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """The content of stage.json: all that a stage's answers depend on besides the views."""

    format_version: int = FORMAT_VERSION
    name: str
    version: str
    parameters: dict[str, Any]
    revision: str
    reads: tuple[str, ...]
    whole_sets: bool


def build_stage_record(stage: Stage) -> StageRecord:
    """Return the record of a stage, which goes into its keys."""
    return StageRecord(
        name=stage.name,
        version=stage.version,
        parameters=to_plain(stage.parameters),
        revision=stage.revision,
        reads=tuple(sorted(stage.reads)),
        whole_sets=stage.whole_sets,
    )
