# SPDX-License-Identifier: Apache-2.0
"""Calibration: a known blur gives the boundary that its kernel says, an interval around it, and the lines to paste."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from blendset.errors import SettingsError
from blendset.records import to_plain
from blendset_trainer import CalibrateSettings, calibrate
from blendset_trainer.cli.main import main
from blendset_trainer.training.timesteps.calibration import (
    MAX_RINGS,
    compute_covering_noise,
    compute_spectrum,
    encode_luminance,
    find_boundary,
)
from blendset_trainer.training.timesteps.dataset_calibration import load_vae_encoder
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset

SIDE, BLUR = 96, 1.2
Array = npt.NDArray[np.float64]
ALONG = np.fft.fftfreq(SIDE)
RADIUS = np.hypot(ALONG[:, None], ALONG[None, :])


def fall(radius: Array) -> Array:
    """The power of a picture's frequencies, flat up to 0.05 cycles per pixel and 1/f^2 beyond."""
    return 40 / (1 + (radius / 0.05) ** 2)


def kernel(radius: Array, blur: float) -> Array:
    """What a Gaussian of this many pixels leaves of an amplitude."""
    return np.exp(-2 * (math.pi * blur * radius) ** 2)


def rings(power: Array) -> Array:
    """Means over rings of a power at every frequency, (MAX_RINGS,)."""
    ring = (RADIUS * 2 * MAX_RINGS).astype(int)
    ring[0, 0] = MAX_RINGS
    return np.array([power[ring == each].mean() for each in range(MAX_RINGS)])


def fields(count: int, seed: int, blur: float = 0.0) -> list[Array]:
    """Periodic Gaussian fields of that power, (1, SIDE, SIDE), blurred by the kernel itself."""
    random = np.random.default_rng(seed)
    amplitude = np.sqrt(fall(RADIUS)) * kernel(RADIUS, blur)
    return [np.fft.ifft2(np.fft.fft2(random.normal(size=(SIDE, SIDE))) * amplitude).real[None] for _ in range(count)]


def spectra(pictures: list[Array]) -> Array:
    return np.stack([compute_spectrum(each) for each in pictures])


def test_noise_of_deviation_1_has_power_1_at_every_frequency() -> None:
    random = np.random.default_rng(0)
    power = spectra([random.normal(size=(3, 64, 64)) for _ in range(50)]).mean(0)
    np.testing.assert_allclose(power, 1, atol=0.06)


def test_a_spectrum_is_the_power_of_the_field() -> None:
    power = spectra(fields(60, 0)).mean(0)
    np.testing.assert_allclose(power[1:], rings(fall(RADIUS))[1:], rtol=0.1)


def test_luminance_counts_the_noise_of_all_channels() -> None:
    noise = np.random.default_rng(0).normal(127.5, 20, (200, 200, 3)).round().clip(0, 255).astype(np.uint8)
    assert encode_luminance(noise).std() == pytest.approx(20 / 127.5, rel=0.02)


@pytest.mark.parametrize("tolerance", [0.05, 0.1, 0.3])
def test_covering_noise_is_where_wiener_filters_begin_to_agree(tolerance: float) -> None:
    clean, source = np.array([5.0, 1.0, 0.1, 2.0]), np.array([0.5, 2.0, 1e-6, 2.05])
    noise = compute_covering_noise(clean, source, tolerance)

    def differ(v: Array) -> Array:
        return np.abs(clean / (clean + v) - source / (source + v))

    crossed = noise > 0
    np.testing.assert_allclose(differ(noise)[crossed], tolerance)
    for louder in (1.001, 2.0, 100.0):
        assert (differ(noise * louder)[crossed] < tolerance).all()
    assert all(differ(np.full(4, v))[~crossed].max(initial=0) <= tolerance for v in np.geomspace(1e-4, 1e3, 200))


@pytest.mark.parametrize("tolerance", [0.1, 0.2])
def test_a_known_blur_gives_the_analytic_boundary(tolerance: float) -> None:
    """Other pictures on each side, as in life; the truth follows from the kernel, at the frequencies told apart."""
    power, blurred = rings(fall(RADIUS)), rings(fall(RADIUS) * kernel(RADIUS, BLUR) ** 2)
    truth = -math.log(compute_covering_noise(power, blurred, tolerance).max())
    found = find_boundary(spectra(fields(40, 1)), spectra(fields(40, 2, BLUR)), tolerance)
    assert found.log_snr == pytest.approx(truth, abs=0.2)
    assert found.interval[0] < truth < found.interval[1]
    assert found.interval[1] - found.interval[0] < 1.5


def test_a_stronger_blur_is_covered_by_more_noise() -> None:
    clean = spectra(fields(20, 1))
    found = [find_boundary(clean, spectra(fields(20, 2, blur))).log_snr for blur in (0.6, 1.2, 2.4)]
    assert found == sorted(found, reverse=True)


def test_pictures_of_one_kind_have_no_boundary() -> None:
    found = find_boundary(spectra(fields(40, 1)), spectra(fields(40, 2)))
    assert found.log_snr == math.inf
    assert found.interval[1] == math.inf


def test_contrast_is_no_blur() -> None:
    found = find_boundary(spectra(fields(20, 1)), spectra([0.4 * each for each in fields(20, 2)]))
    assert found.log_snr == math.inf


def test_few_pictures_say_less() -> None:
    widths = []
    for count in (8, 64):
        low, high = find_boundary(spectra(fields(count, 1)), spectra(fields(count, 2, BLUR))).interval
        widths.append(high - low)
    assert widths[0] > 1.5 * widths[1]


# --- the command ---


def picture(field: Array) -> npt.NDArray[np.uint8]:
    grey = (127.5 + 12 * field[0]).round().clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("calibrate") / "mixed"
    made = make_dataset(root)
    add_scene(made, "attic")
    for source, seed, blur in (("render", 1, 0.0), ("synthetic", 2, BLUR)):
        for number, each in enumerate(fields(16, seed, blur)):
            add_picture(made, "attic", source, number, picture(each), source=source)
    made.rebuild_index()
    return root


def test_the_command_prints_the_boundary_for_every_model_and_the_bands(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["calibrate", str(dataset), "--clean", "render", "--source", "synthetic", "--resolution", str(SIDE)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    log_snr = found["boundaries"]["log_snr"]
    assert log_snr[1] <= log_snr[0] <= log_snr[2]
    sigma = found["boundaries"]["flow"][0]
    assert 2 * math.log((1 - sigma) / sigma) == pytest.approx(log_snr[0])
    assert found["boundaries"]["pixart-linear"][0] != found["boundaries"]["sd-scaled-linear"][0]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "synthetic (16 pictures) against render (16 pictures), 96 px, pixels, tolerance 0.1" in said
    pasted = tomllib.loads("[[source]]\n" + said[said.index("# below the [[source]] of synthetic") :])
    assert pasted["source"][0]["bands"] == [{"unit": "log_snr", "hi": pytest.approx(log_snr[0], abs=1e-3)}]


def test_the_function_returns_what_the_command_prints(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[tuple[str, int, int]] = []
    settings = CalibrateSettings(clean="render", source="synthetic", resolution=64)
    report = calibrate(dataset, settings, resolution=SIDE, on_progress=lambda *step: steps.append(step))
    assert capsys.readouterr() == ("", "")
    assert (steps[0], steps[-1]) == (("calibrate", 0, 32), ("calibrate", 32, 32))
    assert (report.clean.pictures, report.source.pictures, report.resolution) == (16, 16, SIDE)
    words = ["--clean", "render", "--source", "synthetic", "--resolution", str(SIDE), "--json"]
    assert main(["calibrate", str(dataset), *words]) == 0
    assert json.loads(capsys.readouterr().out) == to_plain(report)
    with pytest.raises(SettingsError, match="CalibrateSettings lacks the option 'source'"):
        calibrate(dataset, clean="render")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--clean", "render", "--source", "photo"], 1, "has 0 pictures of 'photo' and 8 are the least to measure"),
        (["--clean", "render", "--source", "synthetic", "--tolerance", "1.5"], 2, "a --tolerance between 0 and 1"),
        (
            ["--clean", "render", "--source", "synthetic", "--resolution", "20"],
            1,
            "A side of 20 tells too few frequencies",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    dataset: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", str(dataset), *words]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1


def test_latents_are_those_that_a_denoiser_sees(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, scaling_factor=0.5, shift_factor=0.25,
    )  # fmt: skip
    vae.save_pretrained(tmp_path / "pipeline" / "vae")
    shown = picture(fields(1, 3)[0])
    encoded = load_vae_encoder(str(tmp_path / "pipeline"))(shown)
    pixels = torch.from_numpy(shown).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        mean = vae.eval().encode(pixels).latent_dist.mean[0]
    np.testing.assert_allclose(encoded, (mean.numpy() - 0.25) * 0.5, atol=1e-5)
    assert compute_spectrum(encoded).shape == (48 // 3,)
    np.testing.assert_array_equal(load_vae_encoder(str(tmp_path / "pipeline" / "vae"))(shown), encoded)
