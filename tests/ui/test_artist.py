# SPDX-License-Identifier: Apache-2.0
"""An artist's afternoon in a real window, by mouse and keyboard: plan, look, choose, render, cancel, resume.

Slow, for the window is drawn in software; screenshots of every step stay in build/ui.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blendset.dataset import Dataset
from tests.ui.desktop import ROOT, Desktop, headless, require_window

# Where things are on the screen, in the demo room with nothing selected. The panels below a list move with its panel.
TAB, PLAN = (1309, 210), (1174, 183)
FIRST_SUBJECT, LEAVE_OUT = (1150, 257), (1223, 382)
FIRST_REASON, SHOW_REJECTED = (1150, 608), (1054, 733)
SECOND_VIEW, LOOK_THROUGH, REJECT = (1150, 876), (1174, 979), (1174, 1006)
RENDER, CONFIRM, CANCEL = (1174, 1294), (868, 884), (1225, 1354)
RESUME = (1174, 797)
PREPARE = """
import bpy
bpy.ops.preferences.addon_enable(module="bl_pkg")
bpy.ops.extensions.package_install_files(repo="user_default", filepath={addon!r}, enable_on_install=True)
bpy.context.preferences.view.show_splash = False
bpy.ops.wm.save_userpref()
bpy.ops.wm.open_mainfile(filepath={scene!r})
settings = bpy.context.scene.blendset
settings.cameras.candidates, settings.cameras.views = 24, 12
settings.preview.resolution, settings.preview.samples = 48, 4
settings.render.resolution, settings.render.samples, settings.out = 192, 32, "//dataset"
bpy.ops.wm.save_as_mainfile(filepath={saved!r})
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: the add-on installed from disk, and a scene that asks for little."""
    require_window()
    folder = tmp_path_factory.mktemp("artist")
    made = folder / "made.blend"
    headless(folder, "--python", ROOT / "demo" / "room.py", "--", made)  # by this Blender: it reads no newer one's file
    [addon] = (ROOT / "trainer" / "blendset_trainer" / "addon").glob("blendset-*.zip")
    prepare = folder / "prepare.py"
    prepare.write_text(PREPARE.format(addon=str(addon), scene=str(made), saved=str(folder / "room.blend")))
    headless(folder, "--python", prepare)
    return folder


@pytest.fixture(scope="module")
def desktop(home: Path) -> Iterator[Desktop]:
    with Desktop(home, ROOT / "build" / "ui") as screen:
        screen.start_blender(home / "room.blend")
        yield screen


def test_an_afternoon(desktop: Desktop, home: Path) -> None:
    desktop.key("n")
    desktop.click(TAB)
    desktop.screenshot("1-tab")
    desktop.click(PLAN)
    planned = desktop.wait(lambda state: state["views"] and not state["doing"], 120)
    assert len(planned["views"]) == 12
    desktop.screenshot("2-planned")

    desktop.click(FIRST_SUBJECT)
    desktop.click(LEAVE_OUT)
    out = desktop.wait(lambda state: state["subjects"][0][2], 30)["subjects"][0][0]
    desktop.click(PLAN)
    again = desktop.wait(lambda state: not state["doing"] and out not in {row[0] for row in state["subjects"]}, 120)
    assert len(again["views"]) == 12
    desktop.screenshot("3-without-a-subject")

    desktop.click(FIRST_REASON)
    desktop.click(SHOW_REJECTED)
    desktop.screenshot("4-rejected")
    desktop.click(SHOW_REJECTED)

    desktop.click(SECOND_VIEW)
    desktop.click(LOOK_THROUGH)
    desktop.screenshot("5-through-a-view")
    second = again["views"][1][1]
    desktop.click(REJECT)
    chosen = desktop.wait(lambda state: [second, True] in [row[1:] for row in state["views"]], 30)
    assert sum(not row[2] for row in chosen["views"]) == 12

    desktop.click(RENDER)  # the plan is no change of the file, but what is left out is
    desktop.screenshot("6-save-and-render")
    desktop.click(CONFIRM)
    desktop.wait(lambda state: state["done"] >= 2, 180)
    desktop.screenshot("7-rendering")
    desktop.click(CANCEL)
    assert desktop.wait(lambda state: state["ended"], 30)["reason"] == "cancelled"
    desktop.screenshot("8-cancelled")
    dataset = Dataset(home / "dataset")
    before = {view.view_id for view in dataset.views()}
    assert len(before) >= 2 and not dataset.verify().problems
    desktop.quit_blender()

    desktop.start_blender(home / "room.blend")  # the tab is open, as it was saved
    assert desktop.wait(lambda state: state["unfinished"], 30)
    desktop.screenshot("9-resume")
    desktop.click(RESUME)
    ended = desktop.wait(lambda state: state["ended"], 240)
    assert ended["ended"] == "done", ended
    desktop.screenshot("10-done")
    views = {view.view_id for view in dataset.views()}
    assert before < views and not dataset.verify().problems
    assert not any(view.startswith(f"{out}-") for view in views)
