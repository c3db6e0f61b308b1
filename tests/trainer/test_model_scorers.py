# SPDX-License-Identifier: Apache-2.0
"""Scorers with models: their figures mean what their scales say. Tiny random models go through the loaders that real
ones go through.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoProcessor, BlipForImageTextRetrieval

from blendset.dataset import INDEX, Dataset
from blendset.errors import BlendsetError
from blendset_trainer.models.chat.chat_model import ChatRequest, ReplyError
from blendset_trainer.models.chat.local import LocalChatModel
from blendset_trainer.models.clip import find_clip
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.aesthetic import find_aesthetic_scorer, load_head
from blendset_trainer.scoring.chat import vlm_quality
from blendset_trainer.scoring.chat.vlm_quality import find_quality_scorer
from blendset_trainer.scoring.chat.vqa import find_vqa_scorer
from blendset_trainer.scoring.clip import SYNTHVLM_PREFIX, ClipScorer, find_clip_scorer
from blendset_trainer.scoring.dino import find_dino_scorer, find_square, summarize_cosines
from blendset_trainer.scoring.itm import find_itm_scorer
from blendset_trainer.scoring.preference import find_preference_scorer
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.stage import Stage
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset
from tests.trainer.tiny_models import Make, maker

Row = dict[str, Any]
SUBJECT = 7


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes the tiny model of a kind on first use; returns its folder."""
    return maker(tmp_path_factory.mktemp("models"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A set of three views of a bright square (the first two alike but for their surroundings), and one view alone."""
    made = make_dataset(tmp_path / "data")
    add_scene(made, "attic")
    patterns = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    for number, (pattern, around) in enumerate(zip(patterns[[0, 0, 1]], (0, 200, 90), strict=True)):
        rgb, ids = np.full((48, 64, 3), around, np.uint8), np.zeros((48, 64), np.uint32)
        rgb[20:36, 10:26], ids[20:36, 10:26] = pattern, SUBJECT
        place: dict[str, Any] = {"view_set": "orbit", "view_index": number, "subject_objects": (SUBJECT,)}
        add_picture(made, "attic", "chair", number, rgb, ids, **place)
    add_picture(made, "attic", "lamp", 9, np.full((40, 40, 3), 30, np.uint8), np.zeros((40, 40), np.uint32))
    made.rebuild_index()
    captions = {"chair-0000": "a red chair", "chair-0001": "a blue lamp", "chair-0002": "a red chair " * 30}
    with_captions(made, captions)
    return made


def with_captions(dataset: Dataset, captions: dict[str, str]) -> None:
    path = dataset.root / INDEX
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | {"caption": captions.get(row["view_id"])}) + "\n" for row in rows))


def rows_of(dataset: Dataset, stage: Stage) -> dict[str, Row]:
    """What the stage leaves on disk, by view; the stage travels as it would to a worker."""
    travelled: Stage = pickle.loads(pickle.dumps(stage))
    report = run_stage(dataset, travelled, LocalExecutor())
    assert not report.unreadable
    return {row["view_id"]: row for row in all_rows(dataset, stage)}


def all_rows(dataset: Dataset, stage: Stage) -> list[Row]:
    """Stale ones too."""
    rows = StageFolder.from_stage(dataset.root, stage).read_rows()
    return [] if rows is None else list(rows.to_pylist())


def test_clip_tells_pictures_and_captions_apart(dataset: Dataset, model: Make) -> None:
    stage = find_clip_scorer(str(model("open_clip")))
    rows = rows_of(dataset, stage)
    assert stage.name == "clip-open-clip"
    cosines = [rows[f"chair-000{number}"]["similarity"] for number in range(3)]
    assert all(-1 <= cosine <= 1 for cosine in cosines)
    assert len(set(cosines)) == 3
    embeddings = {name: np.array(row["embedding"]) for name, row in rows.items()}
    assert {len(each) for each in embeddings.values()} == {16}
    assert all(np.linalg.norm(each) == pytest.approx(1, abs=1e-5) for each in embeddings.values())


def test_clip_says_what_it_did_not_read(dataset: Dataset, model: Make) -> None:
    rows = rows_of(dataset, find_clip_scorer(str(model("open_clip"))))
    short, long, none = rows["chair-0000"], rows["chair-0002"], rows["lamp-0009"]
    assert (short["tokens"], short["truncated"]) == (5, False)  # three words, a beginning and an end
    assert (long["tokens"], long["truncated"]) == (92, True)
    assert [none[name] for name in ("similarity", "tokens", "truncated")] == [None, None, None]


def test_what_clip_cannot_read_does_not_change_its_answer(dataset: Dataset, model: Make) -> None:
    stage = find_clip_scorer(str(model("open_clip")))
    before = rows_of(dataset, stage)["chair-0002"]["similarity"]
    with_captions(dataset, {"chair-0002": "a red chair " * 40})
    run_stage(dataset, stage, LocalExecutor())
    assert [row["similarity"] for row in all_rows(dataset, stage) if row["tokens"] == 122] == [
        pytest.approx(before, abs=1e-6)
    ]


def test_words_before_the_caption_are_another_stage(dataset: Dataset, model: Make) -> None:
    weights = find_clip(str(model("open_clip")))
    plain, prefixed = ClipScorer(weights), ClipScorer(weights, SYNTHVLM_PREFIX)
    assert StageFolder.from_stage(dataset.root, plain).path != StageFolder.from_stage(dataset.root, prefixed).path
    before, after = (rows_of(dataset, stage)["chair-0000"] for stage in (plain, prefixed))
    assert after["tokens"] == before["tokens"] + 3
    assert after["similarity"] != before["similarity"]


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_an_aesthetic_head_is_its_linear_layers(dataset: Dataset, model: Make, tmp_path: Path, suffix: str) -> None:
    """In the form of LAION's improved predictor: numbered layers with dropouts between that hold no weights."""
    generator = torch.Generator().manual_seed(0)
    widths = {0: (16, 8), 2: (8, 4), 4: (4, 1)}
    state = {
        f"layers.{number}.{name}": torch.randn(shape, generator=generator)
        for number, (inside, out) in widths.items()
        for name, shape in (("weight", (out, inside)), ("bias", (out,)))
    }
    path = tmp_path / f"head.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    clip = str(model("open_clip"))
    embeddings = rows_of(dataset, find_clip_scorer(clip))
    for name, row in rows_of(dataset, find_aesthetic_scorer(f"{path}@{clip}")).items():
        value = np.array(embeddings[name]["embedding"])
        for number in widths:
            value = state[f"layers.{number}.weight"].numpy() @ value + state[f"layers.{number}.bias"].numpy()
        assert row["score"] == pytest.approx(value[0], abs=1e-4)


def test_a_wrong_aesthetic_head_is_one_sentence(model: Make, tmp_path: Path) -> None:
    wide, two, pickled = (tmp_path / name for name in ("wide.safetensors", "two.safetensors", "code.pth"))
    save_file({"weight": torch.ones(1, 768), "bias": torch.ones(1)}, wide)
    save_file({"weight": torch.ones(2, 16), "bias": torch.ones(2)}, two)
    torch.save({"weight": Path("not a tensor")}, pickled)
    with pytest.raises(BlendsetError, match="reads 768 numbers and open_clip gives 16"):
        find_aesthetic_scorer(f"{wide}@{model('open_clip')}").setup()
    with pytest.raises(BlendsetError, match="ends in one figure"):
        load_head(two)
    with pytest.raises(BlendsetError, match=r"code\.pth cannot be loaded"):
        load_head(pickled)


def test_dino_sees_the_subject_and_not_what_is_around_it(dataset: Dataset, model: Make) -> None:
    rows = rows_of(dataset, find_dino_scorer(str(model("dino"))))
    first, second, third, alone = (rows[name] for name in ("chair-0000", "chair-0001", "chair-0002", "lamp-0009"))
    assert first["set_max"] == pytest.approx(1, abs=1e-5)
    assert first["set_min"] < 0.98
    assert first["set_mean"] == pytest.approx((first["set_max"] + 2 * first["set_min"]) / 3, abs=1e-5)
    assert {row["set_mean"] for row in (first, second, third)} == {first["set_mean"]}
    assert first["best_pair"] == pytest.approx(third["best_pair"], abs=1e-5)
    assert [alone[name] for name in ("set_mean", "set_min", "set_max", "best_pair")] == [None] * 4
    np.testing.assert_allclose(first["embedding"], second["embedding"], atol=1e-5)


def test_dino_takes_the_whole_picture_where_no_pass_tells_the_subject(dataset: Dataset, model: Make) -> None:
    """As of a generated view that stands in for a rendered one."""
    picture = np.full((48, 64, 3), 90, np.uint8)
    add_picture(dataset, "attic", "chair", 5, picture, source="synthetic", subject_objects=(SUBJECT,))
    dataset.rebuild_index()
    row = rows_of(dataset, find_dino_scorer(str(model("dino"))))["chair-0005"]
    assert len(row["embedding"]) == 32


def test_best_pair_is_syncds_rule() -> None:
    """An image stays where it is in a pair of 0.7 <= cosine <= 0.98 (SynCD's loader)."""
    cosines = np.array([[1, 0.99, 0.8, 0.2], [0.99, 1, 0.5, 0.3], [0.8, 0.5, 1, 0.1], [0.2, 0.3, 0.1, 1]], np.float32)
    figures = summarize_cosines(cosines)
    kept = [bool(each["best_pair"] and each["best_pair"] >= 0.7) for each in figures]
    assert kept == [True, False, True, False]
    assert figures[0]["set_mean"] == pytest.approx((0.99 + 0.8 + 0.2 + 0.5 + 0.3 + 0.1) / 6)
    assert summarize_cosines(np.full((2, 2), 0.99, np.float32))[0]["best_pair"] is None


@pytest.mark.parametrize(
    ("rows", "columns", "square"),
    [
        (slice(20, 36), slice(10, 26), (10, 20, 26, 36)),
        (slice(0, 4), slice(10, 30), (10, 0, 30, 20)),
        (slice(30, 48), slice(60, 64), (46, 30, 64, 48)),
        (slice(0, 48), slice(0, 64), (0, -8, 64, 56)),
    ],
)
def test_crops_are_square_and_stay_inside(rows: slice, columns: slice, square: tuple[int, int, int, int]) -> None:
    mask: npt.NDArray[np.bool_] = np.zeros((48, 64), bool)
    mask[rows, columns] = True
    assert find_square(mask) == square


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_preference_is_a_cosine_times_the_models_scale(dataset: Dataset, model: Make, kind: str) -> None:
    stage = find_preference_scorer(str(model(kind)))
    rows = rows_of(dataset, stage)
    first, other, long, none = (rows[name] for name in ("chair-0000", "chair-0001", "chair-0002", "lamp-0009"))
    assert -1 <= first["cosine"] <= 1
    assert first["cosine"] != other["cosine"]
    assert first["score"] / first["cosine"] == pytest.approx(other["score"] / other["cosine"], rel=1e-4)
    assert (first["tokens"], first["truncated"], long["truncated"]) == (5, False, True)
    assert none["cosine"] is None


def test_itm_is_what_blip_says_of_each_pair_alone(dataset: Dataset, model: Make) -> None:
    folder = model("itm")
    rows = rows_of(dataset, find_itm_scorer(str(folder)))
    blip = BlipForImageTextRetrieval.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    captions = {"chair-0000": "a red chair", "chair-0001": "a blue lamp"}
    for view in dataset.views():
        if view.view_id in captions:
            inputs = processor(
                images=Image.open(dataset.rgb_path(view)), text=captions[view.view_id], return_tensors="pt"
            )
            with torch.inference_mode():
                expected = blip(**inputs).itm_score.softmax(dim=1)[0, 1].item()
            assert rows[view.view_id]["p_match"] == pytest.approx(expected, rel=1e-4)
    assert 0 <= rows["chair-0002"]["p_match"] <= 1  # a caption that is too long is cut
    assert len({row["p_match"] for row in rows.values()}) == 4
    assert rows["lamp-0009"]["p_match"] is None


@pytest.mark.parametrize("kind", ["llava", "qwen"])
def test_vqa_is_the_probability_of_yes(dataset: Dataset, model: Make, kind: str) -> None:
    rows = rows_of(dataset, find_vqa_scorer(str(model(kind))))
    asked = [rows[f"chair-000{number}"] for number in range(3)]
    assert all(row["p_yes"] >= 0 and row["p_no"] >= 0 and row["p_yes"] + row["p_no"] <= 1 for row in asked)
    assert len({row["p_yes"] for row in asked}) == 3
    assert rows["lamp-0009"]["p_yes"] is None


@pytest.mark.parametrize("kind", ["llava", "qwen"])
def test_a_batch_answers_as_each_question_alone(model: Make, kind: str) -> None:
    """Padding must not leak into an answer: questions and pictures of different sizes share the batch."""
    answerer = LocalChatModel(find_model(str(model(kind))))
    answerer.setup()
    pictures = np.random.default_rng(0).integers(0, 255, (3, 60, 90, 3), dtype=np.uint8)
    asked = [ChatRequest([pictures[0]], "a red chair"), ChatRequest(list(pictures), "a red chair " * 30)]
    together = answerer.compute_probabilities(asked, ("yes", "no"))
    alone = [answerer.compute_probabilities([question], ("yes", "no"))[0] for question in asked]
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert answerer.generate(asked, 8) == [answerer.generate([question], 8)[0] for question in asked]


def test_quality_that_is_not_said_is_unparsable(dataset: Dataset, model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_quality, "TOKENS", 6)
    rows = rows_of(dataset, find_quality_scorer(str(model("qwen"))))
    assert {row["quality"] for row in rows.values()} == {"unparsable"}  # a random model speaks nonsense
    assert {row["score"] for row in rows.values()} == {None}


@pytest.mark.parametrize(
    ("reply", "quality"),
    [
        ("<think>Is the score: 2?</think>Score: 4\nReason: sharp", 4),
        ("I'm sorry, but I can't judge pictures.", "The model refuses"),
        ("", "holds no words"),
        (ReplyError("The answer was cut after 64 tokens; raise --max-tokens."), "cut after 64 tokens"),
    ],
    ids=str,
)
def test_a_reply_that_is_no_answer_is_no_judgement(
    dataset: Dataset, model: Make, monkeypatch: pytest.MonkeyPatch, reply: str | ReplyError, quality: int | str
) -> None:
    scorer = find_quality_scorer(str(model("qwen")))
    monkeypatch.setattr(scorer.chat_model, "generate", lambda requests, _: [reply] * len(requests))
    report = run_stage(dataset, scorer, LocalExecutor())
    if isinstance(quality, int):
        assert {row["score"] for row in all_rows(dataset, scorer)} == {quality}
    else:
        assert report.unreadable and all(quality in reason for reason in report.unreadable.values())


def test_wrong_models_are_one_sentence(model: Make, tmp_path: Path) -> None:
    with pytest.raises(BlendsetError, match="cannot be loaded as a model that describes pictures"):
        find_vqa_scorer(str(model("dino"))).setup()
    with pytest.raises(BlendsetError, match="has no chat template"):
        stage = find_vqa_scorer(str(model("blip")))
        stage.setup()
        stage.model.compute_probabilities([], ("yes",))
    with pytest.raises(BlendsetError, match="has no head for image-text matching"):
        find_itm_scorer(str(model("blip"))).setup()
    with pytest.raises(BlendsetError, match="did you mean ViT-B-32"):
        find_clip("ViT-B-23")
    with pytest.raises(BlendsetError, match="one of its tags: openai"):
        find_clip("ViT-B-32/opanai")
    with pytest.raises(BlendsetError, match="does not exist"):
        find_clip(str(tmp_path / "missing"))
