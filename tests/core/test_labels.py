# SPDX-License-Identifier: Apache-2.0
"""What a name says of its object: everything that a person typed, nothing that Blender did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendset.placement.labels import label_from_name

NOTHING = """
    Cube Cube.004 cube_12 Plane.013 Sphere Icosphere.001 Suzanne Cylinder Torus.2 BézierCurve BézierCircle.001
    BezierCurve.003 SurfCurve SurfPatch.002 NurbsPath PointCloud GPencil Empty.001 Text Mball Armature Light Camera.002
    Würfel Würfel.001 Куб Куб.002 立方体.002 立方体 Cylindre.003 Esfera Kugel.002 Плоскость 平面.001
    円柱.001 원뿔 Κύβος Cubo
    Mesh mesh_0173 Object_12 Group.007 polySurface443 pCube12 default obj part_03 ... 001 ___ A x1 a_b_c SM_01 L.R
""".split()


@pytest.mark.parametrize("name", [*NOTHING, ""])
def test_what_blender_or_a_converter_called_it_says_nothing(name: str) -> None:
    assert label_from_name(name) == ""


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Lamp", "lamp"),
        ("Desk_Lamp.002", "desk lamp"),
        ("deskLamp", "desk lamp"),
        ("coffee-mug 3", "coffee mug"),
        ("BOOK", "book"),
        ("Chair.Left.001", "chair left"),
        ("TV stand", "tv stand"),
        ("Stühle_Küche", "stühle küche"),
        ("стол.001", "стол"),
        ("ソファー", "ソファー"),
        ("椅子", "椅子"),
        ("机.001", "机"),
        ("소파", "소파"),
        ("Piano.001", "piano"),
        ("Donut", "donut"),
        ("Roter Würfel", "roter würfel"),
    ],
)
def test_what_a_person_called_it_is_its_label(name: str, label: str) -> None:
    assert label_from_name(name) == label


@given(st.text(max_size=30))
def test_any_name_gives_a_tidy_label_or_none(name: str) -> None:
    label = label_from_name(name)
    assert label == " ".join(label.split()) == label.lower().strip()
    assert not any(character.isdecimal() for character in label)
    assert label_from_name(f"{name}.001") == label
