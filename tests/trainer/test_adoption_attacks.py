# SPDX-License-Identifier: Apache-2.0
"""Odd sources do not stop an adoption: links in a circle, pipes, phones' files of several pictures, colour profiles."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageCms

from blendset.dataset import Dataset
from blendset_trainer import adopt
from blendset_trainer.adoption.ledger import Ledger
from blendset_trainer.readers.images import decode_image, encode_png
from blendset_trainer.stages.caption_forms import CAPTION_FORMS
from blendset_trainer.stages.tables import read_captions, read_index
from tests.trainer.icc_profiles import ADOBE_RGB, make_rgb_profile
from tests.trainer.test_adoption import SECRET, find_view, make_exif, make_pixels, read_picture, write_picture


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither such links nor pipes")
def test_links_in_a_circle_and_pipes_stop_nothing(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_picture(photos / "a.png", 1)
    (photos / "below").mkdir()
    for name, target in (("one", "two"), ("two", "one"), ("below/up", ".."), ("below/three", "three")):
        (photos / name).symlink_to(target)
    os.mkfifo(photos / "pipe.jpg")
    report = adopt(photos, out=tmp_path / "dataset")
    assert report.made == 1
    assert list(report.faults) == ["pipe.jpg"]
    assert "it is a folder, a pipe or a device" in report.faults["pipe.jpg"]


def test_a_phones_file_of_several_pictures_stays_a_jpeg(tmp_path: Path) -> None:
    """MPO: what stands behind the first picture, such as its depth, goes."""
    photos = tmp_path / "photos"
    photos.mkdir()
    first, second = (Image.fromarray(make_pixels(number)) for number in (1, 2))
    first.save(photos / "phone.jpg", "MPO", save_all=True, append_images=[second], exif=make_exif())
    data = (photos / "phone.jpg").read_bytes()
    report = adopt(photos, out=tmp_path / "dataset")
    kept = read_picture(tmp_path / "dataset", "phone.jpg")
    assert report.files == {"copied without metadata": 1}
    assert decode_image(kept, Path("phone.jpg")).file_format == "JPEG"
    assert SECRET not in kept and len(kept) < len(data) / 2 + 4096
    now, before = (np.asarray(decode_image(each, Path("phone.jpg")).image) for each in (kept, data))
    assert np.array_equal(now, before)


def test_a_picture_with_a_profile_is_converted_to_the_same_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """LittleCMS writes the time of day into the profiles that it makes."""
    file = io.BytesIO()
    Image.fromarray(make_pixels(1)).save(file, "TIFF", icc_profile=make_rgb_profile(*ADOBE_RGB))
    image = decode_image(file.getvalue(), Path("a.tif")).image
    later = image.copy()
    later.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"later"
    assert encode_png(image) == encode_png(later)
    assert "icc_profile" not in Image.open(io.BytesIO(encode_png(image))).info


@pytest.mark.parametrize("absolute", [False, True])
def test_a_table_does_not_reach_out_of_its_folder(tmp_path: Path, absolute: bool) -> None:
    """Somebody else's table must not make one's own pictures a part of the dataset."""
    write_picture(tmp_path / "private" / "me.png", 1)
    write_picture(tmp_path / "photos" / "a.png", 2)
    name = str(tmp_path / "private" / "me.png") if absolute else "../private/me.png"
    rows = [{"file_name": each, "text": "a picture"} for each in ("a.png", name)]
    table = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "photos" / "metadata.jsonl").write_text(table, encoding="utf-8")
    report = adopt(tmp_path / "photos", out=tmp_path / "dataset")
    assert (report.made, list(report.faults)) == (1, [name])
    assert "does not stay in its folder" in report.faults[name]


def test_captions_reach_an_index_that_another_command_wrote_meanwhile(tmp_path: Path) -> None:
    """The first run is killed when all is written but the index."""
    write_picture(tmp_path / "photos" / "a.png", 1, "a red kite")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Dataset, "rebuild_index", Mock(side_effect=KeyboardInterrupt))
        adopt(tmp_path / "photos", out=tmp_path / "dataset")
    dataset = Dataset(tmp_path / "dataset")
    dataset.rebuild_index()
    assert adopt(tmp_path / "photos", out=tmp_path / "dataset").made == 0
    assert read_index(dataset)["caption"].to_pylist() == ["a red kite"]


def test_a_caption_that_is_taken_away_goes_and_what_others_wrote_stays(tmp_path: Path) -> None:
    """Both lose the text beside them; the second was captioned by somebody else meanwhile."""
    photos = tmp_path / "photos"
    for number, name in enumerate("ab"):
        write_picture(photos / f"{name}.png", number, f"picture {name}")
    adopt(photos, out=tmp_path / "dataset")
    dataset = Dataset(tmp_path / "dataset")
    dataset.rebuild_index({find_view(dataset.root, "b.png").view_id: "by a model"})
    for text in photos.glob("*.txt"):
        text.unlink()
    assert adopt(photos, out=dataset.root).made == 2
    assert sorted(read_index(dataset)["caption"].to_pylist(), key=str) == [None, "by a model"]


def test_a_lost_record_of_the_source_is_written_again(tmp_path: Path) -> None:
    write_picture(tmp_path / "photos" / "a.png", 1)
    scene = adopt(tmp_path / "photos", out=tmp_path / "dataset").scene
    path = Dataset(tmp_path / "dataset").scene_path(scene)
    before = path.read_bytes()
    path.unlink()
    report = adopt(tmp_path / "photos", out=tmp_path / "dataset")
    assert (report.made, report.kept) == (0, 1)
    assert path.read_bytes() == before


def test_a_caption_that_changes_after_a_killed_run_is_the_new_one(tmp_path: Path) -> None:
    """The first run is killed when captions are written, and rows are not."""
    write_picture(tmp_path / "photos" / "a.png", 1, "a red kite")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Ledger, "add", Mock(side_effect=KeyboardInterrupt))
        adopt(tmp_path / "photos", out=tmp_path / "dataset")
    (tmp_path / "photos" / "a.txt").write_text("a blue kite", encoding="utf-8")
    adopt(tmp_path / "photos", out=tmp_path / "dataset")
    dataset = Dataset(tmp_path / "dataset")
    captions = read_captions(dataset, read_index(dataset), CAPTION_FORMS)
    assert [each.to_pylist() for each in captions.values()] == [["a blue kite"], ["a blue kite"]]
    assert read_index(dataset)["caption"].to_pylist() == ["a blue kite"]
