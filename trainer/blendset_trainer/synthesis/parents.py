# SPDX-License-Identifier: Apache-2.0
"""The parents of synthesized views: renders, with their captions."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import ViewRecord
from blendset_trainer.selection.files import read_chosen
from blendset_trainer.stages.tables import read_captions, read_index
from blendset_trainer.synthetic_views import SYNTHETIC


def load_parents(dataset: Dataset, selection: str = "") -> list[ViewRecord]:
    """The views that are not synthesized themselves, all or those of a selection; BlendsetError where there is none."""
    chosen = set(read_chosen(dataset, selection)["view_id"].to_pylist()) if selection else None
    views = [view for view in dataset.views() if view.source != SYNTHETIC]
    views = [view for view in views if chosen is None or view.view_id in chosen]
    if not views:
        where = f"Selection '{selection}' of {dataset.root}" if selection else f"{dataset.root}"
        raise BlendsetError(f"{where} holds no view to begin with; render some, or name another selection.")
    return views


def load_captioned_parents(dataset: Dataset, selection: str, form: str) -> list[tuple[ViewRecord, str]]:
    """The parents that have a caption, each with its caption of a form ("short", "dense") or else the index's own.

    Raises BlendsetError where none has a caption.
    """
    index = read_index(dataset)
    texts = pc.coalesce(read_captions(dataset, index, (form,))[form], index["caption"].cast(pa.string()))
    caption_of = dict(zip(index["view_id"].to_pylist(), texts.to_pylist(), strict=True))
    parents = load_parents(dataset, selection)
    captioned = [(view, caption) for view in parents if (caption := caption_of.get(view.view_id))]
    if not captioned:
        raise BlendsetError(f"No view of {dataset.root} has a caption; run 'blendset caption {dataset.root}' first.")
    return captioned
