# SPDX-License-Identifier: Apache-2.0
"""Other people's pictures as a dataset: what becomes of their files, what is kept of them, and that a run resumes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from blendset.config import Config
from blendset.dataset import IDS, Dataset, get_picture_name
from blendset.errors import BlendsetError
from blendset.records import ViewRecord
from blendset.verification import verify_dataset
from blendset_trainer import adopt, export, score, select, unpack
from blendset_trainer.adopted_views import read_adoptions
from blendset_trainer.adoption.metadata import STRIPPERS, strip_metadata
from blendset_trainer.cli.main import main
from blendset_trainer.readers.images import decode_ids, decode_image
from blendset_trainer.scoring.phash import compute_perceptual_hash
from blendset_trainer.stages.caption_forms import CAPTION_FORMS
from blendset_trainer.stages.tables import read_captions, read_index, read_index_with_stages
from tests.trainer import tiny_pipelines
from tests.trainer.icc_profiles import DISPLAY_P3, make_rgb_profile
from tests.trainer.tiny_datasets import add_scene, add_view, make_dataset
from tests.trainer.tiny_models import maker

SECRET = b"Eve's camera"
SIDEWAYS = 6
"""EXIF's orientation of a picture that is turned a quarter to the right to be upright."""


def make_pixels(number: int, size: tuple[int, int] = (48, 32)) -> np.ndarray:
    """Pixels (height, width, 3) of a picture like no other number's."""
    small = np.random.default_rng(number).integers(0, 256, (4, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.NEAREST))


def make_exif(orientation: int = 1) -> Image.Exif:
    """What a phone writes: its maker, the place, and how it was held."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = SECRET.decode()
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif


def write_picture(path: Path, number: int, caption: str = "", **words: Any) -> bytes:
    """Write a picture and its caption beside it; return the bytes of the picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_pixels(number)).save(path, **words)
    if caption:
        path.with_suffix(".txt").write_text(caption)
    return path.read_bytes()


def find_view(dataset: Path, name: str) -> ViewRecord:
    """The view of the picture that is called this at its source."""
    rows = {row["name"]: row["view_id"] for row in read_adoptions(Dataset(dataset)).to_pylist()}
    return next(view for view in Dataset(dataset).views() if view.view_id == rows[name])


def read_picture(dataset: Path, name: str) -> bytes:
    return Dataset(dataset).rgb_path(find_view(dataset, name)).read_bytes()


def read_tree(root: Path) -> dict[str, bytes]:
    """All files of a dataset but locks, by their paths."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


# --- what becomes of a picture ----------------------------------------------------------------------------------------


def test_a_folder_becomes_a_dataset_that_links_to_its_files(tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "dataset"
    data = write_picture(source / "beach" / "Élan 1.jpg", 1, "waves on a beach")
    write_picture(source / "bare.png", 2)
    (source / "broken.webp").write_bytes(b"RIFF")
    before = read_tree(source)
    report = adopt(source, out=out, licence="CC0-1.0")
    assert (report.made, report.kept, list(report.faults)) == (2, 0, ["broken.webp"])
    assert report.files == {"linked": 2}
    view = find_view(out, "beach/Élan 1.jpg")
    picture = Dataset(out).rgb_path(view)
    assert (picture.name, picture.read_bytes()) == ("rgb.jpg", data)
    assert picture.samefile(source / "beach" / "Élan 1.jpg")
    assert (view.source, view.subject, view.camera.fx) == ("photo", "", 0)
    assert (view.camera.width, view.camera.height) == (48, 32)
    assert not verify_dataset(Dataset(out)).problems
    index = {row["view_id"]: row for row in read_index(Dataset(out)).to_pylist()}
    assert index[view.view_id]["caption"] == "waves on a beach"
    assert {row["licence"] for row in read_adoptions(Dataset(out)).to_pylist()} == {"CC0-1.0"}
    assert (
        "is no readable picture" in json.loads(next(out.glob("adoptions/*/quarantine.json")).read_text())["broken.webp"]
    )
    assert read_tree(source) == before


def test_captions_are_a_captioners_answers_in_both_forms(tmp_path: Path) -> None:
    write_picture(tmp_path / "photos" / "a.jpg", 1, "a red kite")
    adopt(tmp_path / "photos", out=tmp_path / "dataset")
    dataset = Dataset(tmp_path / "dataset")
    captions = read_captions(dataset, read_index(dataset), CAPTION_FORMS)
    assert {form: column.to_pylist() for form, column in captions.items()} == {
        "short": ["a red kite"],
        "dense": ["a red kite"],
    }


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_places_and_names_go_and_the_picture_stays_upright(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "photos" / f"phone.{suffix}"
    data = write_picture(path, 1, exif=make_exif(SIDEWAYS), icc_profile=make_rgb_profile(*DISPLAY_P3))
    assert SECRET in data
    report = adopt(tmp_path / "photos", out=tmp_path / "dataset")
    assert report.files == {"copied without metadata": 1}
    view, kept = find_view(tmp_path / "dataset", path.name), read_picture(tmp_path / "dataset", path.name)
    assert SECRET not in kept and b"GPS" not in kept
    assert (view.camera.width, view.camera.height) == (32, 48)
    now, before = decode_image(kept, path), decode_image(data, path)
    assert np.array_equal(np.asarray(now.image), np.asarray(before.image))
    with_all = adopt(tmp_path / "photos", out=tmp_path / "all", keep_metadata=True)
    assert with_all.files == {"linked": 1}
    assert read_picture(tmp_path / "all", path.name) == data


def test_text_in_a_png_and_what_follows_a_picture_go(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", SECRET.decode())
    write_picture(tmp_path / "photos" / "a.png", 1, pnginfo=text)
    jpeg = write_picture(tmp_path / "photos" / "b.jpg", 2, comment=SECRET)
    (tmp_path / "photos" / "b.jpg").write_bytes(jpeg + b"a film that a phone hides here: " + SECRET)
    adopt(tmp_path / "photos", out=tmp_path / "dataset")
    for name in ("a.png", "b.jpg"):
        assert SECRET not in read_picture(tmp_path / "dataset", name)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tif", "RGB"), ("a.bmp", "RGB"), ("a.gif", "P"), ("cmyk.jpg", "CMYK"), ("deep.png", "I;16")],
)
def test_what_others_would_show_differently_becomes_a_png(tmp_path: Path, name: str, mode: str) -> None:
    (tmp_path / "photos").mkdir()
    pixels = make_pixels(3)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(pixels)
    (image if image.mode == mode else image.convert(mode)).save(tmp_path / "photos" / name)
    report = adopt(tmp_path / "photos", out=tmp_path / "dataset")
    assert report.files == {"written as PNG": 1}
    view, data = find_view(tmp_path / "dataset", name), (tmp_path / "photos" / name).read_bytes()
    assert get_picture_name(view) == "rgb.png"
    now = decode_image(read_picture(tmp_path / "dataset", name), Path(name))
    assert np.array_equal(np.asarray(now.image), np.asarray(decode_image(data, Path(name)).image))
    assert not verify_dataset(Dataset(tmp_path / "dataset")).problems


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(STRIPPERS)), st.data())
def test_no_damage_confuses_what_takes_metadata_out(file_format: str, data: st.DataObject) -> None:
    file = io.BytesIO()
    Image.fromarray(make_pixels(1)).save(file, file_format, exif=make_exif(SIDEWAYS))
    whole = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with suppress(ValueError):
        assert len(strip_metadata(cut, file_format, 1)) <= len(cut) + 64


def test_tables_give_captions_licences_and_origins(tmp_path: Path) -> None:
    for number in range(2):
        write_picture(tmp_path / "photos" / f"{number}.png", number)
    rows = [
        {
            "file_name": "0.png",
            "text": "a kite",
            "license": "CC0-1.0",
            "url": "https://example.org/0",
            "author": "Eve",
        },
        {"file_name": "1.png", "text": None},
    ]
    (tmp_path / "photos" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    adopt(tmp_path / "photos", out=tmp_path / "dataset", licence="unknown", creator="nobody")
    found = {row["name"]: (row["licence"], row["origin"], row["creator"])
             for row in read_adoptions(Dataset(tmp_path / "dataset")).to_pylist()}  # fmt: skip
    assert found == {"0.png": ("CC0-1.0", "https://example.org/0", "Eve"), "1.png": ("unknown", "", "nobody")}


def test_instances_of_coco_become_ids(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    write_picture(root / "val2017" / "a.jpg", 1)
    squares = [[4, 4, 20, 4, 20, 20, 4, 20], [8, 8, 12, 8, 12, 12, 8, 12], [30, 8, 40, 8, 40, 24, 30, 24]]
    document = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 48, "height": 32}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 5, "name": "ball"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [squares[0]], "iscrowd": 0, "area": 256},
            {"id": 2, "image_id": 7, "category_id": 5, "segmentation": [squares[1]], "iscrowd": 0, "area": 16},
            {"id": 3, "image_id": 7, "category_id": 3, "segmentation": [squares[2]], "iscrowd": 0, "area": 160},
        ],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    adopt(root, out=tmp_path / "dataset")
    dataset = Dataset(tmp_path / "dataset")
    [view] = dataset.views()
    folder = dataset.view_folder(view.scene, view.view_id)
    ids = decode_ids((folder / IDS).read_bytes(), folder / IDS)
    names = {each.id: (each.name, each.label) for each in dataset.scene(view.scene).objects}
    assert [names[ids[row, column]] for row, column in ((5, 5), (10, 10), (16, 36))] == [
        ("dog 1", "dog"), ("ball 1", "ball"), ("dog 2", "dog")
    ]  # fmt: skip
    assert ids[0, 0] == 0
    assert {each.label: each.pixels for each in view.visible_objects if each.label == "ball"} == {
        "ball": int((ids == ids[10, 10]).sum())
    }
    assert not verify_dataset(dataset).problems


# --- further runs -----------------------------------------------------------------------------------------------------


def test_a_second_run_adopts_what_is_new_or_changed_only(tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "dataset"
    for number in range(4):
        write_picture(source / f"{number}.png", number, f"picture {number}")
    adopt(source, out=out)
    tree = read_tree(out)
    again = adopt(source, out=out)
    assert (again.made, again.kept, read_tree(out)) == (0, 4, tree)
    write_picture(source / "0.png", 7)
    (source / "1.txt").write_text("other words")
    write_picture(source / "4.png", 4, "picture 4")
    (source / "3.png").unlink()
    changed = adopt(source, out=out)
    assert (changed.made, changed.kept) == (3, 1)
    assert "no longer in the source, and still views: 1 (3.png)" in changed.findings
    index = {row["view_id"]: row["caption"] for row in read_index(Dataset(out)).to_pylist()}
    names = {row["name"]: row["view_id"] for row in read_adoptions(Dataset(out)).to_pylist()}
    assert [index[names[f"{number}.png"]] for number in range(5)] == [
        "picture 0", "other words", "picture 2", "picture 3", "picture 4"
    ]  # fmt: skip
    assert np.array_equal(np.asarray(Image.open(Dataset(out).rgb_path(find_view(out, "0.png")))), make_pixels(7))
    assert not verify_dataset(Dataset(out)).problems


def test_a_view_that_was_deleted_is_adopted_again(tmp_path: Path) -> None:
    for number in range(3):
        write_picture(tmp_path / "photos" / f"{number}.png", number)
    adopt(tmp_path / "photos", out=tmp_path / "dataset")
    picture = Dataset(tmp_path / "dataset").rgb_path(find_view(tmp_path / "dataset", "1.png"))
    for path in (picture, picture.with_name("view.json")):
        path.unlink()
    picture.parent.rmdir()
    report = adopt(tmp_path / "photos", out=tmp_path / "dataset")
    assert (report.made, report.kept) == (1, 2)


def test_other_options_are_applied_to_what_is_adopted_already(tmp_path: Path) -> None:
    write_picture(tmp_path / "photos" / "a.jpg", 1, exif=make_exif())
    adopt(tmp_path / "photos", out=tmp_path / "dataset", keep_metadata=True)
    adopt(tmp_path / "photos", out=tmp_path / "dataset", kind="synthetic")
    assert find_view(tmp_path / "dataset", "a.jpg").source == "synthetic"
    assert SECRET not in read_picture(tmp_path / "dataset", "a.jpg")
    assert read_adoptions(Dataset(tmp_path / "dataset")).num_rows == 1


@pytest.mark.parametrize("pictures", [600, 1300])  # the latter in two worker processes
def test_killed_runs_end_with_the_same_bytes(tmp_path: Path, pictures: int) -> None:
    source = tmp_path / "photos"
    for number in range(pictures):
        write_picture(source / f"{number:03d}.jpg", number, f"picture {number}" if number % 5 else "")
    whole, killed = tmp_path / "whole" / "dataset", tmp_path / "killed" / "dataset"
    adopt(source, out=whole)
    command = [sys.executable, "-m", "blendset_trainer.cli.main", "adopt", str(source), "--out", str(killed)]
    command += ["--workers", "2"]
    for views in (20, 300):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while run.poll() is None and sum(1 for _ in killed.glob("views/**/view.json")) < views:
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert subprocess.run(command, check=True, capture_output=True).returncode == 0
    assert read_tree(killed) == read_tree(whole)
    assert verify_dataset(Dataset(killed)).views == pictures


# --- datasets of several sources --------------------------------------------------------------------------------------


def test_photos_join_renders_and_renders_join_photos(tmp_path: Path) -> None:
    write_picture(tmp_path / "photos" / "a.jpg", 1, "a kite")
    rendered = make_dataset(tmp_path / "rendered")
    add_scene(rendered, "attic")
    add_view(rendered, "attic", "lamp", 1)
    adopt(tmp_path / "photos", out=rendered.root)
    assert sorted(view.source for view in rendered.views()) == ["photo", "render"]
    adopt(tmp_path / "photos", out=tmp_path / "adopted")
    Dataset.open_for_run(tmp_path / "adopted", Config(), [Path("kitchen.blend")])
    record = Dataset(tmp_path / "adopted").record
    assert (record.sources, record.render_settings) == (("kitchen.blend", "photos"), Config().select_render_settings())


def test_pictures_of_one_name_have_ids_of_their_own(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_picture(tmp_path / "photos" / folder / "a.jpg", len(folder))
        write_picture(tmp_path / folder / "a.jpg", len(folder))
    adopt(tmp_path / "photos", out=tmp_path / "dataset")
    adopt(tmp_path / "one", out=tmp_path / "dataset")
    adopt(tmp_path / "two", out=tmp_path / "dataset")
    assert len({view.view_id for view in Dataset(tmp_path / "dataset").views()}) == 4


def test_another_source_of_one_name_needs_another_name(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_picture(tmp_path / folder / "photos" / "a.jpg", 1)
    adopt(tmp_path / "one" / "photos", out=tmp_path / "dataset")
    with pytest.raises(BlendsetError, match="give it another one with --name"):
        adopt(tmp_path / "two" / "photos", out=tmp_path / "dataset")
    assert adopt(tmp_path / "two" / "photos", out=tmp_path / "dataset", name="others").made == 1


def test_a_source_and_its_dataset_lie_apart(tmp_path: Path) -> None:
    write_picture(tmp_path / "photos" / "a.jpg", 1)
    for out in (tmp_path / "photos" / "dataset", tmp_path):
        with pytest.raises(BlendsetError, match="lie in one another"):
            adopt(tmp_path / "photos", out=out)


def test_look_alikes_stay_on_one_side(tmp_path: Path) -> None:
    """Pictures as they are and cropped a little, which are no duplicates by the preset, but look alike."""
    (tmp_path / "photos").mkdir()
    for number in range(12):
        whole = Image.fromarray(make_pixels(number)).resize((192, 128), Image.Resampling.BICUBIC)
        crop = whole.crop((2, 1, 190, 127))
        hashes = [compute_perceptual_hash(np.asarray(image)) for image in (whole, crop)]
        if 4 < (hashes[0] ^ hashes[1]).bit_count() <= 10:
            whole.save(tmp_path / "photos" / f"{number:02d}-whole.png")
            crop.save(tmp_path / "photos" / f"{number:02d}-crop.png")
    adopt(tmp_path / "photos", out=tmp_path / "dataset")
    score(tmp_path / "dataset", scorers="image-stats,phash")
    report = select(tmp_path / "dataset", preset="photos", name="all")
    names = {row["view_id"]: row["name"][:2] for row in read_adoptions(Dataset(tmp_path / "dataset")).to_pylist()}
    sides: dict[str, list[str]] = {}
    for row in report.selection.chosen.to_pylist():
        sides.setdefault(names[row["view_id"]], []).append(row["split"])
    assert len(sides) >= 6 and 0 < report.held_out < report.selected
    assert {len(pair) for pair in sides.values()} == {2} and {len(set(pair)) for pair in sides.values()} == {1}


def test_every_step_takes_adopted_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scores, a selection, the report, an export, a plan of training and captions by a model, of three formats."""
    for number, suffix in enumerate(("jpg", "png", "webp") * 4):
        write_picture(tmp_path / "photos" / f"{number:02d}.{suffix}", number, "a red chair" if number else "")
    dataset, make = str(tmp_path / "dataset"), maker(tmp_path / "models")
    clip, captioner = make("open_clip"), make("llava")
    pipeline = tiny_pipelines.maker(tmp_path)("stable_diffusion")
    for command in (
        ["adopt", str(tmp_path / "photos"), "--out", dataset],
        ["score", dataset, "--with", f"image-stats,clip:{clip},phash"],
        ["select", dataset, "--preset", "photos", "--name", "all"],
        ["report", dataset, "--out", str(tmp_path / "report.html")],
        ["export", dataset, "--selection", "all", "--to", "webdataset", "--out", str(tmp_path / "shards")],
        ["verify", dataset],
    ):
        assert main(command) == 0, command
    table = read_index_with_stages(Dataset(tmp_path / "dataset"))
    scored = table["clip-open-clip.similarity"]
    assert (scored.null_count, table["phash.hash"].null_count) == (1, 0)
    unpack(tmp_path / "shards", out=tmp_path / "again")
    before, after = (
        {view.view_id: Dataset(root).rgb_path(view).read_bytes() for view in Dataset(root).views()}
        for root in (tmp_path / "dataset", tmp_path / "again")
    )
    assert after == before and len(after) == 12
    (tmp_path / "run.toml").write_text(
        f'out = "{tmp_path / "run"}"\n[model]\npath = "{pipeline}"\n[train]\nsamples = 8\n'
        f'[[source]]\nname = "photo"\nkind = "photo"\ndataset = "{dataset}"\nselection = "all"\n'
        "[[source.bands]]\nweight = 1.0\n"
    )
    capsys.readouterr()
    assert main(["train", str(tmp_path / "run.toml"), "--dry-run"]) == 0
    assert "photo" in capsys.readouterr().out
    assert main(["caption", dataset, "--with", f"hf:{captioner}", "--max-tokens", "4"]) == 0


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("colmap", "the camera is unknown"),
        ("nerf", "the camera is unknown"),
        ("bop", "no depth and normals"),
        ("coco", "not known which object a pixel shows"),
        ("yolo", "not known which object a pixel shows"),
        ("groups", "in no view set"),
    ],
)
def test_formats_say_why_they_leave_a_picture_out(tmp_path: Path, name: str, why: str) -> None:
    write_picture(tmp_path / "photos" / "a.jpg", 1, "a kite")
    adopt(tmp_path / "photos", out=tmp_path / "dataset")
    with pytest.raises(BlendsetError, match=why):
        export(tmp_path / "dataset", to=name, out=tmp_path / name)
    assert not (tmp_path / name).exists()


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(tmp_path / "photos" / "a.jpg", 1, "a kite")
    (tmp_path / "photos" / "b.jpg").write_bytes(b"<html>")
    (tmp_path / "photos" / "notes.doc").write_bytes(b"")
    assert main(["adopt", str(tmp_path / "photos"), "--out", str(tmp_path / "dataset")]) == 0
    out, err = capsys.readouterr()
    assert "1 pictures adopted now (1 linked), 0 before, 1 cannot be read" in out
    assert "b.jpg is no readable picture (a web page)" in err and "no pictures by their names: 1 (notes.doc)" in err
    assert main(["adopt", str(tmp_path / "nowhere"), "--out", str(tmp_path / "dataset")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_read_only_source_is_adopted(tmp_path: Path) -> None:
    write_picture(tmp_path / "photos" / "a.jpg", 1)
    (tmp_path / "photos").chmod(0o555)
    assert adopt(tmp_path / "photos", out=tmp_path / "dataset").made == 1
