# SPDX-License-Identifier: Apache-2.0
"""A picture of any kind is read as a viewer shows it, or refused in one sentence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.images import load_reference_image
from blendset_trainer.readers import images
from blendset_trainer.readers.images import DecodedImage, decode_image, decode_rgb, list_image_suffixes, load_rgb
from tests.trainer.icc_profiles import ADOBE_RGB, DISPLAY_P3, make_cmyk_profile, make_grey_profile, make_rgb_profile

GREEN = (40, 160, 60)
NAME = Path("photo")


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(image: Image.Image, kind: str, **options: Any) -> DecodedImage:
    return decode_image(encode(image, kind, **options), NAME)


def flat(colour: tuple[int, ...] = GREEN, size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new("RGB", size, colour)


def near(decoded: DecodedImage, colour: tuple[int, ...], within: int = 5) -> bool:
    pixels = np.asarray(decoded.image.convert("RGB"), dtype=np.int16).reshape(-1, 3)
    return bool(np.abs(pixels.mean(axis=0) - colour).max() <= within)


def to_profile(image: Image.Image, profile: bytes, mode: str = "RGB") -> Image.Image:
    """An sRGB image in the numbers of a profile."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), target, outputMode=mode)
    assert converted is not None
    return converted


# --- numbers ---


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_a_grey_of_16_bits_is_as_dark_as_it_is_shown(kind: str) -> None:
    values = np.full((32, 32), round(61.1 * 257), np.uint16)
    values[:2] = (0, 65535) * 16
    decoded = decode(Image.fromarray(values), kind)
    pixels = np.asarray(decoded.image)
    assert (pixels[2:] == 61).all() and (pixels[0, 0] == 0).all() and (pixels[0, 1] == 255).all()
    assert pixels.mean() == pytest.approx(values.mean() / 257, abs=0.5)


def test_white_may_be_zero() -> None:
    values = Image.fromarray(np.full((8, 8), 65535 - 100 * 257, np.uint16))
    assert near(decode(values, "TIFF", tiffinfo={262: 0}), (100, 100, 100), 0)


def test_numbers_of_32_bits_and_floats() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert np.asarray(decode(Image.fromarray(ramp), "TIFF").image)[..., 0].ravel().tolist() == [
        round(float(value) * 255) for value in ramp.ravel()
    ]
    for far in (ramp * 3000 - 1000, (ramp * 1_000_000).astype(np.int32)):
        decoded = decode(Image.fromarray(far), "TIFF")
        assert decoded.notes == (images.STRETCHED,)
        assert np.asarray(decoded.image)[..., 0].ravel()[[0, -1]].tolist() == [0, 255]
    holes = ramp * 2
    holes[0, 0], holes[0, 1] = np.nan, np.inf
    assert np.asarray(decode(Image.fromarray(holes), "TIFF").image).shape == (8, 8, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_mode_is_the_picture(mode: str) -> None:
    image, grey = flat(), mode in ("1", "L", "LA")
    stored = to_lab(image) if mode == "LAB" else image.convert(mode)
    expected = (255, 255, 255) if mode == "1" else (image.convert("L").getpixel((0, 0)),) * 3 if grey else GREEN
    if mode == "1":
        stored = stored.point(lambda _: 255)
    assert near(decode(stored, "TIFF"), expected, 12 if mode in ("P", "PA") else 2)  # type: ignore[arg-type]


def to_lab(image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert converted is not None
    return converted


def test_what_one_can_see_through_is_white_behind() -> None:
    for kind, stored in (
        ("PNG", Image.new("RGBA", (8, 8), (*GREEN, 0))),
        ("PNG", Image.new("LA", (8, 8), (9, 0))),
        ("GIF", Image.new("RGBA", (8, 8), (*GREEN, 0))),
    ):
        assert decode_rgb(encode(stored, kind), NAME).getpixel((3, 3)) == (255, 255, 255)
    half = decode_rgb(encode(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG"), NAME)
    assert half.getpixel((3, 3)) == (127, 127, 127)


def test_a_render_keeps_its_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for options in ({}, {"icc_profile": srgb}):
        decoded = decode(Image.fromarray(noise), "PNG", **options)
        assert (np.asarray(decoded.image) == noise).all() and decoded.notes == ()


# --- colours ---


@pytest.mark.parametrize("space", [ADOBE_RGB, DISPLAY_P3], ids=["AdobeRGB", "P3"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF"])
def test_colours_are_converted_to_srgb(space: Any, kind: str, tmp_path: Path) -> None:
    profile = make_rgb_profile(*space)
    stored = to_profile(flat(), profile)
    assert max(abs(a - b) for a, b in zip(stored.getpixel((0, 0)), GREEN, strict=True)) > 15  # type: ignore[arg-type]
    data = encode(stored, kind, icc_profile=profile, **({} if kind in ("PNG", "TIFF") else {"quality": 95}))
    assert near(decode_image(data, NAME), GREEN)
    (tmp_path / "photo").write_bytes(data)
    pixels, opaque = load_reference_image(tmp_path / "photo", (16, 16))
    assert np.abs(pixels.astype(np.int16) - GREEN).max() <= 5 and opaque.all()


def test_transparency_stays_beside_a_profile() -> None:
    profile = make_rgb_profile(*ADOBE_RGB)
    stored = to_profile(flat(), profile)
    stored.putalpha(Image.linear_gradient("L").resize((16, 16)))
    decoded = decode(stored, "PNG", icc_profile=profile)
    assert decoded.image.mode == "RGBA" and near(decoded, GREEN)
    assert decoded.image.getchannel("A").getextrema() == stored.getchannel("A").getextrema()


def test_greys_and_inks_have_profiles_too() -> None:
    darker = decode(Image.new("L", (8, 8), 128), "TIFF", icc_profile=make_grey_profile(1.0))
    assert near(darker, (188, 188, 188))  # half the light
    for mode in ("L", "P"):  # such as black and white photos of cameras that tag everything
        assert near(decode(Image.new(mode, (8, 8), 0), "PNG", icc_profile=make_rgb_profile(*ADOBE_RGB)), (0, 0, 0))
    paper = np.zeros((2, 2, 2, 2, 3))
    paper[0, 0, 0, 0, 0], paper[1, 0, 0, 0, 0] = 100, 50
    profile = make_cmyk_profile(paper)
    for kind, options in (("TIFF", {}), ("JPEG", {"quality": 100})):
        cyan = decode(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), kind, icc_profile=profile, **options)
        assert near(cyan, (119, 119, 119)) and cyan.notes == ()  # a lightness of 50


@pytest.mark.parametrize("profile", [b"no profile", make_grey_profile(2.2), make_rgb_profile(*ADOBE_RGB)[:200]])
def test_a_profile_that_cannot_be_used_is_said(profile: bytes) -> None:
    decoded = decode(flat(), "PNG", icc_profile=profile)
    assert decoded.notes == (images.BROKEN_PROFILE,) and near(decoded, GREEN, 0)


def test_adobe_rgb_by_exif_alone_is_said() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    decoded = decode(flat(), "JPEG", exif=exif)
    assert decoded.notes == (images.ADOBE_RGB,)


# --- which way up, which frame, how large ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_are_upright(orientation: int, kind: str) -> None:
    quarters = np.zeros((32, 64, 3), np.uint8)
    quarters[:16, :32], quarters[:16, 32:], quarters[16:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif} | ({"quality": 95} if kind in ("JPEG", "WEBP") else {})
    data = encode(Image.fromarray(quarters), kind, **options)
    with Image.open(io.BytesIO(data)) as file:
        upright = ImageOps.exif_transpose(file).convert("RGB")
    for draft in (0, 8):
        decoded = decode_image(data, NAME, draft=draft)
        assert decoded.size == ((32, 64) if orientation > 4 else (64, 32))
    assert (np.asarray(decode_image(data, NAME).image) == np.asarray(upright)).all()


def test_exif_that_is_damaged_is_said() -> None:
    decoded = decode(flat(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(7))
    assert decoded.image.size == (16, 16)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_taken_and_that_is_said(kind: str) -> None:
    more = [flat((0, 0, 200)), flat((200, 0, 0))]
    decoded = decode(flat(), kind, save_all=True, append_images=more)
    assert near(decoded, GREEN, 12) and decoded.notes == (images.FIRST_FRAME,)
    assert decode(flat(), kind).notes == ()


def test_a_photo_with_a_depth_map_is_one_picture() -> None:
    data = encode(flat(), "MPO", save_all=True, append_images=[flat((9, 9, 9))])
    assert decode_image(data, NAME).notes == ()


def test_large_photos_are_read_and_bombs_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    list_image_suffixes()
    assert Image.MAX_IMAGE_PIXELS is None or 2 * Image.MAX_IMAGE_PIXELS >= 2 * 200_000_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BlendsetError, match=r"photo has more than 537 megapixels; make it smaller, or leave it out\."):
        decode(flat(), "PNG")


# --- what is no picture ---


def test_every_format_that_pillow_reads_is_a_picture() -> None:
    assert {".jfif", ".gif", ".jp2", ".avif", ".jpg", ".tif", ".webp", ".png", ".psd"} <= list_image_suffixes()
    assert not {".txt", ".pdf", ".mp4"} & list_image_suffixes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "AVIF"])
def test_half_a_file_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encode(noise, kind)
    for draft in (0, 16):
        with pytest.raises(BlendsetError, match=r"photo is no readable picture \(.+\); restore it\.$") as error:
            decode_image(data[: len(data) // 2], NAME, draft=draft)
        assert "\n" not in str(error.value) and "BytesIO" not in str(error.value)
    with pytest.raises(BlendsetError, match=r"gone.png cannot be read \(No such file or directory\); put it back\.$"):
        load_rgb(tmp_path / "gone.png", cure="put it back")
    with pytest.raises(BlendsetError, match="cannot be read"):
        load_rgb(tmp_path / "a\0b.png")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "TIFF", "GIF", "WEBP"]), st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_damage_anywhere_is_a_picture_or_one_sentence(kind: str, seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind == "GIF" else {"icc_profile": make_rgb_profile(*ADOBE_RGB), "exif": exif}
    data = bytearray(encode(flat(), kind, **options))
    for place in random.integers(0, len(data), count):
        data[place] = random.integers(0, 256)
    try:
        assert decode_image(bytes(data), NAME).image.mode in ("RGB", "RGBA")
    except BlendsetError as error:
        assert "\n" not in str(error) and str(error).startswith("photo ")
