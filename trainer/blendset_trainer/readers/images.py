# SPDX-License-Identifier: Apache-2.0
"""The one way to open a picture: whatever Pillow reads becomes 8-bit sRGB as a viewer shows it, upright.

What had to be chosen on the way (the first of several frames, a profile that is damaged) is said in notes.
"""

from __future__ import annotations

import io
import stat
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from blendset.errors import BlendsetError
from blendset.files import explain_read_errors

READER_VERSION = 1
"""Changes when the same file gives other pixels."""
MAX_PIXELS = 1 << 29
"""A picture of more is taken for a file that was made to fill the memory; the largest cameras have 2 ** 28."""
MAX_SRGB_ERROR = 1
"""Grey levels by which a profile may differ from sRGB and still be it; such pictures keep their bytes."""

FIRST_FRAME = "only the first of several frames or pages is used"
BROKEN_PROFILE = "colours taken as sRGB, for the colour profile cannot be used"
ADOBE_RGB = "colours taken as sRGB, though marked as AdobeRGB (without a profile)"
BROKEN_EXIF = "taken as upright, for the EXIF data cannot be read"
STRETCHED = "numbers without a scale, so the darkest becomes black and the lightest white"
"""Notes: what is said of pictures."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture is turned, by its EXIF orientation. `ImageOps.exif_transpose` also writes EXIF, which may fail."""
_SIDEWAYS = {_UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}
_INTEROPERABILITY_INDEX, _ADOBE_INDEX = 1, "R03"
"""The tag of EXIF by which cameras without profiles mark AdobeRGB, and its value."""
_ONE_PICTURE = {"MPO", "PSD"}
"""Formats whose further frames belong to the first: depth or gain maps, layers."""
_STRANGERS = (
    (b"ftypheic", "HEIC, which Pillow reads with the package pi-heif"),
    (b"ftyphei", "HEIF, which Pillow reads with the package pi-heif"),
    (b"ftypmif1", "HEIF, which Pillow reads with the package pi-heif"),
    (b"version https://git-lfs", "a pointer of Git LFS; run `git lfs pull`"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)
"""What is often found instead of a picture, by what it begins with."""
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_FULL_16_BIT = 65535


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An image in mode RGB, or RGBA where it has transparency; `size` is its full width and height, `notes` are some of
    the constants above.

    `file_format` and `file_mode` are what Pillow calls those of the file; `orientation` is EXIF's, 1 for upright.
    """

    image: Image.Image
    size: tuple[int, int]
    notes: tuple[str, ...]
    file_format: str
    file_mode: str
    orientation: int


@cache
def list_image_suffixes() -> frozenset[str]:
    """The endings of file names, in lower case, of all formats that Pillow reads with the plugins that there are."""
    _prepare_pillow()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN)


def load_rgb(path: Path, cure: str = "restore it") -> Image.Image:
    """The picture in a file, in mode RGB, with white behind transparency; BlendsetError where it cannot be read."""
    return decode_rgb(read_image_bytes(path, cure), path, cure)


def decode_rgb(data: bytes, path: Path, cure: str = "restore it") -> Image.Image:
    """The picture in a file's bytes, in mode RGB, with white behind transparency; BlendsetError for no picture."""
    return put_on_white(decode_image(data, path, cure).image)


def put_on_white(image: Image.Image) -> Image.Image:
    """An RGBA image as RGB, with white behind its transparency; an RGB image as it is."""
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def encode_png(image: Image.Image) -> bytes:
    """The bytes of a PNG file without a colour profile, for LittleCMS writes the time of day into those it makes."""
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=None)
    return file.getvalue()


def decode_ids(data: bytes, path: Path) -> NDArray[np.uint32]:
    """The object ids (height, width) in the bytes of an ids.png; BlendsetError for anything else."""
    with explain_read_errors(path, "restore it"), Image.open(io.BytesIO(data)) as file:
        if file.format != "PNG" or file.mode not in ("I;16", "I", "L"):
            raise ValueError("it is no grey PNG")
        return np.asarray(file).astype(np.uint32)


def read_image_bytes(path: Path, cure: str = "restore it") -> bytes:
    """The bytes of a file; BlendsetError where it cannot be read, as a pipe, which would be waited for."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is a folder, a pipe or a device")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # the second for a name that no system takes
        raise BlendsetError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); {cure}.") from error


def decode_image(data: bytes, path: Path, cure: str = "restore it", draft: int = 0) -> DecodedImage:
    """The picture in a file's bytes; with `draft` one of about so many pixels' side, where its format has a fast way.

    All of the data is decoded either way. Raises BlendsetError, which names `path` and says the `cure`, for bytes that
    are no picture, are damaged, or have too many pixels.
    """
    _prepare_pillow()
    notes: list[str] = []
    if not data:
        raise BlendsetError(f"{path} is empty; {cure}.")
    try:
        with Image.open(io.BytesIO(data)) as file:
            size = file.size
            if draft:
                file.draft(None, (draft, draft))
            if file.format not in _ONE_PICTURE and getattr(file, "is_animated", False):
                notes.append(FIRST_FRAME)
            file.load()
            file_format, file_mode = file.format or "", file.mode
            orientation = _read_orientation(file, notes)
            image = _convert_to_srgb(_convert_to_8_bit(file, notes), file.info.get("icc_profile"), notes)
    except Image.DecompressionBombError as error:
        limit = f"{MAX_PIXELS / 1e6:.0f} megapixels"
        raise BlendsetError(f"{path} has more than {limit}; make it smaller, or leave it out.") from error
    except Exception as error:  # what Pillow's readers raise over a damaged file has no common kind
        raise BlendsetError(f"{path} is no readable picture ({_describe(error, data)}); {cure}.") from error
    turn = _UPRIGHT.get(orientation)
    upright = image if turn is None else image.transpose(turn)
    size = size[::-1] if turn in _SIDEWAYS else size
    return DecodedImage(upright, size, tuple(notes), file_format, file_mode, orientation)


@cache
def _prepare_pillow() -> None:
    """Load all plugins, that for HEIC too where it is installed, and let large photographs through without a word."""
    for plugin in ("pi_heif", "pillow_heif"):
        with suppress(ImportError):
            __import__(plugin).register_heif_opener()
            break
    Image.init()
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = limit and max(limit, MAX_PIXELS // 2)  # Pillow warns above it and refuses twice as many
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _describe(error: Exception, data: bytes) -> str:
    """What an error over a file's bytes says, in one line, or what the bytes are instead."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not text.startswith("cannot identify image file"):
        return text
    return next((what for mark, what in _STRANGERS if mark in data[:64].lower()), "no format that Pillow reads")


def _read_orientation(file: Image.Image, notes: list[str]) -> int:
    """The EXIF orientation of a loaded picture: a key of _UPRIGHT, or 1 where it is upright."""
    try:
        exif = file.getexif()
        if "icc_profile" not in file.info and _marks_adobe_rgb(exif):
            notes.append(ADOBE_RGB)
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        return orientation if orientation in _UPRIGHT else 1
    except Exception:  # noqa: BLE001 - what Pillow raises over damaged EXIF has no common kind
        notes.append(BROKEN_EXIF)
        return 1


def _marks_adobe_rgb(exif: Image.Exif) -> bool:
    index = exif.get_ifd(ExifTags.IFD.Exif) and exif.get_ifd(ExifTags.IFD.Interop).get(_INTEROPERABILITY_INDEX)
    return str(index or "").startswith(_ADOBE_INDEX)


def _convert_to_8_bit(file: Image.Image, notes: list[str]) -> Image.Image:
    """A grey of 16 or 32 bits or of floats in mode L; any other image as it is."""
    if not file.mode.startswith(("I", "F")):
        return file
    values = np.asarray(file).astype(np.float32)
    low, high = _find_range(file, values)
    if low is None or high is None:
        notes.append(STRETCHED)
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if file.format == "TIFF" and getattr(file, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        low, high = high, low
    scaled = (values - low) * np.float32(255 / ((high - low) or 1))
    return Image.fromarray(np.nan_to_num(scaled).clip(0, 255).round().astype(np.uint8))


def _find_range(file: Image.Image, values: NDArray[np.float32]) -> tuple[float | None, float | None]:
    """The numbers that are black and white in a deep grey image, (height, width); None where nothing says so."""
    if file.mode.startswith("I;16") or file.format == "PPM":
        return 0.0, float(_FULL_16_BIT)
    if file.mode == "F" and values.size and values.min() >= 0 and values.max() <= 1:
        return 0.0, 1.0
    return None, None


def _convert_to_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """An 8-bit image in mode RGB, or RGBA where it has transparency, in the colours of sRGB."""
    alpha = None
    flat = image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        alpha, flat = rgba.getchannel("A"), rgba.convert("L" if image.mode == "LA" else "RGB")
    converted = _apply_profile(flat, profile, notes) if profile else None
    if converted is None and flat.mode == "LAB":
        converted = ImageCms.profileToProfile(flat, ImageCms.createProfile("LAB"), _load_srgb(), outputMode="RGB")
    rgb = (converted or flat).convert("RGB")
    if alpha:
        rgb.putalpha(alpha)
    return rgb


def _apply_profile(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image | None:
    """The image in sRGB by its profile; None where it is that already, or where the profile cannot be used."""
    try:
        mode, transform = _make_transform(profile)
        if (mode == "RGB" and image.mode in ("CMYK", "LAB")) or (mode != "RGB" and image.mode not in (mode, "1")):
            raise ValueError("a profile of another kind of colours")
        return transform and ImageCms.applyTransform(image.convert(mode), transform)
    except Exception:  # noqa: BLE001 - ImageCms raises what its C code does
        notes.append(BROKEN_PROFILE)
        return None


@lru_cache(maxsize=16)
def _make_transform(profile: bytes) -> tuple[str, Any]:
    """The mode that a profile describes, and its transform to sRGB; None where the profile is sRGB."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}[source.profile.xcolor_space.strip()]
    flags = ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION
    transform = ImageCms.buildTransform(source, _load_srgb(), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, flags)
    return mode, None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: Any) -> bool:
    """Whether a transform from RGB to sRGB leaves all colours where they are."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    after = ImageCms.applyTransform(Image.fromarray(colours), transform)
    assert after is not None
    return bool(np.abs(np.asarray(after, dtype=np.int16) - colours).max() <= MAX_SRGB_ERROR)


@cache
def _load_srgb() -> Any:
    return ImageCms.createProfile("sRGB")
