# SPDX-License-Identifier: Apache-2.0
"""What the weightless scorers say of pictures whose faults are known, and the command that runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter
from skimage import data
from skimage.metrics import structural_similarity

from blendset.dataset import Dataset
from blendset.quality import FINISHED
from blendset_trainer.cli.main import main
from blendset_trainer.scoring.greys import compute_sharpness, to_grey
from blendset_trainer.scoring.image_stats import ImageStats, measure_fireflies, measure_magenta
from blendset_trainer.scoring.phash import compute_perceptual_hash
from blendset_trainer.scoring.ssim import SHARPNESS_FLOOR, compute_ssim_roundtrip, ssim
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.tables import read_index_with_stages
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset

Picture = npt.NDArray[np.uint8]


def flat(level: int, size: int = 64) -> Picture:
    return np.full((size, size, 3), level, np.uint8)


def halves(left: int, right: int) -> Picture:
    picture = flat(left)
    picture[:, 32:] = right
    return picture


def blurred(picture: Picture, radius: float) -> Picture:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


@pytest.fixture(scope="module")
def photograph() -> Picture:
    """(512, 512, 3)"""
    return np.asarray(data.astronaut())


def stats_of(tmp_path: Path, rgb: Picture, ids: Any = None, **changes: object) -> dict[str, Any]:
    """The row of one view, by the way that all views go."""
    dataset = make_dataset(tmp_path / "data")
    add_scene(dataset, "attic")
    add_picture(dataset, "attic", "lamp", 0, rgb, ids, **changes)
    dataset.rebuild_index()
    run_stage(dataset, ImageStats(), LocalExecutor())
    row = read_index_with_stages(dataset).to_pylist()[0]
    return {name.removeprefix("image-stats."): value for name, value in row.items() if name.startswith("image-stats.")}


def test_the_figures_of_a_picture_of_two_halves(tmp_path: Path) -> None:
    ids = np.zeros((64, 64), np.uint32)
    ids[:16, 32:] = 7
    row = stats_of(tmp_path, halves(0, 255), ids, subject_objects=(7,))
    known = {"mean": 127.5, "variance": 127.5**2, "dark_fraction": 0.5, "clipped_fraction": 0.5, "subject_mean": 255,
             "subject_deviation": 0, "subject_pixels": 512, "entropy": 1, "fireflies": 0, "magenta": 0}  # fmt: skip
    assert {name: row[name] for name in known} == pytest.approx(known, abs=1e-3)
    assert row["subject_contrast"] == pytest.approx(255 - 255 * 1536 / (4096 - 512), abs=1e-3)


@pytest.mark.parametrize(
    ("picture", "broken"),
    [(halves(40, 110), ""), (halves(0, 110), "dark"), (halves(15, 40), "mean"), (halves(60, 90), "variance")],
)
def test_the_published_heuristics_can_be_told(tmp_path: Path, picture: Picture, broken: str) -> None:
    """BlendFusion drops a mean below 30, a variance below 300 and a dark share above 0.3."""
    row = stats_of(tmp_path, picture)
    found = {
        "mean": row["mean"] < FINISHED.mean,
        "variance": row["variance"] < FINISHED.variance,
        "dark": row["dark_fraction"] > FINISHED.dark_fraction,
    }
    assert [name for name, low in found.items() if low and name in broken] == [broken] * bool(broken)
    assert broken or not any(found.values())


def test_a_subject_that_is_not_in_the_picture_has_no_pixels(tmp_path: Path) -> None:
    row = stats_of(tmp_path, flat(90), np.zeros((64, 64), np.uint32), subject_objects=(7,))
    assert (row["subject_pixels"], row["subject_mean"]) == (0, None)


def test_a_picture_without_passes_has_no_figures_of_its_subject(tmp_path: Path) -> None:
    row = stats_of(tmp_path, flat(90))
    assert (row["subject_pixels"], row["subject_mean"], row["mean"]) == (None, None, pytest.approx(90, abs=1e-3))


def test_fireflies_are_specks_and_neither_lines_nor_edges(photograph: Picture) -> None:
    specks, lines = flat(40), halves(20, 240)
    for row, column, size in ((5, 5, 1), (20, 40, 1), (50, 20, 2)):
        specks[row : row + size, column : column + size] = 250
    lines[10] = 250
    lines[:, 12] = 250
    found = [measure_fireflies(to_grey(picture)) * 64 * 64 for picture in (specks, lines, flat(255))]
    assert found == pytest.approx([6, 0, 0])
    assert measure_fireflies(to_grey(photograph)) < 1e-4


@pytest.mark.parametrize(
    ("colour", "missing"),
    [
        ((255, 0, 255), True),
        ((130, 10, 120), True),
        ((255, 105, 180), False),
        ((128, 0, 255), False),
        ((9, 0, 9), False),
    ],
)
def test_magenta_is_a_missing_texture_lit_or_not(colour: tuple[int, int, int], missing: bool) -> None:
    picture = flat(128)
    picture[:32] = colour
    assert measure_magenta(picture) == 0.5 * missing


def test_sharpness_falls_with_blur(photograph: Picture) -> None:
    pictures = [photograph, *(blurred(photograph, radius) for radius in (1, 2, 4)), flat(90, 512)]
    found = [compute_sharpness(to_grey(picture)) for picture in pictures]
    assert found == sorted(found, reverse=True)
    assert found[0] > 10 * SHARPNESS_FLOOR
    assert found[3] < SHARPNESS_FLOOR
    assert found[4] == 0


def test_the_round_trip_rewards_missing_detail_as_was_measured(photograph: Picture) -> None:
    """Flat grey 1.0; blur of radius 1, 2 and 4 at least 0.94, 0.992 and 0.992; noise and a smaller side lower it."""
    score = compute_ssim_roundtrip(photograph)
    noise = np.random.default_rng(0).normal(0, 6, photograph.shape)
    assert compute_ssim_roundtrip(flat(90, 512)) == 1
    for radius, low in ((1, 0.94), (2, 0.992), (4, 0.992)):
        assert compute_ssim_roundtrip(blurred(photograph, radius)) > low
    assert compute_ssim_roundtrip(np.clip(photograph + noise, 0, 255).astype(np.uint8)) < score - 0.04
    assert compute_ssim_roundtrip(photograph, 224) < score - 0.02
    assert score == pytest.approx(0.9687, abs=0.003)


def test_ssim_is_scikit_images(photograph: Picture) -> None:
    picture = photograph[:, :300, 0]
    black, white = np.zeros_like(picture), np.full_like(picture, 255)
    for other in (picture, blurred(picture, 2), 255 - picture, black, white):
        assert ssim(picture, other) == pytest.approx(structural_similarity(picture, other), abs=1e-12)
    assert ssim(black, white) == pytest.approx(structural_similarity(black, white), abs=1e-12)


def test_hashes_tell_pictures_apart_and_copies_not(photograph: Picture) -> None:
    mine = compute_perceptual_hash(photograph)
    darker = (photograph * 0.7).astype(np.uint8)
    smaller = np.asarray(Image.fromarray(photograph).resize((200, 200)))
    alike = [darker, smaller, blurred(photograph, 1)]
    other = [photograph[::-1], photograph[:, ::-1], np.asarray(data.coffee())]
    assert max((mine ^ compute_perceptual_hash(picture)).bit_count() for picture in alike) <= 4
    assert min((mine ^ compute_perceptual_hash(np.ascontiguousarray(picture))).bit_count() for picture in other) >= 16


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made, chance = make_dataset(tmp_path / "data"), np.random.default_rng(0)
    add_scene(made, "attic")
    for number in range(4):
        size = 32 + 8 * (number % 2)
        add_picture(made, "attic", "lamp", number, chance.integers(0, 255, (size, size, 3), np.uint8))
    made.rebuild_index()
    return made


def test_score_says_what_it_found(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    views = list(dataset.views())
    dataset.rgb_path(views[2]).write_bytes(b"nothing")
    words = ["score", str(dataset.root), "--with", "image-stats,ssim-roundtrip,phash"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "image-stats: 3 views scored now, 0 before" in said.out
    assert str(dataset.rgb_path(views[2])) in said.err
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: (each["made"], each["kept"]) for name, each in told["stages"].items()} == dict.fromkeys(
        ("image-stats", "ssim-roundtrip", "phash"), (0, 3)
    )
    assert told["figures"]["image-stats.mean"]["views"] == 3
    table = read_index_with_stages(dataset)
    assert [value is None for value in table["phash.hash"].to_pylist()] == [False, False, True, False]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--with", "image-stat"], "did you mean image-stats?"),
        (["--with", "phash:large"], "write phash"),
        (["--with", "phash", "--workers", "2"], "--executor"),
        (["--with", "phash", "--executor", "spark"], "spark"),
    ],
)
def test_wrong_words_are_answered(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["score", str(dataset.root), *words]) == 2
    assert said in capsys.readouterr().err


def test_the_command_line_imports_nothing_heavy() -> None:
    program = "import sys, blendset_trainer.cli.main; print({'torch', 'ray', 'scipy', 'skimage'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"
