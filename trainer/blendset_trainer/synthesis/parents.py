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


def load_parents(dataset: Dataset, selection: str = "", *, with_synthetic: bool = False) -> list[ViewRecord]:
    """The views, all or those of a selection, and of them those that are not synthesized, unless `with_synthetic`.

    Raises BlendsetError where there is none.
    """
    chosen = set(read_chosen(dataset, selection)["view_id"].to_pylist()) if selection else None
    views = [view for view in dataset.views() if chosen is None or view.view_id in chosen]
    parents = [view for view in views if with_synthetic or view.source != SYNTHETIC]
    if not parents:
        where = f"Selection '{selection}' of {dataset.root}" if selection else f"{dataset.root}"
        what = "but synthetic ones" if views else "to begin with"
        raise BlendsetError(f"{where} holds no view {what}; render some, or name another selection.")
    return parents


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
