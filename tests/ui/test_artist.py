# SPDX-License-Identifier: Apache-2.0
"""An artist's afternoon in a real window, by mouse and keyboard: plan, look, choose, render, cancel, resume.

Slow, for the window is drawn in software; screenshots of every step stay in build/ui.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from blendset.dataset import Dataset
from blendset.verification import verify_dataset
from tests.ui.desktop import ROOT, Desktop, require_window, run_headless

# Where things are on the screen, in the demo room with nothing selected; from the funnel on, with something left out.
TAB, PLAN = (1309, 210), (1174, 183)
SECOND_SUBJECT, LEAVE_OUT = (1150, 278), (1223, 382)
SECOND_REASON, SHOW_REJECTED = (1090, 655), (1054, 759)
SECOND_VIEW, LOOK_THROUGH, REJECT = (1150, 902), (1174, 1007), (1174, 1032)
RENDER, CONFIRM, CANCEL = (1174, 1344), (868, 884), (1225, 1404)
RESUME, DATASET, VERIFY = (1174, 846), (1090, 1101), (1115, 1230)
REASON_ROW = 20
# Preferences, moved to (20, 20).
EDIT, PREFERENCES, GET_EXTENSIONS = (83, 13), (135, 283), (80, 184)
MENU, FROM_DISK, FILE_NAME, INSTALL = (688, 39), (580, 161), (350, 540), (633, 540)
WITHOUT_SPLASH = """
import bpy
bpy.context.preferences.view.show_splash = False
bpy.context.preferences.view.filebrowser_display_type = "SCREEN"
bpy.ops.wm.save_userpref()
"""
MODEST = """
import bpy
bpy.ops.wm.open_mainfile(filepath={scene!r})
settings = bpy.context.scene.blendset
settings.cameras.candidates, settings.cameras.views = 24, 12
settings.preview.resolution, settings.preview.samples = 48, 4
settings.render.resolution, settings.render.samples, settings.out = 192, 32, "//dataset"
bpy.ops.wm.save_as_mainfile(filepath={scene!r})
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: the add-on's zip in it, and a scene. Blender has just been installed."""
    require_window()
    folder = tmp_path_factory.mktemp("artist")
    run_headless(folder, "--python", ROOT / "demo" / "room.py", "--", folder / "room.blend")  # readable by this Blender
    [addon] = (ROOT / "trainer" / "blendset_trainer" / "addon").glob("blendset-*.zip")
    shutil.copy(addon, folder / "blendset.zip")
    run_script(folder, WITHOUT_SPLASH)
    return folder


def run_script(home: Path, text: str) -> None:
    """Have Blender run some lines without its window."""
    script = home / "script.py"
    script.write_text(text, encoding="utf-8")
    run_headless(home, "--python", script)
    script.unlink()


@pytest.fixture(scope="module")
def desktop(home: Path) -> Iterator[Desktop]:
    with Desktop(home, ROOT / "build" / "ui") as screen:
        yield screen


def test_it_is_installed_from_disk(desktop: Desktop, home: Path) -> None:
    desktop.start_blender()
    assert not desktop.state["installed"]
    desktop.choose(EDIT, PREFERENCES)
    desktop.move_window("Preferences", 20, 20)
    desktop.choose(GET_EXTENSIONS, MENU, FROM_DISK)
    desktop.type(FILE_NAME, "blendset.zip")
    desktop.screenshot("0-install")
    desktop.choose(INSTALL)
    desktop.wait(lambda state: state["installed"], 60)
    desktop.screenshot("0-installed")
    desktop.leave_blender()  # which saves the preferences
    run_script(home, MODEST.format(scene=str(home / "room.blend")))


def test_an_afternoon(desktop: Desktop, home: Path) -> None:
    desktop.start_blender()
    desktop.open_scene(home / "room.blend")
    desktop.key("n")
    desktop.press(TAB, lambda state: state["category"] == "Blendset")
    desktop.screenshot("1-tab")
    desktop.press(PLAN, lambda state: state["doing"])
    planned = desktop.wait(lambda state: state["views"] and not state["doing"], 180)
    assert len(planned["views"]) == 12
    desktop.screenshot("2-planned")
    desktop.press(PLAN, lambda state: state["doing"])
    desktop.key("Escape")
    assert desktop.wait(lambda state: not state["doing"], 60)["plan"] == planned["plan"]

    out = planned["subjects"][1][0]
    desktop.press(SECOND_SUBJECT, lambda state: state["subject"] == 1)
    desktop.press(LEAVE_OUT, lambda state: state["subjects"][1][2])
    desktop.press(PLAN, lambda state: state["doing"])
    again = desktop.wait(lambda state: not state["doing"] and out not in {row[0] for row in state["subjects"]}, 180)
    assert len(again["views"]) == 12
    desktop.screenshot("3-without-a-subject")

    desktop.press(SECOND_REASON, lambda state: state["reason_shown"] == 1)
    desktop.press(SHOW_REJECTED, lambda state: state["show_rejected"])
    desktop.screenshot("4-rejected")
    desktop.press(SHOW_REJECTED, lambda state: not state["show_rejected"])

    before = desktop.press(SECOND_VIEW, lambda state: state["view"] == 1)
    desktop.press(LOOK_THROUGH, lambda state: state["eye"] != before["eye"])
    desktop.screenshot("5-through-a-view")
    second = again["views"][1][1]
    chosen = desktop.press(REJECT, lambda state: [second, True] in [row[1:] for row in state["views"]])
    assert sum(not row[2] for row in chosen["views"]) == 12

    desktop.click(RENDER)  # the plan is no change of the file, but what is left out is
    desktop.screenshot("6-save-and-render")
    desktop.press(CONFIRM, lambda state: state["job"], 20, again=RENDER)
    desktop.wait(lambda state: state["done"] >= 2, 600)
    desktop.screenshot("7-rendering")
    assert desktop.press(CANCEL, lambda state: state["ended"])["reason"] == "cancelled"
    desktop.screenshot("8-cancelled")
    dataset = Dataset(home / "dataset")
    finished = {view.view_id for view in dataset.views()}
    assert len(finished) >= 2 and not verify_dataset(dataset).problems
    desktop.crash_blender()

    desktop.start_blender()
    desktop.open_scene(home / "room.blend")  # the tab is open, as it was saved
    assert desktop.wait(lambda state: state["unfinished"], 30)
    desktop.screenshot("9-resume")
    desktop.press(RESUME, lambda state: state["job"])
    ended = desktop.wait(lambda state: state["ended"], 900)
    desktop.screenshot("10-done")
    lacks_views = "previews failed" in ended["reason"] or "fail their checks" in ended["reason"]
    assert ended["ended"] == ("partial" if lacks_views else "done"), ended  # a reason takes a row of the panel
    row = REASON_ROW if ended["reason"] else 0
    desktop.click((DATASET[0], DATASET[1] + row))
    desktop.press((VERIFY[0], VERIFY[1] + row), lambda state: state["last"] == "BLENDSET_OT_verify")
    desktop.screenshot("11-verified")
    views = {view.view_id for view in dataset.views()}
    assert finished < views and not verify_dataset(dataset).problems
    assert not any(view.startswith(f"{out}-") for view in views)
