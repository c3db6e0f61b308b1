# SPDX-License-Identifier: Apache-2.0
"""Records come back as written or are refused by name, writing survives kills and full disks, and names are legal
everywhere.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendset.errors import BlendsetError
from blendset.files import TEMPORARY_FILES, atomic_write, sha256_bytes, sha256_file
from blendset.naming import SPLIT_WORDS, slugify
from blendset.records import (
    CameraRecord,
    FileEntry,
    SceneObjectRecord,
    SceneRecord,
    ViewRecord,
    VisibleObject,
    encode_json,
    read_json,
    read_record,
    write_json,
)
from tests.disks import mounted

POSE = (0.0, -1.0, 0.0, 3.0, 1.0, 0.0, 0.0, 7.0, 0.0, 0.0, 1.0, 11.0, 0.0, 0.0, 0.0, 1.0)
CAMERA = CameraRecord(8, 6, 9.5, 9.5, 4.0, 3.0, POSE, 50.0, 36.0)
VIEW = ViewRecord(
    view_id="chair-1a2b3c",
    run="run",
    scene="room-abcdef",
    subject="chair",
    subject_label="Stuhl für Gäste",
    subject_objects=(1, 4),
    view_set="",
    view_index=0,
    source="render",
    camera=CAMERA,
    azimuth_deg=30.0,
    elevation_deg=None,
    distance=1e-7,
    visible_fraction=1.0,
    subject_share=0.25,
    truncation=0.0,
    visible_objects=(VisibleObject(1, "chair", 12, 0.25), VisibleObject(2, "table", 3, 0.0625)),
    exposure_ev=-1.5,
    samples=16,
    seed=7,
    lighting="scene",
    statistics={"mean_grey": 93.25},
    failed_checks=("sharpness",),
    files={"rgb.png": FileEntry(10, "0" * 64)},
    timings={"render": 1.25},
)
SCENE = SceneRecord(
    scene="room-abcdef",
    blend_name="room.blend",
    blend_sha256="0" * 64,
    blender_scene="Scene",
    frame=1,
    metres_per_unit=0.1,
    objects=(
        SceneObjectRecord(
            id=1,
            name="Chair.001",
            label="chair",
            collection="Seats",
            materials=("Wood", "Cloth"),
            bounds_min=(-1.0, 0.0, 0.0),
            bounds_max=(1.0, 1.0, 2.0),
            structural=False,
            instance_of="",
        ),
    ),
    missing_files=("wood.png",),
    notes=(),
)


@pytest.mark.parametrize("record", [VIEW, SCENE, replace(VIEW, azimuth_deg=None, statistics={})])
def test_a_record_comes_back_equal(record: ViewRecord | SceneRecord, tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", record)
    assert read_record(tmp_path / "record.json", type(record)) == record


def test_a_record_has_one_spelling() -> None:
    spelled = encode_json(VIEW)
    assert spelled.endswith(b"\n}\n")
    assert "für Gäste".encode() in spelled
    assert list(json.loads(spelled)) == sorted(json.loads(spelled))
    assert spelled == encode_json(json.loads(spelled))


def test_a_file_name_that_is_no_unicode_is_still_written(tmp_path: Path) -> None:
    write_json(tmp_path / "scene.json", replace(SCENE, blend_name="caf\udce9.blend"))
    assert read_record(tmp_path / "scene.json", SceneRecord).blend_name == "caf?.blend"


def test_what_is_not_finite_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "view.json", replace(VIEW, exposure_ev=float("nan")))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": 1}, "colour"),
        ({"samples": "16"}, "samples"),
        ({"subject": None}, "subject"),
        ({"distance": "far"}, "distance"),
        ({"exposure_ev": float("nan")}, "exposure_ev"),
        ({"visible_objects": [{"id": 1}]}, "label"),
        ({"camera": {**json.loads(encode_json(CAMERA)), "world_from_camera": [1.0]}}, "camera"),
        ({"format_version": 2}, "format version 2"),
    ],
)
def test_another_record_is_refused_with_the_field(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "view.json"
    path.write_text(json.dumps({**json.loads(encode_json(VIEW)), **change}))
    with pytest.raises(BlendsetError, match=rf"view\.json .*{reason}.*; ") as caught:
        read_record(path, ViewRecord)
    assert "\n" not in str(caught.value)


NO_ROTATIONS = {
    "mirrored": (*POSE[:1], 1.0, *POSE[2:]),
    "scaled": tuple(2 * value for value in POSE[:12]) + POSE[12:],
    "skewed": (*POSE[:2], 0.115, *POSE[3:]),
    "flat": POSE[:8] + (0.0,) * 4 + POSE[12:],
    "projective": (*POSE[:12], 0.1, 0.0, 0.0, 1.0),
    "infinite": (*POSE[:3], float("inf"), *POSE[4:]),
    "not a number": (float("nan"), *POSE[1:]),
    "huge": tuple(1e300 * value for value in POSE),
    "too short": POSE[:12],
}


@pytest.mark.parametrize("name", NO_ROTATIONS)
def test_a_camera_stands_somewhere_and_looks_somewhere(name: str) -> None:
    with pytest.raises(ValueError, match="pose"):
        replace(CAMERA, world_from_camera=NO_ROTATIONS[name])


def test_single_precision_is_precise_enough_for_a_pose() -> None:
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    matrix = np.eye(4)
    matrix[:3, :3] = (axes * np.sign(np.linalg.det(axes))).astype(np.float32)
    assert replace(CAMERA, world_from_camera=tuple(matrix.ravel().tolist()))


@pytest.mark.parametrize("name", ["mirrored", "scaled", "skewed", "too short"])
def test_a_record_with_another_pose_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    values = json.loads(encode_json(VIEW))
    values["camera"]["world_from_camera"] = NO_ROTATIONS[name]
    (tmp_path / "view.json").write_text(json.dumps(values))
    with pytest.raises(BlendsetError, match=r"view\.json is damaged \(.*pose.* @ \$\.camera\)"):
        read_record(tmp_path / "view.json", ViewRecord)


def test_a_record_from_before_clip_ranges_shows_everything(tmp_path: Path) -> None:
    values = json.loads(encode_json(CAMERA))
    del values["clip"]
    write_json(tmp_path / "old.json", values)
    assert read_record(tmp_path / "old.json", CameraRecord) == CAMERA
    write_json(tmp_path / "new.json", replace(CAMERA, clip=(5.2, 100.0)))
    assert read_record(tmp_path / "new.json", CameraRecord).clip == (5.2, 100.0)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"view_id": "a"}', "\0\0\0\0"])
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "view.json").write_text(text)
    with pytest.raises(BlendsetError, match=r"view\.json is damaged"):
        read_record(tmp_path / "view.json", ViewRecord)


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(BlendsetError, match=r"nothing\.json cannot be read"):
        read_json(tmp_path / "nothing.json")


def test_a_file_is_hashed_as_its_bytes(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(3_000_000)
    atomic_write(tmp_path / "new" / "folder" / "file", data)
    assert sha256_file(tmp_path / "new" / "folder" / "file") == sha256_bytes(data)


WRITER = """
import sys
from pathlib import Path
from blendset.files import atomic_write
print("started", flush=True)
for round in range(10**9):
    atomic_write(Path(sys.argv[1]), bytes([round % 256]) * 500_000)
"""


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    dice = random.Random(0)
    left_behind = 0
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(dice.uniform(0.005, 0.03))
            writer.kill()
        if path.exists():
            data = path.read_bytes()
            assert len(data) == 500_000
            assert data == data[:1] * 500_000
        left_behind = len(list(tmp_path.glob(TEMPORARY_FILES)))
    assert path.exists()
    assert left_behind > 0, "no kill fell into a write: the test proves nothing"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    with mounted(tmp_path / "disk", 256_000) as disk:
        yield disk


def test_a_full_disk_is_one_sentence_and_spoils_nothing(small_disk: Path) -> None:
    atomic_write(small_disk / "a.png", b"a" * 100_000)
    with pytest.raises(BlendsetError, match=r"a\.png could not be written \(No space left.*\); free space"):
        atomic_write(small_disk / "a.png", b"b" * 200_000)
    assert [path.name for path in small_disk.iterdir()] == ["a.png"]
    assert (small_disk / "a.png").read_bytes() == b"a" * 100_000


def test_a_read_only_disk_is_one_sentence(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(BlendsetError, match=r"a\.png could not be written \(Read-only.*\); choose an output folder"):
        atomic_write(small_disk / "views" / "a.png", b"a")


def test_a_file_that_may_not_grow_is_one_sentence_and_spoils_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limit on file sizes")
    atomic_write(tmp_path / "a.png", b"a" * 10)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(BlendsetError, match=r"a\.png could not be written \(.*\); raise the limit"):
            atomic_write(tmp_path / "a.png", b"b" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"a" * 10


def test_a_path_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BlendsetError, match="could not be written"):
        atomic_write(tmp_path / "file" / "a.png", b"")
    with pytest.raises(BlendsetError, match="shorter path"):
        atomic_write(tmp_path / ("a" * 300) / "a.png", b"")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Chair.001", "chair-001"),
        ("Sofá  (rouge)/№2", "sofa-rouge-no2"),
        ("test table 1", "testx-table-1"),
        ("TRAIN", "trainx"),
        ("val1", "valx1"),
        ("train-test", "trainx-testx"),
        ("trainer validates attest", "trainer-validates-attest"),
        ("Fuß, Ørsted, Łódź, café", "fu-rsted-odz-cafe"),
        ("椅子", "x-e57f49"),
        ("立方体.002", "002-3afa11"),
        ("Куб", "x-4df7e6"),
        ("train Куб", "trainx-02d0ea"),
        ("", "unnamed"),
        ("../..", "unnamed"),
        ("CON", "conx"),
        ("Lpt1", "lpt1x"),
        ("console", "console"),
    ],
)
def test_a_slug_says_what_the_name_said(text: str, name: str) -> None:
    assert slugify(text) == name


def test_slugs_keep_letters_of_every_script_apart() -> None:
    names = "куб Куб Сфера 立方体 立方体.001 椅子 κύβος מכוניה سيارة 의자 कुर्सी table-куб table".split()
    assert len({slugify(name) for name in names}) == len(names)
    assert slugify(unicodedata.normalize("NFD", "й의자")) == slugify(unicodedata.normalize("NFC", "й의자"))
    assert slugify("長い名前" * 30, 12) != slugify("長い名前" * 31, 12)


NAMES = st.lists(st.sampled_from([*SPLIT_WORDS.split("|"), "s", "x", "1", "-", " ", "_", ".", "con", "É", "椅"])).map(
    "".join
)


@given(text=NAMES | st.text(), max_length=st.integers(8, 40))
def test_a_slug_is_legal_everywhere(text: str, max_length: int) -> None:
    name = slugify(text, max_length)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert len(name) <= max_length
    assert not set(re.split(r"[-._ 0-9]", name)) & set(SPLIT_WORDS.split("|"))
    assert not re.fullmatch(r"con|prn|aux|nul|com\d|lpt\d", name)
    assert slugify(name, max_length) == name
