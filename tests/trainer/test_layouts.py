# SPDX-License-Identifier: Apache-2.0
"""Layouts of other people's pictures, each written by its own library and read back."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as mask_tools
from pycocotools.coco import COCO

from blendset.dataset import INDEX, Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.files import sha256_bytes
from blendset_trainer.adopted_views import read_adoptions
from blendset_trainer.adoption.adopt import adopt
from blendset_trainer.adoption.layouts.detection import detect_layout, find_layout
from blendset_trainer.adoption.pictures import PictureContent, PictureSource, SourcePicture
from blendset_trainer.exporting.export import export
from blendset_trainer.stages.caption_forms import DENSE, SHORT
from tests.trainer import boxes
from tests.trainer.damages import CHANGES, RUINS, read_state, restore_state
from tests.trainer.tiny_datasets import make_dataset
from tests.trainer.tiny_hub import HubDataset, serve_hub


def make_picture(number: int, width: int = 12, height: int = 8, kind: str = "JPEG") -> bytes:
    """A picture's bytes, which differ for each number."""
    pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


def read_all(source: PictureSource) -> dict[str, PictureContent | str]:
    """What each picture holds by its name, or why it cannot be read."""
    contents: dict[str, PictureContent | str] = {}
    for picture in source.list_pictures():
        assert picture.name not in contents
        try:
            contents[picture.name] = picture.read()
        except BlendsetError as error:
            contents[picture.name] = str(error)
    return contents


def read_sound(source: PictureSource) -> dict[str, PictureContent]:
    """What each picture holds by its name; all can be read."""
    contents = read_all(source)
    assert all(isinstance(content, PictureContent) for content in contents.values()), contents
    return contents  # type: ignore[return-value]


def list_stamps(source: PictureSource) -> dict[str, str]:
    return {picture.name: picture.stamp for picture in source.list_pictures()}


def make_boxes(root: Path) -> Dataset:
    """A rendered dataset of two views with passes."""
    dataset = make_dataset(root)
    boxes.add_scene(dataset, "attic")
    for number in range(2):
        boxes.add_view(dataset, "attic", number)
    dataset.rebuild_index()
    return dataset


# ---- WebDataset ------------------------------------------------------------------------------------------------------

Sample = Mapping[str, Any]


def write_shard(path: Path, samples: list[Sample]) -> None:
    with webdataset.TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)


def make_sample(number: int, **more: Any) -> Sample:
    return {"__key__": f"{number:06d}", "jpg": make_picture(number), **more}


def test_shards_of_webdataset_read_back(tmp_path: Path) -> None:
    samples = [
        make_sample(n, txt=f"caption {n} é", json={"caption": "another", "url": f"http://x/{n}", "license": "CC0"})
        for n in range(7)
    ]
    with webdataset.ShardWriter(str(tmp_path / "part-%03d.tar"), maxcount=3, verbose=0) as writer:
        for sample in samples:
            writer.write(sample)
    assert detect_layout(str(tmp_path)) == "webdataset"
    source = find_layout(str(tmp_path))
    contents = read_sound(source)
    assert list(contents) == [f"{n:06d}.jpg" for n in range(7)]
    for number, content in enumerate(contents.values()):
        assert content.data == make_picture(number)
        assert content.path is None
        assert (content.captions, content.variants) == ({DENSE: f"caption {number} é"}, ("another",))
        assert (content.licence, content.origin, content.notes) == ("CC0", f"http://x/{number}", ())
    assert source.findings == ()


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_shards_are_read_in_any_order_by_many_threads(tmp_path: Path, ending: str) -> None:
    for shard in range(3):
        write_shard(tmp_path / f"{shard}{ending}", [make_sample(shard * 20 + n) for n in range(20)])
    pictures = list(find_layout(str(tmp_path)).list_pictures())
    order = np.random.default_rng(0).permutation(60).tolist()
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda number: pictures[number].read(), order))
    assert [content.data for content in contents] == [make_picture(number) for number in order]


# ---- Hugging Face ----------------------------------------------------------------------------------------------------

FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "text": datasets.Value("string"),
        "license": datasets.Value("string"),
        "url": datasets.Value("string"),
        "author": datasets.Value("string"),
    }
)


def make_rows(numbers: Iterable[int], **more: Any) -> dict[str, list[Any]]:
    numbers = list(numbers)
    rows: dict[str, list[Any]] = {
        "image": [{"bytes": make_picture(n), "path": f"{n}.jpg"} for n in numbers],
        "text": [f"caption {n}" for n in numbers],
        "license": ["CC0"] * len(numbers),
        "url": [f"http://x/{n}" for n in numbers],
        "author": ["Ada"] * len(numbers),
    }
    return rows | more


def check_rows(contents: Mapping[str, PictureContent], numbers: Iterable[int], prefix: str = "") -> None:
    numbers = list(numbers)
    assert list(contents) == [f"{prefix}{n}.jpg" for n in numbers]
    for number, content in zip(numbers, contents.values(), strict=True):
        assert content.data == make_picture(number)
        assert (content.captions, content.variants) == ({DENSE: f"caption {number}"}, ())
        assert (content.licence, content.origin, content.creator) == ("CC0", f"http://x/{number}", "Ada")


def test_a_saved_dataset_reads_back(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict(make_rows(range(50)), FEATURES)
    rows.info.license = "CC-BY-4.0"
    rows.save_to_disk(tmp_path / "birds", num_shards=3)
    assert detect_layout(str(tmp_path / "birds")) == "huggingface"
    source = find_layout(str(tmp_path / "birds"))
    assert (source.title, source.licence) == ("birds", "CC-BY-4.0")
    check_rows(read_sound(source), range(50))
    assert source.findings == ()


def test_splits_of_a_saved_dataset_are_all_adopted_or_one(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict(make_rows(range(5)), FEATURES)
    datasets.DatasetDict(train=rows, test=rows.select([1])).save_to_disk(tmp_path)
    source = find_layout(str(tmp_path))
    contents = read_sound(source)
    assert list(contents) == [*(f"train/{n}.jpg" for n in range(5)), "test/1.jpg"]
    assert source.findings == ("all splits are adopted, train, test; add #SPLIT to adopt one",)
    check_rows(read_sound(find_layout(f"{tmp_path}#train")), range(5))
    with pytest.raises(SettingsError, match="has no split 'dev'; it has train, test"):
        find_layout(f"{tmp_path}#dev")


def test_parquet_files_read_back_in_any_order(tmp_path: Path) -> None:
    for part in range(2):
        rows = datasets.Dataset.from_dict(make_rows(range(part * 100, part * 100 + 100)), FEATURES)
        rows.to_parquet(tmp_path / f"data/train-{part:05d}-of-00002.parquet", batch_size=40)
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-sa-4.0\ntags: [x]\n---\n# Birds\n")
    source = find_layout(str(tmp_path))
    assert source.licence == "cc-by-sa-4.0"
    check_rows(read_sound(source), range(200))
    pictures = list(source.list_pictures())
    shuffled = np.random.default_rng(0).permutation(200).tolist()
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda number: pictures[number].read(), shuffled))
    assert [content.data for content in contents] == [make_picture(number) for number in shuffled]


def test_rows_have_captions_as_lists_names_of_their_own_and_pictures_beside_them(tmp_path: Path) -> None:
    features = datasets.Features(picture=datasets.Image(), captions=datasets.List(datasets.Value("string")))
    pictures = [{"bytes": make_picture(0), "path": None}, None, {"bytes": make_picture(2), "path": "/home/ada/b.jpg"}]
    captions = [["a", "b", "a", None, "c"], ["lost"], None]
    rows = datasets.Dataset.from_dict({"picture": pictures, "captions": captions}, features)
    rows.to_parquet(tmp_path / "some.parquet")
    source = find_layout(str(tmp_path / "some.parquet"))
    contents = read_sound(source)
    assert list(contents) == ["row 1", "b.jpg"]
    assert (contents["row 1"].captions, contents["row 1"].variants) == ({DENSE: "a"}, ("b", "c"))
    assert contents["b.jpg"].captions == {}
    assert source.findings == ("rows without a picture: 1 (row 2)",)


def test_columns_of_bytes_are_pictures_under_the_name_of_one(tmp_path: Path) -> None:
    """As img2dataset writes parquet."""
    columns = {"key": ["000", "001"], "jpg": [make_picture(0), None], "score": [1.5, 2.5]}
    pq.write_table(pa.table(columns), tmp_path / "00000.parquet")
    source = find_layout(str(tmp_path))
    contents = read_all(source)
    assert list(contents) == ["row 1", "row 2"]
    first = contents["row 1"]
    assert isinstance(first, PictureContent)
    assert (first.data, first.captions) == (make_picture(0), {})
    assert contents["row 2"] == f"{tmp_path}/00000.parquet, row 2, holds no picture; take it out, or fill it."
    keys = "text, caption, captions, prompt, txt"
    assert source.findings == (f"files of rows without a column of captions ({keys}): 1 (key, score)",)


def test_libraries_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco(tmp_path, 1)
    for library in ("datasets", "pycocotools"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BlendsetError, match=r"needs the library datasets; run 'pip install blendset-trainer\[adopt\]'"):
        find_layout("ada/birds")
    (picture,) = find_layout(str(tmp_path)).list_pictures()
    polygons = picture.read().instances[picture.labels.index("dog")]
    with pytest.raises(
        BlendsetError, match=r"run 'pip install blendset-trainer\[adopt\]', or adopt the captions alone"
    ):
        polygons.draw_mask()


def test_our_own_export_reads_back(tmp_path: Path) -> None:
    dataset = make_boxes(tmp_path / "ours")
    export(dataset.root, to="huggingface", out=tmp_path / "hub")
    contents = read_sound(find_layout(str(tmp_path / "hub")))
    views = list(dataset.views())
    assert list(contents) == [f"{view.view_id}.png" for view in views]
    assert [content.data for content in contents.values()] == [dataset.rgb_path(view).read_bytes() for view in views]


READ_FROM_HUB = """
import hashlib, json, sys
from blendset.errors import BlendsetError
from blendset_trainer.adoption.layouts.detection import find_layout
for name in sys.argv[1:]:
    try:
        source = find_layout(name)
        contents = {picture.name: picture.read() for picture in source.list_pictures()}
        found = [source.title, source.licence, {
            name: [hashlib.sha256(content.data).hexdigest(), content.captions, content.path]
            for name, content in contents.items()
        }]
    except BlendsetError as error:
        found = str(error)
    print(json.dumps(found))
"""


def test_datasets_of_the_hub_are_fetched_and_their_code_is_never_run(tmp_path: Path) -> None:
    datasets.Dataset.from_dict(make_rows(range(3)), FEATURES).to_parquet(tmp_path / "rows.parquet")
    rows = (tmp_path / "rows.parquet").read_bytes()
    configs = (
        b"---\nconfigs:\n- config_name: big\n  data_files: big/*\n- config_name: small\n  data_files: small/*\n---\n"
    )
    hub = {
        "ada/birds": HubDataset({f"data/{split}-00000-of-00001.parquet": rows for split in ("train", "test")},
                                {"license": "cc0-1.0"}),
        "ada/configs": HubDataset({"README.md": configs, "big/a.parquet": rows, "small/a.parquet": rows}),
        "ada/photos": HubDataset({"train/a.jpg": make_picture(7), "train/metadata.csv": b"file_name,text\na.jpg,A\n"}),
        "ada/code": HubDataset({"code.py": f"open({str(tmp_path / 'ran')!r}, 'w')".encode()}),
        "ada/empty": HubDataset({"README.md": b"# Nothing"}),
    }  # fmt: skip
    sentences = {
        "ada/birds#dev": "ada/birds#dev has no split 'dev'; it has train, test.",
        "ada/birds@old": "ada/birds has no revision 'old' on the Hugging Face Hub; check it.",
        "ada/none": "ada/none is neither a path here nor a dataset on the Hugging Face Hub; check it, or log in",
        "ada/code": "ada/code needs code of its own to be read, which is never run; try ada/code@refs/convert/parquet",
        "ada/configs": "ada/configs has several configurations; choose one as ada/configs:CONFIG (big, small).",
        "ada/configs:huge": "ada/configs has no configuration 'huge' (big, small); choose one that it has.",
        "ada/empty": "ada/empty could not be fetched (",
    }
    sound = "ada/birds#train", "ada/birds@main#test", "ada/configs:small", "ada/photos"
    with serve_hub(hub) as address:
        process = subprocess.run(
            [sys.executable, "-c", READ_FROM_HUB, *sound, *sentences],
            env=os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"},
            capture_output=True, check=True, text=True,
        )  # fmt: skip
    assert process.stderr == ""
    found = [json.loads(line) for line in process.stdout.splitlines()]
    pictures = {f"{n}.jpg": [sha256_bytes(make_picture(n)), {DENSE: f"caption {n}"}, None] for n in range(3)}
    assert found[:2] == [["birds", "cc0-1.0", pictures]] * 2
    assert found[2] == ["configs", "", pictures]
    assert found[3] == ["photos", "", {"a.jpg": [sha256_bytes(make_picture(7)), {DENSE: "A"}, None]}]
    for sentence, text in zip(sentences.values(), found[4:], strict=True):
        assert text.startswith(sentence)
    assert not (tmp_path / "ran").exists()


# ---- COCO ------------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 40, 30
LABELS = "dog", "cat", "cup"


def write_coco(root: Path, count: int = 4, split: str = "train2017") -> Mapping[int, list[Any]]:
    """Write pictures with captions and instances as COCO does; returns by picture its annotations as pycocotools reads
    them."""
    rng = np.random.default_rng(1)
    images: list[Any] = []
    captions: list[Any] = []
    instances: list[Any] = []
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    for number in range(count):
        (root / split / f"{number:012d}.jpg").write_bytes(make_picture(number, WIDTH, HEIGHT))
        images.append(
            {"id": number + 7, "file_name": f"{number:012d}.jpg", "width": WIDTH, "height": HEIGHT, "license": 3,
             "coco_url": f"http://images.cocodataset.org/{number}.jpg", "flickr_url": "http://flickr/x.jpg"}
        )  # fmt: skip
        for turn in range(5):
            captions.append(
                {"id": len(captions), "image_id": number + 7, "caption": f"Picture {number}, said {turn}. "}
            )
        drawn = np.asfortranarray(rng.random((HEIGHT, WIDTH)) > 0.7).astype(np.uint8)
        packed = mask_tools.encode(drawn)
        flat = drawn.flatten(order="F")
        runs = np.diff(np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1], [True]]))).tolist()
        segmentations: list[Any] = [
            [[2.5, 3.0, 20.25, 4.0, 15.0, 22.75], [30.0, 5.0, 38.0, 5.0, 38.0, 12.0, 30.0, 12.0]],
            {"size": [HEIGHT, WIDTH], "counts": [0, *runs] if flat[0] else runs},
            {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()},
        ]
        for category, segmentation in enumerate(segmentations):
            area = float(rng.integers(10, 500))
            instances.append(
                {"id": len(instances) + 1, "image_id": number + 7, "category_id": category + 1, "iscrowd": 0,
                 "segmentation": segmentation, "area": area, "bbox": [0, 0, 5, 5]}
            )  # fmt: skip
        instances.append(instances[-2] | {"id": len(instances) + 1, "iscrowd": 1})
    head = {
        "info": {"description": "COCO 2017"},
        "licenses": [{"id": 3, "name": "Attribution", "url": "http://creativecommons.org/licenses/by/2.0/"}],
        "images": images,
    }
    names = [{"id": number, "name": name, "supercategory": "x"} for number, name in enumerate(LABELS, 1)]
    for kind, listed in (("captions", captions), ("instances", instances)):
        document = head | {"annotations": listed} | ({"categories": names} if kind == "instances" else {})
        (root / f"annotations/{kind}_{split}.json").write_text(json.dumps(document))
    read = COCO(root / f"annotations/instances_{split}.json")
    return {number: read.loadAnns(read.getAnnIds([number + 7], iscrowd=False)) for number in range(count)}


def test_coco_reads_back_with_masks_as_pycocotools_decodes_them(tmp_path: Path) -> None:
    annotations = write_coco(tmp_path / "coco")
    reader = COCO(tmp_path / "coco/annotations/instances_train2017.json")
    source = find_layout(str(tmp_path / "coco"))
    assert detect_layout(str(tmp_path / "coco")) == "coco"
    pictures = list(source.list_pictures())
    assert [picture.name for picture in pictures] == [f"train2017/{n:012d}.jpg" for n in range(4)]
    for number, picture in enumerate(pictures):
        content = picture.read()
        assert content.data == make_picture(number, WIDTH, HEIGHT)
        assert content.path == tmp_path / f"coco/train2017/{number:012d}.jpg"
        assert content.captions == {SHORT: f"Picture {number}, said 0."}
        assert content.variants == tuple(f"Picture {number}, said {turn}." for turn in range(1, 5))
        assert content.licence == "Attribution (http://creativecommons.org/licenses/by/2.0/)"
        assert content.origin == f"http://images.cocodataset.org/{number}.jpg"
        expected = sorted(annotations[number], key=lambda each: -each["area"])
        assert picture.labels == tuple(LABELS[each["category_id"] - 1] for each in expected)
        assert tuple(instance.label for instance in content.instances) == picture.labels
        for instance, annotation in zip(content.instances, expected, strict=True):
            assert instance.draw_mask().dtype == np.bool_
            assert (instance.draw_mask() == reader.annToMask(annotation).astype(bool)).all()
    assert source.findings == ("annotations of crowds, which are no instances and are left out: 4",)


def test_one_file_of_coco_is_read_alone(tmp_path: Path) -> None:
    write_coco(tmp_path, 2)
    captions = read_sound(find_layout(str(tmp_path / "annotations/captions_train2017.json")))
    assert [len(content.variants) for content in captions.values()] == [4, 4]
    assert [content.instances for content in captions.values()] == [(), ()]
    instances = read_sound(find_layout(str(tmp_path / "annotations/instances_train2017.json")))
    assert [len(content.instances) for content in instances.values()] == [3, 3]
    assert [content.captions for content in instances.values()] == [{}, {}]


def test_our_own_coco_reads_back(tmp_path: Path) -> None:
    dataset = make_boxes(tmp_path / "ours")
    export(dataset.root, to="coco", out=tmp_path / "coco")
    reader = COCO(tmp_path / "coco/annotations/instances_train.json")
    source = find_layout(str(tmp_path / "coco"))
    for picture, image in zip(source.list_pictures(), reader.dataset["images"], strict=True):
        content = picture.read()
        view = next(view for view in dataset.views() if f"train/{view.view_id}.png" == picture.name)
        assert content.data == dataset.rgb_path(view).read_bytes()
        masks = [reader.annToMask(each) for each in reader.loadAnns(reader.getAnnIds([image["id"]]))]
        assert sorted(mask.tobytes() for mask in masks) == sorted(
            each.draw_mask().tobytes() for each in content.instances
        )


# ---- LLaVA -----------------------------------------------------------------------------------------------------------


def make_entry(number: int, image: Any, *answers: Any) -> dict[str, Any]:
    """An entry as LLaVA's documentation writes it."""
    turns = [({"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": text}) for text in answers]
    entry = {"id": f"{number:09d}", "image": image, "conversations": [turn for pair in turns for turn in pair]}
    return {key: value for key, value in entry.items() if key != "image" or value is not None}


def test_llava_reads_back(tmp_path: Path) -> None:
    (tmp_path / "images/part").mkdir(parents=True)
    for number in range(3):
        (tmp_path / f"images/part/{number}.jpg").write_bytes(make_picture(number))
    entries = [
        make_entry(0, "part/0.jpg", "A dog.", "It is brown."),
        make_entry(1, None, "Words without a picture."),
        make_entry(2, ["part/1.jpg"], "A cat é\U0001f431."),
        make_entry(3, "part/0.jpg", "A dog on grass.", "A dog."),
        make_entry(4, ["part/1.jpg", "part/2.jpg"], "Two pictures."),
    ]
    for name, text in (
        ("chat.json", json.dumps(entries, ensure_ascii=False, indent=1)),
        ("chat.jsonl", "".join(json.dumps(entry) + "\n" for entry in entries)),
    ):
        document = tmp_path / name
        document.write_text(text, encoding="utf-8")
        assert detect_layout(str(document)) == "llava"
        source = find_layout(str(document))
        contents = read_sound(source)
        assert [(content.data, content.path) for content in contents.values()] == [
            (make_picture(number), tmp_path / f"images/part/{number}.jpg") for number in range(3)
        ]
        assert [(content.captions, content.variants) for content in contents.values()] == [
            ({DENSE: "A dog."}, ("It is brown.", "A dog on grass.")),
            ({DENSE: "A cat é\U0001f431."}, ()),
            ({}, ()),
        ]
        together = "entries about several images together, whose words belong to none of them and are left out"
        assert source.findings == (
            f"entries that name no image: 1 ({name}, entry 2)",
            f"{together}: 1 ({name}, entry 5)",
        )
        document.unlink()


# ---- adoption --------------------------------------------------------------------------------------------------------


def write_webdataset(root: Path) -> None:
    for name in ("a.tar", "b.tar.gz"):
        write_shard(root / name, [make_sample(n, txt=f"{n}", json={"caption": "x"}) for n in range(4)])


def write_saved(root: Path) -> None:
    rows = datasets.Dataset.from_dict(make_rows(range(6)), FEATURES)
    datasets.DatasetDict(train=rows, test=rows.select([1])).save_to_disk(root)


def write_parquet(root: Path) -> None:
    datasets.Dataset.from_dict(make_rows(range(6)), FEATURES).to_parquet(root / "train.parquet", batch_size=3)


def write_llava(root: Path) -> None:
    entries = [make_entry(n, f"{n}.jpg" if n else ["0.jpg"], "One.", "Two.") for n in range(3)]
    for number in range(3):
        (root / f"{number}.jpg").write_bytes(make_picture(number))
    (root / "chat.json").write_text(json.dumps(entries))
    (root / "chat.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


WRITERS: dict[str, Callable[[Path], object]] = {
    "webdataset": write_webdataset,
    "huggingface": write_saved,
    "huggingface parquet": write_parquet,
    "coco": write_coco,
    "llava": write_llava,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_source_is_adopted_once(kind: str, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    WRITERS[kind](source)
    pictures = list(find_layout(str(source)).list_pictures())
    report = adopt(source, out=out)
    assert (report.made, report.kept, report.faults) == (len(pictures), 0, {})
    dataset = Dataset(out)
    rows = read_adoptions(dataset).to_pylist()
    views = {view.view_id: view for view in dataset.views()}
    contents = [picture.read() for picture in pictures]
    assert [row["name"] for row in rows] == [picture.name for picture in pictures]
    assert [dataset.rgb_path(views[row["view_id"]]).read_bytes() for row in rows] == [each.data for each in contents]
    index = {row["view_id"]: row.get("caption") for row in map(json.loads, (out / INDEX).read_text().splitlines())}
    captions = [next(iter(content.captions.values())) for content in contents]
    assert [index[row["view_id"]] for row in rows] == captions
    state = read_state(out)
    again = adopt(source, out=out)
    assert (again.made, again.kept, again.findings) == (0, len(pictures), report.findings)
    assert read_state(out) == state
    files = [path for path in source.rglob("*") if path.is_file()]
    touched = max(files, key=lambda path: (path.suffix == ".jpg", path.stat().st_size))
    os.utime(touched, ns=(1, 1))
    third = adopt(source, out=out)
    assert 0 < third.made < len(pictures) or kind == "huggingface parquet"
    assert third.made + third.kept == len(pictures)


# ---- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["", "huggingface", "webdataset", "coco", "llava", "folder"])
def test_an_empty_folder_is_one_sentence(tmp_path: Path, layout: str) -> None:
    with pytest.raises(BlendsetError, match=f"{tmp_path} (is in no layout|holds no)"):
        find_layout(str(tmp_path), layout)


@pytest.mark.parametrize("layout", ["huggingface", "webdataset", "coco", "llava", "folder"])
@pytest.mark.parametrize("source", ["no-such-thing", "no such/thing#x", "a\0b", "x" * 5000, "", "\udcff"])
def test_what_does_not_exist_is_one_sentence(source: str, layout: str) -> None:
    with pytest.raises(BlendsetError, match=r"does not exist"):
        find_layout(source, layout)
    with pytest.raises(SettingsError, match="does not exist; give a folder, a file, or owner/name"):
        find_layout(source)


@pytest.mark.parametrize("name", ["notes.txt", "photo.jpg", "all.zip", "metadata.csv", "odd.json", "deep.json"])
def test_files_of_no_layout_are_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"[" * 100_000 if name == "deep.json" else b'{"a": 1}')
    with pytest.raises(SettingsError, match=r"should hold pictures, \.tar shards|give the folder that it is in"):
        find_layout(str(tmp_path / name))


def test_a_wrong_layout_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="There is no layout 'cocoo'; did you mean coco"):
        find_layout(str(tmp_path), "cocoo")
    with pytest.raises(SettingsError, match="choose from folder, huggingface, webdataset, coco, llava"):
        find_layout(str(tmp_path), "zzz")


def test_a_dataset_of_our_own_is_not_adopted(tmp_path: Path) -> None:
    make_boxes(tmp_path / "ours")
    with pytest.raises(SettingsError, match="is a dataset of Blendset"):
        find_layout(str(tmp_path / "ours"))
    export(tmp_path / "ours", to="webdataset", out=tmp_path / "shards")
    with pytest.raises(BlendsetError, match="was made by 'blendset export --to webdataset'; run 'blendset unpack'"):
        list(find_layout(str(tmp_path / "shards")).list_pictures())


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_damaged_shard_gives_what_lies_before_the_damage(tmp_path: Path, ending: str) -> None:
    for shard in "abc":
        write_shard(tmp_path / f"{shard}{ending}", [make_sample(ord(shard) * 10 + n, txt=f"{n}") for n in range(8)])
    sound = list(read_sound(find_layout(str(tmp_path))))
    damaged = tmp_path / f"b{ending}"
    data = damaged.read_bytes()
    damaged.write_bytes(data[: len(data) * 6 // 10])
    source = find_layout(str(tmp_path))
    contents = read_sound(source)
    lost = [name for name in sound if name not in contents]
    assert list(contents) == [name for name in sound if name not in lost]
    assert 2 <= len(lost) < 8
    assert lost == sound[16 - len(lost) : 16]
    assert all(content.captions for content in contents.values())
    (finding,) = source.findings
    assert finding.startswith(f"damaged shards, of which only what lies before the damage is used: 1 (b{ending}: ")


def test_headers_of_shards_that_zeros_overwrote_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, [make_sample(n) for n in range(4)])
    with tarfile.open(path) as archive:
        start = archive.getmembers()[2].offset
    data = bytearray(path.read_bytes())
    data[start : start + 1024] = bytes(1024)
    path.write_bytes(data)
    source = find_layout(str(path))
    assert list(read_sound(source)) == ["000000.jpg", "000001.jpg"]
    assert "more data follow its end mark, or a header that was overwritten with zeros" in source.findings[0]
    path.write_bytes(data[:start])
    assert len(read_sound(source)) == 2
    assert "it has no end mark, so it may be cut short" in source.findings[0]


def test_odd_samples_of_shards(tmp_path: Path) -> None:
    members: list[tuple[str, bytes]] = [
        ("latin.jpg", make_picture(0)), ("latin.txt", "caf\xe9".encode("latin-1")),
        ("null.JPEG", make_picture(1)), ("null.txt", b"a\0b"),
        ("typed.webp", make_picture(2, kind="WEBP")), ("typed.json", b'{"caption": 17, "license": ["x"], "url": "http://x"}'),
        ("broken.png", make_picture(3, kind="PNG")), ("broken.json", b"{"),
        ("../../../out.jpg", make_picture(4)),
        ("twice.jpg", make_picture(5)), ("twice.jpg", make_picture(6)), ("twice.cls", b"3"),
        ("none.txt", b"words alone"),
        ("README", b"read me"),
        ("sets/one.left.jpg", make_picture(7)), ("sets/one.right.jpg", make_picture(8)), ("sets/one.txt", b"both"),
        ("big" * 60 + ".jpg", make_picture(9)),
        ("seg.jpg", make_picture(10)), ("seg.mask.png", make_picture(11)),
        ("surrogate.jpg", make_picture(12)), ("surrogate.json", b'{"caption": "\\ud800"}'),
    ]  # fmt: skip
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        folder = tarfile.TarInfo("folder.d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    before = sorted(tmp_path.parent.rglob("*"))
    source = find_layout(str(path))
    contents = read_sound(source)
    assert sorted(tmp_path.parent.rglob("*")) == before
    assert list(contents) == [
        "latin.jpg", "null.jpeg", "typed.webp", "broken.png", "../../../out.jpg", "twice.jpg", "sets/one.left.jpg",
        "sets/one.right.jpg", "big" * 60 + ".jpg", "seg.jpg", "surrogate.jpg",
    ]  # fmt: skip
    assert contents["latin.jpg"].captions == {DENSE: "café"}
    assert "latin.txt is no UTF-8 and was read as Windows-1252" in contents["latin.jpg"].notes[0]
    assert contents["null.jpeg"].captions == {}
    assert "null.txt holds no text" in contents["null.jpeg"].notes[0]
    assert contents["typed.webp"].notes == ("a caption is 17, which is no text, and is left out",)
    assert (contents["typed.webp"].licence, contents["typed.webp"].origin) == ("", "http://x")
    assert contents["broken.png"].notes[0].startswith("broken.json is no JSON")
    assert contents["twice.jpg"].data == make_picture(5)
    assert contents["sets/one.right.jpg"].captions == {DENSE: "both"}
    assert contents["big" * 60 + ".jpg"].data == make_picture(9)
    assert contents["surrogate.jpg"].notes == ("a caption holds half of a surrogate pair and is left out",)
    assert source.findings == (
        "files that come twice in a sample, of which the first is used: 1 (twice.jpg)",
        "files in shards that are not read, for their names have no ending: 1 (README)",
        "samples without a picture: 1 (none in odd.tar)",
        "links in shards, which are not followed: 1 (link.jpg)",
        "files in shards that are not read, by their endings: .cls: 1, .mask.png: 1",
    )


def test_a_shard_that_changes_while_it_is_read_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, [make_sample(n) for n in range(4)])
    pictures = list(find_layout(str(path)).list_pictures())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BlendsetError, match=r"a\.tar cannot be read \(it is shorter than it was\); copy"):
        pictures[3].read()


def test_rows_with_faults(tmp_path: Path) -> None:
    features = FEATURES | {"text": datasets.Value("int64")}
    rows = make_rows(range(4), text=[1, 2, None, 4])
    rows["image"][1] = None
    rows["image"][2] = {"bytes": None, "path": "../../secret.jpg"}
    rows["image"][3] = {"bytes": None, "path": "beside.jpg"}
    rows["license"][0] = "a\0b"
    (tmp_path / "beside.jpg").write_bytes(make_picture(3))
    table = pa.Table.from_pydict(rows, datasets.Features(features).arrow_schema)
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-10])
    source = find_layout(str(tmp_path), "huggingface")
    contents = read_all(source)
    assert list(contents) == ["0.jpg", "secret.jpg", "beside.jpg"]
    first, beside = contents["0.jpg"], contents["beside.jpg"]
    assert isinstance(first, PictureContent)
    assert isinstance(beside, PictureContent)
    assert (first.captions, first.licence) == ({}, "")
    assert first.notes == ("a caption is 1, which is no text, and is left out",)
    assert (
        contents["secret.jpg"]
        == "../../secret.jpg does not stay in its folder; move the picture there, and mend its name."
    )
    assert (beside.data, beside.path) == (make_picture(3), tmp_path / "beside.jpg")
    assert source.findings[0] == "rows without a picture: 1 (row 2)"
    assert source.findings[1].startswith(f"files of rows that cannot be read: 1 ({tmp_path}/b.parquet cannot be read (")


def test_rows_without_pictures_are_one_sentence(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["http://x"], "text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(BlendsetError, match="no column of pictures, but url, text; fetch the pictures with"):
        list(find_layout(str(tmp_path)).list_pictures())


def test_coco_with_faults(tmp_path: Path) -> None:
    write_coco(tmp_path, 8)
    (tmp_path / "train2017/000000000001.jpg").unlink()
    path = tmp_path / "annotations/instances_train2017.json"
    document = json.loads(path.read_text())
    document["images"][2]["file_name"] = "../x.jpg"
    document["images"][3]["file_name"] = "a\0.jpg"
    document["images"][4]["file_name"] = document["images"][0]["file_name"]
    del document["images"][5]["file_name"]
    document["images"][6]["height"] = "tall"
    seven = [each for each in document["annotations"] if each["image_id"] == 14]
    seven[0]["segmentation"] = [[1, 2, 3, 4, 5, 1e30]]
    seven[1]["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": [1, 2]}
    seven[2]["segmentation"]["counts"] += "oo"
    seven[3] |= {"iscrowd": 0, "category_id": 99}
    document["annotations"].append({"image_id": 14, "category_id": 1, "bbox": [1, 2, 3, 4]})
    path.write_text(json.dumps(document))
    (tmp_path / "annotations/captions_train2017.json").unlink()
    source = find_layout(str(tmp_path))
    contents = read_all(source)
    name = "train2017/000000000{}.jpg".format
    outside, null = "train2017/../x.jpg", "train2017/a\0.jpg"
    assert list(contents) == [
        name("000"),
        name("001"),
        "train2017/../x.jpg",
        "train2017/a\0.jpg",
        name("006"),
        name("007"),
    ]
    assert "000000000001.jpg cannot be read (No such file or directory); put it there" in str(contents[name("001")])
    assert str(contents[outside]).startswith("../x.jpg does not stay in its folder")
    assert "is no name of a file" in str(contents[null])
    sixth, seventh = contents[name("006")], contents[name("007")]
    assert str(sixth).startswith("000000000006.jpg has no height and width in ")
    assert isinstance(seventh, PictureContent)
    assert not any(instance.draw_mask().any() for instance in seventh.instances)
    assert sorted(note.partition("for ")[2] for note in seventh.notes) == [
        "its counts do not fill the picture",
        "its counts end too early",
        "its polygons are no lists of points in or near the picture",
    ]
    assert source.findings == (
        "pictures that are listed without a file name: 1 (12)",
        "annotations of crowds, which are no instances and are left out: 7",
        "annotations without a mask, such as boxes alone, which are left out: 1",
        "pictures that are listed twice in a file, and are one: 1 (000000000000.jpg)",
        "annotations of a category that has no name, which are left out: 1 (99)",
        "pictures with annotations that are not listed: 1 (12)",
    )


def test_a_split_of_coco_without_its_pictures_is_left_out(tmp_path: Path) -> None:
    write_coco(tmp_path, 2)
    write_coco(tmp_path, 3, "val2017")
    shutil.rmtree(tmp_path / "train2017")
    source = find_layout(str(tmp_path))
    assert list(read_sound(source)) == [f"val2017/{n:012d}.jpg" for n in range(3)]
    what = "files of annotations none of whose pictures is here"
    assert f"{what}: 1 (captions_train2017.json)" in source.findings
    shutil.rmtree(tmp_path / "val2017")
    with pytest.raises(
        BlendsetError, match=rf"captions_train2017.json lists is here; put them into {tmp_path}/train2017 or"
    ):
        list(source.list_pictures())


def test_coco_is_read_from_the_folder_of_its_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco(tmp_path, 2)
    monkeypatch.chdir(tmp_path / "annotations")
    for source in (".", "captions_train2017.json"):
        assert list(read_sound(find_layout(source))) == [f"train2017/{n:012d}.jpg" for n in range(2)]


@pytest.mark.parametrize("name", ["a.parquet", "a.tar"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    source = find_layout(str(tmp_path))
    assert read_all(source) == {}
    assert "it is a pointer of Git LFS; run `git lfs pull` there" in source.findings[0]


def test_other_files_beside_those_of_coco_are_named(tmp_path: Path) -> None:
    write_coco(tmp_path, 1)
    keypoints = tmp_path / "annotations/person_keypoints_train2017.json"
    keypoints.write_bytes((tmp_path / "annotations/instances_train2017.json").read_bytes())
    source = find_layout(str(tmp_path))
    assert [len(picture.labels) for picture in source.list_pictures()] == [3]
    assert f"files of annotations that are not read: 1 ({keypoints.name})" in source.findings


def test_llava_with_faults(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(make_picture(0))
    entries: list[Any] = [
        make_entry(0, "0.jpg", "a\0b", 17, None, "Sound."),
        make_entry(1, "../secret.jpg", "x"),
        make_entry(2, "/etc/x.jpg", "x"),
        make_entry(3, "missing.jpg", "x"),
        make_entry(4, 17, "x"),
        {"image": "0.jpg", "conversations": "none", "license": "CC0"},
        None,
    ]
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(entries))
    source = find_layout(str(path))
    contents = read_all(source)
    assert list(contents) == ["0.jpg", "../secret.jpg", "/etc/x.jpg", "missing.jpg"]
    first = contents["0.jpg"]
    assert isinstance(first, PictureContent)
    assert (first.captions, first.variants) == ({DENSE: "Sound."}, ())
    assert first.notes == (
        "a caption holds a null byte and is left out",
        "a caption is 17, which is no text, and is left out",
    )
    assert str(contents["../secret.jpg"]).startswith("../secret.jpg does not stay in its folder;")
    assert str(contents["/etc/x.jpg"]).startswith("/etc/x.jpg does not stay in its folder;")
    assert "missing.jpg cannot be read (No such file or directory); put it there" in str(contents["missing.jpg"])
    assert source.findings == ("entries that name no image: 2 (chat.json, entry 5, chat.json, entry 7)",)


@pytest.mark.parametrize("cut", [1, 50, 200])
def test_json_that_is_cut_is_one_sentence(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([make_entry(n, "0.jpg", "x") for n in range(9)])[:-cut])
    with pytest.raises(BlendsetError, match=r"chat\.json cannot be read \(.*, at byte \d+\); restore it, or mend it"):
        list(find_layout(str(path)).list_pictures())
    (tmp_path / "chat.jsonl").write_bytes(json.dumps(make_entry(0, "0.jpg", "x")).encode() + b'\n{"a": "\xe9"}\n')
    with pytest.raises(BlendsetError, match=r"chat\.jsonl, line 2, is no JSON"):
        list(find_layout(str(tmp_path / "chat.jsonl")).list_pictures())


# ---- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_damage_to_a_source_is_told_in_sentences(kind: str, tmp_path: Path) -> None:
    try_damages(kind, tmp_path / "source", 40)


def try_damages(kind: str, root: Path, times: int) -> None:
    """Damage one file of a source as often, and read all that can be read."""
    root.mkdir()
    WRITERS[kind](root)
    state = read_state(root)
    names = sorted(name for name, data in state.items() if data is not None and not name.endswith(".jpg"))

    @settings(max_examples=times, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def damage_and_read(data: st.DataObject) -> None:
        restore_state(root, state, read_state(root))
        damage = data.draw(st.sampled_from((*CHANGES, *CHANGES, *RUINS)))
        damage(root / data.draw(st.sampled_from(names)), data.draw)
        read_damaged(str(root), data.draw(st.sampled_from(("", kind.partition(" ")[0]))))

    damage_and_read()


def read_damaged(source: str, layout: str) -> None:
    """Read all that can be read; what cannot is a sentence."""
    try:
        found = find_layout(source, layout)
        for picture in found.list_pictures():
            try:
                check_content(picture, picture.read())
            except BlendsetError as error:
                assert_sentence(str(error))
        for finding in found.findings:
            assert "\n" not in finding
    except BlendsetError as error:
        assert_sentence(str(error))


def assert_sentence(text: str) -> None:
    assert text.endswith(".")
    assert "\n" not in text
    assert "Traceback" not in text


def check_content(picture: SourcePicture, content: PictureContent) -> None:
    """A dataset can hold what was read."""
    assert isinstance(content.data, bytes)
    assert tuple(instance.label for instance in content.instances) == picture.labels
    assert all(instance.draw_mask().ndim == 2 for instance in content.instances)
    words = (*content.captions.values(), *content.variants, content.licence, content.origin, content.creator)
    for text in (picture.name, picture.stamp, *words, *picture.labels):
        text.encode()
        assert "\0" not in text
