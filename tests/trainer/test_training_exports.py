# SPDX-License-Identifier: Apache-2.0
"""What other trainers are given, read by readers that were written from the layouts' documentation alone: LLaVA's
conversations, SynCD's groups, Ultralytics' boxes; and how pictures of other people fare in every format.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets
import mlcroissant
import numpy as np
import pytest
import torch
import yaml  # type: ignore[import-untyped]
from PIL import Image
from pycocotools.coco import COCO

from blendset.dataset import IDS, RGB, Dataset, get_picture_name
from blendset.errors import BlendsetError
from blendset.records import SceneObjectRecord, ViewRecord, encode_json, read_json, write_json
from blendset.verification import verify_dataset
from blendset_trainer import adopt, export, score, unpack
from blendset_trainer.captioning.models.captioner import ModelCaptioner
from blendset_trainer.cli.main import main
from blendset_trainer.exporting.llava import QUALITIES, QUESTIONS, SET_QUESTIONS
from blendset_trainer.exporting.source import open_source
from blendset_trainer.models.chat.chat_model import ChatRequest, WeighedAnswer
from blendset_trainer.scoring.chat.vlm_quality import QualityScorer
from blendset_trainer.selection.files import HELD_OUT
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.tables import read_dense_captions, read_index_with_stages
from blendset_trainer.synthetic_views import SYNTHESIS, SynthesisRecord, make_unknown_camera
from blendset_trainer.training.data.sources import SourceSettings, load_source
from blendset_trainer.training.finishing import describe_licences
from tests.trainer import boxes, tiny_models
from tests.trainer.boxes import CHAIR
from tests.trainer.tiny_datasets import add_picture, choose, make_dataset

Json = dict[str, Any]
ORBIT, ANIMAL = "orbit-chair", "deformable-1"
PROMPTS = [f"a fox in a {place}. rusty fur. wide angle shot" for place in ("wood", "street", "hall")]


class Teller:
    """A chat model that knows pictures by their number and says short, dense or a set's captions as it is asked."""

    title, revision = "teller", "1"
    parameters: ClassVar[Json] = {}

    def __init__(self, quality: str = "4") -> None:
        self.quality = quality

    def setup(self) -> None:
        pass

    def generate(self, requests: Sequence[ChatRequest], max_tokens: int) -> list[str | BlendsetError]:
        return [self.answer(request) for request in requests]

    def generate_weighed(
        self, requests: Sequence[ChatRequest], words: Sequence[str], max_tokens: int
    ) -> list[WeighedAnswer]:
        return [WeighedAnswer(answer, None) for answer in self.generate(requests, max_tokens)]

    def answer(self, request: ChatRequest) -> str:
        sum_of_pictures = sum(int(picture.astype(np.int64).sum()) for picture in request.pictures)
        if "SCORE:" in request.text:
            said = "" if "DENSE:" not in request.text else f"DENSE: A whole {sum_of_pictures}.\nSHORT: All of it."
            return f"{said}\nREASON: as seen\nSCORE: {self.quality}"
        return f"{'A short' if '8 to 20 words' in request.text else 'A dense'} caption of {sum_of_pictures}."


def add_animals(dataset: Dataset) -> None:
    """A set from prompts alone, as `deformable` leaves it."""
    generator = np.random.default_rng(7)
    for number, prompt in enumerate(PROMPTS):
        rgb = generator.integers(0, 255, (32, 48, 3), dtype=np.uint8)
        add_picture(
            dataset, "prompts", "fox", number, rgb, source="synthetic", view_set=ANIMAL, view_index=number,
            camera=make_unknown_camera(48, 32),
        )  # fmt: skip
        record = SynthesisRecord(
            job="deformable", parents=(), prompt=prompt, model="m", revision="", pipeline="", scheduler={}, steps=1,
            guidance={}, seed=0,
        )  # fmt: skip
        view = next(view for view in dataset.views() if view.view_id == f"fox-{number:04d}")
        payload = {RGB: dataset.rgb_path(view).read_bytes(), SYNTHESIS: encode_json(record)}
        dataset.write_view(view, payload)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two renders alone, an orbit of four renders, and a set of three animals, captioned; a selection with a split."""
    made = make_dataset(tmp_path_factory.mktemp("data") / "sets")
    boxes.add_scene(made, "attic")
    for number in range(6):
        place: Json = {"view_set": ORBIT, "view_index": 5 - number} if number > 1 else {}
        boxes.add_view(made, "attic", number, **place)
    write_json(made.scene_path("prompts"), made.scene("attic").__class__(
        scene="prompts", blend_name="", blend_sha256="", blender_scene="", frame=0, metres_per_unit=1.0, objects=(),
        missing_files=(), notes=(),
    ))  # fmt: skip
    add_animals(made)
    made.rebuild_index()
    captioner = ModelCaptioner(Teller(), "hf", facts=False)
    for stage in (ModelCaptioner(Teller(), "hf", facts=False, view_sets=True), captioner, QualityScorer(Teller("2"))):
        assert not run_stage(made, stage, LocalExecutor()).unreadable
    made.rebuild_index(read_dense_captions(made, captioner))
    held_out = {f"attic-chair-{number:04d}" for number in (2, 3, 4, 5)}
    ids = [view.view_id for view in made.views()]
    choose(made, "split", [{"view_id": name, "split": HELD_OUT if name in held_out else "train"} for name in ids])
    return made


def read_picture(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


# --- LLaVA ------------------------------------------------------------------------------------------------------------


def read_llava(folder: Path, name: str, lists: bool = False) -> list[Json]:
    """As LazySupervisedDataset takes them: `image` lies under the folder, roles take turns and the human begins, and
    there are as many `<image>` as pictures, before anything else. Only successors of LLaVA take lists.
    """
    records: list[Json] = json.loads((folder / name).read_text(encoding="utf-8"))
    assert len({record["id"] for record in records}) == len(records)
    for record in records:
        assert isinstance(record["image"], list if lists else str)
        images: Any = record["image"] if lists else [record["image"]]
        assert all((folder / image).is_file() for image in images)
        turns = record["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert [turn["value"].count("<image>") for turn in turns] == [len(images), *[0] * (len(turns) - 1)]
        assert turns[0]["value"].startswith("<image>" * len(images) + "\n")
        assert all(turn["value"].replace("<image>", "").strip() for turn in turns)
    return records


def test_llava_asks_for_short_and_dense_captions_of_each_picture(dataset: Dataset, tmp_path: Path) -> None:
    report = export(dataset, to="llava", out=tmp_path / "out")
    assert (report.views, report.left_out, report.reasons) == (9, 0, {})
    records = read_llava(tmp_path / "out", "train.json")
    assert len(records) == 18
    views = {view.view_id: view for view in dataset.views()}
    questions: dict[str, set[str]] = {"short": set(), "dense": set()}
    for record in records:
        view_id, _, form = record["id"].rpartition("-")
        written = read_picture(tmp_path / "out" / record["image"])
        np.testing.assert_array_equal(written, read_picture(dataset.rgb_path(views[view_id])))
        [question, answer] = record["conversations"]
        assert answer["value"] == f"A {form} caption of {int(written.astype(np.int64).sum())}."
        questions[form].add(question["value"].removeprefix("<image>\n"))
    assert all(asked <= set(QUESTIONS[form]) and len(asked) > 1 for form, asked in questions.items())


def test_llava_has_one_conversation_for_all_that_is_known_of_a_view_set(dataset: Dataset, tmp_path: Path) -> None:
    export(dataset, to="llava", out=tmp_path / "out")
    records = {record["id"]: record for record in read_llava(tmp_path / "out", "train-view-sets.json", lists=True)}
    assert set(records) == {f"attic/{ORBIT}", f"prompts/{ANIMAL}"}
    orbit = records[f"attic/{ORBIT}"]
    assert [Path(image).stem for image in orbit["image"]] == [f"attic-chair-{number:04d}" for number in (5, 4, 3, 2)]
    total = sum(int(read_picture(tmp_path / "out" / image).astype(np.int64).sum()) for image in orbit["image"])
    said = [turn["value"] for turn in orbit["conversations"] if turn["from"] == "gpt"]
    assert said == [f"A whole {total}.", "All of it.", "relatively poor"]  # the judge's 2, not the captioner's 4
    asked = [turn["value"] for turn in orbit["conversations"] if turn["from"] == "human"]
    assert asked[0] == "<image>" * 4 + "\n" + SET_QUESTIONS["dense"]
    assert all(word in asked[2] for word in QUALITIES)


def test_llava_keeps_held_out_views_in_files_of_their_own(dataset: Dataset, tmp_path: Path) -> None:
    export(dataset, to="llava", out=tmp_path / "out", selection="split")
    names = {path.name for path in (tmp_path / "out").glob("*.json")}
    assert names == {"train.json", "train-view-sets.json", "val.json", "val-view-sets.json"}
    train, val = (
        {record["image"] for record in read_llava(tmp_path / "out", f"{split}.json")} for split in ("train", "val")
    )
    assert {Path(image).stem[-4:] for image in val} == {"0002", "0003", "0004", "0005"}
    assert not train & val
    [held_out] = read_llava(tmp_path / "out", "val-view-sets.json", lists=True)
    assert set(held_out["image"]) == val


def test_llava_leaves_out_what_nobody_described_and_takes_the_captions_of_the_index(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "data")
    boxes.add_scene(made, "attic")
    for number in range(3):
        boxes.add_view(made, "attic", number)
    made.rebuild_index({"attic-chair-0001": "A chair in “München”."})
    report = export(made, to="llava", out=tmp_path / "out")
    assert (report.views, report.left_out, report.reasons) == (1, 2, {"no caption": 2})
    [record] = read_llava(tmp_path / "out", "train.json")
    assert record["conversations"][1]["value"] == "A chair in “München”."
    assert len(list((tmp_path / "out" / "images").iterdir())) == 1


def test_the_conversations_of_llava_are_adopted_again_as_captions(dataset: Dataset, tmp_path: Path) -> None:
    """Each picture once, though the conversations about view sets name them, too."""
    export(dataset, to="llava", out=tmp_path / "out")
    adopt(tmp_path / "out", out=tmp_path / "again", layout="llava")
    before, after = open_source(dataset), open_source(Dataset(tmp_path / "again"))
    assert len(after.views) == len(before.views) == 9
    pictures = {before.read_file(view): before.captions[view.view_id] for view in before.views}
    assert {after.read_file(view): after.captions[view.view_id] for view in after.views} == pictures


# --- SynCD's groups ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset with scores by tiny models of both kinds."""
    made = tmp_path_factory.mktemp("scored")
    shutil.copytree(dataset.root, made / "sets")
    models = made / "models"
    head = made / "head.pth"
    torch.save({"weight": torch.linspace(-9, 9, 16)[None], "bias": torch.tensor([5.0])}, head)
    clip, dino = tiny_models.open_clip_model(models / "clip"), tiny_models.dino_model(models / "dino")
    score(made / "sets", scorers=(f"aesthetic:{head}@{clip}", f"dino:{dino}"))
    return Dataset(made / "sets")


def load_like_syncd(folder: Path, aesthetic: float, similarity: float) -> list[list[str]]:
    """The groups that SynCD's loader keeps: images of a good aesthetic score that are in a pair of `similarity` to
    0.98, in groups of two or more. Each image has a mask in masks/ beside it, of its size.
    """
    kept = []
    for record in json.loads((folder / "metadata_with_scores.json").read_bytes()):
        names = record["filenames"]
        cosines: Any = np.array(record["dino_scores"])
        assert cosines.shape == (len(names), len(names))
        assert not np.tril(cosines).any()
        pairs = (cosines >= similarity) & (cosines <= 0.98)
        in_pair = list(pairs.any(axis=0) | pairs.any(axis=1))
        good = [
            name
            for number, name in enumerate(names)
            if record["aesthetics_scores"][Path(name).stem] >= aesthetic and in_pair[number]
        ]
        for name in names:
            with Image.open(folder / name) as picture:
                size = picture.size
            with Image.open(folder / Path(name).parent / "masks" / f"{Path(name).stem}.jpg") as mask:
                assert (mask.mode, mask.size, mask.format) == ("L", size, "JPEG")
        kept += [good] if len(good) > 1 else []
    return kept


def test_groups_are_view_sets_with_prompts_and_masks(dataset: Dataset, tmp_path: Path) -> None:
    report = export(dataset, to="groups", out=tmp_path / "out")
    assert (report.views, report.reasons) == (7, {"in no view set of two or more": 2})
    assert "2 of 2 groups in train have no scores" in report.notes[0]
    folder = tmp_path / "out" / "train"
    rigid, deformable = json.loads((folder / "metadata.json").read_bytes())
    assert (rigid["category"], deformable["category"]) == ("rigid", "deformable")
    assert (rigid["category_description"], rigid["objaverse_id"]) == ("All of it.", "attic/chair")
    assert [Path(name).stem for name in rigid["filenames"]] == [f"attic-chair-{number:04d}" for number in (5, 4, 3, 2)]
    assert deformable["prompts"] == PROMPTS
    captions = open_source(dataset).captions
    assert rigid["prompts"] == [captions[Path(name).stem] for name in rigid["filenames"]]
    assert len({Path(name).parent for name in (*rigid["filenames"], *deformable["filenames"])}) == 2
    for name in rigid["filenames"]:
        ids = boxes.surface(boxes.camera_at(40.0 * int(Path(name).stem[-4:])))[1].id
        with Image.open(folder / Path(name).parent / "masks" / f"{Path(name).stem}.jpg") as mask:
            np.testing.assert_array_equal(np.asarray(mask) > 127, np.isin(ids, CHAIR))
    for name in deformable["filenames"]:
        with Image.open(folder / Path(name).parent / "masks" / f"{Path(name).stem}.jpg") as mask:
            assert np.asarray(mask).min() > 250


def test_syncds_loader_keeps_by_our_scores_what_it_would_keep_by_its_own(scored: Dataset, tmp_path: Path) -> None:
    """The cosines are those of the scorer: for each picture their mean over the set is its `set_mean`."""
    report = export(scored, to="groups", out=tmp_path / "out")
    assert report.notes == ("Scores are those of aesthetic-head and dino-dino.",)
    folder = tmp_path / "out" / "train"
    records = json.loads((folder / "metadata_with_scores.json").read_bytes())
    plain = json.loads((folder / "metadata.json").read_bytes())
    extra = {"aesthetics_scores", "dino_scores"}
    assert [{key: value for key, value in record.items() if key not in extra} for record in records] == plain
    table = {row["view_id"]: row for row in read_scores(scored)}
    for record in records:
        cosines = np.array(record["dino_scores"])
        pairs = cosines[np.triu_indices(len(cosines), 1)]
        first = table[Path(record["filenames"][0]).stem]
        assert first["dino-dino.set_mean"] == pytest.approx(pairs.mean(), abs=1e-5)
        assert first["dino-dino.set_max"] == pytest.approx(pairs.max(), abs=1e-5)
        for stem, value in record["aesthetics_scores"].items():
            assert value == table[stem]["aesthetic-head.score"]
    middle = float(np.median([value for record in records for value in record["aesthetics_scores"].values()]))
    kept = {Path(name).stem for names in load_like_syncd(folder, middle, 0.1) for name in names}
    good = {
        name: row
        for name, row in table.items()
        if row["view_set"] and row["aesthetic-head.score"] >= middle and (row["dino-dino.best_pair"] or 0) >= 0.1
    }
    expected = {
        name for name, row in good.items() if sum(other["view_set"] == row["view_set"] for other in good.values()) > 1
    }
    assert kept == expected
    assert 0 < len(kept) < 7


def read_scores(dataset: Dataset) -> list[Json]:
    rows: list[Json] = read_index_with_stages(dataset).to_pylist()
    return rows


def test_groups_that_are_held_out_have_a_folder_of_their_own(dataset: Dataset, tmp_path: Path) -> None:
    export(dataset, to="groups", out=tmp_path / "out", selection="split")
    [train] = json.loads((tmp_path / "out" / "train" / "metadata.json").read_bytes())
    [held_out] = json.loads((tmp_path / "out" / HELD_OUT / "metadata.json").read_bytes())
    assert (train["category"], held_out["category"]) == ("deformable", "rigid")


# --- YOLO -------------------------------------------------------------------------------------------------------------


def read_yolo(folder: Path, split: str) -> dict[str, list[tuple[str, Any]]]:
    """As Ultralytics reads it: a text of the picture's name under labels/, a class and four shares to a line. Returns
    names of classes and boxes (left, top, right, bottom) in pixels, by the picture's stem.
    """
    header = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    found = {}
    for path in sorted((folder / header[split]).iterdir()):
        with Image.open(path) as picture:
            width, height = picture.size
        label = Path(str(path).replace("/images/", "/labels/")).with_suffix(".txt")
        rows = np.array([line.split() for line in label.read_text().splitlines()], float).reshape(-1, 5)
        assert ((rows[:, 1:] >= 0) & (rows[:, 1:] <= 1)).all()
        corners = np.concatenate([rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2], axis=1)
        names = [header["names"][int(number)] for number in rows[:, 0]]
        found[path.stem] = list(zip(names, corners * [width, height, width, height], strict=True))
    return found


def find_box(mask: Any) -> list[int]:
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_yolo_has_the_boxes_of_the_ids_and_of_coco(dataset: Dataset, tmp_path: Path) -> None:
    report = export(dataset, to="yolo", out=tmp_path / "yolo")
    assert (report.views, report.reasons) == (6, {"not known which object a pixel shows": 3})
    assert "No view is held out" in report.notes[0]
    assert export(dataset, to="coco", out=tmp_path / "coco").reasons == report.reasons
    found = read_yolo(tmp_path / "yolo", "train")
    assert found.keys() == read_yolo(tmp_path / "yolo", "val").keys()
    parts = {"chair": CHAIR, "floor": (1,), "object": (4,)}
    for stem, boxes_of_view in found.items():
        ids = boxes.surface(boxes.camera_at(40.0 * int(stem[-4:])))[1].id
        masks = {label: np.isin(ids, numbers) for label, numbers in parts.items()}
        seen = {label: find_box(mask) for label, mask in masks.items() if mask.any()}
        assert {label for label, _ in boxes_of_view} == set(seen)
        for label, box in boxes_of_view:
            assert np.abs(box - seen[label]).max() < 0.01
    coco = COCO(tmp_path / "coco" / "annotations" / "instances_train.json")
    for image in coco.dataset["images"]:
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        of_coco = sorted((coco.cats[each["category_id"]]["name"], *each["bbox"]) for each in annotations)
        of_yolo = sorted((name, *box[:2], *(box[2:] - box[:2])) for name, box in found[Path(image["file_name"]).stem])
        assert [each[0] for each in of_coco] == [each[0] for each in of_yolo]
        assert np.abs(np.array([each[1:] for each in of_coco]) - [each[1:] for each in of_yolo]).max() < 0.01


def test_yolo_keeps_held_out_views_apart_and_labels_of_any_script(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "data")
    boxes.add_scene(made, "attic", things={2: ("A", 'Stuhl "ä": 椅子'), 3: ("B", ""), 4: ("C", "yes")})
    for number in range(2):
        boxes.add_view(made, "attic", number, subject="", subject_label="", subject_objects=())
    made.rebuild_index()
    choose(
        made,
        "few",
        [{"view_id": f"attic-chair-000{number}", "split": split} for number, split in enumerate(("train", HELD_OUT))],
    )
    report = export(made, to="yolo", out=tmp_path / "out", selection="few")
    assert report.notes == ()
    assert [list(read_yolo(tmp_path / "out", split)) for split in ("train", "val")] == [
        ["attic-chair-0000"], ["attic-chair-0001"],
    ]  # fmt: skip
    names = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text(encoding="utf-8"))["names"]
    assert set(names.values()) == {'Stuhl "ä": 椅子', "floor", "object", "yes"}
    assert list(names) == list(range(len(names)))


# --- pictures of other people -----------------------------------------------------------------------------------------

SIDEWAYS = 6
"""EXIF's orientation of a picture that has to be turned clockwise to stand upright."""


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A render, and three adopted pictures of other formats: one on its side, with ids, one of its own licence."""
    made = tmp_path_factory.mktemp("adopted")
    photos = made / "photos"
    photos.mkdir()
    smooth = np.stack(np.meshgrid(np.linspace(0, 255, 40), np.linspace(0, 255, 24)), axis=-1)
    picture = Image.fromarray(np.concatenate([smooth, smooth[..., :1]], axis=2).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    picture.save(photos / "side.jpg", exif=exif, quality=95)
    picture.save(photos / "plain.webp", lossless=True)
    picture.save(photos / "good.png")
    rows = [
        {
            "file_name": "side.jpg",
            "text": "a gradient on its side",
            "license": "CC-BY-4.0",
            "url": "https://a.example/1",
        },
        {"file_name": "plain.webp", "text": "a gradient", "license": "", "author": "Ada"},
        {"file_name": "good.png", "text": "another gradient"},
    ]
    (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    dataset = make_dataset(made / "data")
    boxes.add_scene(dataset, "attic")
    boxes.add_view(dataset, "attic", 0)
    dataset.rebuild_index({"attic-chair-0000": "a chair"})
    adopt(photos, out=dataset.root, licence="CC0-1.0")
    dataset = Dataset(dataset.root)
    add_ids(dataset, next(view for view in dataset.views() if get_picture_name(view) == "rgb.jpg"))
    dataset.rebuild_index()
    return dataset


def add_ids(dataset: Dataset, view: ViewRecord) -> None:
    """Give an adopted picture two instances: a dog on the left, and a cat below."""
    ids = np.zeros((view.camera.height, view.camera.width), np.uint16)
    ids[5:15, 2:9], ids[30:39, 10:24] = 1, 2
    file = io.BytesIO()
    Image.fromarray(ids).save(file, "PNG")
    scene = read_json(dataset.scene_path(view.scene))
    nowhere = (0.0, 0.0, 0.0)
    objects = [
        SceneObjectRecord(
            id=number, name=f"{label} 1", label=label, collection="", materials=(), bounds_min=nowhere,
            bounds_max=nowhere, structural=False, instance_of="",
        )
        for number, label in ((1, "dog"), (2, "cat"))
    ]  # fmt: skip
    write_json(dataset.scene_path(view.scene), scene | {"objects": objects})
    name = get_picture_name(view)
    dataset.write_view(view, {name: dataset.rgb_path(view).read_bytes(), IDS: file.getvalue()})


def find_view(dataset: Dataset, name: str) -> ViewRecord:
    return next(view for view in dataset.views() if view.view_id.startswith(name))


@pytest.mark.parametrize("to", ["coco", "yolo"])
def test_boxes_fit_pictures_that_lie_on_their_side(adopted: Dataset, to: str, tmp_path: Path) -> None:
    """A reader that looks at no EXIF data gets an upright picture; there are three views less."""
    report = export(adopted, to=to, out=tmp_path / "out")
    assert (report.views, report.left_out) == (2, 2)
    view = find_view(adopted, "side")
    path = tmp_path / "out" / ("train" if to == "coco" else "images/train") / f"{view.view_id}.png"
    with Image.open(path) as picture:
        assert picture.size == (24, 40) == (view.camera.width, view.camera.height)
    if to == "coco":
        coco = COCO(tmp_path / "out" / "annotations" / "instances_train.json")
        image = next(each for each in coco.dataset["images"] if each["file_name"] == path.name)
        found = {
            coco.cats[each["category_id"]]["name"]: [*each["bbox"][:2], *np.add(each["bbox"][:2], each["bbox"][2:])]
            for each in coco.loadAnns(coco.getAnnIds(image["id"]))
        }
        licences = {each["id"]: each["name"] for each in coco.dataset["licenses"]}
        assert (licences[image["license"]], image["coco_url"]) == ("CC-BY-4.0", "https://a.example/1")
        render = next(each for each in coco.dataset["images"] if each["file_name"] == "attic-chair-0000.png")
        assert (licences[render["license"]], "coco_url" in render) == ("CC0-1.0", False)
    else:
        found = dict(read_yolo(tmp_path / "out", "train")[view.view_id])
    assert set(found) == {"dog", "cat"}
    np.testing.assert_allclose(found["dog"], [2, 5, 9, 15], atol=0.01)
    np.testing.assert_allclose(found["cat"], [10, 30, 24, 39], atol=0.01)


def test_a_picture_without_instances_has_an_empty_label_file(adopted: Dataset, tmp_path: Path) -> None:
    made = tmp_path / "data"
    shutil.copytree(adopted.root, made)
    dataset = Dataset(made)
    view = find_view(dataset, "good")
    file = io.BytesIO()
    Image.fromarray(np.zeros((24, 40), np.uint16)).save(file, "PNG")
    dataset.write_view(view, {RGB: dataset.rgb_path(view).read_bytes(), IDS: file.getvalue()})
    dataset.rebuild_index()
    export(dataset, to="yolo", out=tmp_path / "out")
    assert (tmp_path / "out" / "labels" / "train" / f"{view.view_id}.txt").read_bytes() == b""


def test_pictures_keep_their_format_and_their_owners(adopted: Dataset, tmp_path: Path) -> None:
    owners = {"side": ("CC-BY-4.0", "https://a.example/1", ""), "plain": ("CC0-1.0", "", "Ada"),
              "good": ("CC0-1.0", "", ""), "attic": ("CC0-1.0", "", "tests")}  # fmt: skip
    export(adopted, to="croissant", out=tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    encoded = loaded.cast_column("image", datasets.Image(decode=False))
    for row, raw in zip(loaded, encoded, strict=True):
        view = find_view(adopted, row["view_id"])
        assert (row["licence"], row["origin"], row["creator"]) == owners[row["view_id"].split("-")[0]]
        assert raw["image"]["bytes"] == adopted.rgb_path(view).read_bytes()
        assert Path(raw["image"]["path"]).suffix == Path(get_picture_name(view)).suffix
    described = mlcroissant.Dataset(tmp_path / "out" / "croissant.json")
    assert not described.metadata.ctx.issues.errors
    document = json.loads((tmp_path / "out" / "croissant.json").read_bytes())
    assert document["license"] == ["CC0-1.0", "CC-BY-4.0"]
    assert document["description"] == "3 views of source 'photo', 1 views of source 'render', from 1 3D scenes."
    records = {record["views/view_id"].decode(): record for record in described.records("views")}
    assert records[find_view(adopted, "side").view_id]["views/licence"] == b"CC-BY-4.0"


def test_webdataset_brings_adopted_pictures_back_byte_for_byte(adopted: Dataset, tmp_path: Path) -> None:
    export(adopted, to="webdataset", out=tmp_path / "shards")
    unpack(tmp_path / "shards", out=tmp_path / "again")
    again = Dataset(tmp_path / "again")
    assert verify_dataset(again).problems == ()
    for view in adopted.views():
        folder = adopted.rgb_path(view).parent
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            path.name: path.read_bytes() for path in again.rgb_path(view).parent.iterdir()
        }
    assert open_source(again).adoptions == open_source(adopted).adoptions


@pytest.mark.parametrize(("to", "name"), [("image-text", "train/{}.jpg"), ("llava", "images/{}.png")])
def test_pictures_are_called_after_their_format(adopted: Dataset, to: str, name: str, tmp_path: Path) -> None:
    """LLaVA's loader does not turn pictures; so it is given one that is upright."""
    assert export(adopted, to=to, out=tmp_path / "out").views == 4
    side = tmp_path / "out" / name.format(find_view(adopted, "side").view_id)
    plain = side.with_name(f"{find_view(adopted, 'plain').view_id}.webp")
    assert plain.read_bytes() == adopted.rgb_path(find_view(adopted, "plain")).read_bytes()
    with Image.open(side) as picture:
        assert picture.size == ((40, 24) if to == "image-text" else (24, 40))
    if to == "llava":
        [record] = [
            each for each in read_llava(tmp_path / "out", "train.json") if each["image"] == f"images/{side.name}"
        ]
        assert (record["licence"], record["origin"]) == ("CC-BY-4.0", "https://a.example/1")


@pytest.mark.parametrize(
    ("to", "reasons"),
    [
        ("bop", {"no depth and normals": 3}),
        ("nerf", {"the camera is unknown": 3}),
        ("colmap", {"the camera is unknown": 3}),
        ("yolo", {"not known which object a pixel shows": 2}),
    ],
)
def test_what_is_left_out_is_told_with_its_reason(
    adopted: Dataset, to: str, reasons: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(adopted.root), "--to", to, "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    [(reason, count)] = reasons.items()
    assert lines[:2] == [f"{4 - count} views are in {tmp_path / 'out'}", f"{count} left out: {reason}"]
    assert export(adopted, to=to, out=tmp_path / "again").reasons == reasons


def test_a_format_without_any_view_says_why(adopted: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        BlendsetError, match=r"can go into groups \(in no view set of two or more\); choose another format"
    ):
        export(adopted, to="groups", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_card_lists_the_licences_of_the_pictures_that_were_trained_on(adopted: Dataset, tmp_path: Path) -> None:
    """Of a selection without the picture of another licence, only the dataset's."""
    side = find_view(adopted, "side").view_id
    others = [view.view_id for view in adopted.views() if view.view_id != side]
    shutil.copytree(adopted.root, tmp_path / "data")
    choose(Dataset(tmp_path / "data"), "others", [{"view_id": view_id, "source": "photo"} for view_id in others])
    for selection, licences in (("", "CC-BY-4.0, CC0-1.0"), ("others", "CC0-1.0")):
        settings = SourceSettings(name="all", kind="photo", dataset="data", selection=selection)
        source = load_source(settings, tmp_path)
        assert len(source) == (2 if selection else 3)
        assert describe_licences(Dataset(source.root), source) == licences
