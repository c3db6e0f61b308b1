# SPDX-License-Identifier: Apache-2.0
"""The published filters of synthesized view sets, on such sets: synthesized, scored and selected by the commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch

from blendset.dataset import Dataset
from blendset_trainer.cli.main import main
from blendset_trainer.selection.files import read_chosen, read_drops
from blendset_trainer.stages.tables import read_index_with_stages
from blendset_trainer.synthesis.prompts.prompt_files import DEFORMABLE, Prompt, write_prompts
from tests.trainer import tiny_models
from tests.trainer.tiny_datasets import add_scene, make_dataset
from tests.trainer.tiny_judge import serve_judge
from tests.trainer.tiny_pipelines import PIXELS, maker
from tests.trainer.traced_sets import TURN, add_set, painted, view_at

HEAD, DINO = "sa_0_4_vit_l_14_linear", "dinov2-with-registers-large"
"""Called as what the presets were made for is, for columns are named after it."""
RATING, AGREEMENT, PARTNER, QUALITY = (
    "aesthetic-sa-0-4-vit-l-14-linear.score", f"dino-{DINO}.set_mean", f"dino-{DINO}.best_pair",
    "vlm-quality-mv-llava-7b.score",
)  # fmt: skip
PLEASING, DULL = 7.0, 5.0
JOBS = "restyle", "deformable"
"""With the renders' passes and cameras, and with neither."""
Row = dict[str, Any]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    """Four renders; four sets of three that restyle them; two sets of three and two of two of prompts alone."""
    with chdir(tmp_path_factory.mktemp("work")):  # noise follows from what models are called, so let that be the same
        made = make_dataset(Path("data"))
        add_scene(made, "attic")
        add_set(made, "ball", [painted(view_at(TURN * number)) for number in range(4)])
        made.rebuild_index()
        synthesized("restyle", "flux_depth", "--prompt", "a red chair", "--variants", "4")
        places = [("3", "in a room"), ("3", "on a table"), ("3", "on a chair"), ("2", "in a room"), ("2", "on a table")]
        write_prompts(
            Path("prompts.jsonl"),
            [Prompt(f"a red lamp {where}", "red lamp", DEFORMABLE, {"set": name}, "test", 0) for name, where in places],
        )
        size = "--width", str(PIXELS), "--height", str(PIXELS)
        synthesized("deformable", "flux", "--prompts", "prompts.jsonl", "--variants", "2", *size)
        yield made


def synthesized(job: str, kind: str, *words: str) -> None:
    model = maker(Path())(kind)
    assert main(["synthesize", job, "data", "--model", str(model), "--steps", "2", "--seed", "3", *words]) == 0


def scored(dataset: Dataset, *scorers: str) -> list[Row]:
    assert main(["score", str(dataset.root), "--with", ",".join(scorers)]) == 0
    rows: list[Row] = read_index_with_stages(dataset).to_pylist()
    return rows


def selected(dataset: Dataset, preset: str) -> tuple[dict[str, Row], dict[str, str]]:
    """The rows of the views chosen, and why each of the others was not, by view."""
    assert main(["select", str(dataset.root), "--preset", preset, "--name", preset]) == 0
    chosen, drops = read_chosen(dataset, preset).to_pylist(), read_drops(dataset, preset).to_pylist()
    return {row["view_id"]: row for row in chosen}, {row["view_id"]: row["reason"] for row in drops}


def second_best_sets(views: list[Row]) -> set[str]:
    """Of each job, the set whose views agree best but for one."""
    agreement = {view["view_set"]: view[AGREEMENT] for view in views}
    in_order = sorted(agreement, key=lambda name: agreement[name])
    return {[name for name in in_order if name.startswith(job)][-2] for job in JOBS}


def head_for(views: list[Row], spoilt: set[str]) -> str:
    """A linear head as LAION's, by least squares on rated pictures: renders are dull, and so are the views of spoilt
    sets but for the first; all else pleases.
    """
    rated = [
        DULL if view["source"] == "render" or (view["view_set"] in spoilt and view["view_index"]) else PLEASING
        for view in views
    ]
    seen = torch.tensor([[*view["clip-open-clip.embedding"], 1.0] for view in views], dtype=torch.float64)
    weights = torch.linalg.lstsq(seen, torch.tensor(rated, dtype=torch.float64), driver="gelsd").solution.float()
    torch.save({"weight": weights[None, :-1], "bias": weights[-1:]}, f"{HEAD}.pth")
    return f"{HEAD}.pth"


def test_syncd_keeps_pleasing_views_of_sets_that_agree(dataset: Dataset) -> None:
    clip = tiny_models.open_clip_model(Path("open_clip"), width=32)
    seen = scored(dataset, f"clip:{clip}", f"dino:{tiny_models.dino_with_registers_model(Path(DINO))}")
    head = head_for(seen, second_best_sets(seen))
    views = {view["view_id"]: view for view in scored(dataset, f"aesthetic:{head}@{clip}")}
    chosen, why = selected(dataset, "syncd")
    good = {
        name: view["view_set"]
        for name, view in views.items()
        if view[RATING] >= 6 and view[AGREEMENT] >= 0.7 and (view[PARTNER] or 0) >= 0.7
    }
    left = Counter(good.values())
    assert chosen.keys() == {name for name, view_set in good.items() if left[view_set] >= 2}
    assert {row["source"] for row in chosen.values()} == {"synthetic"}
    assert {views[name]["view_set"].split("-")[0] for name in chosen} == {*JOBS}
    assert {
        "not pleasing enough", "views of its set do not agree", "too little left of its view set",
    } <= {*why.values()}  # fmt: skip


@pytest.fixture
def judge() -> Iterator[str]:
    """The URL of a server that finds sets the better the more pictures they have; of renders it has no opinion."""
    said = {4: "Four renders.", 3: "REASON: none\nSCORE: 5", 2: "REASON: hardly a set\nSCORE: 3"}

    with serve_judge(lambda pictures: said[len(pictures)]) as url:
        yield url


def test_bootstrap3d_keeps_sets_of_quality_for_high_noise(dataset: Dataset, judge: str) -> None:
    views = {view["view_id"]: view for view in scored(dataset, f"vlm-quality:openai:{judge}")}
    chosen, why = selected(dataset, "bootstrap3d")
    sizes = Counter(view["view_set"] for view in views.values())
    assert chosen.keys() == {name for name, view in views.items() if sizes[view["view_set"]] == 3}
    assert {views[name]["view_set"].split("-")[0] for name in chosen} == {*JOBS}
    assert {(row["source"], row["noise_band"]) for row in chosen.values()} == {("synthetic", "log_snr <= 0.647")}
    assert {(views[name]["source"], reason) for name, reason in why.items()} == {
        ("synthetic", "quality below 4"), ("render", f"no {QUALITY}"),
    }  # fmt: skip
