# SPDX-License-Identifier: Apache-2.0
"""Cameras and depth in the conventions of other formats.

Blendset's cameras look along -Z with +Y up (OpenGL); OpenCV's look along +Z with +Y down.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blendset.cameras import Array, Camera
from blendset.records import CameraRecord

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
MAX_LEVEL = np.iinfo(np.uint16).max
"""The highest grey level of a depth map."""


def compute_opencv_from_world(record: CameraRecord) -> Array:
    """The matrix (4, 4) from world space to camera space with OpenCV's axes."""
    return np.asarray(OPENCV_FROM_OPENGL @ np.linalg.inv(Camera.from_record(record).world_from_camera))


def compute_quaternion(rotation: Array) -> Array:
    """The unit quaternion (w, x, y, z), w >= 0, of a rotation (3, 3).

    It is the eigenvector of the largest eigenvalue of Bar-Itzhack's matrix (J. Guidance, Control and Dynamics 23(6),
    2000). It needs no special cases; of a matrix that is a rotation to single precision only it is the nearest one.
    """
    m = rotation
    symmetric = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], 0, 0, 0],
            [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], 0, 0],
            [m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    largest = np.linalg.eigh(symmetric, UPLO="L")[1][:, -1]
    return np.asarray(largest if largest[0] >= 0 else -largest)


def find_farthest_depth(depth: NDArray[Any]) -> float:
    """The depth (H, W) of the farthest surface in a picture; 0 where there is none."""
    return float(np.max(depth, where=np.isfinite(depth), initial=0.0))


def compute_depth_step(farthest: float) -> float:
    """The length of one grey level of a 16-bit depth map, in the unit of `farthest`: as fine as the farthest surface
    allows. The error is half a step."""
    return farthest / MAX_LEVEL if farthest > 0 else 1.0


def encode_depth_png(depth: NDArray[Any], step: float) -> bytes:
    """Encode planar depth (H, W) as a 16-bit PNG in multiples of `step`; 0 where there is nothing.

    Raises ValueError where the step is too small for the farthest surface.
    """
    if round(find_farthest_depth(depth) / step) > MAX_LEVEL:
        raise ValueError(f"a step of {step} is too small for a depth of {find_farthest_depth(depth)}")
    is_surface = np.isfinite(depth)
    levels = np.rint(np.where(is_surface, depth, 0) / step)
    return encode_png(np.where(is_surface, np.maximum(levels, 1), 0).astype(np.uint16))


def encode_png(plane: NDArray[Any]) -> bytes:
    """Encode a uint8 or uint16 plane (H, W) as a grey PNG."""
    file = io.BytesIO()
    Image.fromarray(plane).save(file, "PNG")
    return file.getvalue()
