# SPDX-License-Identifier: Apache-2.0
"""An evaluation that is killed ten times at any moment ends with the bytes of one that was not."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tests.trainer.tiny_models import open_clip_model

KILLS, PICTURES = 10, 1500
NOT_COMPARED = {".lock"}


def make_photos(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = rng.integers(0, 256, (6, 6, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(pixels).save(folder / f"{number:05d}.png")
        (folder / f"{number:05d}.txt").write_text(f"mosaic number {number}", encoding="utf-8")
    return folder


def read(folder: Path) -> dict[str, bytes]:
    """What a dataset holds, but for its cache and locks."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items()
            if not name.startswith("cache/") and not name.endswith(("lock", ".tmp"))}  # fmt: skip


def test_an_evaluation_killed_ten_times_ends_alike(tmp_path: Path) -> None:
    photos, clip = make_photos(tmp_path / "photos"), open_clip_model(tmp_path / "models" / "open_clip")
    (tmp_path / "trusted").mkdir()
    for number in range(40):
        Image.new("RGB", (48, 48), (6 * number, 90, 200 - 4 * number)).save(tmp_path / "trusted" / f"{number}.png")

    def command(out: str) -> list[str]:
        scorers = f"clip:{clip},image-stats,appearance,phash"
        words = ["evaluate", str(photos), "--with", scorers, "--against", str(tmp_path / "trusted")]
        return [sys.executable, "-m", "blendset_trainer.cli", *words, "--out", str(tmp_path / out)]

    started = time.monotonic()
    subprocess.run(command("whole"), check=True, stdout=subprocess.DEVNULL)
    took = time.monotonic() - started
    chance = random.Random(0)
    for _ in range(KILLS):
        run = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.05, 0.9) * took)
        run.kill()
        run.wait()
    subprocess.run(command("killed"), check=True, stdout=subprocess.DEVNULL)
    whole, killed = read(tmp_path / "whole"), read(tmp_path / "killed")
    assert "evaluations/result.json" in whole
    text = whole["evaluations/result.json"]
    assert b"clip-open-clip.mmd2" in text
    names = {name for name in whole | killed if whole.get(name) != killed.get(name)}
    assert {name for name in names if not name.startswith("dataset.json")} == set()
