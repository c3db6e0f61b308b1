# SPDX-License-Identifier: Apache-2.0
"""Votes: pairs are balanced, files are unblinded or refused, intervals hold what was planted, a model votes too."""

from __future__ import annotations

import base64
import io
import json
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blendset.errors import BlendsetError, SettingsError
from blendset.records import read_record, to_plain
from blendset_trainer.evaluation.votes.ballot import BallotPair, VoterFile
from blendset_trainer.evaluation.votes.bradley_terry import (
    PRIOR,
    compute_strengths,
    compute_win_rates,
    find_separation,
    fit_bradley_terry,
)
from blendset_trainer.evaluation.votes.count import SEPARATED, count_votes
from blendset_trainer.evaluation.votes.model_voter import vote_by_model
from blendset_trainer.evaluation.votes.page import VotePage, write_ballot
from blendset_trainer.evaluation.votes.pairs import choose_pairs
from blendset_trainer.evaluation.votes.read import Vote, read_votes
from blendset_trainer.models.chat.finding import find_chat_model
from tests.trainer.tiny_ballots import BRIGHT, DIM, draw_pictures, make_ballot, prefer, read_pairs, write_voter
from tests.trainer.tiny_judge import JUDGE, serve_judge
from tests.trainer.tiny_models import qwen_model

UNITS, CHECKS = 8, 3
Choose = Callable[[BallotPair], str]


@pytest.fixture(scope="module")
def ballot(tmp_path_factory: pytest.TempPathFactory) -> VotePage:
    return make_ballot(tmp_path_factory.mktemp("ballot"), UNITS, CHECKS)


# --- pairs and page ---------------------------------------------------------------------------------------------------


def test_pairs_are_balanced_over_systems_and_units() -> None:
    systems = {
        name: {f"u{unit}": [Path(f"{name}{unit}{turn}") for turn in range(3)] for unit in range(7)} for name in "abc"
    }
    pairs = choose_pairs(systems, {"u1": "a lamp"}, 42, seed=1)
    assert Counter((pair.one.system, pair.other.system) for pair in pairs) == dict.fromkeys(
        [("a", "b"), ("a", "c"), ("b", "c")], 14
    )
    assert Counter(pair.unit for pair in pairs) == {f"u{unit}": 6 for unit in range(7)}
    assert len({(pair.one.path, pair.other.path) for pair in pairs}) == 42
    assert {pair.prompt for pair in pairs if pair.unit == "u1"} == {"a lamp"}
    assert choose_pairs(systems, {}, 42, seed=1) != choose_pairs(systems, {}, 42, seed=2)
    assert len(choose_pairs(systems, {}, 1000, seed=1)) == 3 * 7 * 3


@pytest.mark.parametrize("systems", [{"a": {"u": [Path("1")]}}, {"a": {"u": [Path("1")]}, "b": {"v": [Path("2")]}}])
def test_what_cannot_be_compared_is_refused(systems: dict[str, dict[str, list[Path]]]) -> None:
    with pytest.raises(BlendsetError):
        choose_pairs(systems, {}, 10, seed=0)


def test_a_page_is_the_same_bytes_again_and_shuffled(ballot: VotePage, tmp_path: Path) -> None:
    again = make_ballot(tmp_path, UNITS, CHECKS)
    assert again.path.read_bytes() == ballot.path.read_bytes()
    assert (ballot.pairs, ballot.checks, ballot.bytes) == (UNITS, CHECKS, ballot.path.stat().st_size)
    pairs = read_pairs(ballot)
    assert [pair.pair for pair in pairs] == list(range(UNITS + CHECKS))
    assert Counter(pair.left for pair in pairs) == {DIM: UNITS / 2, BRIGHT: UNITS / 2, "": CHECKS}
    assert [pair.unit for pair in pairs] != sorted(pair.unit for pair in pairs)


def test_the_key_of_votes_is_never_lost(tmp_path: Path) -> None:
    make_ballot(tmp_path, 4)
    with pytest.raises(BlendsetError, match="belongs to votes on other pairs"):
        make_ballot(tmp_path, 5)


def test_a_title_that_names_a_system_is_refused(tmp_path: Path) -> None:
    systems = draw_pictures(tmp_path, 2)
    with pytest.raises(SettingsError, match=f"title of the vote names the system {DIM}"):
        write_ballot(systems, {}, tmp_path / "vote.html", count=2, seed=0, title=f"{DIM.upper()} or not")


# --- reading ----------------------------------------------------------------------------------------------------------


def test_votes_are_unblinded(ballot: VotePage) -> None:
    votes = read_votes(ballot.key, [write_voter(ballot, prefer(DIM))])
    assert {(vote.one, vote.other, vote.points) for vote in votes.votes} == {(BRIGHT, DIM, 0.0)}
    assert sorted(vote.unit for vote in votes.votes) == sorted(f"unit-{number}" for number in range(UNITS))


def test_of_two_files_of_a_voter_the_later_counts(ballot: VotePage) -> None:
    later = write_voter(ballot, prefer(BRIGHT), "v1", "Ada  B", saved="2026-01-02T00:00:00.000Z")
    earlier = write_voter(ballot, prefer(DIM), "v2", "ada b", saved="2026-01-01T00:00:00.000Z")
    for files in ([later, earlier], [earlier, later]):
        votes = read_votes(ballot.key, files)
        assert {vote.points for vote in votes.votes} == {1.0}
        assert len(votes.votes) == UNITS
        assert [note.casefold() for note in votes.notes] == [
            "ada b has sent two files; the later one counts. if they are two people, change the name in one file."
        ]


def change(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    return path


def cast(pair: int, choice: str = "left") -> dict[str, Any]:
    return {"pair": pair, "choice": choice, "milliseconds": 1, "order": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ballot": "0123"}, "holds votes on another page"),
        ({"votes": [cast(0, "both")]}, "holds the choice 'both' for pair 0, and a choice is one of left, right, tie"),
        ({"votes": [cast(0), cast(0)]}, "is damaged"),
        ({"votes": [cast(99)]}, "is damaged"),
        ({"votes": [{"pair": 1}]}, "is damaged"),
        ({"format_version": 2}, "has format version 2"),
        ({"more": 1}, "is damaged"),
    ],
)
def test_files_that_cannot_count_are_refused(ballot: VotePage, changes: dict[str, Any], sentence: str) -> None:
    path = change(write_voter(ballot, prefer(DIM)), **changes)
    with pytest.raises(BlendsetError, match=sentence) as refused:
        read_votes(ballot.key, [path])
    assert str(path) in str(refused.value)


def test_a_cut_file_is_refused(ballot: VotePage) -> None:
    path = write_voter(ballot, prefer(DIM))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BlendsetError, match="is damaged"):
        read_votes(ballot.key, [path])


def choose_partly(pairs: list[int], one: Choose, other: Choose, pair: BallotPair) -> str:
    return one(pair) if pair.pair in pairs else other(pair)


def test_a_third_of_the_checks_may_be_failed_and_no_more(ballot: VotePage) -> None:
    checks = [pair.pair for pair in read_pairs(ballot) if pair.good]
    for failed, counted in ((1, UNITS), (2, 0)):
        asleep, awake = prefer(DIM, attentive=False), prefer(DIM)
        path = write_voter(ballot, partial(choose_partly, checks[:failed], asleep, awake))
        votes = read_votes(ballot.key, [path])
        assert len(votes.votes) == counted
        assert len(votes.left_out) == (not counted)
    with pytest.raises(BlendsetError, match=r"No vote counts.*Voter v1 is left out, with 8 votes: 2 of 3"):
        count_votes(ballot.key, [path])


# --- strengths --------------------------------------------------------------------------------------------------------


def cast_votes(
    rng: np.random.Generator, chances: dict[tuple[str, str], float], per_pair: int, ties: float = 0.0
) -> list[Vote]:
    """Votes, one a unit, on pairs of systems of which the first wins with these chances."""
    votes = []
    for (one, other), chance in chances.items():
        points = np.where(rng.random(per_pair) < ties, 0.5, rng.random(per_pair) < chance)
        votes += [Vote("v", f"{one}{other}{number}", one, other, float(each)) for number, each in enumerate(points)]
    return votes


def test_a_planted_preference_of_70_to_30_is_in_the_interval() -> None:
    votes = cast_votes(np.random.default_rng(3), {("a", "b"): 0.7}, 200)
    (rate,) = compute_win_rates(votes)
    assert rate.estimate.low < 0.7 < rate.estimate.high
    assert rate.estimate.high - rate.estimate.low < 0.14
    assert rate.estimate.value == np.mean([vote.points for vote in votes])
    first, second = fit_bradley_terry(votes)
    assert (first.system, second.system, first.strength) == ("a", "b", -second.strength)
    assert first.estimate.low < math.log(0.7 / 0.3) / 2 < first.estimate.high


def test_a_planted_preference_is_found_through_files(tmp_path: Path) -> None:
    page = make_ballot(tmp_path, 200, checks=6)
    rng = np.random.default_rng(5)
    likes, dislikes = prefer(BRIGHT), prefer(DIM)
    path = write_voter(page, lambda pair: (likes if rng.random() < 0.7 else dislikes)(pair))
    result = count_votes(page.key, [path])
    assert (result.votes, result.units, result.ties, result.left_out, result.order_bias) == (200, 200, 0, (), None)
    (rate,) = result.win_rates
    assert (rate.one, rate.other) == (BRIGHT, DIM)
    assert rate.estimate.low < 0.7 < rate.estimate.high < 0.8
    assert [each.system for each in result.strengths] == [BRIGHT, DIM]


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = 0
    for seed in range(120):
        (rate,) = compute_win_rates(cast_votes(np.random.default_rng(seed), {("a", "b"): 0.7}, 200, ties=0.1), 500)
        held += rate.estimate.low <= 0.9 * 0.7 + 0.05 <= rate.estimate.high
    assert 0.9 <= held / 120 <= 0.99


def test_votes_on_one_unit_are_not_counted_as_many() -> None:
    rng = np.random.default_rng(0)
    votes = [
        Vote(f"v{voter}", f"u{unit}", "a", "b", float(liked))
        for unit, liked in enumerate(rng.random(20) < 0.5)
        for voter in range(20)
    ]
    (rate,) = compute_win_rates(votes)
    assert rate.estimate.units == 20
    assert rate.estimate.high - rate.estimate.low > 0.35


def test_strengths_of_several_systems_are_found() -> None:
    planted = {"a": 0.8, "b": 0.1, "c": -0.9}
    chances = {
        (one, other): 1 / (1 + math.exp(planted[other] - planted[one]))
        for one, other in (("a", "b"), ("a", "c"), ("b", "c"))
    }
    strengths = fit_bradley_terry(cast_votes(np.random.default_rng(1), chances, 500))
    assert [each.system for each in strengths] == ["a", "b", "c"]
    for each in strengths:
        assert each.estimate.low < planted[each.system] < each.estimate.high
        assert each.strength == pytest.approx(planted[each.system], abs=0.2)


def test_strengths_are_where_the_likelihood_is_flat() -> None:
    wins = np.random.default_rng(0).integers(0, 9, (5, 4, 4)).astype(float) * (1 - np.eye(4))
    strengths = compute_strengths(wins)
    chances = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None]))
    all_wins = wins + PRIOR * (1 - np.eye(4))
    expected = ((all_wins + all_wins.swapaxes(1, 2)) * chances).sum(axis=2)
    np.testing.assert_allclose(all_wins.sum(axis=2), expected, atol=1e-6)
    np.testing.assert_allclose(strengths.sum(axis=1), 0, atol=1e-9)


def test_a_system_that_never_lost_has_a_strength_and_a_note(ballot: VotePage) -> None:
    votes = cast_votes(np.random.default_rng(0), {("a", "b"): 1.0}, 20)
    assert find_separation(votes)
    assert fit_bradley_terry(votes)[0].strength == pytest.approx(math.log((20 + PRIOR) / PRIOR) / 2)
    (rate,) = compute_win_rates(votes)
    assert (rate.estimate.value, rate.estimate.high) == (1, 1)
    assert rate.estimate.low == pytest.approx(0.025 ** (1 / 20))  # Clopper and Pearson
    assert SEPARATED in count_votes(ballot.key, [write_voter(ballot, prefer(DIM))]).notes


def test_a_tie_is_half_a_win_each_way() -> None:
    votes = [Vote("v", f"u{number}", "a", "b", points) for number, points in enumerate([1.0, 0.5, 0.5, 0.0, 0.5])]
    (rate,) = compute_win_rates(votes)
    assert (rate.estimate.value, rate.votes, rate.ties) == (0.5, 5, 3)
    assert not find_separation(votes)


# --- a model votes ----------------------------------------------------------------------------------------------------


def measure(part: dict[str, Any]) -> float:
    """How light the picture of a request is; the ruined copy of an attention check is known by its noise."""
    pixels = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2]))), np.float64
    )
    return float(pixels.mean() - 10 * np.abs(np.diff(pixels, axis=1)).mean())


def answer_lighter(pictures: list[dict[str, Any]]) -> str:
    first, second = map(measure, pictures)
    return "FIRST" if first > second else "SECOND"


def vote(answer: Callable[[list[dict[str, Any]]], str], page: VotePage, **options: Any) -> Path:
    with serve_judge(answer) as url:
        return vote_by_model(page.path, find_chat_model("openai", url), **options)


def test_a_model_votes_and_is_counted_as_people_are(tmp_path: Path) -> None:
    page = make_ballot(tmp_path, UNITS, CHECKS)
    path = vote(answer_lighter, page)
    assert path.name.startswith(f"votes-{page.ballot}-")
    result = count_votes(page.key, [path, write_voter(page, prefer(DIM))])
    model, person = result.voters
    assert (model.is_model, model.votes, model.failed_checks, model.disagreements) == (True, UNITS, 0, 0)
    assert (person.is_model, result.order_bias, result.votes) == (False, 0.0, 2 * UNITS)
    assert result.win_rates[0].estimate.value == 0.5
    assert read_record(path, VoterFile).model == JUDGE
    assert to_plain(result)["strengths"][0]["estimate"]["units"] == UNITS


def test_a_model_sees_the_subject_that_people_see(tmp_path: Path) -> None:
    systems = draw_pictures(tmp_path, 2)
    references = {"unit-0": [tmp_path / f"{DIM}-1.png"] * 3}
    page = write_ballot(systems, {}, tmp_path / "vote.html", count=2, seed=0, checks=0, size=64, references=references)
    counts: list[int] = []

    def answer_lighter_of_two(pictures: list[dict[str, Any]]) -> str:
        counts.append(len(pictures))
        return answer_lighter(pictures[-2:])

    result = count_votes(page.key, [vote(answer_lighter_of_two, page)])
    assert sorted(counts) == [2, 2, 5, 5]
    assert result.win_rates[0].estimate.value == 1


def test_a_model_that_likes_one_side_has_ties_and_a_bias(tmp_path: Path) -> None:
    page = make_ballot(tmp_path, UNITS, checks=0)
    result = count_votes(page.key, [vote(lambda pictures: "FIRST", page)])
    assert (result.order_bias, result.ties, result.win_rates[0].estimate.value) == (1.0, UNITS, 0.5)


def test_a_model_goes_on_where_it_stopped(tmp_path: Path) -> None:
    page = make_ballot(tmp_path, UNITS, checks=0)
    asked: list[int] = []
    reports: list[str] = []

    def answer_some(pictures: list[dict[str, Any]]) -> str:
        asked.append(1)
        return "FIRST" if len(asked) <= 8 else "I see two pictures."

    path = vote(answer_some, page, on_report=reports.append)
    before = read_record(path, VoterFile).votes
    assert len(before) < UNITS
    assert len(reports) == 1
    asked.clear()

    def answer_all(pictures: list[dict[str, Any]]) -> str:
        asked.append(len(pictures))
        return "TIE"

    assert vote(answer_all, page) == path
    after = read_record(path, VoterFile).votes
    assert len(asked) == 2 * (UNITS - len(before))
    assert after[: len(before)] == before
    assert sorted(each.pair for each in after) == list(range(UNITS))


def test_a_local_model_that_babbles_has_no_votes(tmp_path: Path) -> None:
    page = make_ballot(tmp_path, 2, checks=0)
    with pytest.raises(BlendsetError, match="has voted on no pair"):
        vote_by_model(page.path, find_chat_model("hf", str(qwen_model(tmp_path / "model"))))


def test_what_is_no_page_is_an_error(tmp_path: Path) -> None:
    page = make_ballot(tmp_path, 2, checks=0)
    page.path.write_text("<html>", "utf-8")
    with pytest.raises(BlendsetError, match="is no page of a vote"):
        vote(answer_lighter, page)
