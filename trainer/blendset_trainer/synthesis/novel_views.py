# SPDX-License-Identifier: Apache-2.0
"""`novel-views`: a subject from sides that nobody rendered, by Zero123++ (arXiv 2310.15110) or any other diffusers
pipeline that makes several views of one picture.

The subject is cut out by its exact mask. The model draws its views on one sheet, which is cut into views, each with a
record of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from blendset.dataset import PASSES, VIEW_RECORD, Dataset
from blendset.errors import BlendsetError
from blendset.masks import find_bounding_slices
from blendset.records import ViewRecord, read_record
from blendset_trainer.diffusion.randomness import seed_generator
from blendset_trainer.stages.stage import View
from blendset_trainer.synthesis.engine import GeneratedImage, RequestBatch, ViewRequest, generate_by_group
from blendset_trainer.synthesis.parents import load_parents
from blendset_trainer.synthesis.pipeline_synthesizer import PipelineSynthesizer, name_sides
from blendset_trainer.synthesis.requests import SynthesisRequest, derive_seed, find_generator, make_view_request
from blendset_trainer.synthesis.settings import BACKGROUNDS, NovelViewsSettings

FILL = 0.75
"""Share of the square's side that the subject's longer side takes, as in Zero123++'s demonstration."""


@dataclass(frozen=True)
class Sheet:
    """How a model lays out the views that it draws of an image, in rows and columns.

    `poses` says for each view, row by row, where its camera stands: azimuth in degrees relative to the image, elevation
    in degrees above the horizon. It is empty where nobody knows.
    """

    rows: int
    columns: int
    poses: tuple[tuple[float, float], ...] = ()

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"

    def compute_angles(self, parent: ViewRecord) -> list[dict[str, Any]]:
        """The fields of a `ViewRecord` that say where each view of a parent is seen from, as far as it is known."""
        if parent.azimuth_deg is None or not self.poses:
            return [{}] * (self.rows * self.columns)
        azimuth = parent.azimuth_deg
        return [{"azimuth_deg": (azimuth + turn) % 360, "elevation_deg": height} for turn, height in self.poses]


AZIMUTHS = 30.0, 90.0, 150.0, 210.0, 270.0, 330.0
KNOWN_SHEETS = {
    "zero123plus-v1.1": Sheet(3, 2, tuple(zip(AZIMUTHS, (30.0, -20.0) * 3, strict=True))),
    "zero123plus-v1.2": Sheet(3, 2, tuple(zip(AZIMUTHS, (20.0, -10.0) * 3, strict=True))),
}
"""By the last part of a model's name; from Zero123++'s README. Azimuths run counter-clockwise seen from above, as ours
do, and elevations do not depend on the image's.
"""


def find_sheet(model: str, layout: tuple[int, int] | None) -> Sheet:
    """The sheet that a model draws, of `layout` (rows, columns), or of a known model without one.

    Raises BlendsetError for a model that is not known, without a layout.
    """
    known = KNOWN_SHEETS.get(Path(model).name)
    if known and layout in (None, (known.rows, known.columns)):
        return known
    if layout is None:
        raise BlendsetError(
            f"Nobody said how many views {model} draws; give --layout ROWSxCOLUMNS, or 1xN for N separate pictures."
        )
    return Sheet(*layout)


@dataclass
class NovelViews(PipelineSynthesizer):
    """The `Synthesizer` of this job. Sides in pixels of a sheet; None leaves them to the pipeline."""

    sheet: Sheet
    background: str = "grey"
    width: int | None = None
    height: int | None = None

    @property
    def size(self) -> dict[str, int]:
        """The sides that were asked for, by name."""
        return name_sides(self.width, self.height)

    def setup(self) -> None:
        """Load the pipeline; BlendsetError for one that cannot do this job."""
        super().setup()
        self._options |= self.size
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
        """The views of one sheet, which have one seed and one parent."""
        square = Image.fromarray(self._load_subject(dataset, first.view.scene, first.record.parents[0]))
        with torch.random.fork_rng():
            torch.manual_seed(first.record.seed)  # Zero123++ takes the noise of its reference from nowhere else
            generator = seed_generator(first.record.seed)
            images = self._pipeline(image=square, generator=generator, output_type="np", **self._options)[0]
        return cut_sheet(np.reshape(images, (-1, *np.shape(images)[-3:])), self.sheet)

    def _load_subject(self, dataset: Dataset, scene: str, view_id: str) -> NDArray[np.uint8]:
        """The subject of a view, cut out: (S, S, 3), 0..255. BlendsetError where its mask is empty."""
        folder = dataset.view_folder(scene, view_id)
        view = View(read_record(folder / VIEW_RECORD, ViewRecord), folder, dataset.scene(scene))
        if view.subject_mask is None or not view.subject_mask.any():
            raise BlendsetError(f"The mask of {view_id} covers nothing; choose views that show their subject.")
        return cut_out_subject(view.rgb, view.subject_mask, BACKGROUNDS[self.background])


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
    """The synthesizer, its requests, and how many views were left out because they have no subject or no mask.

    Raises BlendsetError where no view has a subject, and for a model that cannot be run or whose layout is not known.
    """
    sheet = find_sheet(settings.model, settings.layout)
    synthesizer = NovelViews(find_generator(settings), sheet, settings.background, settings.width, settings.height)
    views = load_parents(dataset, settings.selection)
    parents = [view for view in views if view.subject and PASSES in view.files]
    if not parents:
        raise BlendsetError(f"No view of {dataset.root} has a subject and its mask; render some, or choose others.")
    without = len(views) - len(parents)
    left_out = (
        [f"{without} of {len(views)} views have no subject or no mask of it, and are left out."] if without else []
    )
    return synthesizer, list(request_sheets(synthesizer, parents, settings.variants, settings.seed)), left_out


def request_sheets(
    synthesizer: NovelViews, parents: Sequence[ViewRecord], variants: int, seed: int
) -> Iterator[ViewRequest]:
    """Requests for the views of `variants` sheets of each parent; those of a sheet are a view set and have one seed."""
    settings = {"layout": str(synthesizer.sheet), "background": synthesizer.background, **synthesizer.size}
    for parent in parents:
        for variant in range(variants):
            recorded = settings | {"variant": variant}
            request = SynthesisRequest(
                NovelViewsSettings.job, (parent.view_id,), "", synthesizer.generator, seed, recorded
            )
            for number, angles in enumerate(synthesizer.sheet.compute_angles(parent)):
                yield make_view_request(request, parent, number, seed=derive_seed(request, 0), **angles)
