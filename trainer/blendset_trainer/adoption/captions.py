# SPDX-License-Identifier: Apache-2.0
"""The captions that adopted pictures come with, kept as the answers of a captioner called "adopted"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.adoption.ledger import WrittenRows
from blendset_trainer.adoption.views import PreparedView
from blendset_trainer.stages.caption_forms import CAPTION_FORMS, DENSE
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.shards import ViewItem, compute_keys
from blendset_trainer.stages.stage import Captioner, Column, View, build_stage_record


class AdoptedCaptions(Captioner):
    """The captioner whose answers come from sources, with the pictures; it looks at none."""

    name = "adopted"
    columns: ClassVar[Mapping[str, Column]] = {
        **{form: Column(pa.string()) for form in CAPTION_FORMS},
        "variants": Column(pa.list_(pa.string())),
    }

    def compute_rows(self, views: Sequence[View]) -> Sequence[dict[str, Any] | BlendsetError]:
        """Raise, for captions come with `blendset adopt` only."""
        raise BlendsetError("Captions of adopted pictures come with them; run 'blendset adopt'.")


class CaptionFolder:
    """The answers of `AdoptedCaptions` in a dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self._stage = AdoptedCaptions()
        self._folder = StageFolder.from_stage(dataset.root, self._stage)
        self.rows = WrittenRows(self._folder.path)

    def add(self, views: Sequence[PreparedView]) -> None:
        """Add the captions of views that have some, as one file. A caption of one form stands for the other, too."""
        captioned = [view for view in views if view.captions or view.variants]
        if not captioned:
            return
        columns = [(view.row.view_id, view.sha256) for view in captioned]
        index = pa.table(list(zip(*columns, strict=True)), names=["view_id", "rgb_sha256"])
        keys = compute_keys(build_stage_record(self._stage), index)
        items = [_make_item(view, key) for view, key in zip(captioned, keys, strict=True)]
        rows = [
            {form: view.captions.get(form) or first for form in CAPTION_FORMS} | {"variants": list(view.variants)}
            for view in captioned
            for first in [next(iter(view.captions.values()), None)]
        ]
        self._folder.write_record(self._stage)
        self._folder.write_shard(self._stage, items, rows)

    def read(self) -> dict[str, str]:
        """Return the dense captions by view id."""
        rows = self._folder.read_rows(["view_id", DENSE])
        pairs = [] if rows is None else zip(*map(pa.ChunkedArray.to_pylist, rows.columns), strict=True)
        return {view_id: caption for view_id, caption in pairs if caption}


def _make_item(view: PreparedView, key: str) -> ViewItem:
    return ViewItem(view.row.view_id, key, view.folder, view.row.view_id, view.sha256, "")
