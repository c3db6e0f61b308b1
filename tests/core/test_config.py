# SPDX-License-Identifier: Apache-2.0
"""Configuration comes back as written, a mistake names itself and its cure, and the command line has the last word."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendset.config import (
    DEVICES,
    LIGHTING,
    CameraSettings,
    Config,
    DatasetSettings,
    GateSettings,
    JobSettings,
    PreviewSettings,
    RenderSettings,
    SubjectSettings,
    add_arguments,
    config_from_arguments,
    config_from_dict,
    config_to_dict,
    config_to_toml,
    load_config,
)
from blendset.errors import BlendsetError
from blendset.placement.presets import PRESETS


def parsed(*words: str) -> Config:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return config_from_arguments(parser.parse_args(words))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "options.toml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(values: dict[str, Any]) -> str:
    """The one sentence with which these options are refused."""
    with pytest.raises(BlendsetError) as caught:
        config_from_dict(values, "my.toml")
    text = str(caught.value)
    assert text.startswith("my.toml") and text[-1] in ".?" and "\n" not in text
    return text


# ---- there and back --------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
SHARE = st.floats(0, 1)
CONFIGS = st.builds(
    Config,
    seed=st.integers(0, 2**31 - 1),
    frame=st.none() | st.integers(-(10**6), 10**6),
    scene=TEXT,
    subjects=st.builds(SubjectSettings, include=st.lists(TEXT, max_size=3).map(tuple), copies=st.integers(1, 99)),
    cameras=st.builds(
        CameraSettings,
        preset=st.sampled_from(sorted(PRESETS)),
        views=st.integers(1, 10**6),
        fill=st.lists(st.floats(0.05, 1), min_size=1, max_size=4).map(tuple),
        elevation_deg=st.tuples(st.floats(-90, 0), st.floats(0, 90)),
        separation_deg=st.floats(0, 180),
    ),
    gates=st.builds(GateSettings, clearance=SHARE, truncation=SHARE, one_surface=SHARE),
    preview=st.builds(PreviewSettings, samples=st.integers(1, 64)),
    render=st.builds(
        RenderSettings, device=st.sampled_from(DEVICES), lighting=st.sampled_from(LIGHTING), denoise=st.booleans()
    ),
    jobs=st.builds(JobSettings, timeout_s=st.floats(1, 1e6), retries=st.integers(0, 9)),
    dataset=st.builds(DatasetSettings, name=TEXT, licence=TEXT, creator=TEXT),
)


@given(CONFIGS)
def test_a_configuration_comes_back_from_toml_and_from_tables(
    tmp_path_factory: pytest.TempPathFactory, config: Config
) -> None:
    path = tmp_path_factory.getbasetemp() / "config.toml"
    path.write_text(config_to_toml(config), encoding="utf-8")
    assert load_config(path) == config
    assert config_from_dict(config_to_dict(config)) == config


def test_an_empty_file_is_the_defaults_and_a_part_leaves_the_rest(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "")) == Config()
    config = load_config(written(tmp_path, "seed = 3\n[cameras]\nviews = 5\nfill = [1, 0.5]\n"))
    assert config == replace(Config(), seed=3, cameras=CameraSettings(views=5, fill=(1.0, 0.5)))


def test_a_file_that_notepad_saved_is_read(tmp_path: Path) -> None:
    """With a byte order mark and Windows' line ends."""
    path = tmp_path / "options.toml"
    path.write_bytes("\ufeffseed = 3\r\n[cameras]\r\nviews = 5\r\n".encode())
    assert load_config(path) == replace(Config(), seed=3, cameras=CameraSettings(views=5))


def test_the_defaults_keep_to_their_own_limits() -> None:
    assert config_from_dict(config_to_dict(Config())) == Config()


def test_every_option_says_what_it_is_for() -> None:
    for option in dataclasses.fields(Config):
        parts = dataclasses.fields(option.default_factory) if callable(option.default_factory) else [option]  # type: ignore[arg-type]
        assert all(part.metadata["help"] for part in parts)


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ({"sed": 3}, "seed"),
        ({"camera": {}}, "cameras"),
        ({"cameras": {"view": 3}}, "views"),
        ({"cameras": {"focal_lenght_mm": [50]}}, "focal_length_mm"),
        ({"render": {"sample": 3}}, "samples"),
        ({"gates": {"visible_fracton": 0.5}}, "visible_fraction"),
    ],
)
def test_an_unknown_option_names_itself_its_section_and_the_nearest(values: dict[str, Any], near: str) -> None:
    text = complaint(values)
    [(section, inner)] = values.items()
    assert f"'{near}'" in text
    if isinstance(inner, dict) and inner:
        assert f"[{section}]" in text and f"'{next(iter(inner))}'" in text


def test_an_option_like_no_other_lists_what_there_is() -> None:
    assert "retries, timeout_s, views_per_child, workers" in complaint({"jobs": {"zzz": 1}})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seed": "three"}, "a whole number"),
        ({"seed": 3.0}, "a whole number"),
        ({"seed": True}, "a whole number"),
        ({"frame": "first"}, "a whole number"),
        ({"scene": 5}, "a text"),
        ({"render": {"denoise": 1}}, "true or false"),
        ({"render": {"exposure_ev": "4"}}, "a number"),
        ({"cameras": {"fill": 0.5}}, "a list"),
        ({"cameras": {"fill": ["wide"]}}, "a list"),
        ({"cameras": {"elevation_deg": [1]}}, "a list"),
        ({"cameras": {"elevation_deg": [1, 2, 3]}}, "a list"),
        ({"subjects": {"include": "chair*"}}, "a list"),
        ({"subjects": {"exclude": "chair*"}}, "a list"),
        ({"subjects": {"include": [3]}}, "a list"),
        ({"cameras": 3}, "a table"),
        ({"cameras": [{"views": 3}]}, "a table"),
    ],
    ids=str,
)
def test_a_value_of_the_wrong_kind_says_which_is_right(values: dict[str, Any], says: str) -> None:
    assert says in complaint(values)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seed": -1}, "at least 0"),
        ({"seed": 2**31}, "at most"),
        ({"cameras": {"views": 0}}, "at least 1"),
        ({"cameras": {"fill": [0.5, 0.01]}}, "at least 0.05"),
        ({"cameras": {"fill": []}}, "empty"),
        ({"cameras": {"focal_length_mm": []}}, "empty"),
        ({"cameras": {"elevation_deg": [0, 91]}}, "at most 90"),
        ({"gates": {"one_surface": 1.01}}, "at most 1"),
        ({"render": {"resolution": 8}}, "at least 16"),
        ({"render": {"device": "gpu"}}, "cpu"),
        ({"render": {"lighting": "bright"}}, "auto, scene"),
        ({"cameras": {"preset": "blendsets"}}, "'blendset'"),
        ({"jobs": {"retries": -1}}, "at least 0"),
    ],
    ids=str,
)
def test_a_value_beyond_its_limits_says_the_limit(values: dict[str, Any], says: str) -> None:
    text = complaint(values)
    [(section, inner)] = values.items()
    assert says in text
    assert (f"{section}.{next(iter(inner))}" if isinstance(inner, dict) else section) in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("option", [("cameras", "separation_deg"), ("jobs", "timeout_s"), ("gates", "clearance")])
def test_what_toml_calls_nan_and_inf_is_no_number(option: tuple[str, str], value: float) -> None:
    """No plan, run record or digest could hold it."""
    complaint({option[0]: {option[1]: value}})


@pytest.mark.parametrize(
    "values",
    [
        {"cameras": {"elevation_deg": [50, 2]}},
        {"subjects": {"smallest": 0.5, "largest": 0.1}},
        {"gates": {"subject_share_min": 0.6, "subject_share_max": 0.2}},
    ],
    ids=str,
)
def test_limits_the_wrong_way_round_are_refused(values: dict[str, Any]) -> None:
    """Elevations from 50 to 2 degrees would give cameras below the ground, and the others no view at all."""
    complaint(values)


def test_a_file_that_is_no_toml_or_not_there_is_named(tmp_path: Path) -> None:
    for path in (written(tmp_path, "seed = = 3"), tmp_path / "absent.toml", tmp_path):
        with pytest.raises(BlendsetError, match=path.name):
            load_config(path)
    (tmp_path / "latin.toml").write_bytes(b'scene = "K\xfcche"')
    with pytest.raises(BlendsetError, match=r"latin\.toml"):
        load_config(tmp_path / "latin.toml")


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(BlendsetError, match=r"options\.toml.*did you mean 'views'"):
        load_config(written(tmp_path, "[cameras]\nview = 3\n"))


# ---- the command line ------------------------------------------------------------------------------------------------


def test_the_command_line_overrides_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "seed = 3\n[cameras]\nviews = 5\n[render]\nsamples = 9\n")
    config = parsed("--config", str(path), "--views", "7", "--seed", "0")
    assert (config.seed, config.cameras.views, config.render.samples, config.render.resolution) == (0, 7, 9, 512)


def test_without_options_the_command_line_gives_the_defaults() -> None:
    assert parsed() == Config()


def test_every_flag_arrives_where_it_belongs() -> None:
    config = parsed(
        *("--seed", "1", "--frame", "-2", "--scene", "Küche", "--preset", "orbit-4", "--views", "3"),
        *("--resolution", "64", "--samples", "5", "--device", "cpu", "--lighting", "studio", "--workers", "2"),
    )
    assert config == Config(
        seed=1,
        frame=-2,
        scene="Küche",
        cameras=CameraSettings(preset="orbit-4", views=3),
        render=RenderSettings(resolution=64, samples=5, device="cpu", lighting="studio"),
        jobs=JobSettings(workers=2),
    )


@pytest.mark.parametrize(
    ("flag", "value"), [("--views", "0"), ("--resolution", "15"), ("--seed", "-1"), ("--workers", "0")]
)
def test_a_flag_beyond_its_limits_is_named(flag: str, value: str) -> None:
    with pytest.raises(BlendsetError, match=f"^{flag} is {value}; "):
        parsed(flag, value)


@pytest.mark.parametrize(
    "words", [("--views", "many"), ("--preset", "mine"), ("--device", "gpu"), ("--samples", "1.5")]
)
def test_a_flag_of_the_wrong_kind_is_a_usage_error(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(*words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_help_shows_every_flag_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "--views N views to render per scene (default 48)" in shown
    assert all(preset in shown for preset in PRESETS)


# ---- what a run is known by ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"jobs": {"workers": 8, "retries": 0, "timeout_s": 5, "views_per_child": 3}},
        {"render": {"device": "cpu"}},
        {"dataset": {"name": "rooms", "licence": "CC0", "creator": "me"}},
    ],
    ids=str,
)
def test_what_changes_no_picture_does_not_change_the_digest(values: dict[str, Any]) -> None:
    assert config_from_dict(values).compute_digest() == Config().compute_digest()


@pytest.mark.parametrize(
    "values",
    [
        {"seed": 1},
        {"frame": 3},
        {"scene": "Küche"},
        {"cameras": {"fill": [0.5]}},
        {"gates": {"truncation": 0.2}},
        {"subjects": {"exclude": ["x"]}},
        {"render": {"samples": 65}},
        {"render": {"lighting": "sky"}},
        {"render": {"missing": "neutral"}},
        {"view_layer": "Actors"},
        {"preview": {"samples": 9}},
    ],
    ids=str,
)
def test_what_changes_pictures_changes_the_digest(values: dict[str, Any]) -> None:
    assert config_from_dict(values).compute_digest() != Config().compute_digest()


def test_options_that_were_added_later_do_not_rename_the_runs_that_leave_them_alone() -> None:
    identity = Config().make_render_identity()
    assert "view_layer" not in identity and "missing" not in identity["render"]


def test_a_whole_number_for_a_number_is_the_same_configuration() -> None:
    whole, point = (config_from_dict({"cameras": {"separation_deg": value}}) for value in (15, 15.0))
    assert whole.compute_digest() == point.compute_digest() and len(whole.compute_digest()) == 8


def test_a_dataset_is_held_to_what_its_pictures_share() -> None:
    settings = config_from_dict(
        {"render": {"resolution": 64, "device": "cpu"}, "cameras": {"views": 3}}
    ).select_render_settings()
    assert settings == {"resolution": 64, "samples": 64, "denoise": True}


def test_the_documentation_shows_the_options_as_they_are() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "rendering.md").read_text(encoding="utf-8")
    shown = text.split("```toml")[-1].split("```")[0]
    assert shown.strip() == config_to_toml(Config()).strip()
