# SPDX-License-Identifier: Apache-2.0
"""`blendset compare`: the same units, or as many of each; differences with their signs; models; votes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import blendset_trainer
from blendset.errors import SettingsError
from blendset.records import read_record, write_json
from blendset_trainer.cli.main import main
from blendset_trainer.evaluation.compare import compare, make_titles
from blendset_trainer.evaluation.records import COMPARISON, Comparison, Difference
from blendset_trainer.evaluation.tables import BETTER, WORSE, judge, list_comparison
from blendset_trainer.evaluation.votes.ballot import BallotKey
from blendset_trainer.evaluation.votes.page import VotePage
from tests.trainer import tiny_models, tiny_pipelines
from tests.trainer.tiny_ballots import prefer, write_voter

Capture = pytest.CaptureFixture[str]
PROMPTS = [f"chair number {number}" for number in range(20)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"clip:{tiny_models.open_clip_model(tmp_path_factory.mktemp('models') / 'open_clip')}"


def draw(folder: Path, seed: int, prompts: list[str], images: int = 1, brighter: float = 0.0) -> Path:
    """A folder as `blendset sample` leaves it: pictures that differ by prompt, by seed, and by how bright they are."""
    folder.mkdir(parents=True)
    pictures = []
    for number, prompt in enumerate(prompt for prompt in prompts for _ in range(images)):
        rng = np.random.default_rng([seed, number])
        level = 40 + 150 * (hash_prompt(prompt) % 97) / 97 + brighter
        pixels = (level + 20 * rng.standard_normal((32, 32, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
        pictures.append({"file": f"{number:04d}.png", "prompt": prompt, "seed": number})
    write_json(folder / "samples.json", {"model": "somebody/model", "lora": None, "pictures": pictures})
    return folder


def hash_prompt(prompt: str) -> int:
    return sum(map(ord, prompt)) * 31


def find(comparison: Comparison, name: str) -> Difference:
    return next(each for each in comparison.differences if each.name.endswith(name))


def test_pictures_of_the_same_prompts_are_paired(tmp_path: Path) -> None:
    first, other = draw(tmp_path / "a", 0, PROMPTS), draw(tmp_path / "b", 1, PROMPTS[::-1], brighter=6)
    result = compare([first, other], scorers=["image-stats"], out=tmp_path / "result")
    brightness = find(result, "image-stats.mean")
    assert brightness.is_paired
    assert brightness.estimate is not None
    assert brightness.estimate.low < 6 < brightness.estimate.high
    assert brightness.estimate.high - brightness.estimate.low < 3  # prompts differ by far more, which pairs take out
    assert read_record(tmp_path / "result" / COMPARISON, Comparison) == result


def test_a_difference_of_other_prompts_is_unpaired_and_over_as_many(tmp_path: Path) -> None:
    first, other = draw(tmp_path / "a", 0, PROMPTS), draw(tmp_path / "b", 1, [f"table {n}" for n in range(50)])
    result = compare([first, other], scorers=["image-stats"], out=tmp_path / "result")
    assert not find(result, "image-stats.mean").is_paired
    assert [each.pictures for each in result.evaluations] == [20, 20]
    assert result.notes == ("b: 20 of 50 pictures, as many as of the smallest set",)


def test_sets_that_share_some_prompts_are_compared_over_these_with_equally_many_pictures(tmp_path: Path) -> None:
    first = draw(tmp_path / "a", 0, PROMPTS, images=3)
    other = draw(tmp_path / "b", 1, [*PROMPTS[:15], "a door"], images=2)
    result = compare([first, other], scorers=["image-stats"], out=tmp_path / "result")
    assert [(each.pictures, each.units) for each in result.evaluations] == [(30, 15), (30, 15)]
    assert result.notes == ("6 prompts are not in all sets and do not count",)


def test_distances_differ_in_the_direction_that_was_planted(tmp_path: Path, clip: str) -> None:
    trusted = draw(tmp_path / "trusted", 7, [f"{prompt}." for prompt in PROMPTS])
    near, far = draw(tmp_path / "near", 0, PROMPTS), draw(tmp_path / "far", 1, PROMPTS, brighter=70)
    result = compare([near, far], scorers=[clip], against=trusted, out=tmp_path / "result")
    difference, scores = find(result, ".mmd2"), result.evaluations[0].scores
    assert difference.estimate is not None and difference.is_paired
    score = next(each for each in scores if each.name == difference.name)
    assert judge(score, difference.estimate) == WORSE
    back = compare([far, near], scorers=[clip], against=trusted, out=tmp_path / "back")
    other_way = find(back, ".mmd2").estimate
    assert other_way is not None
    assert judge(score, other_way) == BETTER
    assert (other_way.value, other_way.low) == pytest.approx((-difference.estimate.value, -difference.estimate.high))


def test_four_sets_stand_in_one_table(tmp_path: Path) -> None:
    sets = [draw(tmp_path / name, number, PROMPTS) for number, name in enumerate("abcd")]
    head, rows = list_comparison(compare(sets, scorers=["image-stats"], out=tmp_path / "result"))
    assert head == ("figure", "a", "b", "b - a", "c", "c - a", "d", "d - a")
    assert {len(row) for row in rows} == {8}


def test_titles_are_as_long_as_needed() -> None:
    assert make_titles(["runs/a", "runs/b"]) == ["a", "b"]
    assert make_titles(["runs/a/model", "runs/b/model"]) == ["a/model", "b/model"]
    with pytest.raises(SettingsError, match="runs/a is given twice"):
        make_titles(["runs/a", "runs/a"])


def test_models_draw_the_same_prompts_first(tmp_path: Path, capsys: Capture) -> None:
    models = [tiny_pipelines.stable_diffusion(tmp_path / name, prediction) for name, prediction in
              (("plain", "epsilon"), ("other", "v_prediction"))]  # fmt: skip
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red chair\na lamp\na room\n", encoding="utf-8")
    words = ["compare", *map(str, models), "--out", str(tmp_path / "result"), "--with", "image-stats", "--steps", "2"]
    assert main(words) == 2
    assert "plain is a model; give --prompts FILE" in capsys.readouterr().err
    assert main([*words, "--prompts", str(prompts), "--images", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(each["title"], each["pictures"], each["units"]) for each in result["evaluations"]] == [
        ("plain", 6, 3), ("other", 6, 3),
    ]  # fmt: skip
    drawn = tmp_path / "result" / "plain-samples" / "0000.png"
    before = drawn.stat().st_mtime_ns
    assert main([*words, "--prompts", str(prompts), "--images", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert drawn.stat().st_mtime_ns == before


def test_a_vote_page_shows_both_pictures_of_a_prompt(tmp_path: Path) -> None:
    first, other = draw(tmp_path / "alpha", 0, PROMPTS), draw(tmp_path / "beta", 1, PROMPTS)
    page = tmp_path / "vote.html"
    compare([first, other], scorers=["image-stats"], out=tmp_path / "result", vote=page, vote_pairs=10)
    text = page.read_text(encoding="utf-8")
    assert PROMPTS[3] in text or PROMPTS[4] in text
    assert "alpha" not in text
    assert (tmp_path / "vote.key.json").is_file()
    third = draw(tmp_path / "gamma", 2, ["a hat", "a bag"])
    with pytest.raises(SettingsError, match="--vote needs pictures of the same prompts in all sets"):
        compare([first, third], scorers=["image-stats"], out=tmp_path / "other", vote=tmp_path / "no.html")


def test_counted_votes_stand_on_the_page_of_their_comparison(tmp_path: Path, capsys: Capture) -> None:
    first, other = draw(tmp_path / "alpha", 0, PROMPTS), draw(tmp_path / "beta", 1, PROMPTS)
    page, out = tmp_path / "vote.html", tmp_path / "result"
    compare([first, other], scorers=["image-stats"], out=out, vote=page, vote_pairs=5)
    key = tmp_path / "vote.key.json"
    ballot = VotePage(page, key, read_record(key, BallotKey).ballot, 5, 2, 0)
    sent = write_voter(ballot, prefer("alpha"))
    words = ["compare", "--votes", str(ballot.key), str(sent)]
    assert main([*words, "--out", str(tmp_path / "none")]) == 0
    assert not (tmp_path / "none").exists()
    assert main([*words, "--out", str(out)]) == 0
    assert str(out / "comparison.html") in capsys.readouterr().out
    assert "Win rates" in (out / "comparison.html").read_text(encoding="utf-8")
    compare([first, draw(tmp_path / "gamma", 2, PROMPTS)], scorers=["image-stats"], out=out)
    assert main([*words, "--out", str(out)]) == 0
    assert "is of other sets, so its page does not show these votes" in capsys.readouterr().err


def test_what_cannot_be_compared_gets_one_sentence(tmp_path: Path, clip: str, capsys: Capture) -> None:
    first = draw(tmp_path / "a", 0, PROMPTS)
    with pytest.raises(SettingsError, match="There is nothing to compare; give two"):
        compare([first], out=tmp_path / "result")
    assert main(["compare", str(first), "--votes", "key.json", "v.json"]) == 2
    assert "--votes takes the key of a page" in capsys.readouterr().err


def test_sets_of_different_units_are_compared_over_pictures(tmp_path: Path) -> None:
    first = draw(tmp_path / "a", 0, PROMPTS, images=2)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (number, 9, 9)).save(photos / f"{number}.png")
    result = blendset_trainer.compare([first, photos], out=tmp_path / "result", scorers="image-stats")
    assert [(each.unit, each.units) for each in result.evaluations] == [("picture", 3), ("picture", 3)]
    assert result.notes[0] == "Intervals are over pictures, for the sets have pictures and prompts"
