# SPDX-License-Identifier: Apache-2.0
"""`blendset evaluate`: right figures over the right units, and one sentence for what cannot be judged."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from blendset.dataset import Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.records import read_json, write_json
from blendset_trainer.cli.main import main
from blendset_trainer.evaluation.evaluate import evaluate
from blendset_trainer.evaluation.lineage import read_model_lineage
from blendset_trainer.evaluation.measurement import Measurement
from blendset_trainer.evaluation.metrics import Metric
from blendset_trainer.evaluation.records import Evaluation, Score, list_evaluations
from blendset_trainer.evaluation.references import average_references
from blendset_trainer.evaluation.summary import list_combined_metrics
from blendset_trainer.models.clip import ClipModel, find_clip
from blendset_trainer.selection.select import select
from blendset_trainer.training_runs import LINEAGE, LineageRecord, TrainedSource
from tests.trainer import tiny_models
from tests.trainer.tiny_datasets import add_picture, add_scene, add_view, make_dataset

Capture = pytest.CaptureFixture[str]
COUNT = 24


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> tiny_models.Make:
    return tiny_models.maker(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def clip(make: tiny_models.Make) -> str:
    return f"clip:{make('open_clip')}"


def write_pictures(folder: Path, seed: int, count: int = COUNT, captions: bool = True) -> Path:
    """A folder of noisy pictures, each with a caption of its own beside it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = 60 * rng.random((40, 40, 3)) + np.array([5 * number, 100, 50 + 20 * seed])
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
        if captions:
            (folder / f"{number:03d}.txt").write_text(f"chair number {number}", encoding="utf-8")
    return folder


def find(evaluation: Evaluation, name: str) -> Score:
    return next(score for score in evaluation.scores if score.name.endswith(name))


def names(evaluation: Evaluation) -> set[str]:
    return {score.name.partition(".")[2] for score in evaluation.scores}


# --- the right figures ------------------------------------------------------------------------------------------------


def test_figures_of_a_folder_are_those_of_its_pictures(tmp_path: Path, clip: str, make: tiny_models.Make) -> None:
    source = write_pictures(tmp_path / "photos", 0)
    result = evaluate(source, scorers=[clip, "image-stats", "phash"], out=tmp_path / "set")
    pictures = [np.asarray(Image.open(path)) for path in sorted(source.glob("*.png"))]
    model = ClipModel(find_clip(str(make("open_clip"))))
    images = model.encode_pictures(pictures).numpy()
    texts = model.encode_texts([f"chair number {number}" for number in range(COUNT)]).numpy()
    cosines = images @ texts.T
    similarity = find(result, ".similarity")
    assert similarity.estimate.value == pytest.approx(np.diag(cosines).mean(), rel=1e-5)
    assert similarity.estimate.low < similarity.estimate.value < similarity.estimate.high
    assert (similarity.pictures, similarity.estimate.units, similarity.better) == (COUNT, COUNT, "higher")
    expected = np.mean(np.diag(cosines) >= cosines.max(axis=1))
    assert find(result, ".retrieval").estimate.value == pytest.approx(expected)
    greys = [np.asarray(Image.open(path).convert("L"), float).mean() for path in sorted(source.glob("*.png"))]
    assert find(result, "image-stats.mean").estimate.value == pytest.approx(np.mean(greys), abs=0.6)
    assert find(result, "records.duplicates").estimate.value == 0
    assert (result.unit, result.units, result.pictures) == ("picture", COUNT, COUNT)
    assert list_evaluations(tmp_path / "set") == [result]


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(tmp_path: Path, clip: str) -> None:
    source = write_pictures(tmp_path / "photos", 0)
    evaluate(source, scorers=[clip], out=tmp_path / "set")
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()}
    steps: list[tuple[str, int, int]] = []
    evaluate(source, scorers=[clip], out=tmp_path / "set", on_progress=lambda *step: steps.append(step))
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*") if path.is_file()} == before
    assert {total for _, _, total in steps} == {0}


def test_pictures_of_one_prompt_are_one_unit(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "drawn", 0, captions=False)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a chair\n\na table\na lamp\n", encoding="utf-8")
    result = evaluate(source, prompts=prompts, out=tmp_path / "set")
    assert (result.unit, result.units) == ("prompt", 3)
    means = [np.mean([np.asarray(Image.open(source / f"{row:03d}.png").convert("L"), float).mean()
                      for row in range(8 * number, 8 * number + 8)]) for number in range(3)]  # fmt: skip
    assert find(result, "image-stats.mean").estimate.value == pytest.approx(np.mean(means), abs=0.6)
    assert find(result, "image-stats.mean").estimate.units == 3
    prompts.write_text("a chair\na table\na lamp\na door\na rug\n", encoding="utf-8")
    with pytest.raises(BlendsetError, match="holds 5 prompts for 24 pictures"):
        evaluate(source, prompts=prompts, out=tmp_path / "other")


def test_what_sample_wrote_has_its_prompts(tmp_path: Path, clip: str) -> None:
    source = write_pictures(tmp_path / "samples", 0, count=6, captions=False)
    Image.new("RGB", (8, 8)).save(source / "grid.png")
    pictures = [{"file": f"{number:03d}.png", "prompt": f"thing {number // 2}", "seed": 0} for number in range(6)]
    write_json(source / "samples.json", {"model": "somebody/model", "lora": None, "pictures": pictures})
    result = evaluate(source, scorers=[clip], out=tmp_path / "set")
    assert (result.unit, result.units, result.pictures) == ("prompt", 3, 6)


def test_renders_are_judged_by_subject_and_by_what_they_cover(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "set")
    add_scene(dataset, "attic")
    for number in range(12):
        subject = "lamp" if number < 6 else "door"
        add_view(dataset, "attic", subject, number, azimuth_deg=30.0 * number, elevation_deg=5.0, lighting="scene")
    dataset.rebuild_index()
    result = evaluate(dataset.root)
    assert (result.unit, result.units) == ("subject", 2)
    assert find(result, "records.labels").estimate.value == pytest.approx(2)
    assert find(result, "records.directions").estimate.value == pytest.approx(12 / 72)


def test_distances_are_to_the_trusted_pictures(tmp_path: Path, clip: str) -> None:
    source, near, far = (write_pictures(tmp_path / name, seed) for name, seed in (("one", 0), ("near", 1), ("far", 8)))
    results = [evaluate(source, scorers=[clip], against=against, out=tmp_path / "set") for against in (near, far)]
    assert {"mmd2", "kid", "cmmd", "precision", "recall", "density", "coverage", "vendi"} <= names(results[0])
    assert "frechet" not in names(results[0])  # which needs 2,000 pictures
    assert find(results[0], ".mmd2").estimate.high < find(results[1], ".mmd2").estimate.low
    assert (results[0].against, results[0].against_pictures) == ("near", COUNT)


def test_saved_features_stand_for_trusted_pictures(tmp_path: Path, clip: str) -> None:
    source, other = write_pictures(tmp_path / "one", 0), write_pictures(tmp_path / "two", 3)
    file = tmp_path / "two.npz"
    evaluate(other, scorers=[clip], save=file)
    direct = evaluate(source, scorers=[clip], against=other, out=tmp_path / "set")
    saved = evaluate(source, scorers=[clip], against=file, out=tmp_path / "set")
    for score, again in zip(direct.scores, saved.scores, strict=True):
        assert again.estimate.value == pytest.approx(score.estimate.value, rel=1e-5, abs=1e-9)


def test_identity_is_the_mean_cosine_to_the_references_of_the_subject() -> None:
    cosines = np.array([[0.9, 0.7, 0.1], [0.2, np.nan, 0.6]])
    subjects, known = np.array(["dog", "cat"]), np.array(["dog", "dog", "cat"])
    assert average_references(cosines, subjects, known).tolist() == pytest.approx([0.8, 0.6])
    assert average_references(cosines, np.array(["", ""]), np.array(["dog"] * 3)).tolist() == pytest.approx(
        [1.7 / 3, 0.4]
    )
    assert np.isnan(average_references(cosines, np.array(["hat", "cat"]), known)[0])


def test_geometric_score_is_the_root_of_the_product_of_means() -> None:
    """SynCD's table: TIFA .774 and M-DINO .786 make .780 (arXiv 2502.01720)."""
    values = {
        Metric("tifa-x", "score"): np.array([0.674, 0.874, math.nan]),
        Metric("masked-dino-x", "references"): np.array([0.786, 0.786, 0.786]),
    }
    measured = Measurement("m", Dataset.__new__(Dataset), pa.table({"view_id": list("abc")}), "picture",
                           np.array(list("abc")), values)  # fmt: skip
    [combined] = list_combined_metrics(measured)
    assert combined.compute(np.ones(3, bool)) == pytest.approx(0.780, abs=5e-4)


def test_identity_is_measured_by_exact_masks(tmp_path: Path, make: tiny_models.Make) -> None:
    dataset = make_dataset(tmp_path / "set")
    add_scene(dataset, "attic")
    rng = np.random.default_rng(0)
    for number in range(8):
        ids = np.zeros((48, 48), np.uint32)
        ids[10:40, 12:36] = 1
        subject, pixels = "lamp" if number < 4 else "door", rng.integers(0, 255, (48, 48, 3), np.uint8)
        add_picture(dataset, "attic", subject, number, pixels, ids, subject_objects=(1,))
    dataset.rebuild_index()
    scorer = f"masked-dino:{make('dino')}"
    result = evaluate(dataset.root, scorers=[scorer], references=dataset.root)
    assert 0 < find(result, ".references").estimate.value <= 1
    assert find(result, ".references").pictures == 8
    with pytest.raises(SettingsError, match="add masked-dino:MODEL"):
        evaluate(dataset.root, references=dataset.root)


# --- who selected ----------------------------------------------------------------------------------------------------


@pytest.fixture
def chosen(tmp_path: Path, clip: str) -> Dataset:
    """A dataset whose selection "best" ranks by CLIP."""
    source = write_pictures(tmp_path / "photos", 0)
    evaluate(source, scorers=[clip], out=tmp_path / "set")
    rules = tmp_path / "rules.toml"
    rules.write_text('views = 12\n[[ranking.terms]]\ncolumn = "clip-open-clip.similarity"\n', encoding="utf-8")
    select(tmp_path / "set", rules=rules, name="best")
    return Dataset(tmp_path / "set")


def test_the_scorer_that_selected_is_marked_and_never_judges_alone(chosen: Dataset, clip: str) -> None:
    with pytest.raises(BlendsetError, match=r"Only clip-open-clip would judge here, which selected the data.*best"):
        evaluate(chosen.root, scorers=[clip], selection="best")
    result = evaluate(chosen.root, scorers=[clip, "image-stats"], selection="best")
    assert result.pictures == 12
    assert {score.scorer for score in result.scores if score.selected} == {"clip-open-clip"}
    assert not any(score.selected for score in evaluate(chosen.root, scorers=[clip]).scores)


def test_the_lineage_of_a_model_knows_what_selected_its_data_and_that_of_its_base(tmp_path: Path) -> None:
    rules = '[[ranking.terms]]\ncolumn = "{}.score"\n'
    records = [
        LineageRecord(base_model="", sources=(TrainedSource(name="render", kind="render", dataset="d", selection="s",
                      rules=rules.format(scorer)),)) for scorer in ("aesthetic-head", "preference-pick")
    ]  # fmt: skip
    (tmp_path / "model").mkdir()
    write_json(tmp_path / "model" / LINEAGE, LineageRecord(base_model="b", sources=records[0].sources, base=records[1]))
    assert read_model_lineage(tmp_path / "model").selected_by == {"aesthetic-head", "preference-pick"}
    assert read_model_lineage("somebody/model").selected_by == frozenset()


# --- what cannot be judged -------------------------------------------------------------------------------------------


def test_what_cannot_be_measured_gets_one_sentence(tmp_path: Path, clip: str) -> None:
    one = write_pictures(tmp_path / "one", 0, count=1)
    with pytest.raises(BlendsetError, match="one has 1 picture to measure, and needs at least two; give more pictures"):
        evaluate(one)
    same = tmp_path / "same"
    same.mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (9, 9, 9)).save(same / f"{number}.png")
    with pytest.raises(BlendsetError, match="All 3 pictures of same are the same file"):
        evaluate(same)
    many = write_pictures(tmp_path / "many", 0)
    with pytest.raises(BlendsetError, match="24 of the 24 pictures of many are among the trusted ones of many, too"):
        evaluate(many, scorers=[clip], against=many)
    with pytest.raises(SettingsError, match="--against needs a scorer with an embedding"):
        evaluate(many, against=one)
    with pytest.raises(SettingsError, match="'train' cannot name an evaluation"):
        evaluate(many, name="train")


def test_prompts_that_are_trusted_captions_are_said(tmp_path: Path, clip: str) -> None:
    result = evaluate(write_pictures(tmp_path / "a", 0), scorers=[clip], against=write_pictures(tmp_path / "b", 3))
    assert any("24 of 24 prompts of a are captions of b, such as 'chair number 0'" in note for note in result.notes)


def test_features_that_are_not_numbers_or_by_other_weights_are_refused(
    tmp_path: Path, clip: str, make: tiny_models.Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, file = write_pictures(tmp_path / "one", 0), tmp_path / "features.npz"
    evaluate(write_pictures(tmp_path / "two", 3), scorers=[clip], save=file)
    arrays = dict(np.load(file))
    arrays["revisions"] = np.array(["clip-open-clip\nanother"])
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(BlendsetError, match="by revision another of its weights, and yours are by"):
        evaluate(source, scorers=[clip], against=tmp_path / "other.npz")
    (tmp_path / "broken.npz").write_bytes(file.read_bytes()[:100])
    with pytest.raises(BlendsetError, match=r"broken\.npz cannot be read \(it is no \.npz file\)"):
        evaluate(source, scorers=[clip], against=tmp_path / "broken.npz")
    encode = ClipModel.encode_pictures
    monkeypatch.setattr(ClipModel, "encode_pictures", lambda self, pictures: encode(self, pictures) * math.nan)
    with pytest.raises(BlendsetError, match="features that are not finite"):
        evaluate(write_pictures(tmp_path / "three", 5), scorers=[clip])


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: Capture) -> None:
    source = write_pictures(tmp_path / "photos", 0)
    assert main(["evaluate", str(source), "--with", "image-stats"]) == 0
    table = capsys.readouterr().out
    assert "image-stats.mean" in table
    assert "photos: 24 pictures; intervals are over 24 pictures." in table
    assert main(["evaluate", str(source), "--with", "image-stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_json(
        tmp_path / "photos-measured" / "evaluations" / "result.json"
    )
    assert main(["evaluate", str(tmp_path / "nothing")]) == 2
    assert "does not exist" in capsys.readouterr().err
