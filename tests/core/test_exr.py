# SPDX-License-Identifier: Apache-2.0
"""EXR against OpenEXR's own library, which reads what we write and writes what we read; and damaged files,
which end in a sentence.
"""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blendset.errors import BlendsetError
from blendset.exr import Passes, read_exr, read_ids, read_passes, write_exr, write_passes

SIZES = [(1, 1), (1, 7), (15, 3), (16, 16), (17, 5), (33, 64)]


def noise(shape: tuple[int, int], dtype: str, seed: int = 0) -> np.ndarray[Any, Any]:
    """Any bit pattern but NaN, so that equality means equality."""
    generator = np.random.default_rng(seed)
    if dtype == "uint32":
        return generator.integers(0, 2**32, shape, dtype=np.uint32)
    return (generator.standard_normal(shape) * 100).astype(dtype)


def smooth(shape: tuple[int, int], dtype: str) -> np.ndarray[Any, Any]:
    return np.add.outer(np.arange(shape[0]), np.arange(shape[1])).astype(dtype)


def scene_passes(height: int = 21, width: int = 34) -> Passes:
    depth = smooth((height, width), "float32")
    depth[0] = np.inf
    ids = np.full((height, width), 2**32 - 1, np.uint32)
    return Passes(depth, noise((height, width * 3), "float32").reshape(height, width, 3), ids)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.dictionaries(st.text("abcXYZ. é", min_size=1), st.sampled_from(["float32", "uint32"]), min_size=1),
    make=st.sampled_from([noise, smooth]),
)
def test_what_is_written_is_read(shape: tuple[int, int], channels: dict[str, str], make: Any) -> None:
    planes = {name: make(shape, dtype) for name, dtype in channels.items()}
    back = read_exr(write_exr(planes))
    assert list(back) == sorted(planes)
    for name, plane in planes.items():
        assert back[name].dtype == plane.dtype
        np.testing.assert_array_equal(back[name], plane)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtypes=st.lists(st.sampled_from(["float32", "uint32"]), min_size=1, max_size=4),
)
def test_openexr_reads_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], dtypes: list[str]
) -> None:
    openexr = pytest.importorskip("OpenEXR")
    planes = {f"part.{index}": smooth(shape, dtype) for index, dtype in enumerate(dtypes)}
    planes["noise"] = noise(shape, "float32")
    path = tmp_path_factory.mktemp("exr") / "ours.exr"
    path.write_bytes(write_exr(planes))
    with openexr.File(str(path), separate_channels=True) as file:
        assert file.header()["compression"] == openexr.ZIP_COMPRESSION
        for name, plane in planes.items():
            np.testing.assert_array_equal(file.channels()[name].pixels, plane)


def write_with_openexr(path: Path, channels: dict[str, np.ndarray[Any, Any]], **header: Any) -> None:
    openexr = pytest.importorskip("OpenEXR")
    with openexr.File({"type": openexr.scanlineimage, **header}, dict(channels)) as file:
        file.write(str(path))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("make", [noise, smooth])
@pytest.mark.parametrize("compression", ["NO", "ZIPS", "ZIP"])
def test_what_openexr_writes_is_read(compression: str, make: Any, shape: tuple[int, int], tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    planes = {f"{dtype}.X": make(shape, dtype) for dtype in ("float16", "float32", "uint32")}
    write_with_openexr(tmp_path / "a.exr", planes, compression=getattr(openexr, f"{compression}_COMPRESSION"))
    back = read_exr(tmp_path / "a.exr")
    for name, plane in planes.items():
        assert back[name].dtype == plane.dtype
        np.testing.assert_array_equal(back[name], plane)


def test_a_moved_data_window_and_lines_from_below_change_nothing(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    plane = noise((37, 11), "float32")
    window = (np.array([-3, -20], np.int32), np.array([7, 16], np.int32))
    header = {"dataWindow": window, "lineOrder": openexr.DECREASING_Y, "compression": openexr.ZIP_COMPRESSION}
    write_with_openexr(tmp_path / "a.exr", {"Z": plane}, **header)
    np.testing.assert_array_equal(read_exr(tmp_path / "a.exr")["Z"], plane)


@pytest.mark.parametrize("compression", ["RLE", "PIZ", "DWAA"])
def test_another_compression_is_named(compression: str, tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    number = getattr(openexr, f"{compression}_COMPRESSION")
    write_with_openexr(tmp_path / "a.exr", {"Z": smooth((9, 9), "float32")}, compression=number)
    with pytest.raises(BlendsetError, match=r"a\.exr is an EXR of compression number .*; save it as"):
        read_exr(tmp_path / "a.exr")


def test_tiles_and_parts_are_refused_by_name(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    plane = smooth((40, 40), "float32")
    tiles = openexr.TileDescription()
    tiles.xSize = tiles.ySize = 16
    write_with_openexr(tmp_path / "tiled.exr", {"Z": plane}, type=openexr.tiledimage, tiles=tiles)
    parts = [openexr.Part({"type": openexr.scanlineimage}, {"Z": plane}, name) for name in ("a", "b")]
    with openexr.File(parts) as file:
        file.write(str(tmp_path / "parts.exr"))
    with pytest.raises(BlendsetError, match=r"tiled\.exr is a tiled EXR"):
        read_exr(tmp_path / "tiled.exr")
    with pytest.raises(BlendsetError, match=r"parts\.exr is a multi-part EXR"):
        read_exr(tmp_path / "parts.exr")


def test_equal_channels_give_equal_bytes_in_any_order() -> None:
    a, b = smooth((20, 20), "float32"), smooth((20, 20), "uint32")
    assert write_exr({"a": a, "b": b}) == write_exr({"b": np.asfortranarray(b), "a": np.asfortranarray(a)})


@pytest.mark.parametrize(
    "channels",
    [
        {},
        {"a": smooth((2, 2), "float64")},
        {"a": smooth((2, 2), "float32"), "b": smooth((2, 3), "float32")},
    ],
)
def test_what_an_exr_cannot_hold_is_refused(channels: dict[str, np.ndarray[Any, Any]]) -> None:
    with pytest.raises(ValueError, match="one size"):
        write_exr(channels)


def test_every_truncation_is_found() -> None:
    whole = write_passes(scene_passes())
    for length in range(len(whole)):
        with pytest.raises(BlendsetError, match="damaged or truncated"):
            read_exr(whole[:length])


def test_damage_ends_in_a_sentence_or_in_channels() -> None:
    whole = write_passes(scene_passes())
    dice = random.Random(0)
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(dice.choice((400, len(whole))))] = dice.randrange(256)
        with suppress(BlendsetError):  # and nothing else
            read_exr(bytes(damaged))


def test_another_file_and_no_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "picture.exr").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(BlendsetError, match=r"picture\.exr is no EXR image"):
        read_exr(tmp_path / "picture.exr")
    with pytest.raises(BlendsetError, match=r"nothing\.exr cannot be read"):
        read_exr(tmp_path / "nothing.exr")


def test_passes_come_back_exactly(tmp_path: Path) -> None:
    passes = scene_passes()
    (tmp_path / "passes.exr").write_bytes(write_passes(passes))
    back = read_passes(tmp_path / "passes.exr")
    for name in ("depth", "normal", "id"):
        np.testing.assert_array_equal(getattr(back, name), getattr(passes, name))
        assert getattr(back, name).dtype == getattr(passes, name).dtype


def test_an_exr_without_passes_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.exr").write_bytes(write_exr({"depth": smooth((2, 2), "float32")}))
    with pytest.raises(BlendsetError, match=r"other\.exr has no channel id"):
        read_passes(tmp_path / "other.exr")


def test_ids_alone_are_the_ids_of_all_passes() -> None:
    chance = np.random.default_rng(0)
    for height, width in ((1, 1), (16, 7), (37, 64)):  # chunks that are whole, cut short, and stored as they are
        ids = chance.integers(0, 2**32, (height, width), dtype=np.uint32)
        ids[: height // 2] = 70_000
        normal = chance.random((height, width, 3), dtype=np.float32)
        data = write_passes(Passes(chance.random((height, width), dtype=np.float32), normal, ids))
        np.testing.assert_array_equal(read_ids(data), ids)
        np.testing.assert_array_equal(read_passes(data).id, ids)
