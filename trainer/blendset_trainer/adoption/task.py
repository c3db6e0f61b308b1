# SPDX-License-Identifier: Apache-2.0
"""Adopts blocks of pictures, in this process or in workers: an executor's task.

When the files of a block are there, its records are written together, then its captions, and last its rows in the
ledger. A block that was interrupted is done again and ends with the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from blendset.dataset import Dataset
from blendset.errors import BlendsetError, DiskError
from blendset_trainer.adoption.captions import CaptionFolder
from blendset_trainer.adoption.ledger import Ledger
from blendset_trainer.adoption.views import PictureRequest, PreparedView, prepare_view
from blendset_trainer.stages.executors.task import ShardResult

READERS = 2
"""Threads that read pictures in one process; more of them wait for one another where pictures are small."""

PictureBlock = tuple[PictureRequest, ...]
"""Pictures of one scene that become views together."""


@dataclass(frozen=True, kw_only=True)
class BlockResult(ShardResult):
    """The views that were made, how many files became what, and the pictures by what was noted of them."""

    made: tuple[str, ...]
    files: Mapping[str, int]
    noted: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class AdoptionTask:
    """Writes the views of pictures into a dataset; see `executors.task.Task`."""

    dataset: Dataset
    revision = ""

    @property
    def stage(self) -> AdoptionTask:
        """What has nothing to load."""
        return self

    def setup(self) -> None:
        """Load nothing."""

    def compute(self, block: PictureBlock) -> BlockResult:
        """Make the views of a block; a picture that cannot be read gets none. Raises DiskError."""
        with ThreadPoolExecutor(READERS) as readers:
            outcomes = list(readers.map(self._prepare_or_fault, block))
        views = [outcome for outcome in outcomes if isinstance(outcome, PreparedView)]
        if views:
            self.dataset.write_view_records({view.folder: view.record for view in views})
            CaptionFolder(self.dataset).add(views)
            Ledger(self.dataset, block[0].scene).add([view.row for view in views])
        noted: dict[str, list[str]] = {}
        for view in views:
            for note in view.notes:
                noted.setdefault(note, []).append(view.row.name)
        return BlockResult(
            len(block),
            {
                request.title: str(outcome)
                for request, outcome in zip(block, outcomes, strict=True)
                if isinstance(outcome, BlendsetError)
            },
            made=tuple(view.row.view_id for view in views),
            files=Counter(view.row.file for view in views),
            noted=noted,
        )

    def _prepare_or_fault(self, request: PictureRequest) -> PreparedView | BlendsetError:
        try:
            return prepare_view(self.dataset, request)
        except DiskError:
            raise
        except BlendsetError as error:
            return error
