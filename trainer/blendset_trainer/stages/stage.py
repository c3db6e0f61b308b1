# SPDX-License-Identifier: Apache-2.0
"""What a step of curation is: a stage, what it is given of each view, and what it says of its own figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from blendset.dataset import PASSES, RGB
from blendset.errors import BlendsetError
from blendset.exr import Passes, read_ids, read_passes
from blendset.files import sha256_bytes
from blendset.records import FORMAT_VERSION, SceneRecord, ViewRecord, as_plain

Decoded = TypeVar("Decoded")

CAPTIONS, SCORES = KINDS = ("captions", "scores")
INPUTS = {
    "rgb": "rgb_sha256",
    "passes": "passes_sha256",
    "ids": "passes_sha256",
    "record": "record_sha256",
    "caption": "caption",
}
"""Columns of `tables.index_table` that stand for what a stage reads."""
COSINE, SHARE, GREY_LEVELS = "cosine, -1 to 1", "share, 0 to 1", "grey levels, 0 to 255"
"""Scales that several stages have."""


@dataclass(frozen=True, eq=False)
class View:
    """What a stage is given. Pixels are read when asked for; BlendsetError names a file that is not as it was written.

    `caption` is the index's, "" where there is none.
    """

    record: ViewRecord
    folder: Path
    scene: SceneRecord
    caption: str = ""

    @cached_property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """(height, width, 3), sRGB."""
        data = self._sound_bytes(RGB)
        try:
            with Image.open(io.BytesIO(data)) as picture:
                return np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise BlendsetError(f"{self.folder / RGB} is no readable picture; render it again.") from error

    @cached_property
    def passes(self) -> Passes:
        return self._sound_passes(read_passes)

    @cached_property
    def ids(self) -> npt.NDArray[np.uint32]:
        """The object ids of the passes (height, width), for a stage that needs no more of them."""
        return self.passes.id if "passes" in vars(self) else self._sound_passes(read_ids)

    @property
    def has_passes(self) -> bool:
        """Whether it was rendered; photographs and synthetic views may have colour only."""
        return PASSES in self.record.files

    @property
    def subject_mask(self) -> npt.NDArray[np.bool_] | None:
        """The subject's own pixels (height, width); None without a subject or without passes."""
        if not self.record.subject or not self.has_passes:
            return None
        return np.isin(self.ids, self.record.subject_objects)

    def _sound_passes(self, read: Callable[[bytes], Decoded]) -> Decoded:
        data = self._sound_bytes(PASSES)
        try:
            return read(data)
        except BlendsetError as error:
            raise BlendsetError(f"{self.folder / PASSES}: {error}") from error

    def _sound_bytes(self, name: str) -> bytes:
        path, entry = self.folder / name, self.record.files.get(name)
        if entry is None:
            raise BlendsetError(f"{self.folder} has no {name}; choose views that have one.")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BlendsetError(f"{path} cannot be read ({error.strerror}); restore it or render it again.") from error
        if sha256_bytes(data) != entry.sha256:
            raise BlendsetError(f"{path} was changed: its SHA-256 is not the one in its record; render it again.")
        return data


@dataclass(frozen=True)
class Column:
    """A column that a stage gives. `scale` says what its numbers mean ("cosine, -1 to 1"); "" for text."""

    type: pa.DataType
    scale: str = ""


class Stage(Protocol):
    """A step of curation: a small picklable object that holds parameters only; the model arrives in `setup`."""

    @property
    def name(self) -> str:
        """A slug; names the columns."""

    @property
    def version(self) -> str:
        """Raised when the code's answers change."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Plain data."""

    @property
    def revision(self) -> str:
        """Of the model's weights; "" without a model."""

    @property
    def kind(self) -> Literal["captions", "scores"]:
        """The folder of the dataset that its rows lie in."""

    @property
    def reads(self) -> frozenset[str]:
        """Keys of INPUTS: what goes into a row's key, and is decoded ahead."""

    @property
    def whole_sets(self) -> bool:
        """Whether the views of one view set must come in one batch."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns that it gives."""

    def setup(self) -> None:
        """Once per process, before the first rows."""

    def compute_rows(self, views: Sequence[View]) -> Sequence[dict[str, Any] | BlendsetError]:
        """One row per view, in their order: a value for each figure, None where there is none.

        BlendsetError in the place of a row says why there is none now; the next run tries that view again.
        """


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """stage.json in a stage's folder: all that its answers depend on besides the views."""

    format_version: int = FORMAT_VERSION
    name: str
    version: str
    parameters: dict[str, Any]
    revision: str
    reads: tuple[str, ...]
    whole_sets: bool


def build_stage_record(stage: Stage) -> StageRecord:
    """What goes into the stage's keys."""
    return StageRecord(
        name=stage.name,
        version=stage.version,
        parameters=as_plain(stage.parameters),
        revision=stage.revision,
        reads=tuple(sorted(stage.reads)),
        whole_sets=stage.whole_sets,
    )
