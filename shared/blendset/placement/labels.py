# SPDX-License-Identifier: Apache-2.0
"""What an object's name says about it, which in most files is nothing: `Cube.004` is never a label."""

from __future__ import annotations

import re

_DEFAULT_WORDS = frozenset(
    """
    armature bezier box camera circle collection cone cube curve curves cylinder default empty face grid group hair
    ico icosphere
    instance instances joined lattice light line mball mesh metaball model new nurbs obj object part path plane point
    pointcloud poly
    polygon polysurface prop props roundcube scene shape sphere spline suzanne surface surfcircle surfcurve surfcylinder
    surfpatch surfsphere surftorus text torus tri triangle uv uvsphere vert volume
    """.split()
)
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def label_from_name(name: str) -> str:
    """A readable label ("desk lamp" of "Desk_Lamp.002"), or "" when the name holds default words, numbers and codes
    only."""
    words = [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", name))]
    telling = any(word not in _DEFAULT_WORDS and len(word) > 2 for word in words)
    return " ".join(word for word in words if len(word) > 1) if telling else ""
