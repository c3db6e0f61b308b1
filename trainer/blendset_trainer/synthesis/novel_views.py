# SPDX-License-Identifier: Apache-2.0
"""`novel-views`: a subject from sides that nobody rendered, by Zero123++ (arXiv 2310.15110) or any other diffusers
pipeline that makes several views of one picture.

The subject is cut out by its mask. The model draws its views on one sheet, which is cut into views, each with a record
of its own. As a grid (Bootstrap3D, arXiv 2406.00093) a set is the picture itself, cut out, and three of its views.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.masks import find_bounding_slices
from blendset.naming import join_names
from blendset.records import ViewRecord
from blendset_trainer.diffusion.randomness import seed_generator
from blendset_trainer.models.segmenter import POINTS, Segmenter
from blendset_trainer.models.weights import Weights, find_model
from blendset_trainer.stages.mask_origins import RENDER_PASSES, SEGMENTER
from blendset_trainer.stages.run import FIRST_NAMES
from blendset_trainer.stages.shards import load_view
from blendset_trainer.stages.subject_masks import NoMaskError, choose_origin, find_subject_mask
from blendset_trainer.synthesis.engine import GeneratedImage, RequestBatch, ViewRequest, generate_by_group
from blendset_trainer.synthesis.parents import load_parents
from blendset_trainer.synthesis.pipeline_synthesizer import PipelineSynthesizer, name_sides
from blendset_trainer.synthesis.requests import SynthesisRequest, derive_seed, find_generator, make_view_request
from blendset_trainer.synthesis.settings import BACKGROUNDS, NovelViewsSettings
from blendset_trainer.synthetic_views import SYNTHETIC, has_camera

MASK = "mask"
"""In synthesis.json: where the mask of the subject came from; it is left out where render passes have it."""
FILL = 0.75
"""Share of the square's side that the subject's longer side takes, as in Zero123++'s demonstration."""


@dataclass(frozen=True)
class Sheet:
    """How a model lays out the views that it draws of an image, in rows and columns.

    `poses` says for each view, row by row, where its camera stands: azimuth in degrees relative to the image, elevation
    in degrees above the horizon, None where nobody knows. It is empty where nobody knows anything.
    """

    rows: int
    columns: int
    poses: tuple[tuple[float, float | None], ...] = ()

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    def compute_angles(self, parent: ViewRecord) -> list[dict[str, Any]]:
        """The fields of a `ViewRecord` that say where each view of a parent is seen from, as far as it is known.

        Azimuths are counted from the parent's; a picture of unknown camera has the azimuth 0.
        """
        azimuth = parent.azimuth_deg if has_camera(parent.camera) else parent.azimuth_deg or 0.0
        if azimuth is None or not self.poses:
            return [{}] * (self.rows * self.columns)
        return [{"azimuth_deg": (azimuth + turn) % 360, "elevation_deg": height} for turn, height in self.poses]

    def find_quarters(self) -> tuple[int, int, int]:
        """The numbers of the three views that with the image itself stand a quarter turn apart, as nearly as there are.

        Raises BlendsetError where there are none, and where nobody knows from where the views are seen.
        """
        if not self.poses:
            raise BlendsetError("Nobody said from where the model draws its views; give --azimuths, one for each.")
        turns = [turn % 360 for turn, _ in self.poses]
        first, second, third = (min(range(len(turns)), key=lambda at: abs(turns[at] - quarter)) for quarter in QUARTERS)
        apart = np.diff([0.0, turns[first], turns[second], turns[third], 360.0])
        if (np.abs(apart - 90) > MAX_UNEVENNESS_DEG).any():
            raise BlendsetError("The model draws no three views a quarter turn apart; leave --grid out.")
        return first, second, third


QUARTERS = (90.0, 180.0, 270.0)
MAX_UNEVENNESS_DEG = 30.0
"""How far from a right angle neighbours in a grid may be, as training's layout "grid" takes them."""
AZIMUTHS = 30.0, 90.0, 150.0, 210.0, 270.0, 330.0
KNOWN_SHEETS = {
    "zero123plus-v1.1": Sheet(3, 2, tuple(zip(AZIMUTHS, (30.0, -20.0) * 3, strict=True))),
    "zero123plus-v1.2": Sheet(3, 2, tuple(zip(AZIMUTHS, (20.0, -10.0) * 3, strict=True))),
}
"""By the last part of a model's name; from Zero123++'s README. Azimuths run counter-clockwise seen from above, as ours
do, and elevations do not depend on the image's.
"""


def find_sheet(model: str, layout: tuple[int, int] | None, azimuths: Sequence[float] = ()) -> Sheet:
    """The sheet that a model draws, of `layout` (rows, columns) and `azimuths`, or of a known model without them.

    Raises BlendsetError for a model that is not known, without a layout.
    """
    known = KNOWN_SHEETS.get(Path(model).name)
    if known and not azimuths and layout in (None, (known.rows, known.columns)):
        return known
    if layout is None:
        raise BlendsetError(
            f"Nobody said how many views {model} draws; give --layout ROWSxCOLUMNS, or 1xN for N separate pictures."
        )
    return Sheet(*layout, tuple((float(azimuth), None) for azimuth in azimuths))


@dataclass
class NovelViews(PipelineSynthesizer):
    """The `Synthesizer` of this job. Sides in pixels of a sheet; None leaves them to the pipeline."""

    sheet: Sheet
    background: str = "grey"
    width: int | None = None
    height: int | None = None
    segmenter: Weights | None = None
    quarters: tuple[int, ...] = ()
    """The numbers of the views that stand with the picture itself in a grid; empty for all views without it."""

    @property
    def size(self) -> dict[str, int]:
        """The sides that were asked for, by name."""
        return name_sides(self.width, self.height)

    def setup(self) -> None:
        """Load the pipeline and the segmenter; BlendsetError for one that cannot do this job."""
        super().setup()
        self._options |= self.size
        self._segmenter = Segmenter(self.segmenter, POINTS) if self.segmenter else None
        if "image" not in self._pipeline.call_parameters:
            raise BlendsetError(
                f"{self.generator.model} is a {self.generator.pipeline}, which takes no picture; give a model that "
                "makes several views of one."
            )

    def generate(self, dataset: Dataset, batch: RequestBatch) -> Sequence[GeneratedImage | BlendsetError]:
        """One image for each request, or the error that says why there is none."""
        return generate_by_group(batch, lambda requests: self._generate_sheet(dataset, requests[0]))

    @torch.no_grad()
    def _generate_sheet(self, dataset: Dataset, first: ViewRequest) -> list[GeneratedImage]:
        """The views of one sheet, which have one seed and one parent; in a grid the parent, cut out, is the first."""
        square = self._load_subject(dataset, first)
        with torch.random.fork_rng():
            torch.manual_seed(first.record.seed)  # Zero123++ takes the noise of its reference from nowhere else
            generator = seed_generator(first.record.seed)
            images = self._pipeline(
                image=Image.fromarray(square), generator=generator, output_type="np", **self._options
            )[0]
        views = cut_sheet(np.reshape(images, (-1, *np.shape(images)[-3:])), self.sheet)
        if not self.quarters:
            return views
        return [_resize(square, views[0].shape[:2]), *(views[number] for number in self.quarters)]

    def _load_subject(self, dataset: Dataset, request: ViewRequest) -> NDArray[np.uint8]:
        """The subject of a request's parent, cut out: (S, S, 3), 0..255. BlendsetError where there is no mask."""
        view = load_view(dataset, request.view.scene, request.record.parents[0])
        origin = request.record.settings.get(MASK, RENDER_PASSES)
        try:
            mask = find_subject_mask(view, origin, self._segmenter)
        except NoMaskError as error:
            raise BlendsetError(
                f"The subject of {view.record.view_id} cannot be cut out: {error}; choose other views."
            ) from error
        return cut_out_subject(view.rgb, mask, BACKGROUNDS[self.background])


def _resize(square: NDArray[np.uint8], size: tuple[int, ...]) -> GeneratedImage:
    """A picture (S, S, 3), 0..255, in the size (H, W) of generated ones."""
    resized = Image.fromarray(square).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(resized, np.float32) / np.float32(255)


def cut_out_subject(rgb: NDArray[np.uint8], mask: NDArray[np.bool_], background: int) -> NDArray[np.uint8]:
    """The part of an image (H, W, 3) under a mask (H, W), in the middle of a square (S, S, 3) of one grey; the subject
    takes `FILL` of its side.
    """
    box = find_bounding_slices(mask)
    height, width = mask[box].shape
    side = math.ceil(max(height, width) / FILL)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), background, np.uint8)
    square[top : top + height, left : left + width][mask[box]] = rgb[box][mask[box]]
    return square


def cut_sheet(images: NDArray[np.float32], sheet: Sheet) -> list[GeneratedImage]:
    """The views of a sheet, row by row. `images` (N, H, W, 3) are one sheet, or the views themselves.

    Raises BlendsetError for anything else.
    """
    if len(images) == sheet.rows * sheet.columns:
        return list(images)
    count, height, width, _ = images.shape
    if count > 1 or height % sheet.rows or width % sheet.columns:
        raise BlendsetError(
            f"{count} pictures of {width} x {height} pixels cannot be cut into rows and columns of {sheet}; give the "
            "--layout that the model draws."
        )
    cells = images.reshape(sheet.rows, height // sheet.rows, sheet.columns, width // sheet.columns, 3)
    return list(cells.swapaxes(1, 2).reshape(-1, height // sheet.rows, width // sheet.columns, 3))


def plan_novel_views(dataset: Dataset, settings: NovelViewsSettings) -> tuple[NovelViews, list[ViewRequest], list[str]]:
    """The synthesizer, its requests, and why views were left out: they show no subject, or have no mask of it.

    Raises BlendsetError where no view has a mask, and for a model that cannot be run or whose layout is not known.
    """
    sheet = find_sheet(settings.model, settings.layout, settings.azimuths)
    segmenter = find_model(settings.segmenter) if settings.segmenter else None
    quarters = sheet.find_quarters() if settings.grid else ()
    synthesizer = NovelViews(
        find_generator(settings), sheet, settings.background, settings.width, settings.height, segmenter, quarters
    )
    views = load_subjects(dataset, settings)
    parents, left_out = find_origins(dataset, views, settings.mask, segmenter is not None)
    if not parents:
        raise BlendsetError(f"No view of {dataset.root} has a mask of its subject. {left_out[0]}")
    return synthesizer, list(request_sheets(synthesizer, parents, settings.variants, settings.seed)), left_out


def find_origins(
    dataset: Dataset, views: Sequence[ViewRecord], requested: str, has_segmenter: bool
) -> tuple[list[tuple[ViewRecord, str]], list[str]]:
    """The views that have a mask of their subject, each before the mask's origin; and why the others have none."""

    def find_origin(record: ViewRecord) -> str | NoMaskError:
        try:
            return choose_origin(load_view(dataset, record.scene, record.view_id), requested, has_segmenter)
        except NoMaskError as error:
            return error

    parents, reasons = list[tuple[ViewRecord, str]](), dict[str, list[str]]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets others run
        for record, origin in zip(views, pool.map(find_origin, views), strict=True):
            if isinstance(origin, NoMaskError):
                reasons.setdefault(str(origin), []).append(record.view_id)
            else:
                parents.append((record, origin))
    return parents, [
        f"{len(names)} of {len(views)} views are left out: {reason} ({join_names(names, FIRST_NAMES)})."
        for reason, names in reasons.items()
    ]


def load_subjects(dataset: Dataset, settings: NovelViewsSettings) -> list[ViewRecord]:
    """The views to begin with: a selection's, else renders and photographs, with synthetic pictures where the settings
    say so, but not those that this job made. BlendsetError where there is none.
    """
    views = load_parents(dataset, settings.selection, with_synthetic=True)
    if not settings.selection:
        views = [view for view in views if not view.run.startswith(f"{NovelViewsSettings.job}-")]
    parents = [view for view in views if settings.selection or settings.of_synthetic or view.source != SYNTHETIC]
    if not parents:
        raise BlendsetError(
            f"{dataset.root} holds no view but synthetic ones; give --of-synthetic to begin with these, or name a "
            "selection."
        )
    return parents


def request_sheets(
    synthesizer: NovelViews, parents: Sequence[tuple[ViewRecord, str]], variants: int, seed: int
) -> Iterator[ViewRequest]:
    """Requests for the views of `variants` sheets of each parent, which stands before the origin of its mask.

    The views of a sheet are a view set and have one seed. A picture without a subject becomes the subject of its views.
    """
    settings: dict[str, Any] = {
        "layout": str(synthesizer.sheet), "background": synthesizer.background, **synthesizer.size
    }  # fmt: skip
    if synthesizer.quarters:
        settings["grid"] = list(synthesizer.quarters)
    for parent, origin in parents:
        cut = {} if origin == RENDER_PASSES else {MASK: origin}
        if origin == SEGMENTER and synthesizer.segmenter:
            cut |= {SEGMENTER: synthesizer.segmenter.source, "segmenter_revision": synthesizer.segmenter.revision}
        named = replace(parent, subject=parent.subject or parent.view_id)
        for variant in range(variants):
            recorded = settings | cut | {"variant": variant}
            request = SynthesisRequest(
                NovelViewsSettings.job, (parent.view_id,), "", synthesizer.generator, seed, recorded
            )
            for number, angles in enumerate(_list_angles(synthesizer, parent)):
                yield make_view_request(request, named, number, seed=derive_seed(request, 0), **angles)


def _list_angles(synthesizer: NovelViews, parent: ViewRecord) -> list[dict[str, Any]]:
    """Where each view of a set is seen from; in a grid the picture itself is the first."""
    angles = synthesizer.sheet.compute_angles(parent)
    if not synthesizer.quarters:
        return angles
    itself = {"azimuth_deg": parent.azimuth_deg or 0.0, "elevation_deg": parent.elevation_deg}
    return [itself, *(angles[number] for number in synthesizer.quarters)]
