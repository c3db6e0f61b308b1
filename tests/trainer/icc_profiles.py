# SPDX-License-Identifier: Apache-2.0
"""Small colour profiles (ICC.1:2001-04), written from the standards' own numbers."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import numpy.typing as npt

ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 2.19921875
"""The XYZ of red, green and blue adapted to D50, and the gamma (Adobe RGB (1998) colour image encoding)."""
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)), 2.2
"""The primaries of phones' photos; their curve is that of sRGB, which gamma 2.2 is near."""
D50 = (0.96420, 1.0, 0.82491)


def make_rgb_profile(primaries: tuple[tuple[float, ...], ...], gamma: float) -> bytes:
    """A profile of three primaries and one gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"wtpt": _xyz(D50), b"rXYZ": _xyz(primaries[0]), b"gXYZ": _xyz(primaries[1]), b"bXYZ": _xyz(primaries[2])}
    return _make_profile(b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def make_grey_profile(gamma: float) -> bytes:
    """A profile of grey with one gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    return _make_profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": _xyz(D50), b"kTRC": curve})


def make_cmyk_profile(lab_of_inks: npt.NDArray[np.float64]) -> bytes:
    """A profile of four inks, by the Lab (2, 2, 2, 2, 3) of paper with none or all of cyan, magenta, yellow, black."""
    head = b"mft1" + bytes(4) + struct.pack(">4B", 4, 3, 2, 0)
    matrix = struct.pack(">9i", *(65536 * (row == column) for row, column in itertools.product(range(3), range(3))))
    ramp = bytes(range(256))
    lab = lab_of_inks.reshape(-1, 3) * (2.55, 1, 1) + (0, 128, 128)
    table = head + matrix + ramp * 4 + lab.round().clip(0, 255).astype(np.uint8).tobytes() + ramp * 3
    return _make_profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": _xyz(D50), b"A2B0": table, b"A2B1": table})


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _make_profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A whole profile: a header of 128 bytes, a table of the tags, and the tags."""
    start, entries, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        entries += name + struct.pack(">2I", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s12s4s", size, bytes(4), 0x02400000, kind, space, connection, bytes(12), b"acsp")
    header += bytes(28) + struct.pack(">3i", *(round(value * 65536) for value in D50))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body
