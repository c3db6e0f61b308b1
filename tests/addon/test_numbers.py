# SPDX-License-Identifier: Apache-2.0
"""Numbers at the border: unit systems, places far from the origin, displays, and names that are no text."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from blendset.errors import BlendsetError
from tests.addon import scenes
from tests.addon.runs import SMALL, import_addon, open_run


@pytest.mark.parametrize(
    ("system", "scale", "metres"), [("NONE", 0.01, 1.0), ("METRIC", 0.01, 0.01), ("IMPERIAL", 0.3048, 0.3048)]
)
def test_a_scale_counts_only_where_there_are_units(system: str, scale: float, metres: float) -> None:
    """Without a unit system Blender ignores the scale that the file still holds."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.unit_settings.system, scene.unit_settings.scale_length = system, scale
    opened = import_addon("scene.snapshot").open_scene(scene, scene.view_layers[0].name)
    assert opened.snapshot.metres_per_unit == pytest.approx(metres)


# ---- names -----------------------------------------------------------------------------------------------------------

MARK = b"QQZZ_A"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"T\xfcr", "Tür"),
        (b"Caf\xe9", "Café"),
        ("Дверь".encode()[:-1], "Двер"),
        ("部屋".encode(), "部屋"),
        (b"\x81\x8d", "\ufffd\ufffd"),
    ],
)
def test_bytes_become_the_name_that_they_stand_for(data: bytes, text: str) -> None:
    assert import_addon("scene.names").decode_name(data) == text


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    """A file whose every name of ours, in `MARK`, is in the letters of Windows."""
    path = tmp_path / "old.blend"
    scenes.tidy(path)
    box = bpy.data.objects["Red Box"]
    box.name, box["blendset_label"] = f"O{MARK.decode()}", f"L{MARK.decode()}"
    box.data.name, box.data.materials[0].name = f"D{MARK.decode()}", f"M{MARK.decode()}"
    scene = bpy.context.scene
    scene.name, scene.view_layers[0].name = f"S{MARK.decode()}", f"V{MARK.decode()}"
    scene.collection.children.link(group := bpy.data.collections.new(f"C{MARK.decode()}"))
    group.objects.link(box)
    image = bpy.data.images.new(f"I{MARK.decode()}", 8, 8)
    image.source, image.filepath, image.use_fake_user = "FILE", f"//F{MARK.decode()}.png", True
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=False)
    path.write_bytes(path.read_bytes().replace(MARK, b"\xfcr\xe9_\xe4x"))
    return path


def test_names_that_are_no_text_are_repaired_and_told(unreadable: Path, tmp_path: Path) -> None:
    with open_run(unreadable, tmp_path / "dataset") as (run, _):
        plan = run.plan(previews=False)
    record = run.dataset.scene(run.scene_id)
    box = next(each for each in record.objects if each.name == "Oüré_äx")
    assert (box.label, box.collection, box.materials) == ("Lüré_äx", "Cüré_äx", ("Müré_äx",))
    assert record.blender_scene == "Süré_äx"
    assert plan.views
    notes = " · ".join(run.reading.notes)
    assert "names are no UTF-8" in notes and "Oüré_äx" in notes and "//Füré_äx.png" in notes


def test_a_window_renames_nothing_and_says_what_to_do(unreadable: Path) -> None:
    import_addon("worker").open_file(unreadable)
    with pytest.raises(BlendsetError) as refusal:
        list(import_addon("planning.window_plan").plan_window(bpy.context.scene, SMALL))
    assert "no UTF-8" in str(refusal.value) and "rename" in str(refusal.value) and ". " not in str(refusal.value)
    with pytest.raises(UnicodeDecodeError):
        _ = bpy.context.scene.name
