# SPDX-License-Identifier: Apache-2.0
"""What is one object and what belongs together, among instances, hair and light: read, and not rendered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blendset.config import Config, SubjectSettings
from blendset.placement.scene import SceneObject, Snapshot
from tests.addon import scenes_instances as build
from tests.addon.runs import import_addon

PLANT = {"Pot": (0.0, 0.0, 0.5), "Bush": (0.0, 0.0, 1.4)}


def read(config: Config | None = None) -> Any:
    """The open scene, as planning reads it."""
    scene = bpy.context.scene
    with import_addon("scene.overrides").Overrides() as overrides:
        layer = scene.view_layers[0].name
        return import_addon("planning.reading").read_scene(scene, layer, config or Config(), overrides)


def read_objects() -> tuple[SceneObject, ...]:
    """The objects of the open scene's snapshot."""
    snapshot: Snapshot = read().opened.snapshot
    return snapshot.objects


def list_units(objects: tuple[SceneObject, ...]) -> list[list[str]]:
    """The names of the objects that are in each unit, for units that have triangles."""
    units: dict[str, list[str]] = {}
    for entry in objects:
        if entry.triangles[1] > entry.triangles[0]:
            units.setdefault(entry.unit, []).append(entry.name)
    return sorted(units.values())


def read_vertices(name: str) -> Any:
    """The vertices of an object's own mesh."""
    data: Any = bpy.data.objects[name].data
    return data.vertices


def count_triangles(name: str) -> int:
    """How many triangles the polygons of an object's own mesh are."""
    data: Any = bpy.data.objects[name].data
    return sum(len(polygon.vertices) - 2 for polygon in data.polygons)


def count_own_triangles(entry: SceneObject) -> int:
    """How many triangles an object of a snapshot has."""
    return entry.triangles[1] - entry.triangles[0]


def measure_surface(snapshot: Snapshot, entry: SceneObject) -> float:
    """The surface of an object's triangles in a snapshot."""
    corners = snapshot.vertices[snapshot.triangles[slice(*entry.triangles)]]
    return float(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    )


# ---- which instances are one thing -----------------------------------------------------------------------------------


def test_what_stands_at_one_point_of_a_scatterer_is_one_unit() -> None:
    plant = build.make_collection("Plant", PLANT)
    build.scatter(build.add_points("Garden", [(3.0 * n, 0.0, 0.0) for n in range(6)]), plant)
    reading = read()
    assert list_units(reading.opened.snapshot.objects) == [["Bush", "Pot"]] * 6
    assert sorted(len(subject.objects) for subject in reading.search.subjects) == [2] * 6
    assert all(subject.size < 3 for subject in reading.search.subjects)


def test_collection_instances_are_units_also_inside_each_other() -> None:
    plant = build.make_collection("Plant", PLANT)
    yard = build.make_collection("Yard", {"Gate": (0.0, 5.0, 0.5)})
    for name, x in (("Left", -4.0), ("Right", 4.0)):
        build.add_collection_instance(name, plant, (x, 0.0, 0.0), yard)
    for number in range(2):
        mirrored = build.add_collection_instance(f"Yard {number}", yard, (0.0, 20.0 * number, 0.0))
        mirrored.scale.x, mirrored.rotation_euler.z = 1 - 2 * number, 0.4
    assert list_units(read_objects()) == [["Bush", "Pot"]] * 4 + [["Gate"]] * 2
    assert {entry.unit for entry in read_objects()} >= {"Yard 0", "Yard 0/Left", "Yard 1/Right"}


def test_the_record_names_things_that_are_subjects_and_others() -> None:
    """And names none for an object that is a thing by itself. A subject is called as the objects that make it up."""
    plant = build.make_collection("Plant", PLANT)
    for number, x in enumerate((-6.0, 0.0, 6.0)):
        build.add_collection_instance(f"Plant.{number:03d}", plant, (x, 0.0, 0.0))
    build.add_box("Garden_Stone.002", (3.0, 4.0, 0.5))
    reading = read(Config(subjects=SubjectSettings(exclude=("Plant.000",))))
    record = import_addon("scene.records").build_scene_record(
        Path("a.blend"), "", "a", bpy.context.scene, reading.opened, reading.search
    )
    things = Counter((entry.thing, entry.thing_label) for entry in record.objects)
    apart = next(name for name, _ in things if "." in name)
    assert things == {("plant", "plant"): 2, ("plant-2", "plant"): 2, (apart, "plant"): 2, ("", ""): 1}
    by_id = {entry.id: entry for entry in record.objects}
    for subject in reading.search.subjects:
        entries = [by_id[number] for number in subject.objects]
        assert {(entry.thing, entry.thing_label or entry.label) for entry in entries} == {
            (subject.id if len(entries) > 1 else "", subject.label)
        }


def test_objects_that_share_a_mesh_are_units_of_their_own() -> None:
    first = build.add_box("Tyre", (0.0, 0.0, 0.0))
    for number in range(3):
        copy = first.copy()
        copy.location.x = 3.0 + 3.0 * number
        bpy.context.scene.collection.objects.link(copy)
    assert [len(unit) for unit in list_units(read_objects())] == [1] * 4


def test_particles_are_units_and_what_a_particle_shows_whole_is_one() -> None:
    lawn, plant = build.add_box("Lawn", (0.0, 0.0, 0.0), size=8.0), build.make_collection("Plant", PLANT)
    gnome = build.add_box("Gnome", (40.0, 0.0, 0.0))
    gnome.hide_render = True
    build.add_particles(lawn, count=5, render_type="OBJECT", instance_object=gnome, particle_size=0.5, hair_length=1.0)
    whole = {"render_type": "COLLECTION", "instance_collection": plant, "use_whole_collection": True}
    build.add_particles(lawn, count=3, particle_size=0.5, hair_length=1.0, **whole)
    assert list_units(read_objects()) == [["Bush", "Pot"]] * 3 + [["Gnome"]] * 5 + [["Lawn"]]


def test_what_stands_at_one_vertex_of_its_parent_is_one_unit() -> None:
    row = build.add_points("Row", [(3.0 * n, 0.0, 0.0) for n in range(3)])
    row.instance_type = "VERTS"
    for name, z in (("Post", 0.5), ("Lamp", 1.5)):
        build.add_box(name, (0.0, 0.0, z)).parent = row
    assert list_units(read_objects()) == [["Lamp", "Post"]] * 3


def test_instances_that_a_file_numbers_alike_keep_apart() -> None:
    build.scatter(
        build.add_points("Garden", [(4.0 * n, 0.0, 0.0) for n in range(4)]), build.add_box("Pot", (9, 9, 9)), 7
    )
    pots = [entry for entry in read_objects() if entry.instance_of == "Garden"]
    assert len(pots) == len({entry.unit for entry in pots}) == 4


# ---- what an object makes of its own geometry ------------------------------------------------------------------------


def test_leaves_are_part_of_their_tree_wherever_it_stands() -> None:
    trees = bpy.data.collections.new("Trees")
    for number in range(3):
        build.scatter(build.add_box(f"Tree {number}", (5.0 * number, 0.0, 0.0), collection=trees), None)
    bpy.context.scene.collection.children.link(trees)
    leaf = 20
    count = count_triangles("Tree 0") + leaf * len(read_vertices("Tree 0"))
    assert [count_own_triangles(entry) for entry in read_objects()] == [count] * 3
    build.add_collection_instance("Grove", trees, (0.0, 30.0, 0.0))
    build.scatter(build.add_points("Park", [(0.0, 60.0, 0.0), (0.0, 90.0, 0.0)]), trees)
    counts = Counter((entry.name, count_own_triangles(entry)) for entry in read_objects())
    assert {counts[f"Tree {number}", count] for number in range(3)} == {4}
    assert counts.total() == 13  # and the points of the park, which show nothing


def test_masses_of_small_instances_are_one_object_of_what_makes_them() -> None:
    field = build.add_grid("Field", 150, 1.0)
    build.scatter(field, build.add_box("Pebble", (50.0, 0.0, 0.0), size=0.05))
    few = build.add_grid("Few", 20, 1.0, (0.0, 0.0, 5.0))
    build.scatter(few, bpy.data.objects["Pebble"])
    build.scatter(build.add_grid("Rocks", 150, 4.0, (0.0, 0.0, 9.0)), build.add_box("Rock", (50.0, 9.0, 0.0)))
    objects = [entry for entry in read_objects() if entry.instance_of]
    assert Counter(entry.instance_of for entry in objects) == {"Field": 1, "Few": 20, "Rocks": 150}
    (mass,) = (entry for entry in objects if entry.instance_of == "Field")
    assert mass.name == "Pebble" and mass.unit == "Field"
    assert count_own_triangles(mass) == 150 * count_triangles("Pebble")


def test_masses_of_leaves_get_a_coarse_stand_in_that_covers_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rays need to know where leaves are, not each of them; all else keeps its shape."""
    build.scatter(build.add_grid("Field", 400, 1.0), build.add_box("Pebble", (50.0, 0.0, 0.0), size=0.05))
    build.add_box("Stone", (9.0, 0.0, 0.0))
    fine = read().opened.snapshot
    monkeypatch.setattr(import_addon("scene.snapshot"), "CLUTTER_LIMIT", 1000)
    coarse = read().opened.snapshot
    assert [(entry.name, entry.id) for entry in coarse.objects] == [(entry.name, entry.id) for entry in fine.objects]
    for before, after in zip(fine.objects, coarse.objects, strict=True):
        counts = count_own_triangles(before), count_own_triangles(after)
        assert (counts[1] < 1200 < counts[0]) if before.instance_of else counts[0] == counts[1]
        assert np.abs(coarse.bounds[after.id - 1] - fine.bounds[before.id - 1]).max() < 0.2
        assert measure_surface(coarse, after) == pytest.approx(measure_surface(fine, before), rel=0.4)


def test_a_broken_vertex_does_not_move_the_stand_ins_of_a_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    pebble = build.add_box("Pebble", (50.0, 0.0, 0.0), size=0.05)
    mesh: Any = pebble.data
    mesh.vertices.add(1)
    mesh.vertices[-1].co = (float("nan"), 0.0, 0.0)
    build.scatter(build.add_grid("Field", 400, 1.0), pebble)
    monkeypatch.setattr(import_addon("scene.snapshot"), "CLUTTER_LIMIT", 1000)
    snapshot = read().opened.snapshot
    (mass,) = (entry for entry in snapshot.objects if entry.instance_of)
    corners = snapshot.vertices[snapshot.triangles[slice(*mass.triangles)]]
    assert 0 < len(corners) < 1500 and np.isfinite(corners).all()
    assert np.ptp(corners[..., 1]) > 38


# ---- hair ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("children", ["NONE", "INTERPOLATED"])
def test_hair_reaches_as_far_as_it_renders(children: str) -> None:
    doll = build.add_box("Doll", (2.0, 0.0, 0.0))
    doll.rotation_euler.x, doll.scale = 0.5, (1.0, 1.0, 2.0)
    build.add_particles(doll, count=200, hair_length=3.0, render_type="PATH", child_type=children)
    snapshot = read().opened.snapshot
    points = snapshot.fringe[1]
    assert 300 <= len(points) <= 512
    low, high = np.array(points).min(axis=0), np.array(points).max(axis=0)
    assert (high - low > 3).all() and (high - low < 9).all()
    assert np.linalg.norm((low + high) / 2 - doll.location) < 1
    assert (snapshot.bounds[0, 0] <= low).all() and (snapshot.bounds[0, 1] >= high).all()


def test_hair_curves_belong_to_the_surface_that_they_grow_on() -> None:
    head = build.add_box("Head", (1.0, 0.0, 0.0))
    build.add_box("Table", (9.0, 0.0, 0.0))
    build.add_hair_curves("Locks", head)
    reading = read()
    locks = next(entry for entry in reading.opened.snapshot.objects if entry.name == "Locks")
    assert locks.parents == ("Head",)
    assert reading.opened.snapshot.fringe[locks.id][:, 2].max() == pytest.approx(3)
    (owner,) = (subject for subject in reading.search.subjects if locks.id in subject.objects)
    assert len(owner.objects) == 2 and owner.bounds[1, 2] == pytest.approx(3)


# ---- what can be no subject ------------------------------------------------------------------------------------------


def test_the_reason_why_an_object_is_no_subject_is_its_own() -> None:
    hidden, caught, cutter, wall, lamp, fog = (
        build.add_box(name, (4.0 * number, 0.0, 0.0))
        for number, name in enumerate(("Hidden", "Caught", "Cutter", "Wall", "Lamp", "Fog"))
    )
    hidden.is_holdout, caught.is_shadow_catcher = True, True
    cutter.display_type, wall.modifiers.new("Cut", "BOOLEAN").object = "WIRE", cutter
    build.shine(lamp)
    build.fill_with_fog(fog)
    smoke = bpy.data.objects.new("Smoke", bpy.data.volumes.new("Smoke"))
    bpy.context.scene.collection.objects.link(smoke)
    reading = read()
    reasons = {entry.name: entry.objection for entry in reading.opened.snapshot.objects}
    assert reasons == {
        "Hidden": "holdout",
        "Caught": "shadow catcher",
        "Cutter": "boolean cutter",
        "Wall": "",
        "Lamp": "only shines",
        "Fog": "volume",
        "Smoke": "volume",
    }
    assert [subject.label for subject in reading.search.subjects] == ["wall"]
    assert reading.search.left_out == {**Counter(filter(None, reasons.values()))}


@pytest.mark.parametrize(
    ("colour", "is_picture"),
    [
        ("ShaderNodeTexImage", True),
        ("ShaderNodeTexNoise", True),
        ("ShaderNodeAttribute", True),
        ("ShaderNodeRGB", False),
        ("ShaderNodeBlackbody", False),
        ("", False),
    ],
)
def test_a_thing_that_emits_its_own_picture_is_no_lamp(colour: str, is_picture: bool) -> None:
    build.add_box("Table", (4.0, 0.0, 0.0))
    build.shine(build.add_box("Scan", (0.0, 0.0, 0.0)), colour)
    reading = read()
    assert ("scan" in [subject.label for subject in reading.search.subjects]) is is_picture
    assert reading.search.left_out.get("only shines", 0) == (not is_picture)
    assert reading.opened.emissive
