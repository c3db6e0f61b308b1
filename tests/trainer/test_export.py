# SPDX-License-Identifier: Apache-2.0
"""Every export is read by its consumer, and known points of a room of boxes land where they should in each."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import mlcroissant
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pycolmap
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools import mask as reference
from pycocotools.coco import COCO

from blendset.dataset import RGB, Dataset
from blendset.errors import BlendsetError
from blendset.records import VisibleObject
from blendset.verification import verify_dataset
from blendset_trainer.cli.commands import export
from blendset_trainer.cli.parser import Parser
from blendset_trainer.exporting.coco import encode_rle
from blendset_trainer.exporting.export import FORMATS
from blendset_trainer.exporting.geometry import compute_quaternion, encode_depth_png
from blendset_trainer.exporting.source import ExportSource, create_folder, open_source
from blendset_trainer.exporting.webdataset import export as pack
from blendset_trainer.exporting.webdataset import list_members
from blendset_trainer.selection.files import HELD_OUT
from blendset_trainer.synthetic_views import make_unknown_camera
from tests.trainer.boxes import BOXES, CHAIR, add_scene, add_view, camera_at, surface
from tests.trainer.tiny_datasets import choose, make_dataset

CAPTION = "A chair beside a cube, “in” München."
HELD_OUT_VIEW = "attic-chair-0003"
PIXELS = 0.01
"""How far a known point may land from where it is; counting from a pixel's corner instead of its centre costs 0.5."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two scenes, one in centimetres and with a view set; captions; a selection that holds one view out."""
    dataset = make_dataset(tmp_path_factory.mktemp("data") / "boxes")
    for scene, units in (("attic", 1.0), ("cellar", 0.01)):
        add_scene(dataset, scene, units)
        for number in range(4 if scene == "attic" else 2):
            add_view(dataset, scene, number, view_set="pair" if scene == "cellar" else "", view_index=number)
    dataset.rebuild_index()
    index = dataset.root / "metadata.jsonl"
    rows = [json.loads(line) | {"caption": CAPTION} for line in index.read_text(encoding="utf-8").splitlines()]
    index.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    ids = [f"attic-chair-{number:04d}" for number in (2, 0, 3)]
    split = [HELD_OUT if view_id == HELD_OUT_VIEW else "train" for view_id in ids]
    choose(dataset, "few", [{"view_id": view_id, "split": name} for view_id, name in zip(ids, split, strict=True)])
    return dataset


def run(*words: str | Path) -> int:
    parser = Parser(prog="blendset")
    commands = parser.add_subparsers()
    export.add_export(commands)
    export.add_unpack(commands)
    arguments = parser.parse_args([str(word) for word in words])
    return int(arguments.run(arguments))


@pytest.fixture(scope="module")
def exported(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns the folder of an export, made once."""
    root, made = tmp_path_factory.mktemp("exports"), {}

    def folder(to: str, selection: str = "") -> Path:
        if (to, selection) not in made:
            made[to, selection] = root / f"{to}-{selection}"
            words = ["--selection", selection] if selection else []
            assert run("export", dataset.root, "--to", to, "--out", made[to, selection], *words) == 0
        return made[to, selection]

    return folder


def truth(number: int) -> tuple[Any, Any, Any]:
    """Positions (N, 3) that a view sees, the pixels (N, 2) that show them, from the corner, and its ids (H, W)."""
    positions, passes = surface(camera_at(40.0 * number))
    row, column = np.nonzero(passes.id)
    return positions[row, column], np.stack([column, row], axis=1) + 0.5, passes.id


def landing(points: Any, intrinsics: Any, rotation: Any, translation: Any) -> Any:
    """Pixels of world points by the textbook: K [R|t], axes as OpenCV's."""
    local = points @ np.asarray(rotation).T + translation
    homogeneous = local @ np.asarray(intrinsics).T
    return homogeneous[:, :2] / homogeneous[:, 2:]


# --- COCO ---


def test_coco_shows_each_thing_once_and_its_mask(exported: Any) -> None:
    coco = COCO(exported("coco") / "annotations" / "instances_train.json")
    image = next(each for each in coco.loadImgs(coco.getImgIds()) if each["file_name"] == "attic-chair-0001.png")
    _, _, ids = truth(1)
    found = {}
    for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
        category = coco.loadCats(annotation["category_id"])[0]
        found[category["name"]] = coco.annToMask(annotation)
        assert annotation["area"] == reference.area(annotation["segmentation"])
        assert annotation["bbox"] == reference.toBbox(annotation["segmentation"]).tolist()
    assert set(found) == {"floor", "chair", "object"}
    assert {category["name"]: category["supercategory"] for category in coco.cats.values()}["floor"] == "structure"
    np.testing.assert_array_equal(found["chair"], np.isin(ids, CHAIR))
    np.testing.assert_array_equal(found["object"], ids == 4)
    with Image.open(exported("coco") / "train" / image["file_name"]) as picture:
        assert picture.size == (image["width"], image["height"])
    assert image["camera"]["fx"] == camera_at(40).focal_length_px


def test_coco_keeps_held_out_views_apart(exported: Any) -> None:
    folder = exported("coco", "few")
    train, held_out = (COCO(folder / "annotations" / f"instances_{split}.json") for split in ("train", "val"))
    assert [each["file_name"] for each in held_out.dataset["images"]] == [f"{HELD_OUT_VIEW}.png"]
    assert (folder / "val" / f"{HELD_OUT_VIEW}.png").is_file()
    assert {each["id"] for each in train.dataset["images"]} & {
        each["id"] for each in held_out.dataset["images"]
    } == set()
    assert train.dataset["categories"] == held_out.dataset["categories"]


@settings(deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_lengths_are_those_of_the_reference_encoder(mask: Any) -> None:
    assert encode_rle(mask) == reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def export_things(
    root: Path, things: dict[int, tuple[str, str]], *views: dict[str, Any], to: str = "coco", name: str = "attic"
) -> Path:
    """Export views of a scene whose record says which objects are parts of which thing."""
    made = make_dataset(root / "data")
    add_scene(made, name, things=things)
    for number, changes in enumerate(views):
        add_view(made, name, number, **changes)
    made.rebuild_index()
    run("export", made.root, "--to", to, "--out", root / to)
    return root / to


def find_masks(folder: Path, image: int = 1) -> list[tuple[str, str, Any]]:
    """Category, object and mask of each annotation of an image."""
    coco = COCO(folder / "annotations" / "instances_train.json")
    annotations = coco.loadAnns(coco.getAnnIds(image))
    return [(coco.cats[each["category_id"]]["name"], each["object"], coco.annToMask(each)) for each in annotations]


CAR = {2: ("Car", "car"), 3: ("Car", "car"), 4: ("Car", "car")}
NOTHING = {"subject": "", "subject_label": "", "subject_objects": ()}


@pytest.mark.parametrize(
    "subject",
    [
        NOTHING,
        {"subject": "car", "subject_label": "car", "subject_objects": (2, 3, 4)},
        {"subject": "wheel", "subject_label": "wheel", "subject_objects": (3,)},
        {"subject": "wheels", "subject_label": "wheels", "subject_objects": (3, 4)},
    ],
)
def test_a_thing_is_one_instance_whatever_the_views_are_about(tmp_path: Path, subject: dict[str, Any]) -> None:
    folder = export_things(tmp_path, CAR, subject)
    ids = truth(0)[2]
    assert {(label, name) for label, name, _ in find_masks(folder)} == {("floor", "floor"), ("car", "Car")}
    [mask] = [mask for label, _, mask in find_masks(folder) if label == "car"]
    np.testing.assert_array_equal(mask, np.isin(ids, (2, 3, 4)))


def test_a_thing_and_a_subject_of_old_stand_side_by_side(tmp_path: Path) -> None:
    """The view lists an object that is part of a thing: the thing keeps it, and the subject has what is left."""
    folder = export_things(tmp_path, {4: ("Lamp", "lamp")}, {"subject_objects": (2, 3, 4)})
    ids = truth(0)[2]
    found = {label: mask for label, _, mask in find_masks(folder)}
    np.testing.assert_array_equal(found["chair"], np.isin(ids, CHAIR))
    np.testing.assert_array_equal(found["lamp"], ids == 4)


def test_things_of_one_label_are_several_and_a_thing_without_one_is_an_object(tmp_path: Path) -> None:
    folder = export_things(
        tmp_path, {1: ("hall", ""), 2: ("A", "chair"), 3: ("B", "chair"), 4: ("B", "chair")}, NOTHING
    )
    assert sorted((label, name) for label, name, _ in find_masks(folder)) == [
        ("chair", "A"), ("chair", "B"), ("object", "hall"),
    ]  # fmt: skip


def test_labels_that_differ_in_capitals_are_one_category(tmp_path: Path) -> None:
    folder = export_things(tmp_path, {2: ("A", "Chair"), 3: ("B", "chair"), 4: ("C", "CHAIR")}, NOTHING)
    assert {label for label, _, _ in find_masks(folder)} == {"floor", "Chair"}


def test_bop_has_one_model_for_a_thing(tmp_path: Path) -> None:
    folder = export_things(
        tmp_path, CAR, {"subject": "wheel", "subject_label": "wheel", "subject_objects": (3,)}, to="bop"
    )
    models = json.loads((folder / "models" / "models_info.json").read_bytes())
    assert [(model["name"], model["label"]) for model in models.values()] == [("floor", "floor"), ("Car", "car")]
    corners = np.array([BOXES[name] for name in ("seat", "back", "Cube.004")])
    sides = corners.max(axis=(0, 1)) - corners.min(axis=(0, 1))
    assert [models["2"][f"size_{axis}"] for axis in "xyz"] == pytest.approx((1000 * sides).tolist())


def test_huggingface_names_parts_by_their_thing(tmp_path: Path) -> None:
    visible = tuple(VisibleObject(number, label, 9, 0.1) for number, label in ((1, "floor"), (3, "back")))
    folder = export_things(tmp_path, CAR, {"visible_objects": visible}, to="huggingface")
    [row] = pq.read_table(next(folder.glob("data/*.parquet"))).to_pylist()
    assert [(each["id"], each["label"]) for each in row["visible_objects"]] == [(1, "floor"), (3, "car")]


def test_a_missing_record_says_what_writes_it(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "data")
    add_scene(made, "attic")
    add_view(made, "attic", 0)
    made.rebuild_index()
    made.run_path("attic-run").unlink()
    with pytest.raises(BlendsetError, match=r"attic-run.json is missing; restore it, or run the command that rendered"):
        run("export", made.root, "--to", "croissant", "--out", tmp_path / "out")
    made.scene_path("attic").unlink()
    for to in ("coco", "bop", "nerf", "croissant"):
        with pytest.raises(BlendsetError, match=r"attic.json is missing; restore it, or run the command"):
            run("export", made.root, "--to", to, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_view_of_an_object_that_the_scene_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        BlendsetError, match=r"attic-chair-0000 is about object 9, which scenes/attic.json does not list"
    ):
        export_things(tmp_path, {}, {"subject_objects": (2, 9)})


# --- COLMAP ---


def test_colmap_reads_cameras_points_and_tracks(exported: Any) -> None:
    model = pycolmap.Reconstruction(exported("colmap") / "attic" / "sparse" / "0")
    assert (model.num_cameras(), model.num_images()) == (1, 4)
    assert model.num_points3D() > 1000
    for image in model.images.values():
        points, pixels, _ = truth(int(image.name[-8:-4]))
        there = image.cam_from_world() if callable(image.cam_from_world) else image.cam_from_world
        matrix = there.matrix()
        landed = landing(points, image.camera.calibration_matrix(), matrix[:, :3], matrix[:, 3])
        assert np.abs(landed - pixels).max() < PIXELS


def test_colmap_tracks_are_true(exported: Any) -> None:
    """Every point lies on a box, and each view in its track shows that very place, unhidden."""
    model = pycolmap.Reconstruction(exported("colmap") / "attic" / "sparse" / "0")
    assert {point.track.length() for point in model.points3D.values()} == {2, 3, 4}
    low, high = (np.array([box[side] for box in BOXES.values()]) for side in (0, 1))
    points = np.array([point.xyz for point in model.points3D.values()])
    beyond = np.maximum(low[:, None] - points, points - high[:, None]).max(axis=2)
    assert np.abs(beyond).min(axis=0).max() < 1e-5
    for image in model.images.values():
        camera = camera_at(40.0 * int(image.name[-8:-4]))
        positions, passes = surface(camera)
        places = image.get_observation_points2D()
        pixels = np.array([place.xy for place in places])
        points = np.array([model.points3D[place.point3D_id].xyz for place in places])
        assert np.abs(camera.project(points)[0] - pixels).max() < PIXELS
        column, row = pixels.astype(int).T
        oblique = np.abs(passes.normal[row, column] @ camera.rotation[:, 2])
        footprint = passes.depth[row, column] / camera.focal_length_px / np.maximum(oblique, 0.02)
        assert (np.linalg.norm(points - positions[row, column], axis=1) < 2 * footprint).all()


def test_colmap_names_held_out_views_where_splatting_looks(exported: Any) -> None:
    listed = (exported("colmap", "few") / "attic" / "sparse" / "0" / "test.txt").read_text(encoding="utf-8").split()
    assert listed == [f"{HELD_OUT_VIEW}.png"]
    assert not (exported("colmap") / "attic" / "sparse" / "0" / "test.txt").exists()


@settings(deadline=None)
@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(x * x for x in q) > 0.1))
def test_quaternion(numbers: tuple[float, ...]) -> None:
    wanted = np.array(numbers) / np.linalg.norm(numbers)
    rotation = pycolmap.Rotation3d(wanted[[1, 2, 3, 0]]).matrix()
    assert abs(compute_quaternion(rotation) @ wanted) == pytest.approx(1, abs=1e-9)


# --- NeRF ---


def test_nerf_unprojects_depth_onto_the_boxes(exported: Any) -> None:
    """As nerfstudio reads it: camera-to-world with OpenGL's axes, depth along the axis in thousandths."""
    folder = exported("nerf") / "attic"
    document = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))
    assert len(document["frames"]) == 4
    for frame in document["frames"]:
        points, pixels, _ = truth(int(frame["file_path"][-8:-4]))
        column, row = pixels.astype(int).T
        with Image.open(folder / frame["depth_file_path"]) as picture:
            depth = np.asarray(picture)[row, column] * document["integer_depth_scale"]
        x, y = (pixels[:, 0] - frame["cx"]) / frame["fl_x"], -(pixels[:, 1] - frame["cy"]) / frame["fl_y"]
        local = depth[:, None] * np.stack([x, y, -np.ones_like(x)], axis=1)
        matrix = np.array(frame["transform_matrix"])
        assert np.abs(local @ matrix[:3, :3].T + matrix[:3, 3] - points).max() < 1e-3
        with Image.open(folder / frame["file_path"]) as picture:
            assert picture.size == (frame["w"], frame["h"])


def test_nerf_tells_instant_ngp_how_far_the_scene_reaches(exported: Any) -> None:
    """Its cube of side 1 is 3.03 units wide; the floor of the boxes is 8."""
    assert json.loads((exported("nerf") / "attic" / "transforms.json").read_bytes())["aabb_scale"] == 4


def test_a_depth_map_holds_every_surface_and_only_those() -> None:
    depth = np.array([[0.0004, 0.0015, 65.535, np.inf]])
    with Image.open(io.BytesIO(encode_depth_png(depth, 0.001))) as picture:
        assert np.asarray(picture).tolist() == [[1, 2, 65535, 0]]
    with pytest.raises(ValueError, match="too small"):
        encode_depth_png(np.array([[65.54]]), 0.001)


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, dict[str, float]]:
    """The room in millimetres, centimetres, metres, hectometres and kilometres, and how large each is in its unit."""
    scales = {"millimetres": 1000.0, "centimetres": 100.0, "metres": 1.0, "hectometres": 0.01, "kilometres": 0.001}
    dataset = make_dataset(tmp_path_factory.mktemp("sizes") / "boxes")
    for scene, scale in scales.items():
        add_scene(dataset, scene, 1 / scale, scale)
        for number in range(2):
            add_view(dataset, scene, number, scale)
    dataset.rebuild_index()
    return dataset, scales


@pytest.mark.parametrize("to", ["nerf", "bop"])
def test_depth_is_as_exact_in_every_unit(sizes: tuple[Dataset, dict[str, float]], to: str, tmp_path: Path) -> None:
    """The farthest surface is 10.2 m away: a step of 0.16 mm, an error of 0.08; 0.5 mm where nerfstudio's own step
    serves as well."""
    dataset, scales = sizes
    out = tmp_path / to
    assert run("export", dataset.root, "--to", to, "--out", out) == 0
    for place, (scene, scale) in enumerate(sorted(scales.items())):
        for number in range(2):
            folder = out / scene if to == "nerf" else out / "train" / f"{place:06d}"
            name = f"{scene}-chair-{number:04d}.png" if to == "nerf" else f"{number:06d}.png"
            with Image.open(folder / "depth" / name) as picture:
                levels = np.asarray(picture)
            true = surface(camera_at(40.0 * number))[1].depth
            if to == "nerf":
                step = json.loads((folder / "transforms.json").read_bytes())["integer_depth_scale"]
                error, millimetres = (5e-4 if scene == "metres" else 8e-5), 1000 / scale
            else:
                step = json.loads((folder / "scene_camera.json").read_bytes())[str(number)]["depth_scale"]
                error, millimetres = 8e-5, 1.0
            seen = np.isfinite(true)
            assert np.array_equal(levels > 0, seen)
            assert np.abs(levels[seen] * step * millimetres / 1000 - true[seen]).max() < error


def test_nerf_lists_splits_only_where_there_are_some(exported: Any) -> None:
    few = json.loads((exported("nerf", "few") / "attic" / "transforms.json").read_text(encoding="utf-8"))
    assert few["val_filenames"] == few["test_filenames"] == [f"images/{HELD_OUT_VIEW}.png"]
    assert len(few["train_filenames"]) == 2
    assert "train_filenames" not in json.loads((exported("nerf") / "attic" / "transforms.json").read_bytes())


# --- BOP ---


@pytest.mark.parametrize(("number", "scene", "millimetres"), [(0, "attic", 1000.0), (1, "cellar", 10.0)])
def test_bop_is_in_millimetres_and_counts_pixels_from_centres(
    exported: Any, number: int, scene: str, millimetres: float
) -> None:
    """Read as BOP's toolkit documents it; its own reader was not installed here."""
    folder = exported("bop") / "train" / f"{number:06d}"
    cameras, poses, figures = (
        json.loads((folder / f"scene_{name}.json").read_bytes()) for name in ("camera", "gt", "gt_info")
    )
    models = json.loads((exported("bop") / "models" / "models_info.json").read_bytes())
    for key, camera in cameras.items():
        points, pixels, ids = truth(int(camera["view_id"][-4:]))
        assert camera["view_id"].startswith(scene)
        intrinsics, rotation = (np.reshape(camera[name], (3, 3)) for name in ("cam_K", "cam_R_w2c"))
        landed = landing(points * millimetres, intrinsics, rotation, camera["cam_t_w2c"])
        assert np.abs(landed + 0.5 - pixels).max() < PIXELS
        with Image.open(folder / "depth" / f"{int(key):06d}.png") as picture:
            depth = np.asarray(picture)[ids > 0] * camera["depth_scale"]
        there = points * millimetres @ rotation.T + camera["cam_t_w2c"]
        assert np.abs(depth - there[:, 2]).max() <= camera["depth_scale"]
        chair = next(place for place, each in enumerate(poses[key]) if models[str(each["obj_id"])]["label"] == "chair")
        with Image.open(folder / "mask_visib" / f"{int(key):06d}_{chair:06d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture) == 255, np.isin(ids, CHAIR))
        assert figures[key][chair]["px_count_visib"] == np.isin(ids, CHAIR).sum()
        _check_model(models[str(poses[key][chair]["obj_id"])], poses[key][chair], there, np.isin(ids, CHAIR)[ids > 0])


def _check_model(model: dict[str, Any], pose: dict[str, Any], there: Any, chair: Any) -> None:
    """What is seen of the chair lies in its box, when moved from the camera into the model's space."""
    local = (there[chair] - pose["cam_t_m2c"]) @ np.reshape(pose["cam_R_m2c"], (3, 3))
    low = np.array([model[f"min_{axis}"] for axis in "xyz"])
    size = np.array([model[f"size_{axis}"] for axis in "xyz"])
    assert ((local > low - 0.1) & (local < low + size + 0.1)).all()
    assert np.ptp(local, axis=0).max() > 0.5 * size.max()


def test_bop_puts_held_out_views_into_val(exported: Any) -> None:
    cameras = json.loads((exported("bop", "few") / "val" / "000000" / "scene_camera.json").read_bytes())
    assert [camera["view_id"] for camera in cameras.values()] == [HELD_OUT_VIEW]


# --- WebDataset ---


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".") and "cache" not in path.relative_to(root).parts
    }


def test_webdataset_iterates_pictures_records_and_captions(exported: Any) -> None:
    shards = sorted(str(path) for path in exported("webdataset").glob("train-*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert len(samples) == 6
    assert samples[0]["__key__"] == "views/attic/attic-chair-0000"
    assert samples[0]["rgb.png"].shape == (64, 96, 3)
    assert samples[0]["view.json"]["view_id"] == "attic-chair-0000"
    assert samples[0]["txt"] == CAPTION


def test_webdataset_unpacks_into_the_same_bytes(dataset: Dataset, exported: Any, tmp_path: Path) -> None:
    assert run("unpack", exported("webdataset"), "--out", tmp_path / "again") == 0
    assert files(tmp_path / "again") == files(dataset.root)
    assert verify_dataset(Dataset(tmp_path / "again")).problems == ()


def test_webdataset_of_a_selection_is_a_sound_smaller_dataset(exported: Any, tmp_path: Path) -> None:
    assert run("unpack", exported("webdataset", "few"), "--out", tmp_path / "few") == 0
    report = verify_dataset(Dataset(tmp_path / "few"))
    assert (report.views, report.problems) == (3, ())
    held_out = webdataset.WebDataset(str(exported("webdataset", "few") / "held-out-000000.tar"), shardshuffle=False)
    assert [sample["__key__"] for sample in held_out] == [f"views/attic/{HELD_OUT_VIEW}"]


def test_webdataset_splits_into_shards_and_finds_each_file_by_its_index(dataset: Dataset, tmp_path: Path) -> None:
    source = open_source(dataset)
    pack(source, tmp_path, shard_bytes=2 * sum(each.bytes for each in source.views[0].files.values()))
    assert len(list(tmp_path.glob("train-*.tar"))) >= 3
    rows = pq.read_table(tmp_path / "index.parquet").to_pylist()
    for view in source.views:
        row = next(each for each in rows if each["view_id"] == view.view_id and each["member"].endswith(RGB))
        with (tmp_path / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            assert file.read(row["size"]) == source.read_file(view)


def forged(folder: Path, member: tarfile.TarInfo, data: bytes = b"") -> Path:
    """Shards of one archive with one member, and an index that lists it."""
    folder.mkdir()
    member.size = len(data)
    with tarfile.open(folder / "records.tar", "w") as archive:
        archive.addfile(member, io.BytesIO(data))
    pq.write_table(pa.Table.from_pylist(list(list_members(folder / "records.tar"))), folder / "index.parquet")
    return folder


@pytest.mark.parametrize("name", ["../evil.txt", "views/../../evil.rgb.png", "/tmp/evil.txt", "a/../../evil.txt"])
def test_unpack_refuses_what_would_land_elsewhere(name: str, tmp_path: Path) -> None:
    shards = forged(tmp_path / "shards", tarfile.TarInfo(name), b"evil")
    with pytest.raises(BlendsetError, match=r"holds '.*evil.*', which is no file inside a dataset"):
        run("unpack", shards, "--out", tmp_path / "out" / "data")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["index.parquet", "records.tar"]


def test_unpack_refuses_links(tmp_path: Path) -> None:
    link = tarfile.TarInfo("scenes")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with pytest.raises(BlendsetError, match="no file inside a dataset"):
        run("unpack", forged(tmp_path / "shards", link), "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unpack_notices_missing_and_truncated_archives(exported: Any, tmp_path: Path) -> None:
    for path in exported("webdataset").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shard = tmp_path / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:20480])
    with pytest.raises(BlendsetError, match=r"train-000000.tar cannot be unpacked .*; copy the shards again"):
        run("unpack", tmp_path, "--out", tmp_path / "out")
    shard.unlink()
    with pytest.raises(BlendsetError, match=r"train-000000.tar cannot be unpacked"):
        run("unpack", tmp_path, "--out", tmp_path / "out")
    pq.write_table(pa.table({"shard": ["train-000000.tar"]}), tmp_path / "index.parquet")
    with pytest.raises(BlendsetError, match=r"index.parquet cannot be read .*; give a folder that 'blendset export"):
        run("unpack", tmp_path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- Hugging Face, Croissant, pictures with texts ---


def test_huggingface_loads_pictures_and_columns(dataset: Dataset, exported: Any, tmp_path: Path) -> None:
    loaded = datasets.load_dataset(str(exported("huggingface", "few")), cache_dir=str(tmp_path))
    assert {name: len(rows) for name, rows in loaded.items()} == {"train": 2, "test": 1}
    row = loaded["train"][0]
    view = open_source(dataset, "few").views[0]
    assert (row["view_id"], row["caption"], row["fx"]) == (view.view_id, CAPTION, view.camera.fx)
    assert tuple(row["world_from_camera"]) == view.camera.world_from_camera
    with Image.open(dataset.rgb_path(view)) as picture:
        np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(picture))


def test_croissant_is_valid_and_yields_records(exported: Any) -> None:
    folder = exported("croissant", "few")
    described = mlcroissant.Dataset(folder / "croissant.json")
    assert not described.metadata.ctx.issues.errors
    records = list(described.records("views"))
    assert [(record["views/view_id"].decode(), record["views/split"].decode()) for record in records] == [
        (HELD_OUT_VIEW, "test"), ("attic-chair-0002", "train"), ("attic-chair-0000", "train")
    ]  # fmt: skip
    assert records[0]["views/image"].size == (96, 64)


def test_croissant_says_where_the_pictures_come_from(exported: Any) -> None:
    told = json.loads((exported("croissant") / "croissant.json").read_bytes())
    assert told["rai:hasSyntheticData"] is True
    scenes = {scene["name"]: scene for scene in told["prov:wasDerivedFrom"]}
    assert set(scenes) == {"attic.blend", "cellar.blend"}
    assert (scenes["attic.blend"]["license"], scenes["attic.blend"]["sha256"]) == ("CC0-1.0", "ab" * 32)
    renderers = {run["prov:wasAssociatedWith"]["prov:label"] for run in told["prov:wasGeneratedBy"]}
    assert renderers == {"Blender 4.5.1 LTS (abc), Cycles on CPU"}


def test_image_text_pairs_share_their_names(exported: Any) -> None:
    folder = exported("image-text", "few")
    assert sorted(path.stem for path in (folder / "train").glob("*.png")) == ["attic-chair-0000", "attic-chair-0002"]
    assert (folder / HELD_OUT / f"{HELD_OUT_VIEW}.txt").read_text(encoding="utf-8") == CAPTION


def test_image_text_refuses_pictures_without_words(dataset: Dataset, tmp_path: Path) -> None:
    views = open_source(dataset).views
    silent = ExportSource(dataset, views, {})
    with pytest.raises(BlendsetError, match=r"no caption for attic-chair-0000 \(6 in all\); run 'blendset caption'"):
        FORMATS.load("image-text")(silent, tmp_path)


# --- all of them ---


@pytest.mark.parametrize("to", FORMATS)
def test_the_same_views_give_the_same_bytes(to: str, dataset: Dataset, exported: Any, tmp_path: Path) -> None:
    run("export", dataset.root, "--to", to, "--out", tmp_path / "again")
    assert files(tmp_path / "again") == files(exported(to))


@pytest.mark.parametrize(("to", "left"), [("coco", 1), ("bop", 1), ("nerf", 2), ("colmap", 2), ("huggingface", 3)])
def test_views_without_passes_or_camera_are_left_out_where_they_cannot_go(
    to: str, left: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(tmp_path / "data")
    add_scene(dataset, "attic")
    add_view(dataset, "attic", 0)
    generated = add_view(dataset, "attic", 1)
    picture = dataset.rgb_path(generated).read_bytes()
    dataset.write_view(generated, {RGB: picture})
    drawn = add_view(dataset, "attic", 2)
    camera = make_unknown_camera(drawn.camera.width, drawn.camera.height)
    dataset.write_view(replace(drawn, camera=camera), {RGB: dataset.rgb_path(drawn).read_bytes()})
    dataset.rebuild_index()
    run("export", dataset.root, "--to", to, "--out", tmp_path / "out")
    assert capsys.readouterr().out.startswith(f"{left} views are in")


def test_a_folder_that_holds_something_is_refused(dataset: Dataset, exported: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    run("export", dataset.root, "--to", "coco", "--out", tmp_path / "out")
    with pytest.raises(BlendsetError, match=r"out is not empty; choose a new or empty folder"):
        run("export", dataset.root, "--to", "nerf", "--out", tmp_path / "out")
    assert files(tmp_path / "out") == files(exported("coco"))
    with pytest.raises(BlendsetError, match="lies inside the dataset"):
        run("export", dataset.root, "--to", "coco", "--out", dataset.root / "coco")


def test_an_interrupted_export_leaves_nothing(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), create_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("done", encoding="utf-8")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_changed_picture_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "data")
    add_scene(dataset, "attic")
    picture = dataset.rgb_path(add_view(dataset, "attic", 0))
    dataset.rebuild_index()
    picture.write_bytes(picture.read_bytes()[:-20])
    for to in ("coco", "webdataset"):
        with pytest.raises(BlendsetError, match=r"rgb.png was changed: .*; render it again"):
            run("export", dataset.root, "--to", to, "--out", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_unknown_selection_names_those_there_are(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(BlendsetError, match=r"has no selection 'fwe'; it has few\."):
        run("export", dataset.root, "--to", "coco", "--out", tmp_path / "out", "--selection", "fwe")
