# SPDX-License-Identifier: Apache-2.0
"""Novel views of pictures that were never rendered: where their subject is, and the sets that are made of them."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from transformers import AutoModelForMaskGeneration, AutoProcessor

from blendset.dataset import Dataset
from blendset.errors import SettingsError
from blendset.verification import verify_dataset
from blendset_trainer.cli.main import main
from blendset_trainer.models.segmenter import POINTS, Segmenter
from blendset_trainer.models.weights import find_model
from blendset_trainer.selection.groups import number_groups
from blendset_trainer.stages.shards import load_view
from blendset_trainer.stages.subject_masks import (
    NoMaskError,
    choose_mask,
    choose_origin,
    cut_plain_background,
    find_subject_mask,
)
from blendset_trainer.stages.tables import read_index
from blendset_trainer.synthesis.novel_views import KNOWN_SHEETS, MASK, Sheet
from blendset_trainer.synthesis.settings import NovelViewsSettings
from blendset_trainer.synthetic_views import make_unknown_camera, read_synthesis
from blendset_trainer.training.data.sources import SourceSettings, load_source
from tests.trainer import tiny_models
from tests.trainer.test_novel_views import with_code
from tests.trainer.tiny_datasets import add_picture, add_scene, choose, make_dataset
from tests.trainer.tiny_pipelines import flux_depth, stable_diffusion, zero123plus
from tests.trainer.traced_sets import TURN, add_set, painted, view_at

WIDTH, HEIGHT = 80, 60
BOX = (20, 12, 55, 48)
PAPER, INK = (240, 240, 236), (180, 40, 30)


def draw_box(box: tuple[int, int, int, int] = BOX) -> Image.Image:
    """A box of ink on paper; `box` is left, top, right and bottom, without the last two."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    ImageDraw.Draw(image).rectangle((*box[:2], box[2] - 1, box[3] - 1), fill=INK)
    return image


def mask_of(box: tuple[int, int, int, int] = BOX) -> np.ndarray[Any, Any]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zero123plus(tmp_path_factory.mktemp("models") / "zero123plus-v1.2")


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_code(tmp_path_factory.mktemp("code"))


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps copies of the code out of the user's cache."""
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture
def adopted(tmp_path: Path) -> Dataset:
    """Photos: one on plain paper, one with transparency, one of noise, one that is cut off."""
    folder = tmp_path / "photos"
    folder.mkdir()
    draw_box().save(folder / "plain.jpg", quality=80)
    clear = draw_box()
    clear.putalpha(Image.fromarray(np.uint8(255 * mask_of())))
    clear.save(folder / "clear.png")
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    draw_box((20, 12, WIDTH, 48)).save(folder / "wide.png")
    assert main(["adopt", str(folder), "--out", str(tmp_path / "adopted")]) == 0
    return Dataset(tmp_path / "adopted")


def turned(dataset: Dataset, model: Path, code: Path, *words: str) -> int:
    return main(["synthesize", "novel-views", str(dataset.root), "--model", str(model), "--remote-code", str(code),
                 "--steps", "2", *words])  # fmt: skip


def made_of(dataset: Dataset) -> dict[str, list[Any]]:
    """Records and syntheses of synthesized views by the name of their parent, in the order of their set."""
    made: dict[str, list[Any]] = {}
    for view in sorted(dataset.views(), key=lambda view: view.view_index):
        if view.run.startswith("novel-views"):
            synthesis = read_synthesis(dataset.rgb_path(view).parent)
            made.setdefault(synthesis.parents[0].rpartition("-")[0], []).append((view, synthesis))
    return made


def test_photos_become_sets_of_the_picture_and_three_views(
    model: Path, code: Path, adopted: Dataset, capsys: Any
) -> None:
    assert turned(adopted, model, code, "--grid") == 0
    said = capsys.readouterr().err
    assert "2 of 4 views are left out: the background is not plain, or the subject is cut off (noise-" in said
    assert verify_dataset(adopted).problems == ()
    made = made_of(adopted)
    assert {name: synthesis.settings[MASK] for name, [(_, synthesis), *_] in made.items()} == {
        "plain": "background", "clear": "alpha",
    }  # fmt: skip
    for members in made.values():
        angles = [(view.azimuth_deg, view.elevation_deg) for view, _ in members]
        assert angles == [(0, None), (90, -10), (150, 20), (270, 20)]
        [view_set, subject] = {(view.view_set, view.subject) for view, _ in members}.pop()
        assert view_set and subject == members[0][1].parents[0], "a photo is the subject of its views"
    first = np.asarray(Image.open(adopted.rgb_path(made["clear"][0][0])))
    side = first.shape[0]
    assert first.shape == (16, 16, 3)
    assert np.abs(first[side // 2, side // 2].astype(int) - INK).max() <= 1, "the picture itself is the first"
    assert (first[0, 0] == 127).all()
    kept = {view.view_id for view in adopted.views()}
    assert turned(adopted, model, code, "--grid") == 0
    assert {view.view_id for view in adopted.views()} == kept


def test_a_photo_and_its_views_are_one_subject_to_a_selection(model: Path, code: Path, adopted: Dataset) -> None:
    assert turned(adopted, model, code, "--grid") == 0
    table = read_index(adopted)
    groups = dict(zip(table["view_id"].to_pylist(), number_groups(table, "subject").tolist(), strict=True))
    for members in made_of(adopted).values():
        photo = members[0][1].parents[0]
        assert {groups[view.view_id] for view, _ in members} == {groups[photo]}
    assert len(set(groups.values())) == 4


def test_captions_of_photos_are_drawn_and_stay_on_their_side(adopted: Dataset, tmp_path: Path) -> None:
    adopted.rebuild_index({view.view_id: f"a red chair {view.view_id}" for view in adopted.views()})
    model = stable_diffusion(tmp_path / "model")
    words = ["synthesize", "text-to-image", str(adopted.root), "--model", str(model), "--steps", "1"]
    assert main([*words, "--width", "32", "--height", "32"]) == 0
    table = read_index(adopted)
    groups = dict(zip(table["view_id"].to_pylist(), number_groups(table, "subject").tolist(), strict=True))
    drawn = [view for view in adopted.views() if view.source == "synthetic"]
    assert len(drawn) == 4
    for view in drawn:
        [photo] = read_synthesis(adopted.rgb_path(view).parent).parents
        assert (groups[view.view_id], view.scene) == (groups[photo], table["scene"][0].as_py())


def test_photos_are_not_restyled(adopted: Dataset, tmp_path: Path, capsys: Any) -> None:
    add_set(adopted, "ball", [painted(view_at(TURN * number)) for number in range(3)])
    add_scene(adopted, "attic")
    adopted.rebuild_index()
    words = ["synthesize", "restyle", str(adopted.root), "--model", str(flux_depth(tmp_path / "depth")), "--steps", "1"]
    assert main([*words, "--prompt", "a chair"]) == 0
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "4 of 7 views are left out: they were not rendered."


def test_such_sets_are_grids_of_training(model: Path, code: Path, adopted: Dataset) -> None:
    assert turned(adopted, model, code, "--grid") == 0
    adopted.rebuild_index({view.view_id: "a box" for view in adopted.views()})
    source = load_source(SourceSettings("grids", "synthetic", str(adopted.root), layout="grid"))
    assert len(source) == 2
    members = {Path(sample.pictures[0]).parent.name: sample for sample in source}
    for (first, _), *_ in made_of(adopted).values():
        pictures = [Path(picture).parent.name for picture in members[first.view_id].pictures]
        assert [name.rpartition("-")[2] for name in pictures] == ["00", "01", "02", "03"]


def test_synthetic_pictures_are_begun_with_where_somebody_says_so(
    model: Path, code: Path, tmp_path: Path, capsys: Any
) -> None:
    made = make_dataset(tmp_path / "pictures")
    add_scene(made, "prompts")
    for number in range(2):
        unknown = make_unknown_camera(WIDTH, HEIGHT)
        add_picture(made, "prompts", "box", number, np.asarray(draw_box()), source="synthetic", camera=unknown)
    made.rebuild_index()
    assert turned(made, model, code) == 1
    assert (
        "holds no view but synthetic ones; give --of-synthetic to begin with these, or name" in capsys.readouterr().err
    )
    choose(made, "first", [{"view_id": "box-0001", "source": "synthetic"}])
    assert turned(made, model, code, "--selection", "first", "--grid") == 0
    assert Counter(made_of(made)).keys() == {"box"} and len(list(made.views())) == 2 + 4
    for _ in range(2):
        assert turned(made, model, code, "--of-synthetic", "--grid") == 0
        assert len(list(made.views())) == 2 + 8, "novel views of novel views are asked for by a selection only"


def test_a_mask_can_be_demanded(model: Path, code: Path, adopted: Dataset, capsys: Any) -> None:
    assert turned(adopted, model, code, "--mask", "alpha") == 0
    assert "3 of 4 views are left out: it has no transparency (" in capsys.readouterr().err
    assert made_of(adopted).keys() == {"clear"}
    assert turned(adopted, model, code, "--mask", "passes") == 1
    assert "No view of " in (said := capsys.readouterr().err) and "there are no render passes" in said


def test_object_ids_say_where_the_subject_is(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "pictures")
    add_scene(made, "coco")
    ids = np.zeros((HEIGHT, WIDTH), np.uint16)
    ids[2:6, 2:6], ids[mask_of()] = 7, 9
    png = io.BytesIO()
    Image.fromarray(ids).save(png, "PNG")
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    view_id = add_picture(made, "coco", "", 0, noise, source="photo", camera=make_unknown_camera(WIDTH, HEIGHT))
    plain = load_view(made, "coco", view_id)
    with pytest.raises(NoMaskError, match="the background is not plain"):
        choose_origin(plain, "auto", False)
    assert choose_origin(plain, "auto", True) == "segmenter"
    made.write_view(plain.record, {"rgb.png": plain.read_picture(), "ids.png": png.getvalue()})
    view = load_view(made, "coco", view_id)
    assert choose_origin(view, "auto", True) == "ids"
    assert (find_subject_mask(view, "ids") == mask_of()).all(), "the largest object, where no subject is named"


boxes = st.tuples(st.integers(3, 30), st.integers(3, 20), st.integers(40, 77), st.integers(30, 57))


@settings(max_examples=50, deadline=None)
@given(boxes, st.integers(0, 2**32 - 1))
def test_what_stands_before_a_plain_background_is_found_exactly(box: tuple[int, int, int, int], seed: int) -> None:
    noise = np.random.default_rng(seed).integers(-9, 10, (HEIGHT, WIDTH, 3))
    pixels = (np.asarray(draw_box(box), np.int16) + noise).clip(0, 255).astype(np.uint8)
    middle = (box[0] + 3, box[1] + 3, box[0] + 6, box[1] + 6)
    pixels[mask_of(middle)] = PAPER  # a window in the box: of the background's colour, but not connected to it
    pixels[1, 1] = INK  # dust
    assert (cut_plain_background(pixels) == mask_of(box)).all()


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.asarray(draw_box((20, 12, WIDTH, 48))), "the subject is cut off"),
        (np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8), "the background is not plain"),
        (np.full((HEIGHT, WIDTH, 3), 200, np.uint8), "the mask covers nothing"),
    ],
)
def test_what_has_no_plain_background_is_refused(pixels: Any, says: str) -> None:
    with pytest.raises(NoMaskError, match=says):
        cut_plain_background(pixels)


def test_of_what_a_segmenter_finds_that_counts_which_holds_most_of_the_middle() -> None:
    points = [(x * WIDTH, y * HEIGHT) for y in (0.3, 0.5, 0.7) for x in (0.3, 0.5, 0.7)]
    part, whole, everything = mask_of((22, 15, 30, 25)), mask_of(), ~mask_of((2, 2, 4, 4))
    masks, ratings = np.stack([part, whole, everything]), np.array([0.99, 0.7, 0.95], np.float32)
    assert (choose_mask(masks, ratings, points) == whole).all()
    better = np.stack([whole, mask_of((21, 12, 55, 48))])
    assert (choose_mask(better, np.array([0.6, 0.8], np.float32), points) == better[1]).all()
    with pytest.raises(NoMaskError, match="the segmenter finds no subject that stands free of the border"):
        choose_mask(everything[None], ratings[2:], points)


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_a_segmenter_is_asked_about_points_as_transformers_asks_it(tmp_path: Path, kind: str) -> None:
    folder = tiny_models.maker(tmp_path)(kind)
    rgb, points = np.asarray(draw_box()), [(24.0, 20.0), (40.0, 30.0)]
    masks, ratings = Segmenter(find_model(str(folder)), POINTS).segment_points(rgb, points)
    assert masks.shape[2:] == (HEIGHT, WIDTH)
    for number, point in enumerate(points):
        processor = AutoProcessor.from_pretrained(folder)
        asked = processor(images=Image.fromarray(rgb), input_points=[[[[*point]]]], input_labels=[[[1]]],
                          return_tensors="pt")  # fmt: skip
        with torch.inference_mode():
            answer = AutoModelForMaskGeneration.from_pretrained(folder)(**asked.to("cpu", torch.float32))
        np.testing.assert_allclose(ratings[number], answer.iou_scores[0, 0].numpy(), atol=1e-4)
        sizes = [asked[name] for name in ("original_sizes", "reshaped_input_sizes") if name in asked]
        [by_hand] = processor.post_process_masks(answer.pred_masks, *sizes)
        assert (masks[number] == by_hand[0].numpy()).mean() > 0.99


def test_a_segmenter_is_for_pictures_where_nothing_else_finds_the_subject(
    model: Path, code: Path, adopted: Dataset, tmp_path: Path, capsys: Any
) -> None:
    segmenter = tiny_models.maker(tmp_path)("sam")
    assert turned(adopted, model, code, "--segmenter", str(segmenter), "--json") == 0
    failed = json.loads(capsys.readouterr().out)["failed"]
    made = made_of(adopted)
    origins = {name: synthesis.settings for name, [(_, synthesis), *_] in made.items()}
    assert {name: each[MASK] for name, each in origins.items() if name in ("plain", "clear")} == {
        "plain": "background", "clear": "alpha",
    }  # fmt: skip
    for name in ("noise", "wide"):  # whose masks are those of random weights
        assert (name in made) != any("the segmenter finds no subject" in reason for reason in failed.values()
                                     if name in reason)  # fmt: skip
        assert name not in made or origins[name][MASK] == "segmenter"
    assert turned(adopted, model, code, "--segmenter", str(tiny_models.maker(tmp_path)("sam3"))) == 1
    assert "takes no point that says what to segment; give a segmenter that does" in capsys.readouterr().err


def test_grids_need_views_a_quarter_turn_apart(
    model: Path, code: Path, adopted: Dataset, tmp_path: Path, capsys: Any
) -> None:
    assert KNOWN_SHEETS["zero123plus-v1.1"].find_quarters() == (1, 2, 4)
    assert Sheet(1, 4, ((0.0, None), (270.0, None), (180.0, None), (90.0, None))).find_quarters() == (3, 2, 1)
    other = Path(shutil.copytree(model, tmp_path / "other"))
    for words, says in {
        "--layout 3x2 --grid": "Nobody said from where the model draws its views; give --azimuths, one for each.",
        "--layout 3x2 --azimuths 5,10,15,20,25,30 --grid": "The model draws no three views a quarter turn apart",
    }.items():
        assert turned(adopted, other, code, *words.split()) == 1
        assert says in capsys.readouterr().err
    assert turned(adopted, other, code, *"--layout 3x2 --azimuths 0,60,120,180,240,300 --mask alpha".split()) == 0
    assert [view.azimuth_deg for view, _ in made_of(adopted)["clear"]] == [0, 60, 120, 180, 240, 300]
    for options, says in (
        ({"mask": "segmenter"}, "--mask segmenter needs a segmenter; add --segmenter MODEL"),
        ({"azimuths": (0.0, 90.0)}, "--azimuths needs the --layout of the model's views"),
        ({"azimuths": (0.0, 90.0), "layout": (2, 2)}, "--azimuths names 2 views and --layout has 4; name each once"),
    ):
        chosen: dict[str, Any] = options
        with pytest.raises(SettingsError, match=says):
            NovelViewsSettings(model="m", **chosen)
