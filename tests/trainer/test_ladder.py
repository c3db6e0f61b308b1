# SPDX-License-Identifier: Apache-2.0
"""Ladders of runs: what a rung changes, intervals that hold over seeds and prompts, when to stop, and going on."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.options import parse_toml, structure, unstructure
from blendset_trainer.evaluation.ladder.ablate import ablate
from blendset_trainer.evaluation.ladder.records import DIFFERS, EQUAL, OPEN
from blendset_trainer.evaluation.ladder.runs import change_sources, list_trained_prompts, plan_ladder
from blendset_trainer.evaluation.ladder.seeds import compute_confidence, estimate_over_seeds, judge_difference
from blendset_trainer.evaluation.ladder.settings import AblateSettings, RungSettings
from blendset_trainer.evaluation.ladder.table import format_ablation
from blendset_trainer.evaluation.statistics.estimates import Estimate
from blendset_trainer.evaluation.statistics.intervals import Replicates, jackknife
from blendset_trainer.training.data.sources import CaptionWeights, SourceSettings, load_source
from blendset_trainer.training.settings import make_train_config
from tests.trainer.tiny_datasets import thirty_views
from tests.trainer.tiny_pipelines import stable_diffusion
from tests.trainer.tiny_runs import config_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "ablation.md"
WORDLESS = {"short": 0.0, "dense": 0.0, "none": 1.0}
PROMPTS = ["a red chair", "the blue lamp", "a table", "a green room"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return thirty_views(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion(tmp_path_factory.mktemp("model"))


@pytest.fixture
def write_ladder(dataset: Dataset, model: Path, tmp_path: Path) -> Any:
    """Writes a ladder of two rungs, and the run that they change; `changes` are of the ladder."""

    def write(out: str = "ladder", **changes: Any) -> Path:
        sources = [
            {"name": name, "dataset": str(dataset.root), "captions": WORDLESS} for name in ("render", "synthetic")
        ]
        config = config_of(model, dataset.root, tmp_path / "unused", source=sources, train={"samples": 8})
        (tmp_path / "train.toml").write_text(tomli_w.dumps(unstructure(config)), encoding="utf-8")
        (tmp_path / "held-out.txt").write_text("\n".join(PROMPTS), encoding="utf-8")
        ladder = {
            "train": str(tmp_path / "train.toml"),
            "prompts": str(tmp_path / "held-out.txt"),
            "out": str(tmp_path / out),
            "scorers": ["image-stats"],
            "by": "image-stats.mean",
            "steps": 2,
            "seeds": [0, 1],
            "rung": [{"name": "Both"}, {"name": "Renders", "without": ["synthetic"]}],
        }
        path = tmp_path / f"{out}.toml"
        path.write_text(tomli_w.dumps(ladder | changes), encoding="utf-8")
        return path

    return write


# ---- what a rung changes ---------------------------------------------------------------------------------------------


def test_a_rung_changes_sources_by_name_leaves_them_out_and_caps_them(write_ladder: Any) -> None:
    change = {"name": "100", "set": ["source.render.captions.none=0.5", "train.batch=2"], "max_samples": 3}
    runs = plan_ladder(write_ladder(rung=[{"name": "All"}, {**change, "without": ["synthetic"]}], seeds=[4, 7]))
    assert [(run.rung, run.seed, run.name) for run in runs] == [
        ("All", 4, "all-4"), ("100", 4, "100-4"), ("All", 7, "all-7"), ("100", 7, "100-7"),
    ]  # fmt: skip
    plain, changed = runs[2].config, runs[3].config
    assert [source.name for source in plain.source] == ["render", "synthetic"]
    assert [source.max_samples for source in plain.source] == [None, None]
    [source] = changed.source
    assert (source.name, source.max_samples, source.captions.none, source.captions.short) == ("render", 3, 0.5, 0.0)
    assert (changed.seed, changed.train.batch, plain.train.batch) == (7, 2, 4)
    assert runs[3].folder.name == "100-7"


def test_fewer_samples_of_a_source_are_among_more_of_the_same_seed(dataset: Dataset) -> None:
    def draw(most: int | None, seed: int) -> set[str]:
        settings = SourceSettings(
            name="r", dataset=str(dataset.root), max_samples=most, captions=CaptionWeights(**WORDLESS)
        )
        return {sample.id for sample in load_source(settings).draw_samples(seed)}

    assert (len(draw(5, 0)), len(draw(12, 0)), len(draw(99, 0)), len(draw(None, 0))) == (5, 12, 30, 30)
    assert draw(5, 0) < draw(12, 0) != draw(12, 1)


def test_the_documented_ladders_are_ladders(model: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    whole = structure(AblateSettings, parse_toml(blocks[0], "docs"), "docs")
    names = ("render", "synthetic")
    sources = [{"name": name, "dataset": "d", "bands": [{"weight": 1.0}]} for name in names]
    shared = {"out": "o", "model": {"path": str(model)}, "train": {"samples": 8}, "source": sources}
    rungs = [rung for block in blocks for rung in parse_toml(block, "docs")["rung"]]
    assert len(rungs) == len(whole.rung) + 8
    for rung in rungs:
        make_train_config(change_sources(shared, structure(RungSettings, rung, "docs"), "docs"), "docs")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rung": [{"name": "A"}, {"name": "B", "wihtout": ["synthetic"]}]}, "did you mean 'without'"),
        ({"rung": [{"name": "A"}, {"name": "a"}]}, "two rungs are called 'a'"),
        ({"rung": [{"name": "A"}]}, "has 1 rung"),
        ({"rung": [{"name": "A"}, {"name": "B", "without": ["synthetc"]}]}, "did you mean 'synthetic'"),
        ({"rung": [{"name": "A"}, {"name": "B", "set": ["source.rendr.crop=random"]}]}, "did you mean 'render'"),
        ({"rung": [{"name": "A"}, {"name": "B", "set": ["train.bach=2"]}]}, "rung 'B'.* did you mean 'batch'"),
        ({"rung": [{"name": "A"}, {"name": "B", "without": ["render", "synthetic"]}]}, "names no source"),
        ({"by": "image-stats.men"}, "did you mean 'image-stats.mean'"),
        ({"by": "clip-x.mmd2"}, "no scorer of the ladder computes that"),
        ({"seeds": [1, 1]}, "two seeds are '1'"),
        ({"seeds": []}, "seeds is empty"),
        ({"prompts": "nowhere.txt"}, "nowhere.txt"),
        ({"against": "nowhere"}, "--against needs a scorer with an embedding"),
    ],
)
def test_a_ladder_that_cannot_be_is_refused_before_anything_is_trained(
    write_ladder: Any, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BlendsetError, match=message):
        ablate(write_ladder(**changes))
    assert not (tmp_path / "ladder").exists()


# ---- intervals over seeds and prompts, and when to stop --------------------------------------------------------------


def draw_runs(random: np.random.Generator, truth: float, seeds: int, prompts: np.ndarray[Any, Any]) -> list[Replicates]:
    """Differences of models: effects of the seed, of each prompt (which all seeds share), and of both."""
    values = truth + random.normal(0, 1, (seeds, 1)) + prompts + random.normal(0, 1, (seeds, len(prompts)))
    return [jackknife(lambda kept, row=row: float(row[kept].mean()), len(row), 0) for row in values]  # type: ignore[misc]


@pytest.mark.parametrize("deviation", [0.0, 5.0])
def test_intervals_cover_other_seeds_and_other_prompts(deviation: float) -> None:
    random, covered, narrow = np.random.default_rng(0), 0, 0
    for _ in range(400):
        runs = draw_runs(random, 0.3, 3, random.normal(0, deviation, 20))
        estimate, one = estimate_over_seeds(runs), estimate_over_seeds(runs[:1])
        covered += estimate.low <= 0.3 <= estimate.high
        narrow += one.low <= 0.3 <= one.high
    assert covered >= 0.93 * 400
    assert narrow < 0.9 * 400  # over prompts alone, the interval is one of this model and of no other


def test_equal_rungs_are_seldom_called_different_for_all_the_looks() -> None:
    random, seeds, wrong, uncorrected = np.random.default_rng(1), 5, 0, 0
    for _ in range(400):
        runs = draw_runs(random, 0.0, seeds, np.zeros(10))
        looks = [runs[:count] for count in range(2, seeds + 1)]
        confidence = compute_confidence(seeds)
        wrong += any(estimate_over_seeds(look, confidence).excludes_zero for look in looks)
        uncorrected += any(estimate_over_seeds(look).excludes_zero for look in looks)
    assert wrong <= 0.05 * 400 < uncorrected


def test_the_effect_is_in_deviations_over_seeds_and_one_seed_has_none() -> None:
    runs = [Replicates(value, np.full(4, value), 4) for value in (1.0, 2.0, 3.0)]
    estimate = estimate_over_seeds(runs)
    assert (estimate.value, estimate.effect, estimate.units) == (2.0, 2.0, 3)
    assert estimate.high - 2 == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)  # Student's t, two degrees of freedom
    assert estimate_over_seeds(runs[:1]).effect is None


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.3, DIFFERS), (-0.3, -0.1, DIFFERS), (-0.1, 0.3, OPEN), (-0.02, 0.03, EQUAL), (0.01, 0.03, EQUAL)],
)
def test_a_difference_is_there_too_small_or_open(low: float, high: float, verdict: str) -> None:
    assert judge_difference(Estimate((low + high) / 2, low, high, 3), smallest=0.05) == verdict


# ---- a ladder from end to end ----------------------------------------------------------------------------------------


def test_a_ladder_is_the_same_whether_it_was_killed_or_not(write_ladder: Any, tmp_path: Path) -> None:
    whole = ablate(write_ladder("whole"))
    kill_after(write_ladder("killed"), "renders-0: pictures seen")
    names: list[str] = []
    ablate(tmp_path / "killed.toml", on_progress=lambda what, *_: names.append(what))
    assert (tmp_path / "killed" / "ablation.json").read_bytes() == (tmp_path / "whole" / "ablation.json").read_bytes()
    assert not any(name.startswith("both-0: pictures") for name in names)  # what was trained and drawn is kept
    assert (whole.seeds, whole.planned, whole.confidence, whole.prompts) == ((0, 1), 2, 0.95, 4)
    first, other = (rung.find_figure("image-stats.mean") for rung in whole.rungs)
    assert first and other and first.difference is None and other.difference
    expected = np.mean(other.values) - np.mean(first.values)
    assert other.difference.value == pytest.approx(expected)
    assert whole.clear == (other.verdict != OPEN)
    table = format_ablation(whole, ["image-stats.entropy"])
    assert table.count("| Renders") == 2
    assert "after 2 of 2 seeds" in table


def kill_after(ladder: Path, progress: str) -> None:
    """Run a ladder in a process that kills itself when it says that this is under way."""
    code = (
        "import os, signal, sys; from tests.trainer import tiny_models; "
        "from blendset_trainer.evaluation.ladder.ablate import ablate; "
        "stop = lambda what, done, total: what == sys.argv[2] and done and os.kill(os.getpid(), signal.SIGKILL); "
        "ablate(sys.argv[1], on_progress=stop)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ladder), progress], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_equal_rungs_end_a_ladder_early_and_changed_ones_are_refused(write_ladder: Any) -> None:
    same = [{"name": "A"}, {"name": "B", "set": ["train.log_every=1"]}]
    ablation = ablate(write_ladder(rung=same, seeds=[0, 1, 2], smallest=0.1))
    assert (ablation.seeds, ablation.clear, ablation.confidence) == ((0, 1), True, 0.975)
    assert ablation.rungs[1].find_figure("image-stats.mean").verdict == EQUAL  # type: ignore[union-attr]
    alone = ablate(write_ladder(rung=same, seeds=[1]))
    assert (alone.seeds, alone.clear, alone.confidence) == ((1,), False, 0.95)
    assert "there is one seed" in format_ablation(alone)
    with pytest.raises(BlendsetError, match="trained or drawn with other settings"):
        ablate(write_ladder(rung=same, steps=3))


def test_prompts_that_are_trained_are_named(write_ladder: Any, dataset: Dataset, tmp_path: Path) -> None:
    photos, view = tmp_path / "photos", next(iter(dataset.views()))
    photos.mkdir()
    for number in range(2):
        (photos / f"{number}.png").write_bytes(dataset.rgb_path(view).read_bytes())
        (photos / f"{number}.txt").write_text("a table", encoding="utf-8")
    renders = {"name": "R", "without": ["synthetic"]}
    changes = [f"source.render.folder={photos}", "source.render.dataset=", "source.render.captions={}"]
    runs = plan_ladder(write_ladder(rung=[renders, {**renders, "name": "P", "set": changes}], seeds=[3]))
    [note] = list_trained_prompts(runs, PROMPTS)
    assert note.startswith("rung 'P' trains on 1 of the 4 prompts ('a table')")
