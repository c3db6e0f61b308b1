# SPDX-License-Identifier: Apache-2.0
"""The chains of published systems as command lines, from a text file to a dry run of training; and how they are run in
processes that die by SIGKILL where a file is about to be written.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, SamModel

from blendset_trainer.cli.main import main
from tests.trainer import sheet_pipeline, tiny_models, tiny_pipelines
from tests.trainer.tiny_datasets import add_scene, make_dataset
from tests.trainer.tiny_judge import serve_judge
from tests.trainer.traced_sets import TURN, add_set, painted, view_at

"""Called as what Bootstrap3D's preset was made for, for columns are named after it."""
TEXTS = [f"a {colour} {thing} {place}" for colour in ("red", "blue") for thing in ("chair", "lamp")
         for place in ("in a room", "on a table")]  # fmt: skip
SIZE = ("--width", "32", "--height", "32", "--steps", "2")
BEST_OF_N = """
[[ranking.terms]]
column = "clip-clip.similarity"
[[ranking.terms]]
column = "ssim-roundtrip.ssim"
weight = 0.5
[budgets]
view_set = 1
"""
TRAIN = """
out = "run"
[model]
path = "stable_diffusion"
rank = 2
[train]
samples = 8
batch = 2
resolution = 32
[[source]]
name = "synthetic"
kind = "synthetic"
dataset = "data"
selection = "{selection}"
layout = "{layout}"
"""
BANDS = """
[[source.bands]]
lo = 200
[[source]]
name = "photo"
kind = "photo"
folder = "photos"
layout = "tiled"
[[source.bands]]
[plan]
reference = "pixart-linear"
"""
Step = tuple[str, ...]


@dataclass(frozen=True)
class Chain:
    """Command lines in their order, the files that a person wrote for them, and the models that they name."""

    steps: Sequence[Step]
    files: dict[str, str]
    models: Sequence[str]
    renders: bool = False


def synthvlm() -> Chain:
    """A pool, curated; pictures with settings searched on a sample, two of each prompt; scores; the best; a plan."""
    draw = ("synthesize", "text-to-image", "--model", "stable_diffusion", "--prompts", "curated.jsonl", "--out", "data",
            "--variants", "2", "--search", "cfg-scale=2,6", "steps=1,2", "--by", "clip:clip", "--on", "4",
            *SIZE[:4])  # fmt: skip
    return Chain(
        [
            ("prompts", "--pool", "pool.txt", "--curate", "synthvlm", "--out", "curated.jsonl"),
            draw,
            ("caption", "data", "--with", "metadata"),
            ("score", "data", "--with", "clip:clip,ssim-roundtrip"),
            ("select", "data", "--rules", "best.toml", "--name", "best"),
            ("select", "data", "--preset", "synthvlm", "--scorer", "clip-synthvlm=clip-clip", "--name", "chosen"),
            ("export", "data", "--to", "llava", "--selection", "best", "--out", "llava"),
            ("train", "train.toml", "--dry-run"),
        ],
        {
            "pool.txt": "\n".join([*TEXTS, TEXTS[0], "BUY NOW !!!! $$$$ %%%% ####"]),
            "best.toml": BEST_OF_N,
            "train.toml": TRAIN.format(selection="best", layout="single"),
        },
        ["stable_diffusion", "clip"],
    )


def bootstrap3d(judge: str) -> Chain:
    """Prompts, pictures, sets of the picture and three views, their quality, their captions, the good ones, a plan."""
    turn = ("synthesize", "novel-views", "data", "--model", "zero123plus-v1.2", "--remote-code", "code",
            "--of-synthetic", "--grid", "--segmenter", "sam", "--mask", "segmenter", "--steps", "2")  # fmt: skip
    return Chain(
        [
            (
                "synthesize",
                "text-to-image",
                "--model",
                "stable_diffusion",
                "--prompts",
                "pool.txt",
                "--out",
                "data",
                *SIZE,
            ),
            turn,
            ("score", "data", "--with", f"vlm-quality:openai:{judge}"),
            ("caption", "data", "--with", f"openai:{judge}", "--view-sets", "--no-facts"),
            ("select", "data", "--preset", "bootstrap3d", "--name", "good"),
            ("export", "data", "--to", "llava", "--selection", "good", "--out", "llava"),
            ("train", "train.toml", "--dry-run"),
        ],
        {"pool.txt": "\n".join(TEXTS), "train.toml": TRAIN.format(selection="good", layout="grid") + BANDS},
        ["stable_diffusion", "zero123plus-v1.2", "code", "sam"],
    )


def syncd() -> Chain:
    """Rigid sets, which restyle renders, and deformable ones of prompts alone, as groups."""
    return Chain(
        [
            ("synthesize", "restyle", "renders", "--model", "flux_depth", "--prompt", "a red chair", "--views", "3",
             "--variants", "2", "--steps", "2"),
            ("caption", "renders", "--with", "metadata"),
            ("prompts", "--kind", "deformable", "--subjects", "subjects.txt", "--count", "6", "--out", "animals.jsonl"),
            ("synthesize", "deformable", "--model", "flux", "--prompts", "animals.jsonl", "--out", "data", *SIZE),
            ("caption", "data", "--with", "metadata"),
            ("export", "renders", "--to", "groups", "--out", "rigid"),
            ("export", "data", "--to", "groups", "--out", "groups"),
        ],
        {"subjects.txt": "lamp\nchair\n"},
        ["flux_depth", "flux"],
        renders=True,
    )  # fmt: skip


# --- models and folders ---


def make_models(folder: Path) -> None:
    """The tiny models of all chains, in the current folder's `folder`."""
    for kind in ("stable_diffusion", "flux", "flux_depth"):
        getattr(tiny_pipelines, kind)(folder / kind)
    tiny_pipelines.zero123plus(folder / "zero123plus-v1.2")
    (folder / "code").mkdir()
    shutil.copy(sheet_pipeline.__file__, folder / "code" / "pipeline.py")
    tiny_models.open_clip_model(folder / "clip")
    teach_middle(tiny_models.sam_model(folder / "sam"))


def teach_middle(folder: Path) -> None:
    """Let a segmenter learn that the subject is a disc in the middle, whatever it sees and is asked."""
    torch.manual_seed(0)
    segmenter = SamModel(AutoConfig.from_pretrained(folder))
    down, across = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    disc = ((down**2 + across**2) < 0.4).float().expand(4, 2, 3, 32, 32)
    steps = torch.optim.Adam(segmenter.parameters(), 1e-2)
    for _ in range(120):
        pixels, points = torch.rand(4, 3, 64, 64) * 4 - 2, torch.rand(4, 2, 1, 2) * 64
        drawn = segmenter(pixel_values=pixels, input_points=points, input_labels=torch.ones(4, 2, 1)).pred_masks
        torch.nn.functional.binary_cross_entropy_with_logits(drawn, disc).backward()
        steps.step()
        steps.zero_grad()
    segmenter.save_pretrained(folder)


def prepare(chain: Chain, folder: Path, models: Path) -> Path:
    """A folder with all that a chain begins with; models are named alike everywhere, for noise follows from names."""
    folder.mkdir(parents=True)
    for name in chain.models:
        (folder / name).symlink_to(models / name)
    for name, text in chain.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if "photos" in chain.files.get("train.toml", ""):
        (folder / "photos").mkdir()
        for number in range(4):
            Image.new("RGB", (32, 32), (60 * number, 30, 200)).save(folder / "photos" / f"{number}.png")
            (folder / "photos" / f"{number}.txt").write_text("a wall", encoding="utf-8")
    if chain.renders:
        made = make_dataset(folder / "renders")
        add_scene(made, "attic")
        add_set(made, "ball", [painted(view_at(TURN * number)) for number in range(3)])
        made.rebuild_index()
    return folder


@contextmanager
def judging() -> Iterator[str]:
    """The URL of a server that rates sets from 2 to 5 and describes them, by their pictures alone."""

    def answer(pictures: list[dict[str, Any]]) -> str:
        number = int(sha256(json.dumps(pictures).encode()).hexdigest()[:8], 16)
        words = " ".join(f"{word}{number >> shift & 255}" for shift, word in enumerate(("wood", "cloth", "brass")))
        dense, short = f"A chair of {words}, which stands on a floor.", f"A chair of {words}."
        return f"DENSE: {dense}\nSHORT: {short}\nREASON: some blur\nSCORE: {2 + number % 4}"

    with serve_judge(answer) as url:
        yield url


# --- runs ---


class Runner:
    """Runs chains in processes of their own. A server that has loaded the libraries forks them, for loading takes most
    of a short chain's time."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([f"{__package__}.chain_imports"])

    def run(self, chain: Chain, folder: Path, kill_at: int = 0) -> list[int]:
        """Run the steps of a chain from the first on; return how many files each has written at its end.

        With `kill_at` the process dies by SIGKILL when it is about to finish that file; then the list is empty.
        """
        counts = folder.with_name(f"{folder.name}.counts")
        counts.unlink(missing_ok=True)
        process = self._context.Process(target=_run_steps, args=(chain.steps, str(folder), str(counts), kill_at))
        process.start()
        process.join(600)
        assert process.exitcode == (-signal.SIGKILL if kill_at else 0), (folder, kill_at, process.exitcode)
        return [] if kill_at else [int(line) for line in counts.read_text().split()]


def _run_steps(steps: Sequence[Step], folder: str, counts: str, kill_at: int) -> None:
    """Run command lines in a folder; whatever does not end well ends the process."""
    os.chdir(folder)
    from diffusers.utils import dynamic_modules_utils

    dynamic_modules_utils.HF_MODULES_CACHE = os.path.abspath(f"{folder}.modules")
    files, sync = 0, os.fsync

    def count_files(handle: Any) -> None:
        nonlocal files
        sync(handle)
        files += 1
        if files == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = count_files  # type: ignore[assignment]
    ends = []
    for words in steps:
        if words[0] == "export" and Path(words[-1]).exists():
            continue  # it is written whole or not at all, and never twice
        code = main(list(words))
        if code:
            raise SystemExit(code)
        ends.append(files)
    Path(counts).write_text("\n".join(map(str, ends)))


def read_results(folder: Path) -> dict[str, bytes]:
    """All that a chain left, by name, but for what may be deleted and what a killed writer leaves."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in sorted(names.items())
        if "/cache/" not in f"/{name}" and not path.name.endswith((".tmp", ".lock"))
    }  # fmt: skip


def spread(total: int, count: int) -> list[int]:
    """So many numbers between 1 and total, evenly."""
    return [int(number) for number in np.linspace(1, total, count + 2)[1:-1]]
