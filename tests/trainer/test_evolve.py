# SPDX-License-Identifier: Apache-2.0
"""Rounds of self-training: what is kept and how it is weighed, what is trained, when it ends, and interruptions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image

import blendset_trainer
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.evaluation.lineage import read_model_lineage
from blendset_trainer.evaluation.statistics.estimates import Estimate
from blendset_trainer.evolution.evolve import curate, evolve, plan_evolution
from blendset_trainer.evolution.preference import choose_best
from blendset_trainer.evolution.records import RoundFigure, RoundRecord
from blendset_trainer.evolution.rounds import SELECTION, make_round_config
from blendset_trainer.evolution.settings import JudgeSettings, WeightSettings, read_evolution
from blendset_trainer.evolution.stopping import explain_stop, judge_round
from blendset_trainer.evolution.weighting import compute_weights, shrink_covariance
from blendset_trainer.selection.files import read_chosen
from tests.trainer import tiny_models, tiny_pipelines

PROMPTS, HELD_OUT = ["a red chair", "a blue chair", "a lamp", "a table"], ["a sofa", "a room", "a vase", "a plant"]
PHOTOS = 8

# --- what is kept, and how much it counts -----------------------------------------------------------------------------


def test_the_best_of_a_prompt_has_the_best_mean_rank() -> None:
    values = np.array([[1, 9], [8, 8], [9, 1], [2, 2], [3, 3], [np.nan, 99]], float)
    keys = np.array(["a", "a", "a", "b", "b", "b"])
    assert choose_best(values, keys).tolist() == [1, 4]
    assert choose_best(values, keys, np.array([4.0, 4.0])).tolist() == [1]
    assert choose_best(values, keys, np.array([9.0, 9.0])).tolist() == []
    assert choose_best(np.ones((3, 2)), np.array(["a", "a", "b"])).tolist() == [0, 2]


@pytest.mark.parametrize("distance", ["mahalanobis", "neighbours"])
@pytest.mark.parametrize("trusted_count", [8, 200])
def test_distant_pictures_weigh_less_in_whatever_unit(distance: str, trusted_count: int) -> None:
    random = np.random.default_rng(0)
    trusted, direction = random.normal(size=(trusted_count, 16)), random.normal(size=16)
    features = np.outer(np.linspace(0, 5, 12), direction / np.linalg.norm(direction) * 4)
    settings = WeightSettings(scorer="x", distance=distance)
    weights = compute_weights(features, trusted, settings)
    assert np.isfinite(weights).all() and weights.mean() == pytest.approx(1)
    assert (np.diff(weights) <= 1e-12).all() and weights[0] > weights[-1]
    assert weights.min() >= 0.1 * weights.max()
    np.testing.assert_allclose(compute_weights(7 * features, 7 * trusted, settings), weights)


def test_trusted_pictures_weigh_alike() -> None:
    trusted = np.random.default_rng(0).normal(size=(300, 8))
    weights = compute_weights(np.random.default_rng(1).normal(size=(300, 8)), trusted, WeightSettings(scorer="x"))
    assert weights.std() < 0.5
    assert weights.max() < 1.5


def test_few_trusted_pictures_are_refused() -> None:
    with pytest.raises(BlendsetError, match="There are 5 trusted pictures, too few"):
        compute_weights(np.ones((3, 2)), np.ones((5, 2)), WeightSettings(scorer="x"))


def test_a_shrunk_covariance_is_near_the_truth_and_has_an_inverse() -> None:
    random = np.random.default_rng(0)
    truth = np.diag(np.linspace(1, 3, 20))
    few, many = (random.multivariate_normal(np.zeros(20), truth, count) for count in (10, 20_000))
    assert np.linalg.eigvalsh(shrink_covariance(few)).min() > 0.1
    np.testing.assert_allclose(shrink_covariance(many), truth, atol=0.1)


# --- which round is the best ------------------------------------------------------------------------------------------


def make_round(
    number: int, value: float, spread: float, low: float, high: float, better: str = "higher"
) -> RoundRecord:
    figures = tuple(
        RoundFigure(name=name, scale="", better=way, estimate=Estimate(level, level, level, 4), difference=difference)
        for name, way, level, difference in (
            ("vqa.p_yes", better, value, Estimate(value, low, high, 4)),
            ("dino.vendi", "higher", spread, Estimate(0, -1, 1, 4)),
        )
    )
    return RoundRecord(number=number, model="m", figures=figures, accepted=True, reason="")


@pytest.mark.parametrize(
    ("tried", "accepted", "words"),
    [
        ((0.6, 10, -0.1, 0.3), True, "as good as in round 1"),
        ((0.6, 10, -0.1, 0.3, "lower"), False, "not better than in round 1"),
        ((0.4, 10, -0.2, 0.1), False, "not better than in round 1"),
        ((0.6, 10, -0.3, -0.1), False, "clearly worse than of the base model"),
        ((0.6, 10, 0.1, 0.3, "lower"), False, "clearly worse"),
        ((0.9, 9.4, 0.1, 0.3), False, "dino.vendi is 94% of what it is of the base model"),
    ],
)
def test_a_round_is_accepted_where_quality_and_diversity_last(
    tried: tuple[Any, ...], accepted: bool, words: str
) -> None:
    settings = JudgeSettings(prompts="p", scorers=("s",), by="vqa.p_yes", diversity="dino.vendi")
    base, best, found = make_round(0, 0.5, 10, 0, 0), make_round(1, 0.5, 10, 0, 0), make_round(2, *tried)
    result, reason = judge_round(found.figures, base, best, settings)
    assert result is accepted
    assert words in reason


def test_it_ends_when_rounds_are_made_or_none_is_accepted() -> None:
    def make(*accepted: bool) -> list[RoundRecord]:
        return [
            RoundRecord(number=number, model="m", figures=(), accepted=each, reason="")
            for number, each in enumerate((True, *accepted))
        ]

    assert not explain_stop(make(), 3, 2)
    assert not explain_stop(make(False), 3, 2)
    assert explain_stop(make(True, False, False), 9, 2) == "2 rounds in a row were not accepted"
    assert not explain_stop(make(False, True, False), 9, 2)
    assert explain_stop(make(True, True, True), 3, 2) == "all 3 rounds are made"


# --- rounds of a tiny model -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.stable_diffusion(tmp_path_factory.mktemp("model") / "model", "epsilon")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"clip:{tiny_models.open_clip_model(tmp_path_factory.mktemp('clip') / 'open_clip')}"


@pytest.fixture
def write(model: Path, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes an evolution of two rounds and what it reads; the arguments change it."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(PHOTOS):
        pixels = np.random.default_rng(number).integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(f"photos/{number}.png")
        Path(f"photos/{number}.txt").write_text(f"photo number {number}", encoding="utf-8")
    Path("prompts.txt").write_text("\n".join(PROMPTS), encoding="utf-8")
    Path("held-out.txt").write_text("\n".join(HELD_OUT), encoding="utf-8")
    train = {
        "out": "unused",
        "model": {"path": str(model), "rank": 2},
        "train": {"samples": 8, "batch": 2, "resolution": 32, "checkpoint_every": 4},
        "validation": {"every": 100},
        "source": [{"name": "photo", "kind": "photo", "folder": "photos"}],
    }
    Path("train.toml").write_text(tomli_w.dumps(train), encoding="utf-8")

    def write(**changes: Any) -> Path:
        table: dict[str, Any] = {
            "train": "train.toml", "prompts": "prompts.txt", "trusted": "photos", "rounds": 2, "steps": 1,
            "preference": {"scorers": ["image-stats", "phash"], "images": 2, "floor": False,
                           "by": ["image-stats.sharpness", "image-stats.variance"]},
            "weights": {"scorer": clip},
            "judge": {"prompts": "held-out.txt", "scorers": ["appearance"], "by": "appearance.contrast"},
        }  # fmt: skip
        if changes.get("judge", {}).get("scorers") == ["CLIP"]:
            changes["judge"]["scorers"] = [clip]
        for name, value in changes.items():
            table[name] = {**table[name], **value} if isinstance(value, dict) else value
        Path("evolve.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
        return Path("evolve.toml")

    return write


def test_rounds_keep_the_best_and_train_the_base_on_all_of_them(write: Callable[..., Path], model: Path) -> None:
    result = blendset_trainer.evolve(write())
    assert [(each.number, each.drawn, each.kept) for each in result.rounds] == [(0, 0, 0), (1, 8, 4), (2, 8, 4)]
    assert result.stopped in ("all 2 rounds are made", "2 rounds in a row were not accepted")
    assert result.best == [each.number for each in result.rounds if each.accepted][-1]
    chosen = read_chosen(Dataset(Path("evolution/round-1/dataset")), SELECTION)
    weights = chosen["weight"].to_numpy()
    assert len(weights) == 4 and weights.mean() == pytest.approx(1)
    assert result.rounds[1].least_weight == pytest.approx(weights.min())
    second = Path("evolution/round-2/run/lora")
    lineage = read_model_lineage(second)
    assert lineage.selected_by == {"image-stats"}
    settings = read_evolution(Path("evolve.toml"))
    config = make_round_config(settings, {"model": {"path": str(model)}, "train": {"samples": 8}, "source": [
        {"name": "photo", "kind": "photo", "folder": "photos"}]}, 2)  # fmt: skip
    assert config.model.path == str(model)
    assert config.keep_out == ("held-out.txt",)
    assert [(each.name, each.bands[0].weight) for each in config.source] == [
        ("photo", 0.5), ("round-1", 0.25), ("round-2", 0.25),
    ]  # fmt: skip


def test_naive_self_training_replaces_everything(write: Callable[..., Path]) -> None:
    path = write(
        pool="replace", trusted_share=0.0, draws="last", patience=9, weights={"scorer": ""},
        preference={"by": [], "scorers": ["image-stats"]},
    )  # fmt: skip
    result = evolve(path)
    assert [(each.drawn, each.kept) for each in result.rounds] == [(0, 0), (8, 8), (8, 8)]
    shared = {"model": {"path": "m"}, "train": {"samples": 8}, "source": [{"name": "photo", "folder": "photos"}]}
    config = make_round_config(read_evolution(path), shared, 2)
    assert [each.name for each in config.source] == ["round-2"]


def read_results() -> dict[str, bytes]:
    """The pictures, records, selections and weights of all rounds, by their paths; caches and times of files aside."""
    endings = {".json", ".png", ".parquet", ".safetensors"}
    paths = [path for path in sorted(Path("evolution").rglob("*")) if path.suffix in endings]
    paths = [path for path in paths if not {"adoptions", "cache"} & set(path.parts)]
    return {str(path): path.read_bytes() for path in paths}


def test_interrupted_anywhere_it_ends_with_the_same_bytes(write: Callable[..., Path]) -> None:
    path = write()
    evolve(path)
    kept = read_results()
    Path("evolution").rename("undisturbed")
    left = 0

    def interrupt(what: str, done: int, total: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    for step in (3, 20, 40, 60, 90):
        left = step
        with suppress(KeyboardInterrupt):
            evolve(path, on_progress=interrupt)
    evolve(path)
    assert read_results() == kept


def test_what_it_will_cost_is_said_and_nothing_is_made(write: Callable[..., Path]) -> None:
    assert plan_evolution(write()) == {
        "pictures to choose from": (8, 16), "pictures for the judge": (4, 12), "pictures seen in training": (8, 16),
    }  # fmt: skip
    assert not Path("evolution").exists()


def test_prompts_meet_the_rules_by_name() -> None:
    assert curate(["a red chair", "", "a red chair"], "duplicates") == ["a red chair"]
    with pytest.raises(BlendsetError, match="None of 1 prompts meets the rules 'duplicates'"):
        curate([""], "duplicates")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompts": "held-out.txt"}, "4 prompts of held-out.txt are in held-out.txt too"),
        ({"preference": {"by": ["image-stats.sharpness"]}}, "names one figure, whose faults a model would learn"),
        ({"preference": {"images": 1}}, "there is nothing to prefer"),
        ({"judge": {"by": "image-stats.mean"}}, "image-stats selects pictures and cannot judge them too"),
        (
            {"judge": {"by": "appearance.contrst"}},
            "judge.by is 'appearance.contrst', and no scorer of the judge computes that; did you",
        ),
        ({"trusted": "one"}, "one has 1 picture to measure, and needs at least two"),
        ({"preference": {"by": ["image-stats.sharpness", "image-stats.varience"]}}, "preference.by names"),
        (
            {"preference": {"by": ["image-stats.sharpness", "image-stats.fireflies"]}},
            "names 'image-stats.fireflies', of which less is better",
        ),
        (
            {"judge": {"by": "clip-open-clip.similarity", "scorers": ["CLIP"]}},
            "clip-open-clip weighs pictures and cannot judge them too",
        ),
        ({"rounds": 0}, "rounds"),
        ({"train": "nowhere.toml"}, "nowhere.toml"),
    ],
)
def test_what_cannot_evolve_gets_one_sentence(write: Callable[..., Path], changes: dict[str, Any], words: str) -> None:
    path = write(**changes)
    Path("one").mkdir()
    Image.new("RGB", (32, 32)).save("one/a.png")
    with pytest.raises(BlendsetError, match=words):
        evolve(path)
    assert not Path("evolution").exists()


def test_rounds_can_be_added(write: Callable[..., Path]) -> None:
    evolve(write(rounds=1))
    before = read_results()
    evolve(write(rounds=2))
    after = read_results()
    first = "evolution/round-1/"
    assert {name: data for name, data in after.items() if name.startswith(first)} == {
        name: data for name, data in before.items() if name.startswith(first)
    }
    assert any(name.startswith("evolution/round-2/run") for name in after)


def test_another_base_is_refused(write: Callable[..., Path], model: Path, tmp_path: Path) -> None:
    path = write(rounds=1)
    evolve(path)
    text = Path("train.toml").read_text(encoding="utf-8")
    Path("train.toml").write_text(text.replace("samples = 8", "samples = 4"), encoding="utf-8")
    with pytest.raises(BlendsetError, match="evolution was begun with other settings or another base model"):
        evolve(path)
