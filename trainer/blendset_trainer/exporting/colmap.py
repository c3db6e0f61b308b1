# SPDX-License-Identifier: Apache-2.0
"""COLMAP: <scene>/images and the text model in <scene>/sparse/0, with points and their tracks from depth.

The format: https://colmap.github.io/format.html. Held-out views are listed in sparse/0/test.txt, where Gaussian
splatting looks for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array, Camera, compute_pixel_centres
from blendset.randomness import make_view_rng
from blendset.records import CameraRecord, ViewRecord
from blendset_trainer.exporting.geometry import compute_opencv_from_world, compute_quaternion
from blendset_trainer.exporting.source import ExportSource, group_by_scene, has_passes, name_picture, write_file
from blendset_trainer.readers.images import decode_rgb

MAX_POINTS = 100_000
"""Points sampled in a scene, shared among its views: as many as Gaussian splatting likes to start from."""
MAX_VIEW_POINTS = 4096
"""Points sampled in one view at most."""
MIN_COSINE = 0.05
"""At a smaller cosine between ray and normal, a surface is too oblique to decide whether a point lies on it."""


@dataclass(frozen=True, eq=False)
class _Points:
    """World positions (N, 3), 8-bit sRGB colours (N, 3), and the ids (N,) of the objects that they lie on."""

    positions: Array
    colours: NDArray[np.uint8]
    ids: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class _Observations:
    """Indices of the points that a view observes, (N,), and their pixel positions, (N, 2)."""

    points: NDArray[np.int64]
    pixels: Array


def export(source: ExportSource, out: Path) -> int:
    """Write one model per scene, in Blender units, with the points that at least two views observe.

    Return the number of views written. Views whose camera is unknown are left out.
    """
    source = source.select_with_cameras()
    for scene, views in group_by_scene(source.views).items():
        for view in views:
            write_file(out / scene / "images" / name_picture(view), source.read_file(view))
        _write_model(source, views, out / scene / "sparse" / "0")
    return len(source.views)


def _write_model(source: ExportSource, views: Sequence[ViewRecord], folder: Path) -> None:
    """Write cameras.txt, images.txt, points3D.txt and, where views are held out, test.txt."""
    points, observations = _filter_tracks(*_sample_points(source, views))
    intrinsics = [_format_intrinsics(view.camera) for view in views]
    cameras = {camera: number for number, camera in enumerate(dict.fromkeys(intrinsics), start=1)}
    write_file(folder / "cameras.txt", _encode_lines(f"{number} {camera}" for camera, number in cameras.items()))
    images: list[str] = []
    for number, (view, camera, observed) in enumerate(zip(views, intrinsics, observations, strict=True), start=1):
        images.append(f"{number} {_format_pose(view.camera)} {cameras[camera]} {name_picture(view)}")
        images.append(_format_observations(observed))
    write_file(folder / "images.txt", _encode_lines(images))
    write_file(folder / "points3D.txt", _encode_lines(_format_points(points, observations)))
    if held_out := [name_picture(view) for view in views if view.view_id in source.held_out]:
        write_file(folder / "test.txt", _encode_lines(held_out))


# ---- points ----------------------------------------------------------------------------------------------------------


def _sample_points(source: ExportSource, views: Sequence[ViewRecord]) -> tuple[_Points, list[_Observations]]:
    """Sample points on visible surfaces, and find where each view observes them.

    Passes are read twice, so that memory holds one at a time.
    """
    count = min(MAX_VIEW_POINTS, MAX_POINTS // len(views))
    samples = [_sample_view(source, view, count) for view in views if has_passes(view)]
    points = _Points(
        np.concatenate([np.empty((0, 3)), *(sample.positions for sample in samples)]),
        np.concatenate([np.empty((0, 3), np.uint8), *(sample.colours for sample in samples)]),
        np.concatenate([np.empty(0, np.uint32), *(sample.ids for sample in samples)]),
    )
    nothing = _Observations(np.empty(0, np.int64), np.empty((0, 2)))
    return points, [_find_observations(source, view, points) if has_passes(view) else nothing for view in views]


def _sample_view(source: ExportSource, view: ViewRecord, count: int) -> _Points:
    """Sample `count` points behind pixel centres, the same ones whenever the view is exported."""
    passes, camera = source.dataset.passes(view), Camera.from_record(view.camera)
    solid = np.flatnonzero(np.isfinite(passes.depth) & (passes.id > 0))
    random = make_view_rng(view.view_id)
    chosen = np.sort(random.choice(solid, min(count, len(solid)), replace=False))
    rays = camera.make_rays(compute_pixel_centres(camera.width, camera.height)[chosen])
    picture = decode_rgb(source.read_file(view), source.dataset.rgb_path(view), cure="render it again")
    colours = np.asarray(picture).reshape(-1, 3)[chosen]
    return _Points(camera.position + rays * passes.depth.ravel()[chosen, None], colours, passes.id.ravel()[chosen])


def _find_observations(source: ExportSource, view: ViewRecord, points: _Points) -> _Observations:
    """Find the points that a view observes: its depth and ids agree to within what one pixel covers of the surface."""
    passes, camera = source.dataset.passes(view), Camera.from_record(view.camera)
    pixels, depth = camera.project(points.positions)
    size = camera.width, camera.height
    inside = np.flatnonzero((depth > 0) & (pixels >= 0).all(axis=1) & (pixels < size).all(axis=1))
    pixels, depth = pixels[inside], depth[inside]
    column, row = pixels.astype(np.int64).T
    rays = camera.make_rays(pixels)
    cosine = -(passes.normal[row, column] * rays).sum(axis=1) / np.linalg.norm(rays, axis=1)
    slope = np.sqrt(1 / np.clip(cosine, MIN_COSINE, 1) ** 2 - 1)
    tolerance = (slope + 0.25) * depth / camera.focal_length_px
    is_same_object = (passes.id[row, column] == points.ids[inside]) & (cosine > MIN_COSINE)
    is_observed = is_same_object & (np.abs(passes.depth[row, column] - depth) <= tolerance)
    return _Observations(inside[is_observed], pixels[is_observed])


def _filter_tracks(points: _Points, observations: Sequence[_Observations]) -> tuple[_Points, list[_Observations]]:
    """Keep the points that two or more views observe, and renumber them."""
    views = np.zeros(len(points.positions), np.int64)
    for observed in observations:
        views[observed.points] += 1
    is_tracked = views >= 2
    new_numbers = np.cumsum(is_tracked) - 1
    remaining = []
    for observed in observations:
        keep = is_tracked[observed.points]
        remaining.append(_Observations(new_numbers[observed.points[keep]], observed.pixels[keep]))
    return _Points(points.positions[is_tracked], points.colours[is_tracked], points.ids[is_tracked]), remaining


# ---- lines -----------------------------------------------------------------------------------------------------------


def _encode_lines(lines: Iterable[str]) -> bytes:
    """Lines as a file in UTF-8, each with its line end."""
    return "".join(f"{line}\n" for line in lines).encode()


def _format_numbers(values: Iterable[Any]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _format_intrinsics(camera: CameraRecord) -> str:
    """Model, size and intrinsics; the centre of COLMAP's top-left pixel is (0.5, 0.5), as Blendset's."""
    return f"PINHOLE {camera.width} {camera.height} {_format_numbers((camera.fx, camera.fy, camera.cx, camera.cy))}"


def _format_pose(camera: CameraRecord) -> str:
    """The quaternion and the translation from world to camera space."""
    matrix = compute_opencv_from_world(camera)
    return _format_numbers([*compute_quaternion(matrix[:3, :3]), *matrix[:3, 3]])


def _format_observations(observations: _Observations) -> str:
    pairs = zip(observations.pixels, observations.points.tolist(), strict=True)
    return " ".join(f"{_format_numbers(pixel)} {point + 1}" for pixel, point in pairs)


def _format_points(points: _Points, observations: Sequence[_Observations]) -> Iterable[str]:
    """Lines of number, position, colour, error (0: depth is exact), and the track: image and index in its list."""
    tracks: list[list[str]] = [[] for _ in points.positions]
    for image, observed in enumerate(observations, start=1):
        for index, point in enumerate(observed.points.tolist()):
            tracks[point].append(f"{image} {index}")
    for number, (position, colour, track) in enumerate(zip(points.positions, points.colours, tracks, strict=True), 1):
        yield f"{number} {_format_numbers(position)} {' '.join(map(str, colour))} 0 {' '.join(track)}"
