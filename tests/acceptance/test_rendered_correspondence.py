# SPDX-License-Identifier: Apache-2.0
"""Correspondences between real renders of a stranger's scene are as exact as those of a scene in closed form.

Slow; `make test-acceptance` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from correspondence import Row, compare_rendered, read_orbit

from blendset.dataset import Dataset
from tests.real_runs import ROOT, blendset, require_blender

SCENE = ROOT.parent / "shared" / "scenes" / "classroom.blend"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Row]]:
    """The figures at the three baselines, over pairs all around the orbit."""
    if not SCENE.exists():
        pytest.skip(f"{SCENE.name} is not beside this checkout")
    require_blender()
    out: Path = tmp_path_factory.mktemp("orbit") / "dataset"
    size = ("--views", "21", "--resolution", "256", "--samples", "1")
    blendset("render", SCENE, "--out", out, "--preset", "orbit-21", *size, "--device", "cpu")
    yield list(compare_rendered("classroom", *read_orbit(Dataset(out))))


def test_warped_positions_are_exact_and_hardly_any_is_lost(rows: list[Row]) -> None:
    assert [round(angle, -1) for _, angle, _ in rows] == [
        30,
        60,
        130,
    ]  # the chords of one orbit, seen from its elevation
    for _, _, found in rows:
        assert found.ours.mean_error < 0.1
        assert found.ours.high_error < 0.4
        assert found.ours.pixels_kept > 0.95
        assert found.tokens_kept > 0.95
        assert found.ours.mean_error < found.syncd.mean_error / 5
