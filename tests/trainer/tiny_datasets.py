# SPDX-License-Identifier: Apache-2.0
"""Small datasets for tests, written through `Dataset.write_view` as rendered ones are."""

from __future__ import annotations

import colorsys
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from blendset.dataset import PASSES, RGB, Dataset
from blendset.exr import Passes, write_passes
from blendset.records import CameraRecord, DatasetRecord, SceneRecord, ViewRecord, encode_json, write_json
from blendset_trainer.selection.files import CHOSEN, get_selection_path
from blendset_trainer.synthetic_views import SYNTHESIS, SynthesisRecord

Colour = tuple[int, ...]
IDENTITY = tuple(float(index % 5 == 0) for index in range(16))


def make_dataset(root: Path) -> Dataset:
    return Dataset.create_or_open(
        root, DatasetRecord(name="Trial", licence="CC0-1.0", creator="tests", sources=(), render_settings={})
    )


def add_scene(dataset: Dataset, scene: str) -> None:
    record = SceneRecord(
        scene=scene, blend_name=f"{scene}.blend", blend_sha256="", blender_scene="Scene", frame=1, metres_per_unit=1.0,
        objects=(), missing_files=(), notes=(),
    )  # fmt: skip
    write_json(dataset.scene_path(scene), record)


def add_view(
    dataset: Dataset, scene: str, subject: str, number: int, size: tuple[int, int] = (64, 64), **changes: object
) -> Colour:
    """Adds a view in a colour of its own, and returns the colour."""
    colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(number / 61, 0.9, 0.4 + 0.5 * (number % 2)))
    pixels = np.broadcast_to(np.array(colour, np.uint8), (size[1], size[0], 3))
    add_picture(dataset, scene, subject, number, pixels, None, **changes)
    return colour


def add_restyled(
    dataset: Dataset, scene: str, subject: str, number: int, parent: int, view_index: int = 0, prompt: str = ""
) -> None:
    """Adds a view that a model made of another one, in the one set that there is of such."""
    name = "restyle-1"
    add_view(dataset, scene, subject, number, source="synthetic", run=name, view_set=name, view_index=view_index)
    record = SynthesisRecord(
        job="restyle", parents=(f"{subject}-{parent:04d}",), prompt=prompt or f"a red {subject}", model="models/FLUX",
        revision="", pipeline="", scheduler={}, steps=1, guidance={}, seed=0,
    )  # fmt: skip
    (dataset.view_folder(scene, f"{subject}-{number:04d}") / SYNTHESIS).write_bytes(encode_json(record))


def add_picture(
    dataset: Dataset,
    scene: str,
    subject: str,
    number: int,
    rgb: npt.NDArray[np.uint8],
    ids: npt.NDArray[np.uint32] | Passes | None = None,
    **changes: object,
) -> str:
    """Adds a view with these pixels (height, width, 3) and, where given, an id image or passes; returns its id."""
    size = (rgb.shape[1], rgb.shape[0])
    png = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(png, "PNG")
    payload = {RGB: png.getvalue()}
    if isinstance(ids, Passes):
        payload[PASSES] = write_passes(ids)
    elif ids is not None:
        normal = np.broadcast_to(np.array([0, 0, 1], np.float32), rgb.shape)
        payload[PASSES] = write_passes(Passes(np.ones(ids.shape, np.float32), normal, ids.astype(np.uint32)))
    fields: dict[str, object] = {
        "view_id": f"{subject or 'scene'}-{number:04d}", "run": "run", "scene": scene, "subject": subject,
        "subject_label": subject, "subject_objects": (), "view_set": "", "view_index": 0, "source": "render",
        "camera": CameraRecord(*size, 64.0, 64.0, 32.0, 32.0, IDENTITY, 36.0, 36.0),
        "azimuth_deg": None, "elevation_deg": None, "distance": None,
        "visible_fraction": 0.9 if subject else None, "subject_share": 0.25 if subject else None, "truncation": None,
        "visible_objects": (), "exposure_ev": 0.0, "samples": 1, "seed": 0, "lighting": "scene", "statistics": {},
        "failed_checks": (), "files": {}, "timings": {},
    }  # fmt: skip
    view = ViewRecord(**(fields | changes))  # type: ignore[arg-type]
    dataset.write_view(view, payload)
    return view.view_id


def thirty_views(root: Path) -> Dataset:
    """Thirty views of two scenes, small enough for any test, and their index."""
    made = make_dataset(root)
    for scene in ("attic", "cellar"):
        add_scene(made, scene)
        for number in range(15):
            add_view(made, scene, f"lamp-{scene}", number, size=(8, 8))
    made.rebuild_index()
    return made


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def choose(dataset: Dataset, name: str, rows: list[dict[str, Any]]) -> None:
    """Write a selection of rows with at least `view_id`."""
    full = [{"weight": 1.0, "source": "render", "noise_band": "", "split": "train"} | row for row in rows]
    path = get_selection_path(dataset, name)
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(full, CHOSEN), path)
