# SPDX-License-Identifier: Apache-2.0
"""What a person would point at and what they would not, in rooms, on tables and in files of one mesh."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blendset.config import SubjectSettings
from blendset.placement.planner import plan
from blendset.placement.sampling import find_spanning_points
from blendset.placement.scene import Snapshot
from blendset.placement.subjects import SubjectSearch, find_subjects
from tests.core.analytic import (
    FURNITURE,
    BruteForce,
    Solid,
    ball,
    box,
    config,
    dresser,
    furnished_room,
    panel,
    room_shell,
    snapshot,
    table,
)

GROUND = panel("Plane", (0, 0, 0), (12, 0, 0), (0, 12, 0))


def found(scene: Snapshot, seed: int = 0, **options: Any) -> SubjectSearch:
    return find_subjects(scene, SubjectSettings(**options), seed)


def names(scene: Snapshot, **options: Any) -> list[list[str]]:
    """The objects of each subject, by name, in order."""
    return [sorted(scene.objects[k - 1].name for k in each.objects) for each in found(scene, **options).subjects]


def firsts(scene: Snapshot, **options: Any) -> set[str]:
    """Of each subject the object that gives it its name."""
    units = {each.name: each.unit for each in scene.objects}
    return {
        next((name for name in group if units[name] == name and name in FURNITURE), group[0])
        for group in names(scene, **options)
    }


def things(count: int, **about: Any) -> list[Solid]:
    """Boxes of different shapes in rows, on nothing, far enough apart not to touch."""
    return [
        box(f"Thing {k}", (1.5 * (k % 5), 1.5 * (k // 5), 0.5), (0.5 + 0.05 * k, 0.5, 0.6 + 0.07 * k), **about)
        for k in range(count)
    ]


# ---- grouping --------------------------------------------------------------------------------------------------------


def test_a_furnished_room_gives_its_furniture_and_nothing_else() -> None:
    assert firsts(furnished_room()) == FURNITURE


def test_legs_and_knobs_belong_to_their_furniture() -> None:
    groups = names(furnished_room())
    assert ["Leg.0", "Leg.1", "Leg.2", "Leg.3", "Table"] in groups
    assert ["Dresser", *(f"Knob.{k}" for k in range(6))] in groups


def test_legs_and_knobs_belong_to_their_furniture_in_a_sparse_room_too() -> None:
    """Fewer than eight things in all, as in most product scenes."""
    scene = snapshot([*room_shell(6, 5, 2.8), *table(-1.5, 0), *dresser(1.6, 2.1), ball("Pouf", (1, -1, 0.3), 0.3)])
    assert firsts(scene) == {"Table", "Dresser", "Pouf"}


def test_cups_on_a_table_are_things_of_their_own() -> None:
    groups = names(furnished_room())
    assert [groups.count([f"Cup.{k}"]) for k in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("sunk", [-0.004, 0.0, 0.002])
def test_cups_stay_their_own_whether_they_float_or_sink_by_a_hair(sunk: float) -> None:
    cups = [box(f"Cup.{k}", (-0.6 + 0.3 * k, 0, 0.8 - sunk), (0.09, 0.09, 0.1)) for k in range(5)]
    scene = snapshot([*room_shell(6, 5, 2.8), *table(0, 0), *cups, *dresser(1.6, 2.1), ball("Pouf", (2, -1, 0.3), 0.3)])
    assert {f"Cup.{k}" for k in range(5)} <= firsts(scene)


def test_a_pen_lying_on_a_table_is_no_part_of_it() -> None:
    """Nor does it make parts of the cups that stand beside it."""
    pen = box("Pen", (-1.2, 0.25, 0.765), (0.3, 0.03, 0.03))
    groups = names(furnished_room(more=[pen]))
    assert ["Pen"] in groups and ["Cup.0"] in groups


def test_objects_of_one_unit_are_one_subject_wherever_they_stand() -> None:
    """A cup and its saucer hang on one parent and do not touch."""
    pair = [ball("Cup A", (0.2, 0, 1.6), 0.2, unit="Set"), box("Saucer", (0.2, 0, 1.1), (0.5, 0.5, 0.04), unit="Set")]
    assert ["Cup A", "Saucer"] in names(furnished_room(more=pair))


def test_a_unit_as_wide_as_the_scene_is_a_folder_and_not_an_asset() -> None:
    """Everything parented to one empty called "scene" must not become one subject, nor none."""
    scene = furnished_room()
    objects = tuple(replace(each, unit="everything") for each in scene.objects)
    groups = names(replace(scene, objects=objects))
    assert ["Leg.0", "Leg.1", "Leg.2", "Leg.3", "Table"] in groups and ["Crate"] in groups and ["Cup.0"] in groups
    assert max(map(len, groups)) <= 7


def test_few_units_are_not_taken_apart_when_they_are_of_a_reasonable_size() -> None:
    chairs = [
        part
        for k in range(3)
        for part in (
            box(f"Seat {k}", (2 * k, 0, 0.45), (0.5, 0.5, 0.1), unit=f"Chair {k}"),
            box(f"Back {k}", (2 * k, 0.22, 0.8), (0.5, 0.06, 0.6), unit=f"Chair {k}"),
        )
    ]
    assert names(snapshot([GROUND, *chairs])) == [[f"Back {k}", f"Seat {k}"] for k in range(3)]


def test_a_kit_of_parts_under_one_root_that_is_the_whole_file_still_gives_subjects() -> None:
    parts = [replace(each, about={"unit": "Car"}) for each in things(12)]
    assert len(names(snapshot(parts))) >= 8


def join(name: str, solids: list[Solid], **about: Any) -> Solid:
    """One mesh of many, as a scan or an import gives it."""
    corners = np.cumsum([0, *(len(each.vertices) for each in solids)])
    triangles = [each.triangles + corner for each, corner in zip(solids, corners[:-1], strict=True)]
    vertices = np.concatenate([each.vertices for each in solids])
    return Solid(name, vertices, np.concatenate(triangles).astype(np.int32), 0.5, about)


def car(**about: Any) -> list[Solid]:
    """A car of ten parts, as an artist models it: four wheels beside the body, doors on its sides, a bumper ahead."""
    parts = {
        "Body": ((0, 0, 0.8), (4.4, 1.8, 0.8)),
        "Cabin": ((-0.2, 0, 1.45), (2.2, 1.6, 0.7)),
        "Hood": ((1.75, 0, 1.25), (1.0, 1.7, 0.12)),
        "Bumper": ((2.35, 0, 0.6), (0.24, 1.8, 0.3)),
        **{f"Wheel_{k}": ((x, y, 0.42), (1, 0.36, 1)) for k, (x, y) in enumerate(product((1.4, -1.4), (0.95, -0.95)))},
        **{f"Door_{k}": ((-0.2, y, 0.95), (1.4, 0.08, 0.7)) for k, y in enumerate((0.95, -0.95))},
    }
    return [box(name, centre, size, **({"parents": ("Car",)} | about)) for name, (centre, size) in parts.items()]


@pytest.mark.parametrize("ground", [[], [panel("Ground", (0, 0, 0), (30, 0, 0), (0, 30, 0))]], ids=["alone", "ground"])
def test_a_car_of_many_parts_is_one_car(ground: list[Solid]) -> None:
    result = found(snapshot([*car(), *ground]))
    assert [(each.label, len(each.objects)) for each in result.subjects] == [("car", 10)]
    assert [(thing.label, len(thing.objects)) for thing in result.things] == [("car", 10)]


def test_a_car_among_other_things_is_one_car_too() -> None:
    """It fills half of the scene, and is no folder for that."""
    scene = snapshot([GROUND, *car(), ball("Stone", (-3, 4, 0.4), 0.4), box("Crate", (4, -4, 0.5), (0.9, 1, 1.1))])
    assert [each.label for each in found(scene).subjects] == ["car", "stone", "crate"]


def test_two_cars_under_one_parent_are_two() -> None:
    first, second = (car(parents=(f"Car.{k}", "Vehicles")) for k in range(2))
    moved = [replace(each, vertices=each.vertices + np.array([0, 6, 0])) for each in second]
    subjects = found(snapshot([GROUND, *first, *moved])).subjects
    assert [(each.label, len(each.objects)) for each in subjects] == [("car", 10), ("car", 10)]


def test_a_parent_that_only_keeps_things_together_is_no_name() -> None:
    scene = snapshot([GROUND, *(replace(each, about={"parents": ("Exhibition Hall",)}) for each in things(6))])
    assert [each.label for each in found(scene).subjects] == ["thing"] * 6
    assert found(scene).things == ()


def test_scattered_instances_of_two_objects_are_one_thing_each_and_no_part_of_what_scatters_them() -> None:
    lawn = panel("Lawn", (0, 0, 0.01), (6, 0, 0), (0, 6, 0))
    pairs = [
        part
        for k, (x, y) in enumerate(product((-2, 0, 2), (-1, 1)))
        for part in (
            box("Pot", (x, y, 0.25), (0.6, 0.6, 0.5), unit=f"Lawn#{k}", instance_of="Lawn", parents=("Lawn",)),
            ball("Bush", (x, y, 0.9), 0.5, unit=f"Lawn#{k}", instance_of="Lawn", parents=("Lawn",)),
        )
    ]
    subjects = found(snapshot([lawn, *pairs])).subjects
    assert [(each.label, len(each.objects)) for each in subjects] == [("bush", 2)] * 6


def test_a_bottle_with_its_collar_and_cap_is_one_bottle() -> None:
    """Nothing but contact holds them together, and it is larger than anything else."""
    bottle = [
        ball("Bottle", (0, 0, 1), 1.0, halvings=2),
        box("Wine", (0, 0, 0.9), (0.9, 0.9, 0.9)),
        ball("Collar", (0, 0, 2.1), 0.2),
        ball("Cap", (0, 0, 2.5), 0.25, halvings=2),
    ]
    backdrop = panel("Plane", (0, 4, 2), (12, 0, 0), (0, 0, 8))
    for others in ([], [ball("Cork", (2, -1, 0.2), 0.2)]):
        first = found(snapshot([GROUND, backdrop, *bottle, *others])).subjects[0]
        assert first.label == "bottle" and first.objects == {3, 4, 5, 6}


def test_a_car_of_loose_parts_is_one_car() -> None:
    [subject] = found(snapshot([GROUND, *car(parents=())])).subjects
    assert len(subject.objects) == 10
    assert subject.label == ""  # it is no body, and nothing says that it is a car


def test_dishes_on_a_table_are_no_table() -> None:
    """The table is nearly all there is, but what stands on it is not attached to it."""
    dishes = [ball(f"Dish.{k}", (0.3 * k - 0.6, 0.1 * (k % 2), 0.84), 0.09) for k in range(5)]
    subjects = found(snapshot([GROUND, *table(0, 0), *dishes])).subjects
    assert [len(each.objects) for each in subjects] == [5, 1, 1, 1, 1, 1]


def test_a_row_of_houses_is_no_house() -> None:
    houses = [box(f"House.{k}", (3 * k, 0, 2 + 0.2 * k), (3.01, 4, 4 + 0.4 * k)) for k in range(9)]
    assert {len(each.objects) for each in found(snapshot([*houses])).subjects} == {1}


def test_a_phone_of_flat_parts_is_one_phone() -> None:
    """Its body lies under everything as a floor does."""
    phone = [box("Body", (0, 0, 0), (0.07, 0.15, 0.005)), box("Screen", (0, 0, 0.003), (0.065, 0.14, 0.001))]
    phone += [box(f"Button.{k}", (0.036, 0.02 * k, 0), (0.002, 0.01, 0.002)) for k in range(3)]
    whole = found(snapshot([GROUND, *phone])).subjects[0]
    assert len(whole.objects) == 5


@pytest.mark.parametrize("side", [6, 8, 20])
def test_stones_on_a_lawn_are_no_lawn(side: float) -> None:
    stones = [ball(f"Stone.{k}", (2 * k - 2, k % 2, 0.3 + 0.05 * k), 0.3 + 0.05 * k) for k in range(3)]
    lawn = box("Lawn", (0, 0, -0.1), (side, side, 0.2))
    assert [each.objects for each in found(snapshot([lawn, *stones])).subjects] == [{2}, {3}, {4}]


def test_a_bench_under_a_tree_is_no_part_of_it() -> None:
    """Its box lies within that of the crown, and its surface nowhere near."""
    crown = [ball("Leaf", (1.5 * x, 1.5 * y, 3.5), 0.8) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    tree = join("Tree", [box("Trunk", (0, 0, 1.5), (0.3, 0.3, 3)), *crown])
    bench = join("Bench", [box("Seat", (0, -1.4, 0.4), (1.2, 0.4, 0.05)), box("Leg", (0, -1.4, 0.2), (0.1, 0.3, 0.4))])
    assert [each.label for each in found(snapshot([GROUND, tree, bench, *things(3)])).subjects][:2] == ["tree", "bench"]


def test_doors_and_windows_belong_to_their_house() -> None:
    houses = [
        part
        for k in range(4)
        for part in (
            box(f"House.{k}", (9 * k, 0, 3), (5, 6, 6 + 0.1 * k)),
            box(f"Door.{k}", (9 * k, -3.02, 1), (1, 0.1, 2)),
            box(f"Window.{k}", (9 * k + 1.5, -3.03, 3.5), (1.1, 0.08, 1.2)),
        )
    ]
    assert [len(each.objects) for each in found(snapshot(houses)).subjects] == [3, 3, 3, 3]


def test_a_furnished_room_under_one_root_stays_a_room() -> None:
    scene = furnished_room()
    objects = tuple(replace(each, parents=("RootNode",)) for each in scene.objects)
    assert names(replace(scene, objects=objects)) == names(scene)


def test_a_figure_in_its_clothes_is_no_room_with_furniture() -> None:
    """Most of what the file holds stands inside the box of the body."""
    body = [box("Body", (0, 0, 0.95), (0.35, 0.25, 1.9)), box("Arms", (0, 0, 1.45), (1.8, 0.12, 0.12))]
    joined = join("Body", body, parents=("Armature",))
    clothes = [
        box(name, (0, 0, z), size, parents=("Armature",))
        for name, z, size in (("Shirt", 1.3, (0.4, 0.3, 0.6)), ("Trousers", 0.6, (0.38, 0.28, 0.8)),
                              ("Hair", 1.85, (0.3, 0.28, 0.2)), ("Belt", 0.98, (0.39, 0.29, 0.06)))
    ]  # fmt: skip
    result = found(snapshot([GROUND, joined, *clothes]))
    assert result.structural == {1} and [len(each.objects) for each in result.subjects] == [5]


def test_hair_belongs_to_its_thing_and_to_its_frame() -> None:
    doll = ball("Troll_Doll", (0, 0, 1), 0.8)
    hair = Solid("Fur", np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32), 0.5, {"parents": ("Troll_Doll",)})
    scene = replace(snapshot([GROUND, doll, hair]), fringe={3: np.array([[0, 0, 3.0], [1.5, 0, 1]])})
    [subject] = found(scene).subjects
    assert subject.objects == {2, 3}
    assert subject.bounds[1].tolist() == pytest.approx([1.5, 0.8, 3.0], abs=0.05)
    assert plan(scene, BruteForce(scene), config()).visible_subjects == {"troll-doll"}


# ---- structure -------------------------------------------------------------------------------------------------------


def structural(scene: Snapshot) -> set[str]:
    return {scene.objects[k - 1].name for k in found(scene).structural}


def test_walls_floors_and_ceilings_are_structure() -> None:
    assert structural(furnished_room()) == {"Plane", *(f"Plane.00{k}" for k in range(1, 6))}


@pytest.mark.parametrize(
    "solid", [panel("Plane", (0, 0, 0), (3, 0, 0), (0, 3, 0)), box("Ground", (0, 0, 0), (1, 1, 1))]
)
def test_a_lone_object_is_no_structure(solid: Solid) -> None:
    assert structural(snapshot([solid])) == set()


def test_flat_things_in_the_middle_of_a_large_one_are_no_reason_to_stop() -> None:
    """The ground cuts through the middle of a figure that is sunk into it."""
    scene = snapshot([ball("Figure", (0, 0, 0), 1.0, halvings=2), panel("Plane", (0, 0, 0), (3, 0, 0), (0, 3, 0))])
    assert [each.label for each in found(scene).subjects] == ["figure"]


def test_hills_are_structure_and_what_stands_on_them_is_not() -> None:
    x, y = np.meshgrid(np.linspace(-10, 10, 21), np.linspace(-10, 10, 21), indexing="ij")
    z = np.sin(x / 3) + np.cos(y / 4)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    corner = (np.arange(20)[:, None] * 21 + np.arange(20)).ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 21, corner + 22], 1), np.stack([corner, corner + 22, corner + 1], 1)]
    )
    hills = Solid("Plane.003", vertices, faces.astype(np.int32), 0.4, {})
    trees = [
        box(f"Tree.{k}", (*vertices[50 * k + 5, :2], vertices[50 * k + 5, 2] + 1), (0.8, 0.8, 2.2)) for k in range(8)
    ]
    assert structural(snapshot([hills, *trees])) == {"Plane.003"}


def test_walls_around_the_middle_enclose_a_scene_and_a_backdrop_does_not() -> None:
    assert found(furnished_room()).enclosed
    backdrop = panel("Backdrop", (0, 2, 1.5), (4, 0, 0), (0, 0, 3))
    assert not found(snapshot([GROUND, backdrop, *car()])).enclosed
    room = join("Scan", [*room_shell(6, 5, 2.8)[:4], *table(0, 0)])
    assert found(snapshot([room])).enclosed
    assert (
        not found(snapshot([join("Car", car())])).enclosed
        and not found(snapshot([ball("Ball", (0, 0, 0), 1)])).enclosed
    )
    cut_open = [solid for solid in room_shell(6, 5, 2.8) if solid.name in ("Plane", "Plane.002", "Plane.004")]
    assert found(snapshot([*cut_open, *things(9)])).enclosed


@pytest.mark.parametrize("thickness", [0.001, 0.1, 0.2])
def test_thick_slabs_are_structure_too(thickness: float) -> None:
    slabs = [
        box("Cube", (0, 0, -thickness / 2), (6, 5, thickness)),
        box("Cube.001", (0, 2.5, 1.4), (6, thickness, 2.8)),
    ]
    assert structural(snapshot([*slabs, *things(9)])) == {"Cube", "Cube.001"}


def test_a_room_in_one_piece_is_structure() -> None:
    scene = snapshot([box("Cube", (3, 1, 1.2), (8, 5, 2.6)), *things(9)])
    assert structural(scene) == {"Cube"}
    assert len(found(scene).subjects) == 9


def test_a_large_backdrop_is_known_by_name() -> None:
    scene = snapshot([box("studio_Backdrop.001", (3, 4, 1.5), (6, 1.5, 3)), *things(9)])
    assert structural(scene) == {"studio_Backdrop.001"}


@pytest.mark.parametrize("name", ["Wallet", "Groundhog", "Roommate"])
def test_a_small_thing_is_no_wall_whatever_it_is_called(name: str) -> None:
    scene = snapshot([*room_shell(6, 5, 2.8), *things(9), box(name, (-2, -2, 0.3), (0.4, 0.5, 0.6))])
    assert [name] in names(scene)


def test_a_label_makes_a_subject_of_what_would_be_structure() -> None:
    rug = box("Plane.009", (0, 0, 0.01), (3, 2.2, 0.02), label="persian rug")
    scene = furnished_room(more=[rug])
    assert "Plane.009" not in structural(scene)
    assert "persian rug" in {each.label for each in found(scene).subjects}


# ---- labels, names, ids ----------------------------------------------------------------------------------------------


def test_a_label_beats_the_name_and_names_the_subject() -> None:
    scene = snapshot([GROUND, *things(8), ball("Sphere.004", (3, -2, 0.5), 0.5, label="Bowling ball")])
    [subject] = [each for each in found(scene).subjects if each.label == "Bowling ball"]
    assert subject.id == "bowling-ball"


def test_a_labelled_part_stays_a_subject_of_its_own() -> None:
    scene = furnished_room()
    objects = tuple(replace(each, label="claw foot") if each.name == "Leg.2" else each for each in scene.objects)
    assert ["Leg.2"] in names(replace(scene, objects=objects))


def test_ids_are_unique_even_where_names_and_labels_collide() -> None:
    """A record, a folder and a random stream belong to each id: two subjects must never share one."""
    odd = ["X1", "x1", "X1-2", "Chair", "chair", "Chair.002"]
    solids = [replace(each, name=name) for each, name in zip(things(6), odd, strict=True)]
    labels = ["Stuhl", "stuhl", "Stuhl 2", "stuhl-2"]
    solids += [replace(each, about={"label": label}) for each, label in zip(things(10)[6:], labels, strict=True)]
    ids = [each.id for each in found(snapshot([GROUND, *solids])).subjects]
    assert len(ids) == 10 and len(set(ids)) == 10


def test_ids_hold_no_word_that_names_a_split() -> None:
    solids = [replace(each, name=name) for each, name in zip(things(4), ("Test", "val", "Train", "dev"), strict=True)]
    for subject in found(snapshot([GROUND, *solids])).subjects:
        assert not {"test", "val", "train", "dev"} & set(subject.id.split("-"))


# ---- who is left out -------------------------------------------------------------------------------------------------


def test_globs_choose_by_name_label_or_unit_and_without_regard_to_case() -> None:
    scene = furnished_room(more=[ball("Icosphere", (-0.5, -2, 1.9), 0.2, label="Glass float")])
    assert firsts(scene, include=("cup*",)) == {"Cup.0", "Cup.1", "Cup.2"}
    assert firsts(scene, include=("glass *", "SOFA")) == {"Icosphere", "Sofa"}
    assert firsts(scene, exclude=("*u*",)) == FURNITURE - {"Cup.0", "Cup.1", "Cup.2", "Pouf"} | {"Icosphere"}
    assert firsts(scene, include=("cup*",), exclude=("*.1",)) == {"Cup.0", "Cup.2"}
    assert found(scene, include=("cup*",)).left_out["not included"] == 10


def test_what_is_excluded_never_comes_back() -> None:
    """Not even when nothing else is left: no view is better than one that the user ruled out."""
    assert found(furnished_room(), exclude=("*",)).subjects == ()
    scene = snapshot([*room_shell(6, 5, 2.8), box("Secret", (0, 0, 0.5), (1, 1, 1))])
    assert not any(3 + 4 in each.objects for each in found(scene, exclude=("secret",)).subjects)


def test_including_what_is_not_there_gives_nothing() -> None:
    assert found(furnished_room(), include=("unicorn",)).subjects == ()


def test_unphotographable_things_are_no_subjects() -> None:
    scene = furnished_room(more=[ball("Light bulb", (0, 0, 2), 0.3, objection="only shines")])
    assert firsts(scene) == FURNITURE


def test_plain_boxes_give_way_to_what_tells_more() -> None:
    """Bars and boards are subjects of a sparse scene, and of one that asks for them or names them."""
    boards = [box("Board", (3, 3, 0.5), (0.9, 0.2, 1)), box("Bar", (-4, 3, 0.5), (0.2, 0.2, 1), label="post")]
    few, many = (
        snapshot([GROUND, *boards, *(ball(f"Ball.{k}", (1.2 * k - 4, 0, 0.5), 0.3 + 0.02 * k) for k in range(count))])
        for count in (6, 7)
    )
    assert {"Board", "Bar"} <= firsts(few)
    assert (
        "Board" not in firsts(many) and "Bar" in firsts(many) and found(many).left_out == {"plain": 1, "structure": 1}
    )
    assert firsts(many, include=("Board",)) == {"Board"}


def test_copies_are_capped_and_counted() -> None:
    """Thirty turned and moved copies of one bolt are twenty subjects, or as many as asked for."""
    bolts = [
        box(f"Bolt.{k:03}", (0.9 * (k % 6), 0.9 * (k // 6), 0.4), (0.3, 0.4, 0.6), turn_deg=37 * k) for k in range(30)
    ]
    scene = snapshot([GROUND, *bolts, ball("Ball", (-2, 0, 0.5), 0.5)])
    assert len(found(scene).subjects) == 21 and found(scene).left_out == {"copy": 10, "structure": 1}
    few = found(scene, copies=2).subjects
    assert Counter(each.id.split("-")[0] for each in few) == {"bolt": 2, "ball": 1}
    assert sorted(each.copy for each in few) == [0, 0, 1]


def test_trees_of_one_sort_are_copies_of_whatever_size() -> None:
    trees = [
        ball(
            f"Tree.{k:03}", (2.2 * (k % 8), 2.2 * (k // 8), 0), 0.7 + 0.01 * k, unit=f"Forest#{k}", instance_of="Forest"
        )
        for k in range(40)
    ]
    named = [replace(each, name="Tree") for each in trees]
    assert found(snapshot([GROUND, *named])).left_out["copy"] == 20


def test_different_shapes_are_no_copies() -> None:
    assert len(found(snapshot([GROUND, *things(15)]), copies=1).subjects) == 15


@pytest.mark.parametrize(
    ("solid", "reason"),
    [
        (ball("Screw", (0, 1.5, 1.5), 0.02), "too small"),
        (box("Beam", (0, 0, 2.4), (5.5, 0.3, 0.3)), "too large"),
        (box("Cable", (0, 1, 1.5), (2, 0.01, 0.01)), "a line"),
        (panel("Window", (0.5, 2.2, 1.5), (0.8, 0, 0), (0, 0, 1)), "plain panel"),
        (ball("Lost", (40, 0, 1), 0.3), "astray"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_subject_is_left_out_for_its_reason(solid: Solid, reason: str) -> None:
    result = found(furnished_room(more=[solid]))
    assert result.left_out == {reason: 1, "structure": 6}
    assert len(result.subjects) == len(FURNITURE)


@pytest.mark.parametrize("about", [{"textured": True}, {"label": "poster"}])
def test_a_panel_with_a_picture_on_it_is_a_subject(about: dict[str, Any]) -> None:
    poster = panel("Plane.010", (0.5, 2.45, 1.5), (0.8, 0, 0), (0, 0, 1), **about)
    assert ["Plane.010"] in names(furnished_room(more=[poster]))


# ---- scenes that fit no rule -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solid", [box("Cube", (0, 0, 0), (2, 2, 2)), ball("City", (0, 0, 0), 30)])
def test_one_mesh_that_is_the_whole_scene_still_gives_a_subject(solid: Solid) -> None:
    [subject] = found(snapshot([solid])).subjects
    assert subject.objects == {1}


def test_one_mesh_that_is_the_whole_scene_still_gives_views() -> None:
    scene = snapshot([box("House", (0, 0, 2), (9, 7, 4))])
    assert plan(scene, BruteForce(scene), config()).visible_subjects == {"house"}


def test_a_thing_on_a_backdrop_is_the_subject_and_not_the_backdrop() -> None:
    scene = snapshot([panel("Plane", (0, 0, 0), (4, 0, 0), (0, 4, 0)), ball("Sphere", (0, 0, 0.8), 0.8)])
    assert names(scene) == [["Sphere"]]


@pytest.mark.parametrize("size", [12, 20, 40])
def test_the_ground_under_a_yard_does_not_make_its_things_small(size: float) -> None:
    yard = things(5)
    scene = snapshot([box("Lawn", (3, 0, -0.1), (size, size, 0.2)), *yard])
    assert scene.diagonal == pytest.approx(snapshot(yard).diagonal, rel=0.3) and len(names(scene)) == 5


def test_what_stands_in_the_grass_is_no_part_of_the_lawn() -> None:
    """Its grass is as high as a log is thick, and makes its box a low block."""
    blades = [box(f"Blade{k}", (0.9 * (k % 9) - 4, 0.9 * (k // 9) - 4, 0.2), (0.05, 0.05, 0.4)) for k in range(81)]
    lawn = join("Lawn", [panel("Ground", (0, 0, 0), (9, 0, 0), (0, 9, 0)), *blades])
    log = ball("Log", (1, 1, 0.15), 0.2)
    assert {2} in [set(each.objects) for each in found(snapshot([lawn, log, *things(3)])).subjects]


@pytest.mark.parametrize("size", [60, 1000])
def test_a_stray_ground_plane_changes_nothing(size: float) -> None:
    """Many files have a room on a plane that reaches to the horizon."""
    ground = panel("Plane.100", (0, 0, -0.1), (size, 0, 0), (0, size, 0))
    screw = ball("Screw", (0, 1.5, 1.5), 0.02)
    with_ground = furnished_room(more=[ground, screw])
    assert firsts(with_ground) == FURNITURE
    assert structural(with_ground) == structural(furnished_room()) | {"Plane.100"}
    assert with_ground.diagonal == pytest.approx(furnished_room().diagonal, rel=0.25)


def test_a_stray_ground_plane_changes_nothing_in_a_sparse_scene() -> None:
    """Five things on a plane that reaches to the horizon: outliers must not be known by their share alone."""
    scene, bare = (
        snapshot([*more, *things(5)]) for more in ([panel("Plane", (0, 0, 0), (500, 0, 0), (0, 500, 0))], [])
    )
    assert scene.diagonal < 3 * bare.diagonal
    assert len(names(scene)) == 5


def test_many_small_things_in_one_place_do_not_shrink_the_scene() -> None:
    """Two hundred coins on the table: the room is as large as before, and the sofa is neither too large nor astray."""
    places = np.random.default_rng(0).uniform([-1.95, 0.05], [-0.45, 0.75], (200, 2))
    scene = furnished_room(more=[box(f"Coin.{k:03}", (x, y, 0.76), (0.02,) * 3) for k, (x, y) in enumerate(places)])
    assert firsts(scene) >= FURNITURE
    assert scene.diagonal == pytest.approx(furnished_room().diagonal, rel=0.25)


@pytest.mark.parametrize("far", [200.0, 1e6])
def test_objects_gone_astray_are_no_subjects_and_do_not_stretch_the_scene(far: float) -> None:
    scene = furnished_room(more=[ball("Lost", (far, far, far), 0.3)])
    assert firsts(scene) == FURNITURE
    assert scene.diagonal == pytest.approx(furnished_room().diagonal, rel=0.25)


@given(st.floats(-3, 3), st.sampled_from([1.0, 0.01, 39.37]))
@settings(max_examples=12, deadline=None)
def test_a_dollhouse_and_a_scene_of_a_kilometre_give_the_same_subjects(power: float, metres_per_unit: float) -> None:
    plain, scaled = furnished_room(), furnished_room(10**power, metres_per_unit)
    one, other = found(plain), found(scaled)
    assert [each.objects for each in one.subjects] == [each.objects for each in other.subjects]
    assert [each.copy for each in one.subjects] == [each.copy for each in other.subjects]
    assert one.structural == other.structural and one.left_out == other.left_out


@pytest.mark.parametrize("solids", [[], [Solid("Empty", np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32), 0.5, {})]])
def test_nothing_gives_nothing(solids: list[Solid]) -> None:
    result = found(snapshot(solids))
    assert result.subjects == () and result.structural == frozenset()


def test_a_mesh_without_area_is_no_reason_to_stop() -> None:
    speck = Solid("Speck", np.ones((3, 3)), np.array([[0, 1, 2]], dtype=np.int32), 0.5, {})
    assert firsts(furnished_room(more=[speck])) == FURNITURE


def test_reasons_count_each_thing_once() -> None:
    """What was too small at first and a subject after all is not left out."""
    scene = snapshot([GROUND, box("Chip", (0, 0, 0.02), (0.05, 0.04, 0.04))])
    result = found(scene)
    assert len(result.subjects) == 1 and result.left_out == {"structure": 1}


# ---- samples ---------------------------------------------------------------------------------------------------------


def test_surface_points_lie_on_the_surface_by_area_and_follow_the_seed() -> None:
    """Five sixths of the points of a flat box lie on its two large faces, which are five sixths of its surface."""
    scene = snapshot([GROUND, box("Slab", (3, 3, 3), (2, 2, 0.2))])
    first, again, other = (found(scene, seed=seed).subjects[0].points for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() and first.tolist() != other.tolist()
    assert (np.isclose(np.abs(first - 3), [1, 1, 0.1]).any(axis=1)).all()
    assert np.isclose(np.abs(first[:, 2] - 3), 0.1).mean() == pytest.approx(5 / 6, abs=0.04)


def test_surface_points_do_not_follow_the_order_of_triangles() -> None:
    """A modifier numbers triangles, their corners and its vertices otherwise in one Blender than in another."""
    mesh = ball("Ball", (3, 3, 3), 1.0, halvings=2)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(mesh.vertices))
    triangles = np.argsort(order)[mesh.triangles][rng.permutation(len(mesh.triangles))]
    turned = np.roll(triangles, 1, axis=1)
    vertices = mesh.vertices[order] + rng.uniform(-1e-7, 1e-7, mesh.vertices.shape)
    shuffled = replace(mesh, vertices=vertices, triangles=turned.astype(np.int32))
    one, other = (found(snapshot([GROUND, each])).subjects[0].points for each in (mesh, shuffled))
    assert one == pytest.approx(other, abs=1e-6)


def test_a_subject_knows_its_box() -> None:
    [subject] = found(snapshot([GROUND, box("Slab", (3, 3, 3), (2, 1, 0.2))])).subjects
    assert subject.bounds.ravel().tolist() == pytest.approx([2, 2.5, 2.9, 4, 3.5, 3.1])
    assert subject.centre.tolist() == pytest.approx([3, 3, 3]) and subject.size == pytest.approx(5.04**0.5)


def test_what_lacks_a_texture_is_no_subject() -> None:
    scene = snapshot([GROUND, box("Slab", (3, 3, 3), (2, 1, 0.2), missing_files=("//skin.png",)), *things(3)])
    result = found(scene)
    assert len(result.subjects) == 3 and result.left_out == {"texture missing": 1, "structure": 1}


def test_few_points_span_a_large_mesh_nearly_whole() -> None:
    cloud = np.random.default_rng(0).normal(size=(20_000, 3)) * [3, 1, 0.2]
    hull = find_spanning_points(cloud)
    axes = np.random.default_rng(1).normal(size=(200, 3))
    assert len(hull) <= 512
    missed = (cloud @ axes.T).max(axis=0) - (hull @ axes.T).max(axis=0)
    assert missed.max() < 0.01 * np.linalg.norm(np.ptp(cloud, axis=0))
