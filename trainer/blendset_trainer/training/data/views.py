# SPDX-License-Identifier: Apache-2.0
"""The views of a dataset as rows to train on: pictures, captions, and the selection's columns.

Reads tables only and opens no view's folder, so that a million views load in seconds.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from blendset.dataset import CAPTION, Dataset
from blendset.errors import BlendsetError
from blendset_trainer.readers.findings import Finding
from blendset_trainer.selection.files import HELD_OUT, read_chosen
from blendset_trainer.stages.caption_forms import CAPTION_FORMS, DENSE
from blendset_trainer.stages.stage import INPUTS
from blendset_trainer.stages.tables import read_captions, read_index

ROWS = pa.schema(
    {"id": pa.string(), "set": pa.string(), "group": pa.string(), "azimuth": pa.float64(), "picture": pa.string(),
     "sha256": pa.string(), "width": pa.int64(), "height": pa.int64(), "passes": pa.string(),
     "subject": pa.list_(pa.int64()), "short": pa.string(), "dense": pa.string(), "weight": pa.float32(),
     "lowest": pa.float64(), "highest": pa.float64(), "held_out": pa.bool_()}
)  # fmt: skip
"""The rows of a source, one per picture. A group is a view set, else all views of a subject. Paths are relative to the
source's folder; `lowest` and `highest` bound log SNR."""


@dataclass(frozen=True, eq=False)
class SourceRows:
    """The pictures of a source as rows of the schema ROWS, and what is found about its files, and about captions only;
    those that cannot be read have the height 0.
    """

    rows: pa.Table
    findings: tuple[Finding, ...] = ()
    caption_findings: tuple[Finding, ...] = ()


INDEX_COLUMNS = {
    *(
        "view_id",
        "scene",
        "subject",
        "view_set",
        "azimuth_deg",
        "source",
        "rgb_file_name",
        "width",
        "height",
        "passes_path",
    ),
    *("subject_objects", *INPUTS.values()),
}
"""The columns that are read of the index; the last ones are the keys of captions."""


def load_view_rows(root: Path, kind: str = "", selection: str = "") -> pa.Table:
    """The views of a dataset whose source is `kind` ("" for any), schema ROWS; those of a selection in its order.

    Raises BlendsetError where there are none, or where the selection does not fit the dataset.
    """
    dataset = Dataset(root)
    views = _add_captions(dataset, read_index(dataset, sorted(INDEX_COLUMNS)))
    views = _select_views(dataset, views, selection) if selection else _add_defaults(views)
    rows = views.filter(pc.equal(views["source"], kind)) if kind else views
    if not rows.num_rows:
        sources = " and ".join(sorted(pc.unique(views["source"]).to_pylist()))
        what = f"Selection '{selection}' of {root}" if selection else f"{root}"
        raise BlendsetError(
            f"{what} holds no view whose source is '{kind}', but {sources or 'none at all'}; name those."
        )
    return _make_rows(rows)


def _add_captions(dataset: Dataset, index: pa.Table) -> pa.Table:
    """The index with columns of short and dense captions, null where there is none; a foreign caption is dense."""
    captions = read_captions(dataset, index, CAPTION_FORMS)
    captions[DENSE] = pc.coalesce(captions[DENSE], index[CAPTION])
    for form, texts in captions.items():
        index = index.append_column(form, texts)
    return index


def _add_defaults(views: pa.Table) -> pa.Table:
    """The views with the columns that a selection would bring."""
    defaults = {"weight": pa.scalar(1.0, pa.float32()), "noise_band": pa.scalar(""), "split": pa.scalar("")}
    for name, value in defaults.items():
        views = views.append_column(name, pa.repeat(value, views.num_rows))
    return views


def _select_views(dataset: Dataset, views: pa.Table, selection: str) -> pa.Table:
    """The views of a selection, in its order, with its columns."""
    chosen = read_chosen(dataset, selection)
    positions = pc.index_in(chosen["view_id"], views["view_id"].combine_chunks())
    if positions.null_count:
        lost = chosen["view_id"].filter(pc.is_null(positions))[0]
        raise BlendsetError(
            f"Selection '{selection}' names {lost}, which {dataset.root} does not hold; make the selection again."
        )
    views = views.take(positions)
    for name in ("weight", "noise_band", "split"):
        views = views.append_column(name, chosen[name])
    return views


def _make_rows(views: pa.Table) -> pa.Table:
    """The rows of views, with the schema ROWS."""
    sets, subjects = (_qualify_by_scene(views, name) for name in ("view_set", "subject"))
    lowest, highest = _parse_bounds(views["noise_band"])
    columns = {
        "id": views["view_id"], "set": sets, "group": pc.coalesce(sets, subjects),
        "azimuth": views["azimuth_deg"], "picture": views["rgb_file_name"], "sha256": views["rgb_sha256"],
        "width": views["width"], "height": views["height"], "passes": views["passes_path"],
        "subject": views["subject_objects"], **{form: views[form] for form in CAPTION_FORMS}, "weight": views["weight"],
        "lowest": lowest, "highest": highest, "held_out": pc.equal(views["split"], HELD_OUT),
    }  # fmt: skip
    return pa.table(columns).cast(ROWS)


def _qualify_by_scene(views: pa.Table, name: str) -> pa.ChunkedArray:
    """A column's names with their scene in front, null where empty."""
    qualified = pc.binary_join_element_wise(views["scene"], views[name], "/")
    return pc.if_else(pc.equal(views[name], ""), pa.scalar(None, pa.string()), qualified)


def _parse_bounds(bands: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """The lowest and highest log SNR that each noise band allows."""
    encoded = bands.combine_chunks().dictionary_encode()
    ends = [parse_noise_band(text) for text in encoded.dictionary.to_pylist()]
    lowest, highest = (pa.array([pair[end] for pair in ends], pa.float64()).take(encoded.indices) for end in (0, 1))
    return lowest, highest


_NUMBER = r"[-+]?[0-9]*\.?[0-9]+"
_BAND = re.compile(
    rf"(?:(?P<low>{_NUMBER}) *<= *)?log_snr(?: *>= *(?P<least>{_NUMBER}))?(?: *<= *(?P<high>{_NUMBER}))?"
)


def parse_noise_band(text: str) -> tuple[float, float]:
    """The lowest and highest log SNR of a selection's noise band: "log_snr <= 0.647", "-2 <= log_snr <= 3", "" for all.

    Raises BlendsetError for anything else.
    """
    found = _BAND.fullmatch(text.strip() or "log_snr")
    if not found or (found["low"] and found["least"]):
        raise BlendsetError(f"'{text}' is no noise band; write it as 'log_snr <= 0.647' or '-2 <= log_snr <= 3'.")
    return float(found["low"] or found["least"] or -math.inf), float(found["high"] or math.inf)
