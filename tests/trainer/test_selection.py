# SPDX-License-Identifier: Apache-2.0
"""Selections keep what their rules say, give a reason for every other view, and come out the same again."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.commands.select import add_select
from blendset_trainer.cli.main import main
from blendset_trainer.cli.parser import Parser
from blendset_trainer.selection.apply_rules import ViewSelection, apply_rules, hash_columns
from blendset_trainer.selection.budgets import Allowance
from blendset_trainer.selection.columns import Vectors, read_unit_vectors
from blendset_trainer.selection.diversity import k_center, parallel_farthest_points
from blendset_trainer.selection.duplicates import find_duplicates
from blendset_trainer.selection.files import HELD_OUT, TRAIN
from blendset_trainer.selection.rules import (
    Rules,
    list_presets,
    load_preset,
    load_rules,
    replace_scorer,
    rules_from_dict,
    rules_to_toml,
)
from blendset_trainer.selection.select import select
from blendset_trainer.stages.farthest_points import POOL, RECENT
from tests.trainer.tiny_datasets import add_scene, add_view, make_dataset, thirty_views

AESTHETIC = "aesthetic-sa-0-4-vit-l-14-linear.score"
DINO = "dino-dinov2-with-registers-large"
VLM = "vlm-filter-qwen3-vl-8b-instruct"


def table(count: int, **columns: Any) -> pa.Table:
    """A table of views with these columns."""
    views: dict[str, Any] = {
        "view_id": [f"view-{number:05d}" for number in range(count)],
        "scene": ["room"] * count,
        "subject": [f"subject-{number}" for number in range(count)],
        "subject_label": ["thing"] * count,
        "view_set": [""] * count,
        "source": ["render"] * count,
    }
    return pa.table(views | columns)


def chosen(selection: ViewSelection) -> list[int]:
    return [int(name.removeprefix("view-")) for name in selection.chosen["view_id"].to_pylist()]


def reasons(selection: ViewSelection) -> dict[int, str]:
    rows = selection.drops.to_pylist()
    return {int(row["view_id"].removeprefix("view-")): row["reason"] for row in rows}


def by(values: dict[str, Any], views: pa.Table) -> ViewSelection:
    return apply_rules(views, rules_from_dict(values, "my.toml"))


def complaint(values: dict[str, Any], views: pa.Table | None = None) -> str:
    """The one sentence with which these rules are refused."""
    with pytest.raises(BlendsetError) as caught:
        by(values, table(2) if views is None else views)
    text = str(caught.value)
    assert text[-1] in ".?" and "\n" not in text
    return text


def unit(vectors: NDArray[Any]) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def embeddings(vectors: NDArray[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), vectors.shape[1])


# ---- published recipes -----------------------------------------------------------------------------------------------


def test_every_preset_is_sound_and_comes_back_from_its_own_toml(tmp_path: Path) -> None:
    assert list_presets() == [
        "blendfusion",
        "blendset",
        "bootstrap3d",
        "photos",
        "syncd",
        "synthvlm",
        "synthvlm-captions",
    ]
    for name in list_presets():
        written = tmp_path / "rules.toml"
        written.write_text(rules_to_toml(load_preset(name)), encoding="utf-8")
        assert load_rules(written) == load_preset(name)


def test_synthvlm_keeps_the_best_tenth_by_clip_and_half_ssim() -> None:
    """0.36 + 0.5 * 0.86 = 0.79, the published weighted score; a mean of both would put the second view first."""
    clip = [0.31, 0.36, 0.32, 0.34, -0.2] + [0.1] * 15
    ssim = [0.73, 0.86, 0.99, 0.91, 1.0] + [0.5] * 15
    views = table(20, **{"clip-synthvlm.similarity": clip, "ssim-roundtrip.ssim": ssim})
    selection = apply_rules(views, load_preset("synthvlm"))
    assert chosen(selection) == [2, 3]  # 0.815 and 0.795, then 0.79: the top 10 % of 20
    scores = dict(zip(selection.drops["view_id"].to_pylist(), selection.drops["figure"].to_pylist(), strict=True))
    assert scores["view-00001"] == pytest.approx(0.36 + 0.5 * 0.86)
    assert scores["view-00000"] == pytest.approx(0.675)
    assert scores["view-00004"] == pytest.approx(0.5)  # CLIPScore is never negative


def test_syncd_wants_pleasing_views_whose_set_agrees_and_is_no_copy() -> None:
    views = table(
        8,
        subject=["a", "a", "b", "b", "c", "c", "d", "d"],
        view_set=["a", "a", "b", "b", "c", "c", "d", "d"],
        **{
            AESTHETIC: pa.array([6.0, 6.1, 5.99, 7.0, 6.5, 6.5, 6.5, 6.5], pa.float32()),
            f"{DINO}.set_mean": pa.array([0.7, 0.7, 0.9, 0.9, 0.69, 0.69, 0.99, 0.99], pa.float32()),
            f"{DINO}.best_pair": pa.array([0.7, 0.7, 0.9, 0.9, 0.69, 0.69, None, None], pa.float32()),
        },
    )
    selection = apply_rules(views, load_preset("syncd"))
    assert chosen(selection) == [0, 1]
    assert reasons(selection) == {
        2: "not pleasing enough",
        3: "too little left of its view set",
        4: "views of its set do not agree",
        5: "views of its set do not agree",
        6: f"no {DINO}.best_pair",
        7: f"no {DINO}.best_pair",
    }


def test_bootstrap3d_keeps_scores_4_and_5_and_tells_where_synthetic_views_train() -> None:
    views = table(
        6,
        source=["render", "synthetic"] * 3,
        **{"vlm-quality-mv-llava-7b.score": pa.array([1, 3, 4, 5, None, 4], pa.int8())},
    )
    selection = apply_rules(views, load_preset("bootstrap3d"))
    assert chosen(selection) == [2, 3, 5]
    assert selection.chosen["noise_band"].to_pylist() == ["", "log_snr <= 0.647", "log_snr <= 0.647"]


def test_blendfusion_drops_beyond_its_published_limits_only() -> None:
    """One view on each limit, then one beyond each."""
    limits: dict[str, tuple[float, float]] = {
        "image-stats.subject_pixels": (1, 0),
        "image-stats.mean": (30.0, 29.9),
        "image-stats.variance": (300.0, 299.0),
        "image-stats.dark_fraction": (0.3, 0.31),
        f"{VLM}.good": (True, False),
        "clip-vit-l-14.similarity": (0.20, 0.19),
        "aesthetic-sac-logos-ava1-l14-linearmse.score": (3.0, 2.9),
    }
    columns = {
        name: [on_limit if place != row else beyond for row in range(-1, len(limits))]
        for place, (name, (on_limit, beyond)) in enumerate(limits.items())
    }
    vectors = np.eye(len(limits) + 1)
    views = table(len(limits) + 1, **columns, **{"dino-dinov2-base.embedding": embeddings(vectors)})
    selection = apply_rules(views, load_preset("blendfusion"))
    assert chosen(selection) == [0]
    assert list(reasons(selection).values()) == [
        rule.reason for rule in load_preset("blendfusion").keep
    ]  # each by its own rule
    assert selection.skipped == ()


@pytest.mark.parametrize("verdicts", [None, [True, False, None]])
def test_blendfusion_filters_by_a_vision_language_model_where_that_has_run(verdicts: list[bool | None] | None) -> None:
    views = table(
        3,
        **dict.fromkeys(("image-stats.subject_pixels", "image-stats.mean"), [90.0] * 3),
        **{"image-stats.variance": [900.0] * 3, "image-stats.dark_fraction": [0.0] * 3},
        **{"clip-vit-l-14.similarity": [0.3] * 3, "aesthetic-sac-logos-ava1-l14-linearmse.score": [5.0] * 3},
        **{"dino-dinov2-base.embedding": embeddings(np.eye(3))},
        **({f"{VLM}.good": verdicts} if verdicts else {}),
    )
    selection = apply_rules(views, load_preset("blendfusion"))
    assert sorted(chosen(selection)) == ([0, 2] if verdicts else [0, 1, 2])
    assert reasons(selection) == ({1: "hard to caption"} if verdicts else {})
    assert selection.skipped == (() if verdicts else (f"{VLM}.good",))
    assert hash_columns(views, load_preset("blendfusion")) != hash_columns(views, Rules())


def test_a_rule_without_its_stage_is_told_and_one_without_its_column_is_refused(tmp_path: Path) -> None:
    made = thirty_views(tmp_path / "data")
    rules = tmp_path / "rules.toml"
    rules.write_text('[[keep]]\ncolumn = "vlm-filter-x.good"\nat_least = 1\nmissing = "keep"\n', encoding="utf-8")
    report = select(made, rules=rules, name="all")
    assert report.selected == 30
    assert report.note == (
        "The rule over 'vlm-filter-x.good' was left out, for no view has that figure; "
        "run 'blendset score --with vlm-filter:MODEL' (here vlm-filter-x) to apply it."
    )
    assert "no view has" in complaint({"keep": [{"column": "widht", "at_least": 1, "missing": "keep"}]}).lower()


def test_parallel_farthest_points_are_what_the_definition_gives() -> None:
    """Against the obvious computation: sizes 3 : 1 : 1, each split's next point is the pool's farthest from its own."""
    points = unit(np.random.default_rng(3).standard_normal((900, 16)))
    chosen, sides = parallel_farthest_points(points, [450, 150, 150], Allowance(np.ones(900, dtype=bool)), seed=5)
    assert [sides.count(side) for side in range(3)] == [450, 150, 150]
    assert len(set(chosen)) == 750
    assert sides[:13] == [0, 1, 2, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0]
    distances = np.linalg.norm(points[:, None].astype(np.float64) - points[None], axis=2)
    assert chosen[1] == distances[chosen[0]].argmax()
    assert chosen[2] == distances[chosen[:2]].min(axis=0).argmax()
    for place in range(3, 750):
        own = [row for row, side in zip(chosen[:place], sides, strict=False) if side == sides[place]]
        pool = np.setdiff1d(np.arange(900), chosen[:place])
        reach = distances[own][:, pool].min(axis=0)
        assert distances[own, chosen[place]].min() == pytest.approx(reach.max(), abs=1e-5)
    assert parallel_farthest_points(points, [450, 150, 150], Allowance(np.ones(900, dtype=bool)), seed=5)[0] == chosen


def test_blendsets_own_needs_no_model() -> None:
    figures = {"mean": 120.0, "dark_fraction": 0.0, "clipped_fraction": 0.0, "magenta": 0.0, "fireflies": 0.0}
    stats = {f"image-stats.{name}": [value] * 5 for name, value in figures.items()}
    stats["image-stats.mean"][0] = 29.0
    hashes = ["0" * 16, "ff00ff00ff00ff00", "ff00ff00ff00ff01", "0f0f0f0f0f0f0f0f", "3333333333333333"]
    views = table(5, **stats, **{"image-stats.sharpness": [9.0, 1, 2, 3, 4], "phash.hash": hashes})
    selection = apply_rules(views, load_preset("blendset"))
    assert chosen(selection) == [4, 3, 2]
    assert reasons(selection) == {0: "too dark", 1: "duplicate"}
    assert selection.chosen["split"].to_pylist().count(HELD_OUT) == 1


# ---- diversity -------------------------------------------------------------------------------------------------------


def greedy(points: Vectors, quality: NDArray[np.float64], count: int) -> list[int]:
    """k-center the obvious way."""
    rows, cosine = [int(quality.argmax())], np.full(len(points), -1.0, dtype=np.float32)
    while len(rows) < count:
        cosine = np.maximum(cosine, points @ points[rows[-1]])
        worth = np.sqrt(np.maximum(2 - 2 * cosine, 0)) * quality
        worth[rows] = -1
        rows.append(int(worth.argmax()))
    return rows


def test_k_center_from_a_pool_is_the_greedy_one() -> None:
    random = np.random.default_rng(1)
    centres = random.standard_normal((60, 16))
    points = unit(centres[random.integers(0, 60, 4 * POOL)] + 0.3 * random.standard_normal((4 * POOL, 16)))
    quality = random.random(len(points))
    rows = k_center(points, quality, Allowance(np.ones(len(points), dtype=bool)), 2 * RECENT)
    assert rows == greedy(points, quality, 2 * RECENT)


def test_k_center_ends_among_copies() -> None:
    points = np.repeat(unit(np.eye(2)), 2 * POOL, axis=0)
    rows = k_center(points, np.ones(len(points)), Allowance(np.ones(len(points), dtype=bool)), 5)
    assert len(set(rows)) == 5
    assert {row >= 2 * POOL for row in rows[:2]} == {True, False}


def test_quality_keeps_outliers_at_bay() -> None:
    vectors = np.array([[1, 0, 0], [0.9, 0.4, 0], [0, 1, 0], [0, 0, -1.0]])
    views = table(4, sharp=[4.0, 3.0, 2.0, 1.0], **{"clip.embedding": embeddings(vectors)})
    rules = {"views": 2, "ranking": {"terms": [{"column": "sharp"}]}, "diversity": {"column": "clip.embedding"}}
    assert chosen(by(rules, views)) == [0, 2]  # as far as the outlier, and better
    assert reasons(by(rules, views)) == {1: "less different", 3: "less different"}


# ---- rules -----------------------------------------------------------------------------------------------------------


def test_each_view_is_chosen_or_has_the_first_reason_that_holds() -> None:
    views = table(4, bright=[10.0, 200.0, None, float("nan")], kind=["a", "b", "a", "a"])
    rules = {"keep": [{"column": "kind", "one_of": ["a"]}, {"column": "bright", "at_least": 30}]}
    selection = by(rules, views)
    assert chosen(selection) == []
    assert reasons(selection) == {0: "bright below 30", 1: "kind is another", 2: "no bright", 3: "no bright"}
    assert selection.drops["figure"].to_pylist() == [10.0, None, None, None]
    assert selection.reasons == {"kind is another": 1, "no bright": 2, "bright below 30": 1}
    kept = by({"keep": [{"column": "bright", "at_least": 30, "missing": "keep"}]}, views)
    assert chosen(kept) == [1, 2, 3]


def test_a_noise_band_is_earned_by_a_figure() -> None:
    views = table(5, source=["synthetic"] * 4 + ["render"], **{"consistency.delta_e": [2.0, 6.0, 30.0, None, 2.0]})
    earned = [
        {"column": "consistency.delta_e", "at_most": 3.0, "noise_band": ""},
        {"column": "consistency.delta_e", "at_most": 8.0, "noise_band": "log_snr <= 2"},
    ]
    selection = by({"sources": {"synthetic": {"noise_band": "log_snr <= 0.647", "earned": earned}}}, views)
    assert selection.chosen["noise_band"].to_pylist() == [
        "", "log_snr <= 2", "log_snr <= 0.647", "log_snr <= 0.647", "",
    ]  # fmt: skip


def test_budgets_hold_for_scenes_subjects_and_labels() -> None:
    views = table(
        6,
        scene=["a", "a", "a", "b", "b", "b"],
        subject=["lamp", "lamp", "chair", "lamp", "lamp", "sofa"],
        subject_label=["lamp", "lamp", "chair", "lamp", "lamp", "sofa"],
        sharp=[6.0, 5, 4, 3, 2, 1],
    )
    ranking = {"terms": [{"column": "sharp"}]}
    assert chosen(by({"ranking": ranking, "budgets": {"subject": 1}}, views)) == [0, 2, 3, 5]
    assert chosen(by({"ranking": ranking, "budgets": {"label": 1}}, views)) == [0, 2, 5]
    in_sets = views.set_column(4, "view_set", [["", "x", "x", "x", "", "x"]])
    best = by({"ranking": ranking, "budgets": {"view_set": 1}}, in_sets)
    assert chosen(best) == [0, 1, 3, 4]  # x is a set in each scene
    assert reasons(best) == {2: "enough of its view set", 5: "enough of its view set"}
    selection = by({"ranking": ranking, "budgets": {"scene": 2}, "views": 3}, views)
    assert chosen(selection) == [0, 1, 3]
    assert reasons(selection) == {2: "enough of its scene", 4: "ranked lower", 5: "ranked lower"}


def test_standardised_terms_weigh_alike_whatever_their_scale() -> None:
    views = table(3, small=[0.1, 0.2, 0.3], large=[3000.0, 2000.0, 4000.0])
    terms = [{"column": "small", "weight": 2.0}, {"column": "large"}]
    assert chosen(by({"ranking": {"terms": terms}}, views)) == [2, 0, 1]
    assert chosen(by({"ranking": {"terms": terms, "standardise": True}}, views)) == [2, 1, 0]


# ---- duplicates ------------------------------------------------------------------------------------------------------


def test_duplicates_go_across_scenes_and_subjects_but_not_within_a_view_set() -> None:
    hashes = ["00000000000000ff", "00000000000000fe", "ffffffff00000000", "ffffffff00000003", "ffffffff0000000f", None]
    views = table(
        6,
        scene=["a", "b", "a", "a", "a", "a"],
        subject=["x", "y", "z", "z", "x", "x"],
        view_set=["", "", "orbit", "orbit", "", ""],
        sharp=[1.0, 2, 3, 4, 5, 6],
        **{"phash.hash": hashes},
    )
    rules = {"ranking": {"terms": [{"column": "sharp"}]}, "duplicates": [{"column": "phash.hash", "bits": 2}]}
    selection = by(rules, views)
    assert chosen(selection) == [5, 4, 2, 1]  # 3 looks like the better 4; 2 does not, and may look like its set
    twins = {row["view_id"]: row["duplicate_of"] for row in selection.drops.to_pylist()}
    assert twins == {"view-00000": "view-00001", "view-00003": "view-00004"}


@pytest.mark.parametrize("bits", [0, 3, 6])
def test_hashes_are_compared_bit_by_bit(bits: int) -> None:
    random = np.random.default_rng(2)
    hashes = [int(base) ^ sum(1 << int(bit) for bit in random.permutation(64)[:3]) for base in
              np.repeat(random.integers(0, 2**62, 300), 2)]  # fmt: skip
    views = table(600, **{"phash.hash": [f"{each:016x}" for each in hashes]})
    original = find_duplicates(read_unit_vectors(views, "phash.hash"), np.arange(600), 1 - (2 * bits + 1) / 64)
    kept: list[int] = []
    for row, value in enumerate(hashes):
        like = [other for other in kept if (hashes[other] ^ value).bit_count() <= bits]
        assert original[row] in like if like else original[row] == -1
        kept += [] if like else [row]


# ---- splits ----------------------------------------------------------------------------------------------------------


def test_no_subject_set_or_likeness_is_on_both_sides() -> None:
    random = np.random.default_rng(4)
    subject = random.integers(0, 60, 400)
    vectors = unit(random.standard_normal((400, 32)))
    vectors[1] = vectors[0]  # the same picture under two subjects
    views = table(400, subject=[f"s{each}" for each in subject], **{"dino.embedding": embeddings(vectors)})
    rules = {"splits": {"held_out": 0.2, "column": "dino.embedding", "apart": 0.3}}
    selection = by(rules, views)
    sides = np.array(selection.chosen["split"].to_pylist())
    assert set(sides) == {TRAIN, HELD_OUT}
    assert 60 <= (sides == HELD_OUT).sum() <= 100
    assert not set(subject[sides == TRAIN]) & set(subject[sides == HELD_OUT])
    assert (vectors[sides == TRAIN] @ vectors[sides == HELD_OUT].T).max() < 0.7
    assert by(rules, views).chosen.equals(selection.chosen)
    assert by(rules | {"seed": 1}, views).chosen["split"] != selection.chosen["split"]


def test_a_view_keeps_its_side_as_others_go() -> None:
    rules = {"splits": {"held_out": 0.3}}
    views = table(200)
    sides = [dict(zip(each["view_id"].to_pylist(), each["split"].to_pylist(), strict=True)) for each in
             (by(rules, views).chosen, by(rules, views.slice(0, 190)).chosen)]  # fmt: skip
    changed = [name for name, side in sides[1].items() if sides[0][name] != side]
    assert len(changed) <= 10


def test_what_hangs_together_cannot_be_split() -> None:
    assert "splits.by" in complaint({"splits": {"by": "scene"}}, table(3))


# ---- what cannot be meant --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({"kep": []}, "'keep'"),
        ({"keep": [{"colunm": "x"}]}, "'column'"),
        ({"keep": [{"at_least": 1}]}, "lacks the option 'column'"),
        ({"keep": {"column": "x"}}, "[[keep]]"),
        ({"keep": [{"column": "sharp"}]}, "no bound"),
        ({"keep": [{"column": "sharp", "at_least": "much"}]}, "a number"),
        ({"keep": [{"column": "subjet", "one_of": ["x"]}]}, "'subject'"),
        ({"keep": [{"column": "subject", "at_least": 1}]}, "no numbers"),
        ({"keep": [{"column": "image-stats.mean", "at_least": 1}]}, "run 'blendset score --with image-stats'"),
        ({"keep": [{"column": "clip-b-32.similarity", "at_least": 1}]}, "score --with clip:MODEL' (here clip-b-32)"),
        ({"keep": [{"column": "metadata.grounded_share", "at_least": 1}]}, "run 'blendset caption --with metadata'"),
        ({"duplicates": [{"column": "phash.hash"}]}, "bits or cosine"),
        ({"duplicates": [{"column": "subject", "bits": 3}]}, "no hashes"),
        ({"diversity": {"column": "view_id", "method": "kcenter"}}, "'k-center'"),
        ({"sources": {"render": {"wieght": 2}}}, "'weight'"),
        ({"diversity": {"column": "x", "method": "parallel-fps", "parts": [2, 1]}, "splits": {}}, "diversity.parts"),
        ({"diversity": {"column": "x", "method": "parallel-fps", "parts": [2, 0]}}, "parts"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_its_cure(rules: dict[str, Any], named: str) -> None:
    assert named in complaint(rules)


def test_a_threshold_belongs_to_its_scorer() -> None:
    rule = {"column": "clip-vit-l-14.similarity", "at_least": 0.28, "scorer": "clip-vit-b-32"}
    views = table(2, **{"clip-vit-l-14.similarity": [0.2, 0.3]})
    assert "clip-vit-b-32" in complaint({"keep": [rule]}, views)
    assert chosen(by({"keep": [rule], "other_scorers": True}, views)) == [1]
    published = rules_from_dict({"keep": [rule | {"column": "clip-vit-b-32.similarity"}]}, "my.toml")
    with pytest.raises(BlendsetError, match="--scorer clip-vit-b-32=clip-vit-l-14"):
        apply_rules(views, published)
    assert chosen(apply_rules(views, replace_scorer(published, "clip-vit-b-32", "clip-vit-l-14"))) == [1]
    with pytest.raises(BlendsetError, match="clip-vit-b-32"):
        replace_scorer(published, "clip-vit-b-23", "clip-vit-l-14")


# ---- the command -----------------------------------------------------------------------------------------------------


def run(*words: object) -> int:
    parser = Parser(prog="blendset")
    add_select(parser.add_subparsers(required=True))
    arguments: argparse.Namespace = parser.parse_args(["select", *map(str, words)])
    return int(arguments.run(arguments))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    dataset = make_dataset(tmp_path / "data")
    for number in range(12):
        add_view(dataset, "attic", f"subject-{number % 4}", number, subject_share=0.05 * number)
    dataset.rebuild_index()
    return dataset


def test_a_selection_is_a_list_beside_the_views_and_can_be_made_again(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[keep]]\ncolumn = "subject_share"\nat_least = 0.2\nreason = "small"\n[splits]\nheld_out = 0.3\n'
        '[sources.render]\nweight = 0.5\nnoise_band = "log_snr <= 2"\n',
        encoding="utf-8",
    )
    views = len(list(dataset.views()))
    assert run(dataset.root, "--rules", rules, "--name", "large", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["views"], told["selected"], told["drops"]) == (12, 8, [{"reason": "small", "views": 4}])
    first = dataset.root / "selections" / "large.parquet"
    table = pq.read_table(first)
    assert table.column_names == ["view_id", "weight", "source", "noise_band", "split"]
    assert set(table["weight"].to_pylist()) == {0.5}
    drops = pq.read_table(first.with_suffix(".drops.parquet"))
    assert {*table["view_id"].to_pylist(), *drops["view_id"].to_pylist()} == {each.view_id for each in dataset.views()}
    assert len(list(dataset.views())) == views
    assert run(dataset.root, "--rules", first, "--name", "again") == 0
    assert first.with_name("again.parquet").read_bytes() == first.read_bytes()
    assert run(dataset.root, "--rules", rules, "--name", "large") == 0
    assert "selected" in capsys.readouterr().out


def test_a_preset_takes_a_dataset_of_one_subject_and_says_that_nothing_is_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(tmp_path / "data")
    add_scene(dataset, "attic")
    for number in range(4):
        add_view(dataset, "attic", "lamp", number)
    dataset.rebuild_index()
    assert main(["score", str(dataset.root), "--with", "image-stats,phash"]) == 0
    assert run(dataset.root, "--preset", "blendset", "--name", "one") == 0
    assert "No view is held out: all views hang together" in capsys.readouterr().out
    chosen = pq.read_table(dataset.root / "selections" / "one.parquet")
    assert set(chosen["split"].to_pylist()) == {TRAIN}
    assert run(dataset.root, "--rules", dataset.root / "selections" / "one.parquet", "--name", "again") == 0
    rules = tmp_path / "rules.toml"
    rules.write_text("[splits]\n", encoding="utf-8")
    with pytest.raises(BlendsetError, match="Nothing can be held out"):
        run(dataset.root, "--rules", rules, "--name", "own")


def test_another_selection_of_that_name_is_not_overwritten(dataset: Dataset, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("views = 5\n", encoding="utf-8")
    assert run(dataset.root, "--rules", rules, "--name", "few") == 0
    before = (dataset.root / "selections" / "few.parquet").read_bytes()
    with pytest.raises(BlendsetError, match="another selection"):
        run(dataset.root, "--rules", rules, "--name", "few", "--top", "3")
    assert (dataset.root / "selections" / "few.parquet").read_bytes() == before
    with pytest.raises(BlendsetError, match=r"none.parquet cannot be read \(No such file or directory\); give"):
        run(dataset.root, "--rules", dataset.root / "selections" / "none.parquet", "--name", "few")
    with pytest.raises(BlendsetError, match="trainx"):
        run(dataset.root, "--rules", rules, "--name", "train")


def test_the_funnel_goes_on_from_the_cameras(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"accepted": not reason, "reason": reason}) for reason in ("", "inside solid", "inside solid")]
    dataset.funnel_path("run").parent.mkdir()
    dataset.funnel_path("run").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rules = dataset.root.parent / "rules.toml"
    rules.write_text("views = 5\n", encoding="utf-8")
    run(dataset.root, "--rules", rules, "--name", "few")
    rows = [line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[-1:].isdigit()]
    assert [(what.strip(), int(count)) for what, count in rows] == [
        ("candidates", 3), ("inside solid", -2), ("accepted cameras", 1), ("views", 12), ("ranked lower", -7),
        ("selected", 5),
    ]  # fmt: skip


def test_reading_a_selection_imports_neither_a_command_nor_an_executor() -> None:
    heavy = "cli", "stages.executors", "stages.run", "scoring", "captioning", "synthesis", "training"
    program = (
        "import sys; from blendset_trainer.selection.files import read_chosen; "
        f"rooms = tuple('blendset_trainer.' + room for room in {heavy}); "
        "libraries = {'argparse', 'ray', 'rich', 'torch'} & set(sys.modules); "
        "print([name for name in sys.modules if name.startswith(rooms)], libraries)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[] set()\n"
