# SPDX-License-Identifier: Apache-2.0
"""Takes out of a picture's file what is no picture: EXIF (places, cameras, names), XMP, IPTC, comments, whatever stands
behind its end. The pixels, the colour profile and the orientation stay; nothing is encoded again.

The formats: ITU-T T.81 annex B (JPEG), the PNG specification, Google's "WebP Container Specification".
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

from PIL import ExifTags, Image

JPEG_HEAD = b"\xff\xd8"
COMMENT, SCAN, END = 0xFE, 0xDA, 0xD9
"""Markers of JPEG."""
KEPT_SEGMENTS = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
"""Segments for applications that say how colours are meant, by their markers."""
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
KEPT_CHUNKS = {b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"bKGD", b"pHYs"}
"""Chunks of PNG that are not critical, and say how colours are meant."""
WEBP_PIXELS = {b"VP8 ", b"VP8L", b"ALPH", b"ICCP"}
HAS_EXIF, HAS_XMP = 0x08, 0x04
"""Flags of WebP's chunk VP8X."""
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def strip_metadata(data: bytes, file_format: str, orientation: int) -> bytes:
    """Return a picture's file without its metadata; the same bytes where it has none.

    `file_format` is a key of STRIPPERS, `orientation` EXIF's, which the new file says again unless it is 1. Raises
    ValueError for a file that is not built as its format says.
    """
    try:
        stripped = STRIPPERS[file_format](data, _make_exif(orientation))
    except (IndexError, struct.error) as error:
        raise ValueError("the file ends too early") from error
    return data if stripped == data else stripped


def _make_exif(orientation: int) -> bytes:
    """Return EXIF that says nothing but the orientation, without its header; empty for 1."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0") if orientation != 1 else b""


def _strip_jpeg(data: bytes, exif: bytes) -> bytes:
    segments = [JPEG_HEAD]
    if exif:
        segments.append(struct.pack(">HH", 0xFFE1, len(exif) + 8) + b"Exif\0\0" + exif)
    at = len(JPEG_HEAD)
    while data[at + 1] != SCAN:
        end = _find_segment_end(data, at)
        if _keeps_segment(data[at:end]):
            segments.append(data[at:end])
        at = end
    return b"".join(segments) + data[at : _find_scan_end(data, at)]


def _find_segment_end(data: bytes, at: int) -> int:
    if data[at] != 0xFF:
        raise ValueError("a segment does not begin with a marker")
    return at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])


def _keeps_segment(segment: bytes) -> bool:
    """Return whether a segment before the first scan stays. A thumbnail would make JFIF's longer than 18 bytes."""
    marker = segment[1]
    if marker == 0xE0 and len(segment) > 18:
        return False
    if 0xE0 <= marker <= 0xEF or marker == COMMENT:
        return segment[4:].startswith(KEPT_SEGMENTS.get(marker, b"\xff no segment"))
    return True


def _find_scan_end(data: bytes, at: int) -> int:
    """Return the position behind the end marker; `at` is that of the first scan's."""
    while data[at + 1] != END:
        inside = _MARKER_IN_SCAN.search(data, _find_segment_end(data, at))
        if inside is None:
            raise ValueError("there is no end marker")
        at = inside.start()
    return at + 2


def _strip_png(data: bytes, exif: bytes) -> bytes:
    parts = [PNG_HEAD]
    for kind, chunk in _list_png_chunks(data):
        if kind[0] < ord("a") or kind in KEPT_CHUNKS:
            parts.append(chunk)
        if kind == b"IHDR" and exif:
            body = b"eXIf" + exif
            parts.append(struct.pack(">I", len(exif)) + body + struct.pack(">I", zlib.crc32(body)))
    return b"".join(parts)


def _list_png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type of each chunk, and the chunk."""
    at, kind = len(PNG_HEAD), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at : at + length + 12]
        at += length + 12


def _strip_webp(data: bytes, exif: bytes) -> bytes:
    parts = []
    for kind, chunk in _list_webp_chunks(data):
        if kind == b"VP8X":
            flags = chunk[8] & ~HAS_EXIF & ~HAS_XMP | (HAS_EXIF if exif else 0)
            parts.append(chunk[:8] + bytes([flags]) + chunk[9:])
        elif kind in WEBP_PIXELS:
            parts.append(chunk)
    if exif:
        parts.append(b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2))
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _list_webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name of each chunk, and the chunk."""
    end, at = 8 + struct.unpack_from("<I", data, 4)[0], 12
    while at < end:
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, data[at : at + 8 + length + length % 2]
        at += 8 + length + length % 2


STRIPPERS: Mapping[str, Callable[[bytes, bytes], bytes]] = {
    "JPEG": _strip_jpeg,
    "MPO": _strip_jpeg,
    "PNG": _strip_png,
    "WEBP": _strip_webp,
}
"""By Pillow's name of the format."""
