# SPDX-License-Identifier: Apache-2.0
"""Licences of pictures: that of the dataset, or of an adopted picture its own, as its source says it."""

from __future__ import annotations

from typing import Any

from blendset.records import ViewRecord
from blendset_trainer.adopted_views import list_licences
from blendset_trainer.exporting.source import ExportSource

LICENCE, ORIGIN, CREATOR = OWNERSHIP = ("licence", "origin", "creator")


def describe_ownership(source: ExportSource, view: ViewRecord) -> dict[str, str]:
    """Licence, origin (an address) and creator of a view, "" where nobody says them.

    Those of a view that was not adopted are the dataset's.
    """
    record = source.dataset.record
    own = source.adoptions.get(view.view_id, {LICENCE: record.licence, ORIGIN: "", CREATOR: record.creator})
    return {name: own[name] for name in OWNERSHIP}


def list_all_licences(source: ExportSource) -> list[str]:
    """The licence of the dataset, then in order the others of its adopted pictures; "" is one that nobody says."""
    own = list_licences(source.dataset, (view.view_id for view in source.views))
    return list(dict.fromkeys([source.dataset.record.licence, *own]))


def describe_coco_image(source: ExportSource, view: ViewRecord, licences: list[str]) -> dict[str, Any]:
    """The fields of an image of COCO: the number of its licence from 1, and the address that it comes from."""
    own = describe_ownership(source, view)
    origin = {"coco_url": own[ORIGIN]} if own[ORIGIN] else {}
    return {"license": licences.index(own[LICENCE]) + 1, **origin}
