# SPDX-License-Identifier: Apache-2.0
"""COLMAP: <scene>/images and the text model in <scene>/sparse/0, with points and their tracks from depth.

The format: https://colmap.github.io/format.html. Held-out views are listed in sparse/0/test.txt, where Gaussian
splatting looks for them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blendset.cameras import Array, Camera, compute_pixel_centres
from blendset.files import sha256_bytes
from blendset.records import CameraRecord, ViewRecord
from blendset_trainer.exporting.geometry import opencv_from_world, quaternion
from blendset_trainer.exporting.source import Source, by_scene, has_passes, with_passes, write

POINTS = 100_000
"""Tried in a scene, shared among its views: as many as Gaussian splatting likes to start from."""
POINTS_OF_A_VIEW = 4096
GRAZING = 0.05
"""Cosine between ray and normal below which a surface is too oblique to tell whether a point lies on it."""


@dataclass(frozen=True, eq=False)
class _Points:
    """World positions (N, 3), colours (N, 3), and the ids (N,) of the objects that they lie on."""

    positions: Array
    colours: NDArray[np.uint8]
    ids: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class _Sightings:
    """Which points a view sees, (N,), and where, (N, 2)."""

    points: NDArray[np.int64]
    pixels: Array


def export(source: Source, out: Path) -> int:
    """One model per scene, in Blender units; it keeps the points that at least two views see."""
    source = source.with_cameras()
    for scene, views in by_scene(source.views).items():
        for view in views:
            write(out / scene / "images" / _name(view), source.read(view))
        _write_model(source, views, out / scene / "sparse" / "0")
    return len(source.views)


def _write_model(source: Source, views: Sequence[ViewRecord], folder: Path) -> None:
    points, sightings = _tracked(*_seen(source, views))
    lenses = dict.fromkeys(_intrinsics(view.camera) for view in views)
    cameras = {lens: number for number, lens in enumerate(lenses, start=1)}
    write(folder / "cameras.txt", _lines(f"{number} {camera}" for camera, number in cameras.items()))
    images = (
        f"{number} {_pose(view.camera)} {cameras[_intrinsics(view.camera)]} {_name(view)}\n{_observations(seen)}"
        for number, (view, seen) in enumerate(zip(views, sightings, strict=True), start=1)
    )
    write(folder / "images.txt", _lines(images))
    write(folder / "points3D.txt", _lines(_point_lines(points, sightings)))
    if held_out := [_name(view) for view in views if view.view_id in source.held_out]:
        write(folder / "test.txt", _lines(held_out))


# ---- points ----------------------------------------------------------------------------------------------------------


def _seen(source: Source, views: Sequence[ViewRecord]) -> tuple[_Points, list[_Sightings]]:
    """Points on what the views show, and where each view sees them; passes are read twice, to hold one at a time."""
    count = min(POINTS_OF_A_VIEW, POINTS // len(views))
    samples = [_sample(source, view, count) for view in with_passes(views)]
    points = _Points(
        np.concatenate([np.empty((0, 3)), *(each.positions for each in samples)]),
        np.concatenate([np.empty((0, 3), np.uint8), *(each.colours for each in samples)]),
        np.concatenate([np.empty(0, np.uint32), *(each.ids for each in samples)]),
    )
    nothing = _Sightings(np.empty(0, np.int64), np.empty((0, 2)))
    return points, [_sightings(source, view, points) if has_passes(view) else nothing for view in views]


def _sample(source: Source, view: ViewRecord, count: int) -> _Points:
    """Points behind pixel centres, the same ones whenever the view is exported."""
    passes, camera = source.dataset.passes(view), Camera.from_record(view.camera)
    solid = np.flatnonzero(np.isfinite(passes.depth) & (passes.id > 0))
    random = np.random.default_rng(int(sha256_bytes(view.view_id.encode()), 16))
    chosen = np.sort(random.choice(solid, min(count, len(solid)), replace=False))
    rays = camera.make_rays(compute_pixel_centres(camera.width, camera.height)[chosen])
    with Image.open(io.BytesIO(source.read(view))) as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)[chosen]
    return _Points(camera.position + rays * passes.depth.ravel()[chosen, None], colours, passes.id.ravel()[chosen])


def _sightings(source: Source, view: ViewRecord, points: _Points) -> _Sightings:
    """The points that the view's own depth and ids confirm, to within what one pixel covers of the surface."""
    passes, camera = source.dataset.passes(view), Camera.from_record(view.camera)
    pixels, depth = camera.project(points.positions)
    size = camera.width, camera.height
    inside = np.flatnonzero((depth > 0) & (pixels >= 0).all(axis=1) & (pixels < size).all(axis=1))
    pixels, depth = pixels[inside], depth[inside]
    column, row = pixels.astype(np.int64).T
    rays = camera.make_rays(pixels)
    cosine = -(passes.normal[row, column] * rays).sum(axis=1) / np.linalg.norm(rays, axis=1)
    slope = np.sqrt(1 / np.clip(cosine, GRAZING, 1) ** 2 - 1)
    tolerance = (slope + 0.25) * depth / camera.focal_length_px
    same = (passes.id[row, column] == points.ids[inside]) & (cosine > GRAZING)
    seen = same & (np.abs(passes.depth[row, column] - depth) <= tolerance)
    return _Sightings(inside[seen], pixels[seen])


def _tracked(points: _Points, sightings: Sequence[_Sightings]) -> tuple[_Points, list[_Sightings]]:
    """The points that two views or more see, numbered anew."""
    views = np.zeros(len(points.positions), np.int64)
    for each in sightings:
        views[each.points] += 1
    kept = views >= 2
    new = np.cumsum(kept) - 1
    left = [_Sightings(new[each.points[kept[each.points]]], each.pixels[kept[each.points]]) for each in sightings]
    return _Points(points.positions[kept], points.colours[kept], points.ids[kept]), left


# ---- lines -----------------------------------------------------------------------------------------------------------


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _name(view: ViewRecord) -> str:
    return f"{view.view_id}.png"


def _numbers(values: Iterable[Any]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _intrinsics(camera: CameraRecord) -> str:
    """The centre of COLMAP's top-left pixel is (0.5, 0.5), as here."""
    return f"PINHOLE {camera.width} {camera.height} {_numbers((camera.fx, camera.fy, camera.cx, camera.cy))}"


def _pose(camera: CameraRecord) -> str:
    matrix = opencv_from_world(camera)
    return _numbers([*quaternion(matrix[:3, :3]), *matrix[:3, 3]])


def _observations(seen: _Sightings) -> str:
    places = zip(seen.pixels, seen.points.tolist(), strict=True)
    return " ".join(f"{_numbers(pixel)} {point + 1}" for pixel, point in places)


def _point_lines(points: _Points, sightings: Sequence[_Sightings]) -> Iterable[str]:
    """Number, position, colour, error (none: depth is exact), then image and place in its list for each sighting."""
    tracks: list[list[str]] = [[] for _ in points.positions]
    for image, seen in enumerate(sightings, start=1):
        for place, point in enumerate(seen.points.tolist()):
            tracks[point].append(f"{image} {place}")
    for number, (position, colour, track) in enumerate(zip(points.positions, points.colours, tracks, strict=True), 1):
        yield f"{number} {_numbers(position)} {' '.join(map(str, colour))} 0 {' '.join(track)}"
