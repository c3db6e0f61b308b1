# SPDX-License-Identifier: Apache-2.0
"""The same scene, configuration and seed give the same dataset, byte for byte; another seed gives other cameras."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from blendset.records import ViewRecord
from tests.addon import scenes
from tests.addon.runs import SMALL, Outcome, render_dataset


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with instances, whose ids would show whatever is not ordered."""
    path = tmp_path_factory.mktemp("scene") / "instances.blend"
    scenes.collection_instances(path)
    return path


@pytest.fixture(scope="module")
def twice(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Outcome]:
    """Two runs of the same, with another scene's run between them."""
    folder = tmp_path_factory.mktemp("runs")
    first = render_dataset(scene, folder / "first")
    scenes.render_traps(folder / "other.blend", folder / "elsewhere")
    render_dataset(folder / "other.blend", folder / "between")
    return first, render_dataset(scene, folder / "second")


def drop_timings(view: ViewRecord) -> ViewRecord:
    """A record without what differs between runs."""
    return dataclasses.replace(view, timings={})


def test_two_runs_leave_the_same_files(twice: tuple[Outcome, Outcome]) -> None:
    """Only what tells of times differs: view records and the run's."""
    trees = []
    for outcome in twice:
        root = outcome.dataset.root
        trees.append({path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.*")})
    first, second = trees
    assert first.keys() == second.keys()
    assert len([name for name in first if name.endswith("rgb.png")]) == len(twice[0].plan.views) >= 3
    differing = {name.split("/")[-1] if name.startswith("views") else name.split("/")[0]
                 for name in first if first[name] != second[name]}  # fmt: skip
    assert differing <= {"view.json", "runs", "dataset.json"}


def test_two_runs_give_the_same_records(twice: tuple[Outcome, Outcome]) -> None:
    first, second = ([drop_timings(view) for view in outcome.views] for outcome in twice)
    assert first == second


def test_another_seed_gives_other_cameras(scene: Path, twice: tuple[Outcome, Outcome], tmp_path: Path) -> None:
    other = render_dataset(scene, tmp_path / "dataset", dataclasses.replace(SMALL, seed=1))
    assert set(other.subjects) == set(twice[0].subjects)
    ours = [view.camera.world_from_camera for view in twice[0].views if view.subject]
    theirs = [view.camera.world_from_camera for view in other.views if view.subject]
    assert ours and theirs
    assert all(np.abs(np.subtract(one, another)).max() > 1e-3 for one in ours for another in theirs)


def test_pictures_carry_no_text_and_no_date(twice: tuple[Outcome, Outcome]) -> None:
    """Stamps would tell of render times and of paths on the machine that rendered."""
    for view in twice[0].views:
        data = twice[0].dataset.rgb_path(view).read_bytes()
        chunks, at = [], 8
        while at < len(data):
            chunks.append(data[at + 4 : at + 8])
            at += 12 + int.from_bytes(data[at : at + 4], "big")
        assert at == len(data) and chunks[0] == b"IHDR" and chunks[-1] == b"IEND"
        assert not {b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf"} & set(chunks)
        assert str(twice[0].dataset.root.parent).encode() not in data
