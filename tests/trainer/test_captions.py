# SPDX-License-Identifier: Apache-2.0
"""Captions say what a view shows, in words a person would use, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blendset.cameras import SENSOR_MM, Camera, make_facing_rotation, make_pose
from blendset.dataset import INDEX, Dataset
from blendset.exr import Passes, write_passes
from blendset.records import CameraRecord, SceneObjectRecord, SceneRecord, VisibleObject, write_json
from blendset.verification import verify_dataset
from blendset_trainer.captioning.english.sentences import compose_dense_caption, compose_short_caption
from blendset_trainer.captioning.grounding import find_nouns, ground_caption
from blendset_trainer.captioning.metadata import MetadataCaptioner
from blendset_trainer.captioning.models.facts_prompt import build_facts_prompt
from blendset_trainer.captioning.seeing.colours import name_colour, to_balanced_lab
from blendset_trainer.captioning.seeing.facts import Facts, extract_facts
from blendset_trainer.cli.main import main
from blendset_trainer.language.grammar import format_count
from blendset_trainer.language.lexicon import extract_noun
from blendset_trainer.stages.stage import View
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset

SIZE = 96


# ---- a room of boxes, cast with rays ---------------------------------------------------------------------------------


def box(number: int, label: str, low: tuple[float, ...], high: tuple[float, ...], **changes: Any) -> SceneObjectRecord:
    fields: dict[str, Any] = {
        "id": number, "name": label or f"Cube.{number:03d}", "label": label, "collection": "", "materials": (),
        "bounds_min": low, "bounds_max": high, "structural": False, "instance_of": "",
    }  # fmt: skip
    return SceneObjectRecord(**(fields | changes))


ROOM = (
    box(1, "room floor", (-5, -5, -0.1), (5, 5, 0), structural=True, materials=("oak planks",)),
    box(2, "back wall", (-5, 3, 0), (5, 3.1, 4), structural=True),
    box(3, "Table_01", (-0.8, -0.5, 0), (0.8, 0.5, 0.7)),
    box(4, "red vase", (-0.3, -0.3, 0.7), (0.3, 0.3, 1.4)),
    box(5, "SM_Stool_LOD0", (-1.9, -0.3, 0), (-1.4, 0.2, 0.5)),
    box(6, "", (1.2, -0.3, 0), (2.2, 0.6, 1.0)),
    box(7, "plant", (0.2, 2.2, 0), (0.8, 2.8, 1.8)),
)
WOOD, WHITE, RED, GREEN, BLUE = (150, 105, 65), (235, 235, 235), (200, 25, 25), (30, 120, 40), (40, 60, 200)
PAINT = {1: WOOD, 2: WHITE, 3: WHITE, 4: RED, 5: GREEN, 6: BLUE, 7: GREEN}


def camera() -> Camera:
    position = np.array([0.0, -5.0, 1.6])
    return Camera(make_pose(make_facing_rotation(position - np.array([0, 0, 0.6])), position), SIZE, SIZE, 24.0)


def cast(objects: tuple[SceneObjectRecord, ...]) -> Passes:
    """What a camera sees of boxes: for each pixel the nearest, by the slab method."""
    eye, pixels = camera(), np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), axis=-1).reshape(-1, 2)
    rays = eye.make_rays(pixels)
    depth, ids, normals = np.full(len(rays), np.inf), np.zeros(len(rays), np.uint32), np.zeros((len(rays), 3))
    for each in objects:
        with np.errstate(divide="ignore", invalid="ignore"):
            near, far = (np.array([each.bounds_min, each.bounds_max]) - eye.position)[:, None] / rays
        enter = np.minimum(near, far)
        hit = (enter.max(axis=1) < np.maximum(near, far).min(axis=1)) & (enter.max(axis=1) > 0)
        nearer = hit & (enter.max(axis=1) < depth)
        depth[nearer], ids[nearer] = enter.max(axis=1)[nearer], each.id
        axis = enter.argmax(axis=1)[nearer]
        normals[nearer] = 0
        normals[np.flatnonzero(nearer), axis] = -np.sign(rays[nearer, axis])
    shape = (SIZE, SIZE)
    return Passes(
        depth.reshape(shape).astype(np.float32), normals.reshape(*shape, 3).astype(np.float32), ids.reshape(shape)
    )


def room_view(
    root: Path,
    subject: int = 4,
    objects: tuple[SceneObjectRecord, ...] = ROOM,
    paint: Mapping[int, tuple[int, int, int]] | None = None,
    **changes: Any,
) -> Dataset:
    dataset, passes = make_dataset(root), cast(objects)
    add_scene(dataset, "room")
    scene = dataset.scene("room")
    write_json(dataset.scene_path("room"), SceneRecord(**(vars(scene) | {"objects": objects})))
    rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
    for number, colour in (PAINT | dict(paint or {})).items():
        rgb[passes.id == number] = colour
    eye = camera()
    counts = {each.id: int((passes.id == each.id).sum()) for each in objects}
    seen = tuple(VisibleObject(each.id, each.label, counts[each.id], counts[each.id] / SIZE**2) for each in objects
                 if counts[each.id])  # fmt: skip
    label = next((each.label for each in objects if each.id == subject), "")
    focal = eye.focal_length_px
    record = CameraRecord(
        SIZE, SIZE, focal, focal, *eye.principal_point, tuple(eye.world_from_camera.ravel()), 24.0, SENSOR_MM
    )
    view_id = add_picture(
        dataset, "room", f"object-{subject}" if subject else "", 0, rgb, passes.id, camera=record, visible_objects=seen,
        **{"subject_label": label, "subject_objects": (subject,) if subject else ()} | changes,
    )  # fmt: skip
    view = next(view for view in dataset.views() if view.view_id == view_id)
    dataset.write_view(view, {"rgb.png": dataset.rgb_path(view).read_bytes(), "passes.exr": write_passes(passes)})
    dataset.rebuild_index()
    return dataset


def facts(root: Path, subject: int = 4, objects: tuple[SceneObjectRecord, ...] = ROOM, **changes: Any) -> Facts:
    dataset = room_view(root, subject, objects, **changes)
    view = next(dataset.views())
    with Image.open(dataset.rgb_path(view)) as picture:
        return extract_facts(view, dataset.scene("room"), np.asarray(picture), dataset.passes(view))


# ---- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "noun"),
    [
        ("Wooden_Chair_01.003", "wooden chair"), ("SM_Table_LOD0", "table"), ("deskLamp v2", "desk lamp"),
        ("B07XJ8K lamp", "lamp"), ("wall above window", "wall"), ("back wall", "wall"),
        ("refregerator", "refrigerator"),
        ("Schreibtisch", "schreibtisch"), ("Stühle", "stühle"), ("red", ""), ("wood", ""), ("chair broken", "chair"),
    ],
)  # fmt: skip
def test_labels_become_nouns(label: str, noun: str) -> None:
    assert extract_noun(label) == noun


@pytest.mark.parametrize(
    ("noun", "count", "phrase"),
    [("armchair", 1, "an armchair"), ("shelf", 3, "three shelves"), ("curtains", 1, "curtains"), ("grass", 2, "grass"),
     ("book", 9, "several books"), ("book", 90, "many books")],
)  # fmt: skip
def test_things_are_counted_as_people_do(noun: str, count: int, phrase: str) -> None:
    assert format_count(noun, count) == phrase


# ---- colours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rgb", "name"),
    [((200, 25, 25), "red"), ((30, 120, 40), "green"), ((40, 60, 200), "blue"), ((250, 250, 250), "white"),
     ((12, 12, 12), "black"), ((130, 85, 50), "brown"), ((240, 200, 40), "yellow"), ((240, 130, 30), "orange")],
)  # fmt: skip
def test_plain_colours_have_their_names(rgb: tuple[int, int, int], name: str) -> None:
    picture = np.full((20, 20, 3), 250, np.uint8)
    picture[:10] = rgb
    assert name_colour(to_balanced_lab(picture)[:10].reshape(-1, 3)).split()[-1] == name


def test_a_thing_of_two_colours_has_both_and_of_many_none() -> None:
    def colour(*parts: tuple[int, int, int]) -> str:
        picture = np.array([part for part in parts for _ in range(100)], np.uint8)[None]
        return name_colour(to_balanced_lab(np.concatenate([picture, np.full_like(picture, 250)]))[0])

    assert set(colour((200, 25, 25), (40, 60, 200)).split(" and ")) == {"red", "blue"}
    assert colour((200, 25, 25), (40, 60, 200), (240, 200, 40), (20, 140, 40)) == ""


def test_a_pale_blue_wall_is_no_white_wall_in_cool_light() -> None:
    picture = np.full((20, 20, 3), (157, 191, 212), np.uint8)
    picture[:5] = (235, 235, 235)
    assert name_colour(to_balanced_lab(picture)[5:].reshape(-1, 3)) == "light blue"


# ---- facts -----------------------------------------------------------------------------------------------------------


def test_relations_follow_the_geometry(tmp_path: Path) -> None:
    found = facts(tmp_path, subject=3)
    assert found.subject is not None
    assert (found.subject.noun, found.subject.support) == ("table", "floor")
    assert {each.noun: each.relation for each in found.others if each.is_named} == {
        "red vase": "on", "stool": "left", "plant": "behind",
    }  # fmt: skip
    nameless = next(each for each in found.others if not each.is_named)
    assert (nameless.relation, nameless.colour) == ("right", "blue")
    assert nameless.noun == "block"


def test_what_bears_the_subject_is_found(tmp_path: Path) -> None:
    found = facts(tmp_path, subject=4)
    assert next(each.noun for each in found.others if each.relation == "under") == "table"


def test_two_things_of_a_kind_are_two_and_parts_are_one(tmp_path: Path) -> None:
    twins = (box(5, "stool", (-1.9, -0.3, 0), (-1.4, 0.2, 0.5)), box(6, "stool", (-3.0, -0.3, 0), (-2.5, 0.2, 0.5)))
    parts = (box(5, "stool", (-1.9, -0.3, 0), (-1.4, 0.2, 0.3)), box(6, "stool", (-1.9, -0.3, 0.3), (-1.4, 0.2, 0.5)))
    for number, (stools, count) in enumerate(((twins, 2), (parts, 1))):
        found = facts(tmp_path / str(number), 3, ROOM[:4] + stools)
        assert sum(each.count for each in found.others if each.noun == "stool") == count


def test_a_slab_that_is_fixed_to_a_wall_is_a_ledge(tmp_path: Path) -> None:
    found = facts(tmp_path, 6, (*ROOM[:2], box(6, "", (-1.0, 2.5, 1.2), (1.0, 3.0, 1.3))))
    assert found.subject is not None
    assert (found.subject.noun, found.subject.is_on_wall) == ("ledge", True)
    assert " from " in compose_short_caption(found, Random(0))


def test_things_of_a_name_on_every_side_are_told_together(tmp_path: Path) -> None:
    stools = tuple(
        box(10 + at, "stool", (x - 0.25, y - 0.25, 0), (x + 0.25, y + 0.25, 0.5))
        for at, (x, y) in enumerate(((-1.7, 0.0), (1.7, 0.0), (2.6, 0.0)))
    )
    found = facts(tmp_path, 3, (*ROOM[:3], *stools))
    assert "three stools around it" in compose_dense_caption(found, Random(0)) + compose_short_caption(found, Random(0))


# ---- things of several objects ---------------------------------------------------------------------------------------


def part(number: int, label: str, low: tuple[float, ...], high: tuple[float, ...], material: str) -> SceneObjectRecord:
    return box(number, label, low, high, materials=(material,), thing="Car", thing_label="car")


CAR = (
    *ROOM[:2],
    part(10, "body", (-1.3, -0.6, 0.2), (1.3, 0.6, 0.6), "red paint"),
    part(11, "cabin", (-1.2, -0.6, 0.6), (1.2, 0.6, 1.9), "glass"),
    part(12, "wheel", (-1.1, -0.7, 0), (-0.6, -0.6, 0.5), "rubber"),
    part(13, "roof", (-1.2, -0.6, 1.9), (1.2, 0.6, 1.95), "red paint"),
)
CAR_PAINT = {10: RED, 11: GREEN, 12: (12, 12, 12), 13: RED}
WHOLE: dict[str, Any] = {"subject_label": "car", "subject_objects": (10, 11, 12, 13)}


def describe_car(root: Path, subject: int = 10, **changes: Any) -> tuple[Facts, str]:
    """Facts about a view of the car, and what twenty captions say of it."""
    found = facts(root, subject, CAR, paint=CAR_PAINT, **changes)
    composers = compose_short_caption, compose_dense_caption
    text = " ".join(compose(found, Random(seed)) for seed in range(10) for compose in composers).lower()
    assert ground_caption(text, found.nouns).unsupported == ()
    return found, text


def test_a_thing_has_no_parts_beside_it_and_not_the_material_of_one(tmp_path: Path) -> None:
    """The panes cover most of the car's pixels, and are neither the material nor the colour of all of it."""
    found, text = describe_car(tmp_path, **WHOLE)
    assert found.subject is not None
    assert (found.subject.noun, found.subject.material, found.subject.colour) == ("car", "", "red")
    assert found.others == ()
    assert [word for word in ("body", "cabin", "wheel", "roof", "glass", "green") if word in text] == []


def test_a_frame_that_is_little_beside_its_panes_gives_no_colour(tmp_path: Path) -> None:
    objects = tuple(replace(each, materials=("glass",)) if each.id in (10, 11) else each for each in CAR)
    found = facts(tmp_path, 10, objects, paint=CAR_PAINT, **WHOLE)
    assert found.subject is not None
    assert (found.subject.material, found.subject.colour) == ("", "")


def test_a_thing_that_is_no_subject_is_one_thing_too(tmp_path: Path) -> None:
    found, text = describe_car(tmp_path, 0)
    assert [(each.noun, each.count, each.material, each.colour) for each in found.others] == [("car", 1, "", "red")]
    assert "a red car" in text


def test_a_part_that_is_a_subject_is_told_as_part_of_its_thing(tmp_path: Path) -> None:
    found, text = describe_car(tmp_path, 12)
    assert found.subject is not None
    assert (found.subject.noun, found.subject.whole, found.others) == ("wheel", "car", ())
    assert "a wheel of a car" in text
    assert "body" not in text


@pytest.mark.parametrize(
    ("body", "others", "material"),
    [("glass", "glass", "glass"), ("steel", "steel", "metal"), ("glass", "steel", ""), ("oak", "steel", "metal")],
)
def test_the_material_of_most_of_a_thing_is_that_of_the_whole_but_panes(
    tmp_path: Path, body: str, others: str, material: str
) -> None:
    names = {10: body, 11: body if body == "glass" else others, 12: others, 13: others}
    objects = tuple(replace(each, materials=(names[each.id],)) if each.thing else each for each in CAR)
    found = facts(tmp_path, 10, objects, paint=CAR_PAINT, **WHOLE)
    assert found.subject is not None
    assert found.subject.material == material


def test_a_thing_that_no_one_named_is_one_thing(tmp_path: Path) -> None:
    objects = tuple(replace(each, thing_label="") if each.thing else each for each in CAR)
    assert [(each.is_named, each.count) for each in facts(tmp_path, 0, objects).others] == [(False, 1)]


def test_two_things_of_a_name_are_counted(tmp_path: Path) -> None:
    stools = tuple(
        replace(each, thing=thing, thing_label="stool")
        for thing, x in (("A", -1.9), ("B", -3.0))
        for each in (
            box(0, "leg", (x, -0.3, 0), (x + 0.5, 0.2, 0.3)),
            box(0, "top", (x, -0.3, 0.3), (x + 0.5, 0.2, 0.5)),
        )
    )
    numbered = tuple(replace(each, id=20 + number) for number, each in enumerate(stools))
    found = facts(tmp_path, 3, (*ROOM[:4], *numbered))
    assert [(each.noun, each.count) for each in found.others if each.noun in ("stool", "leg", "top")] == [("stool", 2)]


def test_a_model_is_asked_about_things(tmp_path: Path) -> None:
    dataset = room_view(tmp_path, 0, CAR)
    record = next(dataset.views())
    prompt = build_facts_prompt([View(record, dataset.view_folder("room", record.view_id), dataset.scene("room"))])
    assert "car (" in prompt
    assert [label for label in ("body", "cabin", "wheel", "roof") if label in prompt] == []


def test_a_structural_part_stays_a_wall(tmp_path: Path) -> None:
    house = tuple(replace(each, thing="House", thing_label="house") if each.structural else each for each in ROOM)
    assert {each.noun for each in facts(tmp_path, 3, house).surfaces} == {"floor", "wall"}


# ---- captions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", [0, 3, 4, 6])
def test_captions_have_their_length_and_are_grounded(tmp_path: Path, subject: int) -> None:
    found = facts(tmp_path, subject)
    for seed in range(30):
        short, dense = compose_short_caption(found, Random(seed)), compose_dense_caption(found, Random(seed))
        assert 8 <= len(short.split()) <= 20, short
        assert 40 <= len(dense.split()) <= 80, dense
        assert ground_caption(f"{short} {dense}", found.nouns).unsupported == ()
        assert short[0].isupper() and short.endswith(".")


def test_a_default_name_is_never_said(tmp_path: Path) -> None:
    found = facts(tmp_path, subject=6)
    text = " ".join(compose_dense_caption(found, Random(seed)) for seed in range(20)).lower()
    assert "cube" not in text
    assert "blue block" in text


def test_seeds_vary_the_words_and_repeat_them(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert compose_dense_caption(found, Random(1)) == compose_dense_caption(found, Random(1))
    assert len({compose_dense_caption(found, Random(seed)) for seed in range(20)}) > 5


# ---- grounding -------------------------------------------------------------------------------------------------------


def test_nouns_that_are_not_in_sight_are_told() -> None:
    told = ground_caption("A red sofa stands beside two wooden tables and a dog.", {"sofa", "dining table", "floor"})
    assert told.unsupported == ("dog",)
    assert told.share == pytest.approx(2 / 3)


def test_a_room_needs_walls() -> None:
    assert ground_caption("A room with a sofa.", {"sofa"}).unsupported == ("room",)
    assert ground_caption("A room with a sofa.", {"sofa", "wall"}).share == 1


def test_colours_and_materials_are_no_things() -> None:
    assert find_nouns("An orange armchair of wood and brass in warm light.") == ["armchair", "light"]


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_captions_and_keeps_other_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = room_view(tmp_path)
    row = json.loads((tmp_path / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps(row | {"mood": "calm"}) + "\n")
    assert main(["caption", str(tmp_path), "--with", "metadata", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    after = json.loads((tmp_path / INDEX).read_text())
    assert (told["made"], after["mood"]) == (1, "calm")
    assert after["caption"] == next(iter(told["captions"].values()))
    assert "red vase" in after["caption"]
    assert main(["caption", str(tmp_path), "--with", "metadata", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) | {"made": 1, "kept": 0} == told
    assert not verify_dataset(dataset).problems


def test_a_picture_without_passes_gets_no_caption(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    add_scene(dataset, "attic")
    add_picture(dataset, "attic", "lamp", 1, np.full((8, 8, 3), 90, np.uint8))
    assert main(["caption", str(tmp_path), "--with", "metadata", "--json"]) == 0
    assert json.loads((tmp_path / INDEX).read_text())["caption"] is None


def test_captions_name_the_stage(tmp_path: Path) -> None:
    room_view(tmp_path)
    assert main(["caption", str(tmp_path), "--with", "metadata", "--seed", "7"]) == 0
    folders = [path.name for path in (tmp_path / "captions").iterdir()]
    assert len(folders) == 1 and folders[0].startswith(f"{MetadataCaptioner.name}-")
    assert main(["caption", str(tmp_path), "--with", "metadata:x"]) == 2
