# SPDX-License-Identifier: Apache-2.0
"""A screen with a real Blender on it, and a hand on its mouse and keyboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRIPT = HERE / "blender-with-window"
SIZE = (1600, 1700)
"""Tall enough for all panels at once."""
FILE, OPEN, FILE_NAME, OPEN_FILE = (46, 13), (80, 58), (800, 1655), (1526, 1655)
"""Where they are in such a window; the last two in its file browser."""


def require_window() -> None:
    """Skip where there is no Blender with a window and none can be made; fail where one must be there."""
    why = "" if sys.platform == "linux" and os.geteuid() == 0 else "only root on Linux can make a Blender with a window"
    if not why and subprocess.run([SCRIPT, "setup"], stdout=subprocess.DEVNULL).returncode != 0:
        why = f"{SCRIPT.name} could not make a Blender with a window"
    if why and os.environ.get("BLENDSET_REQUIRE_BLENDERS") == "1":
        pytest.fail(why)
    if why:
        pytest.skip(why)


def run_headless(home: Path, *arguments: str | Path) -> str:
    """Run this Blender without its window, to its end."""
    command = [SCRIPT, "run", home, "blender", "-b", "--python-exit-code", "1", *arguments]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


class Desktop:
    """A virtual screen; a context manager. `shots` is where screenshots go."""

    def __init__(self, home: Path, shots: Path) -> None:
        self._shots = shots
        shots.mkdir(parents=True, exist_ok=True)
        self._state = home / "state.json"
        screen = f"-screen 0 {SIZE[0]}x{SIZE[1]}x24"
        command = [SCRIPT, "run", home, "xvfb-run", "-a", "-s", screen, "bash"]
        self._shell = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Desktop:
        return self

    def __exit__(self, *_: object) -> None:
        self.run("kill $BLENDER; sleep 1")
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(30)

    def run(self, command: str) -> str:
        """Run a command on the screen and return what it printed."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\necho; echo __done\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        while (line := self._shell.stdout.readline()) and line != "__done\n":
            lines.append(line)
        return "".join(lines).strip()

    def start_blender(self) -> None:
        """Give it a window that fills the screen, and wait until it is drawn."""
        self._state.unlink(missing_ok=True)
        geometry = f"--window-geometry 0 0 {SIZE[0]} {SIZE[1]}"
        report = f"--python {HERE / 'report_state.py'} -- {self._state}"
        self.run(f"blender {geometry} {report} > {self._state.with_suffix('.log')} 2>&1 & BLENDER=$!")
        self.wait(lambda state: "installed" in state, 60)
        time.sleep(6)  # software OpenGL compiles its shaders with the first picture
        self.move(500, 1200)
        self.key("Escape")

    def open_scene(self, path: Path) -> None:
        """Open a file from the user's folder by File > Open; again where a busy machine has swallowed a click."""
        for _ in range(4):
            self.choose(FILE, OPEN)
            self.type(FILE_NAME, path.name)
            self.choose(OPEN_FILE)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                if self.state["file"] == str(path):
                    time.sleep(4)  # its window is drawn anew
                    self.move(500, 1200)
                    return
                time.sleep(0.2)
            self.key("Escape", "Escape")
        raise AssertionError(f"{path.name} does not open: {self.state}")

    def leave_blender(self) -> None:
        """Quit it as a person does."""
        self.move(500, 1200)
        self.run("xdotool key ctrl+q; for _ in $(seq 30); do kill -0 $BLENDER || break; sleep 0.5; done 2> /dev/null")

    def crash_blender(self) -> None:
        """End it as a crash would."""
        self.run("kill -9 $BLENDER; wait $BLENDER")

    def move(self, x: int, y: int) -> None:
        """Move the mouse there."""
        self.run(f"xdotool mousemove {x} {y}; sleep 0.4")

    def click(self, position: tuple[int, int]) -> None:
        """Press the left button somewhere, and take the mouse away again."""
        x, y = position
        self.run(f"xdotool mousemove {x - 4} {y - 3}; sleep 0.5; xdotool mousemove {x} {y}; sleep 0.5")
        self.run("xdotool mousedown 1; sleep 0.2; xdotool mouseup 1; sleep 1")
        self.move(500, 1200)

    def choose(self, *positions: tuple[int, int]) -> None:
        """Go through a menu, which would close if the mouse left it, or press buttons of another window."""
        for x, y in positions:
            self.run(f"xdotool mousemove {x} {y}; sleep 1; xdotool click 1; sleep 2")

    def type(self, position: tuple[int, int], text: str) -> None:
        """Write into a field."""
        x, y = position
        self.run(f"xdotool mousemove {x} {y}; sleep 1; xdotool click 1; sleep 1; xdotool key ctrl+a")
        self.run(f"xdotool type --delay 80 {text}; sleep 1; xdotool key Return; sleep 2")

    def move_window(self, title: str, x: int, y: int) -> None:
        """Drag a window somewhere else: there is no window manager that would place it."""
        self.run(f"sleep 4; xdotool search --name {title} windowmove {x} {y}; sleep 2")

    def press(
        self,
        position: tuple[int, int],
        until: Callable[[dict[str, Any]], object],
        seconds: float = 10,
        again: tuple[int, int] | None = None,
    ) -> dict[str, Any]:
        """Click until it has had its effect: a busy machine swallows clicks, and a person clicks again.

        `again` is clicked first from the second time on, for what has to be opened once more.
        """
        for attempt in range(4):
            if attempt and again:
                self.key("Escape")
                self.click(again)
            self.click(position)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if until(state := self.state):
                    return state
                time.sleep(0.2)
        raise AssertionError(f"nothing happens at {position}: {self.state}")

    def key(self, *keys: str) -> None:
        """Press these keys, one after the other."""
        self.run(f"xdotool key {' '.join(keys)}; sleep 0.5")

    @property
    def state(self) -> dict[str, Any]:
        """What Blender last said of itself."""
        try:
            state: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {"file": ""}
        return state

    def wait(self, until: Callable[[dict[str, Any]], object], seconds: float) -> dict[str, Any]:
        """Wait until Blender's state is as wanted."""
        end = time.monotonic() + seconds
        while not until(state := self.state):
            assert time.monotonic() < end, f"still {state}"
            time.sleep(0.2)
        return state

    def screenshot(self, name: str) -> Path:
        """Keep what the screen shows."""
        path = self._shots / f"{name}.png"
        self.run(f"sleep 2.5; import -window root {path}")
        return path
