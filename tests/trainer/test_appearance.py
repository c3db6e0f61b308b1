# SPDX-License-Identifier: Apache-2.0
"""What the stage `appearance` says of pictures whose colours and spectra are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter
from skimage import color, data

from blendset_trainer.scoring.appearance import (
    Appearance,
    compute_colourfulness,
    compute_saturation,
    compute_spectrum,
    make_frequency_grid,
)
from blendset_trainer.scoring.greys import to_grey
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.tables import read_index_with_stages
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset

Picture = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def photograph() -> Picture:
    """(512, 512, 3)"""
    return np.asarray(data.astronaut())


def make_wave(frequency: float, size: int = 128, axis: int = 1) -> Array:
    wave = 128 + 100 * np.sin(2 * np.pi * frequency * np.arange(size))
    return np.asarray(np.broadcast_to(np.expand_dims(wave, 1 - axis), (size, size)), np.float32)


def make_noise(exponent: float, shape: tuple[int, int]) -> Array:
    """Noise (height, width) whose power falls as frequency ** exponent."""
    noise = np.fft.fft2(np.random.default_rng(0).standard_normal(shape))
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    frequency[0, 0] = 1
    return np.asarray(np.fft.ifft2(noise * frequency ** (exponent / 2)).real, np.float32)


def test_colourfulness_is_the_papers(photograph: Picture) -> None:
    red, green, blue = np.moveaxis(photograph.astype(np.float64), -1, 0)
    rg, yb = red - green, 0.5 * (red + green) - blue
    expected = np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    assert compute_colourfulness(photograph) == pytest.approx(expected, rel=1e-9)


def test_grey_has_no_colour_and_red_is_saturated(photograph: Picture) -> None:
    grey = np.repeat(photograph[..., :1], 3, axis=2)
    assert (compute_colourfulness(grey), compute_saturation(grey)) == (0, 0)
    red = np.zeros((8, 8, 3), np.uint8)
    red[:, :4, 0] = 90
    assert compute_saturation(red) == 0.5  # black has none
    assert compute_saturation(photograph) == pytest.approx(color.rgb2hsv(photograph)[..., 1].mean(), rel=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("frequency", "share"), [(0.05, 0), (0.22, 0), (0.28, 1), (0.45, 1)])
def test_a_wave_is_all_below_or_all_above_half_of_nyquist(axis: int, frequency: float, share: float) -> None:
    high, _ = compute_spectrum(make_wave(frequency, axis=axis))
    assert high == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("shape", [(256, 256), (240, 411), (255, 128)])
def test_the_energy_is_that_of_the_whole_spectrum(shape: tuple[int, int]) -> None:
    noise = make_noise(-1, shape)
    rows, columns = (np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in shape)
    window = np.outer(rows, columns)
    powers = np.abs(np.fft.fft2((noise - np.average(noise, weights=window)) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    assert compute_spectrum(noise)[0] == pytest.approx(powers[frequency > 0.25].sum() / powers.sum(), rel=1e-4)
    assert make_frequency_grid(*shape).sizes.sum() == noise.size


@pytest.mark.parametrize("exponent", [0, -1, -2, -3])
@pytest.mark.parametrize("shape", [(256, 256), (240, 411)])
def test_the_slope_is_that_of_the_noise(exponent: float, shape: tuple[int, int]) -> None:
    assert compute_spectrum(make_noise(exponent, shape))[1] == pytest.approx(exponent, abs=0.15)


def test_blur_and_noise_move_the_spectrum_as_they_must(photograph: Picture) -> None:
    blurred = np.asarray(Image.fromarray(photograph).filter(ImageFilter.GaussianBlur(2)))
    noisy = np.clip(photograph + np.random.default_rng(0).normal(0, 25, photograph.shape), 0, 255).astype(np.uint8)
    spectra = [compute_spectrum(to_grey(picture)) for picture in (blurred, photograph, noisy)]
    highs, slopes = zip(*spectra, strict=True)
    assert highs[0] < highs[1] / 10 < highs[2] / 10
    assert slopes[0] < slopes[1] < slopes[2]
    darker = to_grey(photograph) * np.float32(0.5)
    assert compute_spectrum(darker) == pytest.approx(spectra[1], rel=1e-4)
    turned = np.ascontiguousarray(to_grey(photograph).T)
    assert compute_spectrum(turned) == pytest.approx(spectra[1], rel=1e-4)


def test_what_has_no_spectrum_has_none() -> None:
    assert compute_spectrum(np.full((64, 64), 7, np.float32)) == (None, None)
    high, slope = compute_spectrum(make_noise(0, (31, 80)))
    assert high is not None and slope is None
    assert compute_spectrum(np.array([[0, 255]], np.float32))[1] is None


def test_rows_of_a_dataset(tmp_path: Path, photograph: Picture) -> None:
    dataset = make_dataset(tmp_path)
    add_scene(dataset, "attic")
    add_picture(dataset, "attic", "lamp", 0, photograph)
    add_picture(dataset, "attic", "lamp", 1, np.full((64, 64, 3), 200, np.uint8))
    dataset.rebuild_index()
    run_stage(dataset, Appearance(), LocalExecutor())
    rows = read_index_with_stages(dataset).to_pylist()
    first, second = ({name: row[f"appearance.{name}"] for name in Appearance.columns} for row in rows)
    assert first["contrast"] == pytest.approx(to_grey(photograph).std() / 255, rel=1e-5)
    assert -3.5 < first["spectral_slope"] < -2
    assert second == {
        "colourfulness": 0,
        "saturation": 0,
        "contrast": 0,
        "high_frequency": None,
        "spectral_slope": None,
    }
