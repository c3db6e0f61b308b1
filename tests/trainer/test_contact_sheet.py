# SPDX-License-Identifier: Apache-2.0
"""The contact sheet shows every view of a dataset once, in an order that a person can follow, with captions below."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from blendset_trainer.reporting import contact_sheet
from blendset_trainer.reporting.contact_sheet import GAP, MARGIN, TILE, build_contact_sheet, find_drawable, main
from blendset_trainer.style import INK, PAPER, RED, SERIES_COLOURS
from tests.trainer.tiny_datasets import Colour, add_view, make_dataset


def places(sheet: Image.Image, colours: list[Colour]) -> list[tuple[int, int]]:
    """The (row, column) of each colour's picture: its top left corner, rows counted from the top."""
    boxes = []
    for colour in colours:
        same = [channel.point(lambda value, part=part: 255 * (value == part)) for channel, part in
                zip(sheet.split(), colour, strict=True)]  # fmt: skip
        box = Image.merge("RGB", same).convert("L").point(lambda value: 255 * (value == 255)).getbbox()
        assert box is not None, f"no picture in {colour}"
        boxes.append(box)
    rows = sorted({box[1] for box in boxes})
    return [(rows.index(box[1]), (box[0] - MARGIN) // (TILE + GAP)) for box in boxes]


def has_colour(picture: Image.Image, name: str) -> bool:
    return ImageColor.getrgb(name) in {pixel for _, pixel in picture.getcolors(picture.width * picture.height) or ()}


def test_each_view_once_by_scene_and_subject(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    whole = add_view(dataset, "attic", "", 0)
    lamps = [add_view(dataset, "attic", "lamp", number) for number in (5, 1)]
    chair = add_view(dataset, "attic", "armchair", 7)
    cellar = add_view(dataset, "cellar", "barrel", 3)
    sheet = build_contact_sheet(dataset, columns=2)
    assert sheet.width == 2 * TILE + GAP + 2 * MARGIN
    assert places(sheet, [chair, *reversed(lamps), whole, cellar]) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]


def test_an_ordered_view_set_keeps_its_order(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    orbit = [add_view(dataset, "attic", "lamp", 9 - index, view_set="orbit-4", view_index=index) for index in range(4)]
    assert places(build_contact_sheet(dataset, columns=4), orbit) == [(0, column) for column in range(4)]


def test_one_rule_spans_the_pictures_of_one_subject(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    for number, subject in enumerate(("armchair", "armchair", "lamp")):
        add_view(dataset, "attic", subject, number)
    sheet = build_contact_sheet(dataset, columns=3)
    gaps = [MARGIN + column * (TILE + GAP) - GAP // 2 for column in (1, 2)]
    first, second = (sheet.crop((gap, 0, gap + 1, sheet.height)) for gap in gaps)
    assert has_colour(first, SERIES_COLOURS[0])
    assert not has_colour(second, SERIES_COLOURS[0])


@pytest.mark.parametrize("label", ["floor lamp", "Stühle", "部屋", "a label that is far too long for one picture " * 3])
def test_captions_are_there_and_stay_below_their_picture(tmp_path: Path, label: str) -> None:
    dataset = make_dataset(tmp_path)
    add_view(dataset, "attic", "lamp", 1, subject_label=label, failed_checks=("low_variance",))
    sheet = build_contact_sheet(dataset, columns=2)
    left, middle, foot = MARGIN, MARGIN + TILE, sheet.height - MARGIN - 80
    captions = sheet.crop((left, foot, middle, sheet.height))
    beside = sheet.crop((middle, foot, sheet.width, sheet.height))
    assert has_colour(captions, INK)
    assert has_colour(captions, RED)
    assert beside.getcolors() == [(beside.width * beside.height, ImageColor.getrgb(PAPER))]


@pytest.mark.parametrize(
    ("text", "drawable"),
    [
        ("floor lamp", "floor lamp"), ("Würfel", "Würfel"), ("Stu\u0308hle", "Stühle"), ("куб", "куб"),
        ("κύβος", "κύβος"), ("部屋", ""), ("table 部", ""), ("כיסא", ""), ("two\nlines", "two lines"), ("", ""),
    ],
)  # fmt: skip
def test_a_label_is_drawn_in_its_own_letters_or_not_at_all(text: str, drawable: str) -> None:
    assert find_drawable(text) == drawable


def test_a_label_that_no_font_has_leaves_its_place_to_the_id(tmp_path: Path) -> None:
    def draw(name: str, label: str) -> bytes:
        dataset = make_dataset(tmp_path / name)
        add_view(dataset, "attic", "x-4df7e6", 1, subject_label=label)
        return build_contact_sheet(dataset).tobytes()

    assert draw("chinese", "立方体") == draw("id", "x-4df7e6")
    assert draw("russian", "куб") not in (draw("nothing", ""), draw("id-2", "x-4df7e6"))


def test_without_the_wide_font_accents_go_and_other_letters_leave_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_sheet, "_find_wide_font", lambda: None)
    contact_sheet._load_letters.cache_clear()
    try:
        assert [find_drawable(text) for text in ("Würfel", "куб", "lamp")] == ["Wurfel", "", "lamp"]
    finally:
        contact_sheet._load_letters.cache_clear()


@pytest.mark.parametrize("size", [(1024, 512), (16, 64), (512, 1024)])
def test_pictures_of_any_shape_keep_it(tmp_path: Path, size: tuple[int, int]) -> None:
    dataset = make_dataset(tmp_path)
    colour = add_view(dataset, "attic", "lamp", 1, size)
    pixels = {pixel: count for count, pixel in build_contact_sheet(dataset).getcolors(1 << 20) or ()}
    scale = min(1.0, TILE / max(size))
    assert pixels[colour] == round(size[0] * scale) * round(size[1] * scale)


@pytest.mark.parametrize(("views", "columns"), [(1, 4), (16, 4), (20, 5), (60, 8), (200, 8)])
def test_columns_follow_the_number_of_views(tmp_path: Path, views: int, columns: int) -> None:
    dataset = make_dataset(tmp_path)
    for number in range(views):
        add_view(dataset, "attic", "lamp", number, size=(4, 4))
    assert build_contact_sheet(dataset).width == columns * (TILE + GAP) - GAP + 2 * MARGIN


def test_command_line(tmp_path: Path) -> None:
    add_view(make_dataset(tmp_path / "data"), "attic", "lamp", 1)
    out = tmp_path / "sheets" / "sheet.png"
    command = [sys.executable, "-m", "blendset_trainer.contact_sheet", str(tmp_path / "data"), str(out)]
    done = subprocess.run([*command, "--columns", "3"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, str(out))
    with Image.open(out) as sheet:
        assert sheet.width == 3 * TILE + 2 * GAP + 2 * MARGIN
    wrong = subprocess.run([*command, "--columns", "0"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "--columns" in wrong.stderr


def test_what_cannot_be_shown_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "sheet.png")]) == 1
    dataset = make_dataset(tmp_path / "data")
    assert main([str(dataset.root), str(tmp_path / "sheet.png")]) == 1
    add_view(dataset, "attic", "lamp", 1)
    picture = dataset.rgb_path(next(dataset.views()))
    picture.write_bytes(picture.read_bytes()[:40])
    assert main([str(dataset.root), str(tmp_path / "sheet.png")]) == 1
    no_dataset, no_views, damaged = capsys.readouterr().err.splitlines()
    assert "dataset.json" in no_dataset
    assert "render a scene" in no_views
    assert str(picture) in damaged
    assert not (tmp_path / "sheet.png").exists()
