# SPDX-License-Identifier: Apache-2.0
"""A synthesis that is killed with -9 at random moments, and begun again each time, ends with the bytes of one that was
not.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

from blendset.dataset import INDEX, VIEW_RECORD, Dataset
from blendset.records import TEMPORARY_FILES
from tests.real_runs import BLENDSET, ROOT
from tests.trainer.tiny_datasets import files, thirty_views
from tests.trainer.tiny_pipelines import PIXELS, stable_diffusion

KILLS, CAPTIONS, VARIANTS = 4, 30, 2
PATIENCE_S = 300.0


def made(dataset: Dataset) -> int:
    """How many pictures are there."""
    return len(list(dataset.root.glob(f"views/*/*/{VIEW_RECORD}"))) - CAPTIONS


def contents(dataset: Dataset) -> dict[str, dict[str, bytes]]:
    """Every file of every view, and the index."""
    folders = {view.view_id: dataset.view_folder(view.scene, view.view_id) for view in dataset.views()}
    assert not [path for folder in folders.values() for path in folder.glob(TEMPORARY_FILES)]
    index = {"": {INDEX: (dataset.root / INDEX).read_bytes()}}
    return index | {name: files(folder) for name, folder in folders.items()}


def test_a_synthesis_killed_at_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    model, chance = stable_diffusion(tmp_path / "model"), random.Random(0)
    whole = thirty_views(tmp_path / "whole")
    whole.rebuild_index({view.view_id: f"a red chair {number}" for number, view in enumerate(whole.views())})
    killed = Dataset(shutil.copytree(whole.root, tmp_path / "killed"))

    def command(dataset: Dataset) -> list[str]:
        size = ["--width", str(PIXELS), "--height", str(PIXELS)]
        return [*BLENDSET, "synthesize", str(dataset.root), "--job", "text-to-image", "--model", str(model),
                "--steps", "2", "--batch", "1", "--variants", str(VARIANTS), *size]  # fmt: skip

    for _ in range(KILLS):
        before, until = made(killed), time.monotonic() + PATIENCE_S
        with subprocess.Popen(command(killed), cwd=ROOT) as run:
            while made(killed) == before:
                assert time.monotonic() < until and run.poll() is None, "no picture comes"
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.5))
            run.kill()
        assert run.returncode == -9, "it was done before it was killed"
    assert before < made(killed) < CAPTIONS * VARIANTS
    for dataset in (killed, whole):
        subprocess.run(command(dataset), cwd=ROOT, check=True)
    assert made(whole) == CAPTIONS * VARIANTS
    assert contents(killed) == contents(whole)
    assert killed.verify().problems == ()
