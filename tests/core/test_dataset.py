# SPDX-License-Identifier: Apache-2.0
"""The dataset folder as its users meet it: read by `datasets`, killed while written, damaged, full, shared by
shards.
"""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blendset.dataset import COLUMNS, Dataset
from blendset.errors import BlendsetError
from blendset.exr import Passes, write_passes
from blendset.files import lock_folder, sha256_bytes, sha256_file
from blendset.naming import SPLIT_WORDS, slugify
from blendset.records import (
    CameraRecord,
    DatasetRecord,
    SceneObjectRecord,
    SceneRecord,
    ViewRecord,
    VisibleObject,
    write_json,
)
from blendset.verification import verify_dataset

WIDTH, HEIGHT = 8, 6
SETTINGS = {"preset": "blendset", "render": {"resolution": [WIDTH, HEIGHT], "samples": 16}}
RECORD = DatasetRecord(
    name="room", licence="CC0-1.0", creator="somebody", sources=("room.blend",), render_settings=SETTINGS
)


def png(seed: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = b"".join(b"\0" + random.Random(f"{seed} {y}").randbytes(3 * width) for y in range(height))
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def passes(seed: int) -> Passes:
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal((HEIGHT, WIDTH, 3)).astype(np.float32)
    depth = np.where(normal[..., 0] > 1, np.inf, 1 + np.abs(normal[..., 1])).astype(np.float32)
    return Passes(depth, normal, np.full((HEIGHT, WIDTH), 1, np.uint32))


def payload(seed: int) -> dict[str, bytes]:
    return {"rgb.png": png(seed), "passes.exr": write_passes(passes(seed))}


def view(view_id: str, scene: str = "room-1a2b3c", **changes: Any) -> ViewRecord:
    record = ViewRecord(
        view_id=view_id,
        run="run",
        scene=scene,
        subject="chair",
        subject_label="chair",
        subject_objects=(1,),
        view_set="",
        view_index=0,
        source="render",
        camera=CameraRecord(WIDTH, HEIGHT, 9.5, 9.5, 4.0, 3.0, tuple(np.eye(4).ravel().tolist()), 50.0, 36.0),
        azimuth_deg=30.0,
        elevation_deg=15.0,
        distance=2.0,
        visible_fraction=1.0,
        subject_share=0.25,
        truncation=0.0,
        visible_objects=(VisibleObject(1, "chair", 48, 1.0),),
        exposure_ev=0.0,
        samples=16,
        seed=0,
        lighting="scene",
        statistics={},
        failed_checks=(),
        files={},
        timings={},
    )
    return replace(record, **changes)


def write_scene(dataset: Dataset, scene: str = "room-1a2b3c") -> None:
    chair = SceneObjectRecord(
        id=1,
        name="Chair",
        label="chair",
        collection="",
        materials=(),
        bounds_min=(0, 0, 0),
        bounds_max=(1, 1, 1),
        structural=False,
        instance_of="",
    )
    record = SceneRecord(
        scene=scene,
        blend_name="room.blend",
        blend_sha256="0" * 64,
        blender_scene="Scene",
        frame=1,
        metres_per_unit=1.0,
        objects=(chair,),
        missing_files=(),
        notes=(),
    )
    write_json(dataset.scene_path(scene), record)


def make_dataset(root: Path, count: int = 3, **record: Any) -> Dataset:
    dataset = Dataset.create_or_open(root, replace(RECORD, **record))
    write_scene(dataset)
    for seed in range(count):
        dataset.write_view(view(f"chair-{seed}"), payload(seed))
    dataset.rebuild_index()
    return dataset


def index_rows(dataset: Dataset) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (dataset.root / "metadata.jsonl").read_text("utf-8").split("\n")[:-1]]


def problems(dataset: Dataset) -> list[str]:
    return [
        f"{found.path.relative_to(dataset.root).as_posix()} {found.what}" for found in verify_dataset(dataset).problems
    ]


def test_a_reader_gets_back_every_view_and_its_passes(tmp_path: Path) -> None:
    make_dataset(tmp_path / "mein {set} [1] é", 12)
    dataset = Dataset(tmp_path / "mein {set} [1] é")
    read = list(dataset.views())
    assert [record.view_id for record in read] == sorted(f"chair-{seed}" for seed in range(12))
    for record in read:
        seed = int(record.view_id.removeprefix("chair-"))
        assert dataset.rgb_path(record).read_bytes() == png(seed)
        np.testing.assert_array_equal(dataset.passes(record).depth, passes(seed).depth)
    assert dataset.scene(read[0].scene).objects[0].label == "chair"
    assert verify_dataset(dataset).views == 12
    assert not verify_dataset(dataset).problems
    assert not verify_dataset(dataset).debris


@pytest.mark.parametrize("view_blocks", [False, True])
def test_load_dataset_reads_every_view_as_it_is(view_blocks: bool, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    awkward = [
        f"{before}{word}{after}" for word in SPLIT_WORDS.split("|") for before, after in ("  ", "1.", "_2", "-s")
    ]
    dataset = Dataset.create_or_open(tmp_path / "set", replace(RECORD, view_blocks=view_blocks))
    expected = {}
    for seed, name in enumerate(awkward):
        record = view(f"{slugify(name)}-{seed:06x}", f"{slugify(name)}-1a2b3c", distance=seed / 7, run=slugify(name))
        record = replace(record, azimuth_deg=None if seed % 2 else 10.0)
        dataset.write_view(record, payload(seed))
        write_scene(dataset, record.scene)
        write_json(dataset.run_path(record.run), {})
        expected[record.view_id] = (seed, record)
    dataset.rebuild_index()

    loaded = datasets.load_dataset("imagefolder", data_dir=str(dataset.root), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    assert sorted(loaded["train"]["view_id"]) == sorted(expected)
    assert loaded["train"].column_names == ["rgb", *COLUMNS[1:]]
    for row in loaded["train"]:
        seed, record = expected[row["view_id"]]
        assert row["rgb"].size == (WIDTH, HEIGHT)
        assert row["rgb"].tobytes()[: 3 * WIDTH] == random.Random(f"{seed} 0").randbytes(3 * WIDTH)
        assert row["world_from_camera"] == list(record.camera.world_from_camera)
        assert (row["fx"], row["distance"], row["azimuth_deg"]) == (9.5, record.distance, record.azimuth_deg)
        assert row["visible_objects"] == [{"id": 1, "label": "chair", "pixels": 48, "share": 1.0}]
        assert (dataset.root / row["passes_path"]).is_file()


def test_the_index_keeps_a_caption_while_its_picture_is_the_same(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set")
    rows = [{**row, "caption": f"a chair, {row['view_id']}"} for row in index_rows(dataset)]
    (dataset.root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:2]) + '{"torn')
    dataset.write_view(view("chair-1"), payload(99))
    dataset.write_view(view("chair-0", distance=9.0), payload(0))
    assert dataset.rebuild_index() == 3
    assert [row["caption"] for row in index_rows(dataset)] == ["a chair, chair-0", None, None]
    assert index_rows(dataset)[0]["distance"] == 9.0
    assert list(index_rows(dataset)[0]) == [*COLUMNS, "caption"]
    assert not problems(dataset)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        *((damage, name) for damage in (truncate, Path.unlink, flip) for name in ("rgb.png", "passes.exr")),
        (truncate, "view.json"),
        (Path.unlink, "view.json"),
    ],
)
def test_a_damaged_view_is_found_and_redone(damage: Any, name: str, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set")
    folder = dataset.view_folder("room-1a2b3c", "chair-1")
    damage(folder / name)
    assert not dataset.has_view("room-1a2b3c", "chair-1")
    assert dataset.has_view("room-1a2b3c", "chair-0")
    place = "metadata.jsonl" if (damage, name) == (Path.unlink, "view.json") else f"room-1a2b3c/chair-1/{name}"
    assert any(place in problem for problem in problems(dataset))
    assert verify_dataset(dataset).views == 2
    dataset.rebuild_index()
    dataset.write_view(view("chair-1"), payload(1))
    dataset.rebuild_index()
    assert not problems(dataset)
    assert verify_dataset(dataset).views == 3


def test_a_damaged_record_stops_a_reader_by_name(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set")
    truncate(dataset.view_folder("room-1a2b3c", "chair-1") / "view.json")
    with pytest.raises(BlendsetError, match=r"chair-1.view\.json is damaged"):
        list(dataset.views())


def test_verify_names_records_whose_pose_is_no_rotation(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set")
    record = dataset.view_folder("room-1a2b3c", "chair-1") / "view.json"
    values = json.loads(record.read_bytes())
    values["camera"]["world_from_camera"][1] = 0.115
    record.write_text(json.dumps(values))
    assert "its pose is no rotation" in next(each for each in problems(dataset) if "chair-1/view.json" in each)
    assert verify_dataset(dataset).views == 2


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("rgb.png", png(0)[:-1], "is no whole PNG of 8 x 6 pixels"),
        ("rgb.png", b"\xff\xd8" + png(0)[2:], "is no whole PNG of 8 x 6 pixels"),
        ("rgb.png", png(0, 6, 8), "is no whole PNG of 8 x 6 pixels"),
        ("rgb.png", b"", "is no whole PNG of 8 x 6 pixels"),
        ("passes.exr", write_passes(passes(0))[:-1], "damaged or truncated"),
        ("passes.exr", write_passes(Passes(np.ones((2, 2), "f4"), np.ones((2, 2, 3), "f4"), np.ones((2, 2), "u4"))),
         "is not 8 x 6 pixels"),
    ],
)  # fmt: skip
def test_verify_looks_into_files_that_were_written_wrong(name: str, data: bytes, what: str, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set")
    dataset.write_view(view("chair-1"), {**payload(1), name: data})
    dataset.rebuild_index()
    (problem,) = problems(dataset)
    assert problem.startswith(f"views/room-1a2b3c/chair-1/{name}")
    assert what in problem


def test_verify_finds_what_does_not_belong_together(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set")
    folder = dataset.view_folder("room-1a2b3c", "chair-1")
    folder.rename(folder.with_name("moved"))
    assert any("moved/view.json belongs into room-1a2b3c/chair-1" in problem for problem in problems(dataset))
    folder.with_name("moved").rename(folder)
    assert not problems(dataset)

    dataset.write_view(view("chair-1", visible_objects=(VisibleObject(5, "ghost", 1, 0.1),)), payload(1))
    assert any("sees object 5, which its scene does not list" in problem for problem in problems(dataset))
    assert any("metadata.jsonl disagrees with the records of 1 views" in problem for problem in problems(dataset))
    dataset.write_view(view("chair-1"), payload(1))

    dataset.write_view(view("chair-1", "other-1a2b3c"), payload(1))
    assert any("scenes/other-1a2b3c.json" in problem for problem in problems(dataset))
    assert any("room-1a2b3c/chair-1/view.json has the view id of" in problem for problem in problems(dataset))


def test_a_record_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set", 1)
    folder = dataset.view_folder("room-1a2b3c", "chair-0")
    record = json.loads((folder / "view.json").read_text())
    record["files"]["../../../dataset.json"] = record["files"].pop("passes.exr")
    write_json(folder / "view.json", record)
    assert not dataset.has_view("room-1a2b3c", "chair-0")


def test_debris_is_listed_and_is_no_problem(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set", 1)
    unfinished = dataset.view_folder("room-1a2b3c", "chair-9")
    unfinished.mkdir()
    left = [
        dataset.root / ".metadata.jsonl.0a.tmp",
        dataset.root / "scenes" / ".room.json.0a.tmp",
        dataset.view_folder("room-1a2b3c", "chair-0") / ".rgb.png.0a.tmp",
        unfinished / "rgb.png",
    ]
    for path in left:
        path.touch()
    assert verify_dataset(dataset).debris == tuple(left)
    assert not verify_dataset(dataset).problems
    assert not dataset.has_view("room-1a2b3c", "chair-9")
    dataset.write_view(view("chair-0"), payload(0))
    dataset.rebuild_index()
    assert verify_dataset(dataset).debris == (left[1], left[3])


def test_blocks_hold_many_views_and_both_layouts_are_read(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set", 2)
    dataset = Dataset.create_or_open(dataset.root, replace(RECORD, view_blocks=True))
    for seed in range(1, 6):
        dataset.write_view(view(f"chair-{seed}"), payload(seed))
    dataset.rebuild_index()
    assert Dataset.create_or_open(dataset.root, RECORD).record.view_blocks, "a dataset never goes back"
    assert [record.view_id for record in dataset.views()] == [f"chair-{seed}" for seed in range(6)]
    assert sorted(path.name for path in (dataset.root / "views" / "room-1a2b3c").glob("chair-*")) == [
        "chair-0",
        "chair-1",
    ]
    assert all(dataset.has_view("room-1a2b3c", f"chair-{seed}") for seed in range(6))
    assert not problems(dataset)


def test_a_run_joins_its_sources(tmp_path: Path) -> None:
    make_dataset(tmp_path / "set")
    joined = Dataset.create_or_open(tmp_path / "set", replace(RECORD, sources=("attic.blend",)))
    assert joined.record.sources == ("attic.blend", "room.blend")


def test_other_settings_are_refused_unless_asked_for(tmp_path: Path) -> None:
    make_dataset(tmp_path / "set")
    other = replace(RECORD, render_settings={**SETTINGS, "render": {"resolution": (WIDTH, HEIGHT), "samples": 64}})
    with pytest.raises(
        BlendsetError, match=r"was rendered with render\.samples = 16 and this run has 64; use the same"
    ):
        Dataset.create_or_open(tmp_path / "set", other)
    assert Dataset.create_or_open(tmp_path / "set", other, mix_settings=True).record.render_settings == SETTINGS


def test_another_folder_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").touch()
    for root in (tmp_path, tmp_path / "thesis.odt"):
        with pytest.raises(BlendsetError, match="choose a new or empty one"):
            Dataset.create_or_open(root, RECORD)
        with pytest.raises(BlendsetError, match="is no Blendset dataset"):
            Dataset(root)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.odt"]


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "dataset.json", {"version": 2, "shape": "unknown"})
    with pytest.raises(BlendsetError, match=r"dataset\.json has format version 2"):
        Dataset.create_or_open(tmp_path, RECORD)


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from blendset.dataset import Dataset
source = Dataset(Path(sys.argv[1]))
target = Dataset.create_or_open(Path(sys.argv[2]), source.record)
print("started", flush=True)
for view in source.views():
    if not target.has_view(view.scene, view.view_id):
        folder = source.view_folder(view.scene, view.view_id)
        target.write_view(replace(view, files={}), {name: (folder / name).read_bytes() for name in view.files})
    target.rebuild_index()
"""


def start_writer(source: Path, target: Path) -> subprocess.Popen[bytes]:
    """Start a process that writes a dataset again elsewhere, and return when it begins."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(source), str(target)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    return writer


def files_of(dataset: Dataset) -> dict[str, str]:
    """Return the hash of every view's files, records included (these copies share their timings)."""
    views = dataset.root / "views"
    return {str(path.relative_to(views)): sha256_file(path) for path in views.rglob("*") if path.is_file()}


def test_twenty_kills_and_one_more_run_give_the_whole_dataset(tmp_path: Path) -> None:
    source = make_dataset(tmp_path / "source", 60)
    dice = random.Random(0)
    finished: set[str] = set()
    for _ in range(20):
        with start_writer(source.root, tmp_path / "set") as writer:
            time.sleep(dice.uniform(0, 0.05))
            writer.kill()
        dataset = Dataset(tmp_path / "set")
        write_scene(dataset)
        views = {view.view_id for view in dataset.views()}
        assert finished <= views
        assert verify_dataset(dataset).views == len(views), "what has a record is whole"
        assert all("metadata.jsonl disagrees" in problem for problem in problems(dataset))
        finished = views
    assert finished, "the kills came too early to prove anything"
    with start_writer(source.root, tmp_path / "set"):
        pass
    assert not problems(dataset)
    assert not verify_dataset(dataset).debris
    assert files_of(dataset) == files_of(source)


def test_a_lock_is_held_by_one_and_dies_with_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "set" / ".shard.lock"
    script = "import sys, time; from pathlib import Path; from blendset.files import lock_folder\n"
    script += "with lock_folder(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with (
            pytest.raises(BlendsetError, match=r"Shard 1/4 is already running in .*set; let it end"),
            lock_folder(lock, blocking=False, name="Shard 1/4"),
        ):
            pass
        holder.kill()
    with lock_folder(lock, blocking=False):
        pass


def test_shards_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    sources = [make_dataset(tmp_path / f"source-{shard}", 0) for shard in range(2)]
    for seed in range(30):
        sources[seed % 2].write_view(view(f"chair-{seed}"), payload(seed))
    with start_writer(sources[0].root, tmp_path / "set"), start_writer(sources[1].root, tmp_path / "set"):
        pass
    dataset = Dataset(tmp_path / "set")
    write_scene(dataset)
    assert not problems(dataset)
    assert len(index_rows(dataset)) == 30


def test_a_full_disk_keeps_the_finished_views(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limit on file sizes")
    dataset = make_dataset(tmp_path / "set")
    big = {**payload(3), "passes.exr": bytes(200_000)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(BlendsetError, match=r"chair-3.passes\.exr could not be written"):
            dataset.write_view(view("chair-3"), big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not problems(dataset)
    assert verify_dataset(dataset).views == 3
    dataset.write_view(view("chair-3"), payload(3))
    assert dataset.has_view("room-1a2b3c", "chair-3")


def test_every_file_has_a_name_that_every_system_takes(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set", view_blocks=True)
    parts = {part for path in dataset.root.rglob("*") for part in path.relative_to(dataset.root).parts}
    assert not {part for part in parts if set(part) & set('<>:"\\|?* {}')}
    assert sha256_bytes(b"chair-0")[:2] in {part[1:] for part in parts if part.startswith("_")}
