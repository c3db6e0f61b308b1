# SPDX-License-Identifier: Apache-2.0
"""From a text file to a plan of training, as SynthVLM, Bootstrap3D and SynCD go: killed twice, with the same bytes.

tests/long/test_long_chains.py kills every step.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from blendset.dataset import Dataset
from blendset.verification import verify_dataset
from blendset_trainer.selection.files import read_chosen, read_drops
from blendset_trainer.stages.tables import read_index, read_index_with_stages
from tests.trainer import chains
from tests.trainer.chains import Chain, Runner


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    chains.make_models(folder)
    return folder


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


@pytest.fixture(scope="module")
def judge() -> Iterator[str]:
    with chains.judging() as url:
        yield url


def run_killed_and_whole(chain: Chain, folder: Path, models: Path, runner: Runner) -> Path:
    """Run a chain to its end, and again with two deaths; returns the folder of the first."""
    whole, killed = (chains.prepare(chain, folder / name / "work", models) for name in ("whole", "killed"))
    total = runner.run(chain, whole)[-1]
    first, second = chains.spread(total, 2)
    runner.run(chain, killed, kill_at=first)
    runner.run(chain, killed, kill_at=(second - first) // 2)
    runner.run(chain, killed)
    expected, found = chains.read_results(whole), chains.read_results(killed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if expected[name] != found[name]] == []
    return whole


def test_synthvlm_from_a_text_file_to_a_plan(models: Path, runner: Runner, tmp_path: Path) -> None:
    whole = run_killed_and_whole(chains.synthvlm(), tmp_path, models, runner)
    data = Dataset(whole / "data")
    assert verify_dataset(data).problems == ()
    assert read_index(data).num_rows == 2 * len(chains.TEXTS)
    best = read_chosen(data, "best")
    views = {row["view_id"]: row for row in read_index_with_stages(data).to_pylist()}
    assert len({views[name]["view_set"] for name in best["view_id"].to_pylist()}) == best.num_rows == len(chains.TEXTS)
    rating = {name: row["clip-clip.similarity"] + 0.5 * row["ssim-roundtrip.ssim"] for name, row in views.items()}
    for name in best["view_id"].to_pylist():
        twins = [other for other, row in views.items() if row["view_set"] == views[name]["view_set"]]
        assert rating[name] == max(rating[twin] for twin in twins), "the best of n"
    assert read_chosen(data, "chosen").num_rows == round(0.1 * 2 * len(chains.TEXTS)), "a tenth"
    assert len(list((data.root / "searches").iterdir())) == 1
    assert list((whole / "run").iterdir())


def test_bootstrap3d_from_a_text_file_to_a_plan(models: Path, judge: str, runner: Runner, tmp_path: Path) -> None:
    whole = run_killed_and_whole(chains.bootstrap3d(judge), tmp_path, models, runner)
    data = Dataset(whole / "data")
    assert verify_dataset(data).problems == ()
    views = {row["view_id"]: row for row in read_index_with_stages(data).to_pylist()}
    sizes = Counter(row["view_set"] for row in views.values())
    assert sorted(sizes.values()) == [1] * len(chains.TEXTS) + [4] * len(chains.TEXTS)
    quality = "vlm-quality-mv-llava-7b.score"
    chosen, drops = read_chosen(data, "good"), read_drops(data, "good")
    assert {*chosen["view_id"].to_pylist()} == {name for name, row in views.items() if row[quality] >= 4}
    assert {*chosen["noise_band"].to_pylist()} == {"log_snr <= 0.647"}
    assert {*drops["reason"].to_pylist()} == {"quality below 4"}
    for name in sizes:
        assert len({row["openai-mv-llava-7b.dense"] for row in views.values() if row["view_set"] == name}) == 1


def test_syncd_makes_rigid_and_deformable_groups(models: Path, runner: Runner, tmp_path: Path) -> None:
    whole = run_killed_and_whole(chains.syncd(), tmp_path, models, runner)
    for name, category in (("rigid", "rigid"), ("groups", "deformable")):
        [metadata] = (whole / name).rglob("metadata.json")
        groups = json.loads(metadata.read_text())
        assert [len(group["filenames"]) for group in groups] == [3, 3] + [3] * (name == "rigid")
        assert category in json.dumps(groups)
