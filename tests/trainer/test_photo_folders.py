# SPDX-License-Identifier: Apache-2.0
"""Folders of photos as people have them: each photo is trained as a viewer shows it, or named with the reason."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from PIL import Image, ImageCms

from blendset.errors import BlendsetError
from blendset_trainer.cli.main import main
from blendset_trainer.readers.findings import report_findings
from blendset_trainer.training.data.forecast import forecast_sources
from blendset_trainer.training.data.loader import Loader
from blendset_trainer.training.data.sampler import Sampler
from blendset_trainer.training.data.sources import CaptionWeights, Source, SourceSettings, load_source
from blendset_trainer.training.data.transforms import load_pixels
from blendset_trainer.training.setup import Sources
from tests.trainer.icc_profiles import ADOBE_RGB, DISPLAY_P3, make_rgb_profile
from tests.trainer.tiny_pipelines import stable_diffusion

SILENT = CaptionWeights(short=0, dense=0, none=1)
CORNERS = {"top left": (200, 40, 40), "top right": (40, 160, 60), "bottom left": (40, 60, 200)}
GREY = (128, 128, 128)


def make_quarters() -> Image.Image:
    """64x32 pixels: red, green, blue and grey quarters."""
    pixels = np.empty((32, 64, 3), np.uint8)
    pixels[:16, :32], pixels[:16, 32:], pixels[16:, :32] = CORNERS.values()
    pixels[16:, 32:] = GREY
    return Image.fromarray(pixels)


def save(image: Image.Image, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".jpg", ".jfif"):
        options |= {"quality": 95, "subsampling": 0}
    image.save(path, **options)


def save_flat(folder: Path, *names: str, size: tuple[int, int] = (32, 32)) -> None:
    for number, name in enumerate(names):
        save(Image.new("RGB", size, (number, 90, 9)), folder / name)


def source_of(folder: Path, **options: Any) -> Source:
    return load_source(SourceSettings(name="photo", folder=str(folder), captions=SILENT), **options)


def captioned(folder: Path) -> Source:
    return load_source(SourceSettings(name="photo", folder=str(folder)))


def captions_of(source: Source) -> dict[str, str]:
    return {sample.id: sample.captions["dense"] for sample in source}


def sentences_of(source: Source) -> list[str]:
    return [str(finding) for finding in source.findings]


def to_profile(image: Image.Image, profile: bytes) -> Image.Image:
    converted = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), io.BytesIO(profile), outputMode="RGB")
    assert converted is not None
    return converted


# --- sixty photos ---


def make_sound_photos(folder: Path) -> None:
    """Photos of the same quarters, as a phone, a camera, a scanner and a designer store them."""
    quarters = make_quarters()
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's transpositions that undo an orientation
    for orientation, turn in back.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = quarters if turn is None else quarters.transpose(Image.Transpose(turn))
        for ending in ("jpg", "png", "webp"):
            save(
                stored,
                folder / f"phone/IMG_{orientation}.{ending}",
                exif=exif,
                **({"lossless": True} if ending == "webp" else {}),
            )
    for name, space in {"adobe": ADOBE_RGB, "p3": DISPLAY_P3}.items():
        profile = make_rgb_profile(*space)
        for ending in ("jpg", "tif", "png"):
            save(to_profile(quarters, profile), folder / f"camera/{name}.{ending}", icc_profile=profile)
    for ending in ("JPG", "jfif", "jp2", "bmp", "tga", "ppm", "avif", "psd.png"):
        save(quarters, folder / f"designer/as.{ending}")
    (folder / "designer/deep.png").write_bytes(make_deep_png(quarters))
    quarters.convert("RGBA").save(folder / "designer/see-through.png")
    quarters.quantize(16).save(folder / "designer/palette.png")
    quarters.quantize(16).save(folder / "designer/palette.gif")
    quarters.convert("CMYK").save(folder / "designer/inks.tif")
    quarters.convert("CMYK").save(folder / "designer/inks.jpg", quality=100, subsampling=0)
    for number, name in enumerate(
        ["ein Bild (1).png", "фото.png", "写真 📷.png", "it's, [a] #%.png", "a.b.c.png", "-rf.png"]
    ):
        quarters.save(folder / name, pnginfo=None, compress_level=number + 1)


def make_deep_png(image: Image.Image) -> bytes:
    """An RGB image as a PNG of 16 bits a channel, which Pillow does not write."""

    def pack(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (np.asarray(image).astype(">u2") * 257).reshape(image.height, -1)
    head = struct.pack(">2I5B", *image.size, 16, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + pack(b"IHDR", head) + pack(b"IDAT", data) + pack(b"IEND", b"")


def make_strange_photos(folder: Path) -> None:
    """What is grey, linked or very large, and what is none."""
    for ending in ("png", "tif"):
        save(Image.fromarray(np.full((32, 32), round(61.1 * 257), np.uint16)), folder / f"scanner/grey16.{ending}")
    save(Image.new("1", (20_000, 10_000), 1), folder / "scanner/large.png")
    whole = (folder / "phone/IMG_1.jpg").read_bytes()
    for name, data in {
        "cut.jpg": whole[: len(whole) // 2], "empty.jpg": b"", "page.jpg": b"<!DOCTYPE html><title>404</title>",
        "lfs.png": b"version https://git-lfs.github.com/spec/v1\n", "noise.png": bytes(range(200)),
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0heic" + bytes(40),
    }.items():  # fmt: skip
        (folder / "broken").mkdir(exist_ok=True)
        (folder / "broken" / name).write_bytes(data)
    outside = folder.parent / "elsewhere"
    save(make_quarters(), outside / "linked.png")
    (folder / "link").symlink_to(outside, target_is_directory=True)
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "dead.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / ".hidden.png").write_bytes((outside / "linked.png").read_bytes())
    (folder / "clip.mp4").write_bytes(b"film")


def test_sixty_photos_are_trained_as_they_are_shown_or_named(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    make_sound_photos(folder)
    make_strange_photos(folder)
    source = source_of(folder)
    assert len(source) == 54  # with the 6 that are broken, sixty
    for sample in source:
        if sample.id.startswith("scanner"):
            value = 255 if "large" in sample.id else 61
            assert (load_pixels(sample, "single", (32, 32)) == value).all(), sample.id
            continue
        assert sample.size == (64, 32), sample.id
        pixels = load_pixels(sample, "single", (64, 32)).astype(int)
        found = [pixels[8, 16], pixels[8, 48], pixels[24, 16], pixels[24, 48]]
        off = np.abs(np.array(found) - [*CORNERS.values(), GREY]).max()
        assert off <= 6, (sample.id, found)
    assert "link/linked.png" in {sample.id for sample in source}
    assert {sample.size for sample in source if "large" in sample.id} == {(20_000, 10_000)}
    told = sentences_of(source)
    damaged = next(sentence for sentence in told if sentence.startswith("left out, damaged: 6 "))
    assert "broken/cut.jpg is no readable picture" in damaged and "broken/empty.jpg is empty" in damaged
    assert "left out, hidden: 1 (.hidden.png)" in told
    assert "left out, links that lead nowhere: 1 (dead.jpg)" in told
    assert "not read, no pictures by their names: 1 (clip.mp4)" in told


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0heic", "HEIC, which Pillow reads with the package pi-heif"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<html>", "a web page"),
        (b"", "is empty"),
    ],
)
def test_what_lies_there_instead_of_a_photo_is_said(data: bytes, what: str, tmp_path: Path) -> None:
    save_flat(tmp_path, "good.png")
    (tmp_path / "bad.png").write_bytes(data)
    assert what in next(sentence for sentence in sentences_of(source_of(tmp_path)) if "damaged" in sentence)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_no_utf_8_are_told(tmp_path: Path) -> None:
    save_flat(tmp_path, "good.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes((tmp_path / "good.png").read_bytes())
    source = source_of(tmp_path)
    assert [sample.id for sample in source] == ["good.png"]
    assert sentences_of(source) == [r"left out, names that are no UTF-8 (rename them): 1 (caf\udce9.png)"]


# --- captions ---


def test_captions_in_any_encoding(tmp_path: Path) -> None:
    words = "ein grünes Café"
    encodings = {"a": "utf-8", "b": "utf-8-sig", "c": "utf-16", "d": "cp1252"}
    save_flat(tmp_path, *(f"{name}.png" for name in encodings), "e.png", "none.png")
    for name, encoding in encodings.items():
        (tmp_path / f"{name}.txt").write_bytes(f"{words}\r\n".encode(encoding))
    (tmp_path / "e.txt").write_bytes(b"\0\1\2")
    (tmp_path / "f.txt").write_text("a caption of nothing")
    source = captioned(tmp_path)
    assert captions_of(source) == {f"{name}.png": words for name in encodings}
    assert sentences_of(source) == [
        "left out, no caption: 2 (e.png, none.png)",
        "caption files that are no text: 1 (e.txt)",
        "captions that are no UTF-8, read as Windows-1252 (save them as UTF-8): 1 (d.txt)",
        "caption files without a picture: 1 (f.txt)",
    ]
    assert len(source_of(tmp_path)) == 6 and sentences_of(source_of(tmp_path)) == []


@pytest.mark.parametrize("column", ["text", "caption"])
@pytest.mark.parametrize("ending", ["jsonl", "csv", "excel", "parquet"])
def test_captions_in_a_table(ending: str, column: str, tmp_path: Path) -> None:
    save_flat(tmp_path, "a.png", "b.png", "c.png")
    rows = [{"file_name": "a.png", column: "one; two"}, {"file_name": "b.png", column: "é"}]
    if ending == "jsonl":
        (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    else:
        mark, separator, encoding = ("", ",", "utf-8") if ending == "csv" else ("\ufeff", ";", "utf-16-le")
        lines = [f"file_name{separator}{column}", *(f'{row["file_name"]}{separator}"{row[column]}"' for row in rows)]
        (tmp_path / "metadata.csv").write_bytes((mark + "\r\n".join(lines)).encode(encoding))
    source = captioned(tmp_path)
    assert captions_of(source) == {"a.png": "one; two", "b.png": "é"}
    assert sentences_of(source) == ["left out, not listed in the metadata file: 1 (c.png)"]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("metadata.jsonl", '{"file_name": "a.png", "text": 3}', "line 1, has 3 where a caption should be"),
        ("metadata.jsonl", '{"file_name": "a.png"}', r"line 1, has no file_name and text \(or caption\)"),
        ("metadata.jsonl", "[1", "line 1, is no JSON"),
        ("metadata.csv", "file_name,text\na.png,one, two", "line 2, has more cells than the first line"),
        ("metadata.parquet", "PAR1", "is no readable parquet file"),
    ],
)
def test_a_damaged_table_is_one_sentence(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    save_flat(tmp_path, "a.png")
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BlendsetError, match=sentence):
        captioned(tmp_path)


# --- held out ---


def test_a_folder_called_held_out_is_held_out(tmp_path: Path) -> None:
    save_flat(tmp_path, *(f"train/{number}.png" for number in range(14)), "held-out/a.png", "held-out/b.png")
    source = source_of(tmp_path)
    assert len(source) == 14 and source.left_out == {"held out": 2}
    assert [sample.id for sample in source_of(tmp_path, held_out=True)] == ["held-out/a.png", "held-out/b.png"]


def test_a_picture_that_is_held_out_and_trained_all_the_same_is_named(tmp_path: Path) -> None:
    save_flat(tmp_path, "train/0.png", "train/1.png", "held-out/a.png")
    (tmp_path / "held-out" / "b.png").write_bytes((tmp_path / "train" / "1.png").read_bytes())
    sources = Sources([source_of(tmp_path)], [source_of(tmp_path, held_out=True)])
    found = [str(finding) for _, finding in sources.list_findings()]
    assert "held out and trained all the same: 1 (held-out/b.png)" in found


# --- how often ---


def test_photos_that_break_later_skew_nothing(tmp_path: Path) -> None:
    save_flat(tmp_path, *(f"{number}.png" for number in range(10)))
    source = source_of(tmp_path)
    for number in range(1, 8):
        (tmp_path / f"{number}.png").write_bytes(b"gone")
    with Loader([source], {"photo": 1.0}, ((32, 32),), micro_batch=4, seed=0, threads=2) as loader:
        refs = [ref.sample for batch in islice(loader, 50) for ref in batch.refs]
    assert sorted(loader.failures) == [f"{number}.png" for number in range(1, 8)]
    counts = Counter(refs)
    assert sorted(counts) == [0, 8, 9] and all(50 <= count <= 84 for count in counts.values())


def test_a_strict_loader_takes_no_replacement(tmp_path: Path) -> None:
    save_flat(tmp_path, "a.png", "b.png")
    source = source_of(tmp_path)
    (tmp_path / "a.png").write_bytes(b"gone")
    loader = Loader([source], {"photo": 1.0}, ((32, 32),), micro_batch=2, seed=0, threads=1, strict=True)
    with pytest.raises(BlendsetError, match=r"a\.png"), loader:
        next(iter(loader))


@pytest.mark.parametrize("rare", [1, 2, 3])
def test_a_rare_size_is_seen_as_often_as_the_others(rare: int) -> None:
    numbers = np.array([0] * 40 + [1] * rare)
    sampler = Sampler({"photo": numbers}, {"photo": 1.0}, micro_batch=4, seed=0)
    visits = sampler.count_visits(12 * len(numbers) // 4)[0]
    assert (np.abs(visits[:40] - 12) <= 1).all()
    assert (np.abs(visits[40:] - 12) <= 4).all()
    batches = [batch for batch in islice(sampler.iterate_micro_batches(), 120) if batch[0].sample >= 40]
    assert all(ref.sample >= 40 for batch in batches for ref in batch)
    seen = Counter((ref.sample, ref.repeat) for batch in batches for ref in batch)
    assert set(seen.values()) == {1}


def test_what_is_rare_cropped_or_enlarged_is_forecast(tmp_path: Path) -> None:
    save_flat(tmp_path, *(f"{number}.png" for number in range(8)))
    save_flat(tmp_path, "tall.png", size=(32, 64))
    save_flat(tmp_path, "wide.png", size=(192, 32))
    save_flat(tmp_path, "tiny.png", size=(8, 8))
    source = source_of(tmp_path)
    buckets = ((32, 32), (16, 32), (32, 16))
    forecast = forecast_sources([source], {"photo": 1.0}, buckets, samples=33, micro_batch=1, seed=0)[0]
    assert str(forecast) == (
        "11 samples, each seen 3 times (3 planned), in 3 sizes (32x32: 9, 16x32: 1, 32x16: 1); "
        "the crop keeps 33 to 100 % of a picture"
    )
    assert [str(finding) for finding in forecast.list_findings()] == [
        "cropped by more than a quarter: 1 (wide.png keeps 33 %)",
        "enlarged to more than twice their size: 1 (tiny.png 4 times)",
    ]
    with pytest.raises(BlendsetError, match=r"--strict refuses what was found of source 'photo': cropped .*wide\.png"):
        report_findings((("photo", found) for found in forecast.list_findings()), lambda _: None, strict=True)


# --- the command ---


def test_the_command_tells_before_it_trains_and_strict_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    save_flat(photos, "a.jfif", "b.gif", "c.png", "d.png")
    for name in "abc":
        (photos / f"{name}.txt").write_text("a photo")
    (photos / "c.png").write_bytes(b"cut")
    config = {
        "out": str(tmp_path / "run"), "model": {"path": str(stable_diffusion(tmp_path / "model")), "rank": 2},
        "train": {"samples": 4, "batch": 2, "resolution": 32}, "source": [{"name": "photo", "folder": str(photos)}],
    }  # fmt: skip
    path = tmp_path / "run.toml"
    path.write_bytes(tomli_w.dumps(config).encode())
    expected = [
        "Source 'photo': left out, no caption: 1 (d.png).",
        "Source 'photo': left out, damaged: 1 (c.png is no readable picture (no format that Pillow reads)).",
        "Source 'photo': 2 samples, each seen 2 times (2 planned), in 1 size (32x32: 2); the crop keeps 100 % of a",
    ]
    for words in ([], ["--dry-run"]):
        assert main(["train", str(path), *words]) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert all(sentence in said for sentence in expected), said
    for words in ([], ["--dry-run"]):
        assert main(["train", str(path), "--strict", "--set", f"out={tmp_path / 'other'}", *words]) == 1
        assert "--strict refuses what was found of source 'photo'" in capsys.readouterr().err
    assert not (tmp_path / "other" / "model").exists()
