# SPDX-License-Identifier: Apache-2.0
"""A synthesis that is killed with -9 at random moments, and begun again each time, ends with the bytes of one that was
not, whatever its job.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blendset.dataset import VIEW_RECORD, Dataset
from blendset.verification import verify_dataset
from blendset_trainer.synthesis.prompts.prompt_files import Prompt, write_prompts
from tests.real_runs import BLENDSET, ROOT
from tests.trainer import sheet_pipeline
from tests.trainer.tiny_datasets import add_scene, make_dataset, thirty_views
from tests.trainer.tiny_pipelines import PIXELS, flux, flux_depth, stable_diffusion, zero123plus
from tests.trainer.traced_sets import TURN, add_set, painted, view_at

SET, SETS = 6, 15
"""Views of a set, and how many sets are asked for."""
KILLED_WITHIN_S = 0.3, 0.0
"""Of the first picture of a run. At once is between the views of a set, which are written about 0.02 s apart."""
PATIENCE_S = 300.0
SIZE = "--width", PIXELS, "--height", PIXELS
Asked = tuple[Dataset, tuple[object, ...]]
"""A dataset, and the options of a command that adds the sets to it."""


def text_to_image(folder: Path) -> Asked:
    dataset = thirty_views(folder / "whole")
    dataset.rebuild_index({view.view_id: f"a red chair {number}" for number, view in enumerate(dataset.views())})
    return dataset, ("--model", stable_diffusion(folder / "model"), "--variants", SET * SETS // 30, *SIZE)


def restyle(folder: Path) -> Asked:
    model = flux_depth(folder / "model")
    return traced(folder, SET), ("--model", model, "--prompt", "a chair", "--views", SET, "--variants", SETS)


def novel_views(folder: Path) -> Asked:
    model = zero123plus(folder / "zero123plus-v1.2")
    shutil.copy(sheet_pipeline.__file__, folder / "pipeline.py")
    return traced(folder, 1), ("--model", model, "--remote-code", folder, "--variants", SETS)


def deformable(folder: Path) -> Asked:
    prompts = folder / "prompts.jsonl"
    texts = [f"a red lamp in room {number}" for number in range(SET)]
    write_prompts(prompts, [Prompt(text, "red lamp", "deformable", {"set": "0"}, "test", 0) for text in texts])
    model = flux(folder / "model")
    return make_dataset(folder / "whole"), ("--model", model, "--prompts", prompts, "--variants", SETS, *SIZE)


def traced(folder: Path, views: int) -> Dataset:
    """One set of views of a ray-traced scene."""
    dataset = make_dataset(folder / "whole")
    add_scene(dataset, "attic")
    add_set(dataset, "ball", [painted(view_at(TURN * number, PIXELS)) for number in range(views)])
    return dataset


def count(dataset: Dataset) -> int:
    """How many views are there."""
    return len(list(dataset.root.glob(f"views/*/*/{VIEW_RECORD}")))


def contents(dataset: Dataset) -> dict[str, bytes]:
    """Every file of a dataset, by its place."""
    paths = [path for path in dataset.root.rglob("*") if path.is_file()]
    return {path.relative_to(dataset.root).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("job", [text_to_image, restyle, novel_views, deformable])
def test_a_synthesis_killed_at_random_moments_ends_with_the_same_bytes(
    tmp_path: Path, job: Callable[[Path], Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))  # keeps copies of code out of the user's
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # several threads wait for one another on a busy machine
    whole, options = job(tmp_path)
    killed, chance = Dataset(shutil.copytree(whole.root, tmp_path / "killed")), random.Random(job.__name__)
    started_with, name = count(whole), job.__name__.replace("_", "-")

    def command(dataset: Dataset) -> list[str]:
        return [*BLENDSET, "synthesize", name, str(dataset.root), "--steps", "2", "--batch", "1",
                *map(str, options)]  # fmt: skip

    for longest in KILLED_WITHIN_S:
        before, until = count(killed), time.monotonic() + PATIENCE_S
        with subprocess.Popen(command(killed), cwd=ROOT) as run:
            while count(killed) == before:
                assert time.monotonic() < until and run.poll() is None, "no picture comes"
                time.sleep(0.002)
            time.sleep(chance.uniform(0, longest))
            run.kill()
        assert run.returncode == -9, "it was done before it was killed"
    for dataset in (killed, whole):
        subprocess.run(command(dataset), cwd=ROOT, check=True)
    assert count(whole) == started_with + SET * SETS
    assert contents(killed) == contents(whole)
    assert verify_dataset(killed).problems == ()
