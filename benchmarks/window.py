# SPDX-License-Identifier: Apache-2.0
"""Whether the window stays alive: the longest step of planning, and redraws with the overlay against those without it,
with thousands of cameras shown while a job renders.

PYTHONPATH=. .venv/bin/python benchmarks/window.py SCENE.blend     (Linux, root: it makes a Blender with a window)
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from report import ROOT, find_addon_zip, find_scenes, format_table, write_results

from tests.ui.desktop import Desktop, run_headless

HEAD = (
    "scene", "candidates", "reading s", "longest step ms",
    "cameras shown", "redraw ms", "times that with them", "job at work",
)  # fmt: skip
PREPARE = """
import bpy
bpy.ops.preferences.addon_enable(module="bl_pkg")
bpy.ops.extensions.package_install_files(repo="user_default", filepath={addon!r}, enable_on_install=True)
bpy.context.preferences.view.show_splash = False
bpy.ops.wm.save_userpref()
bpy.ops.wm.open_mainfile(filepath={scene!r})
settings = bpy.context.scene.blendset
settings.render.resolution, settings.render.samples, settings.out = 512, 64, "//dataset"
bpy.ops.wm.save_mainfile(filepath={scene!r})
"""


def main() -> None:
    """Run the benchmark and print its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path, nargs="*")
    rows = []
    for scene in find_scenes(parser.parse_args().scene):
        with tempfile.TemporaryDirectory(prefix="blendset-window-benchmark-") as folder:
            found = measure_window(scene, Path(folder))
        write_results(f"window-{scene.stem}", found)
        rows.append(format_row(scene, found))
    print(format_table(HEAD, rows))


def format_row(scene: Path, found: dict[str, Any]) -> list[str]:
    """What the table says of a scene; see HEAD."""
    return [
        scene.stem,
        f"{found['candidates']:,}",
        ", ".join(f"{each:.2f}" for each in found["reading_s"]),
        f"{1000 * found['longest_s']:.0f}",
        f"{found['shown']:,}",
        f"{1000 * found['without_s']:.0f}",
        f"{found['with_overlay_s'] / found['without_s']:.2f}",
        "yes" if found["rendering"] else "no",
    ]


def measure_window(scene: Path, home: Path) -> dict[str, Any]:
    """What the window's Blender found out with a copy of a scene."""
    copy, out, prepare = home / scene.name, home / "measured.json", home / "prepare.py"
    shutil.copy(scene, copy)
    prepare.write_text(PREPARE.format(addon=str(find_addon_zip()), scene=str(copy)))
    run_headless(home, "--python", prepare)
    with Desktop(home, home / "shots") as desktop:
        script = f"--python {ROOT / 'benchmarks' / 'in_window.py'} -- {out}"
        desktop.run(f"blender --window-geometry 0 0 1600 1200 {copy} {script} > {home / 'log'} 2>&1 & BLENDER=$!")
        end = time.monotonic() + 900
        while not out.exists():
            assert time.monotonic() < end, (home / "log").read_text()
            time.sleep(1)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


if __name__ == "__main__":
    main()
