# SPDX-License-Identifier: Apache-2.0
"""The long form of tests/trainer/test_borders.py: 500 damages over all commands, and 200 odd settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from tests.trainer.damages import CHANGES, RUINS
from tests.trainer.tiny_world import COMMANDS, World, enter_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with enter_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.mark.parametrize("number", range(25))
def test_twenty_damages_are_named_and_change_no_other_file(world: World, number: int) -> None:
    def damage(draw: Any) -> str:
        command = draw(st.sampled_from(COMMANDS))
        name = draw(st.sampled_from(world.list_files(command)))
        return world.try_damage(command, name, draw(st.sampled_from([*RUINS, *CHANGES])), draw)

    _try_often(20, number, damage)


@pytest.mark.parametrize("number", range(10))
def test_twenty_odd_settings_are_taken_or_named(world: World, number: int) -> None:
    odd = world.list_odd_settings()
    _try_often(20, number, lambda draw: world.try_setting(*draw(st.sampled_from(odd))))


def _try_often(times: int, number: int, try_once: Callable[[Any], str]) -> None:
    """Try as often with what hypothesis draws from a seed, and name all that a person would not accept."""
    faults = []

    @seed(number)
    @settings(max_examples=times, deadline=None, database=None, phases=[Phase.generate])
    @given(data=st.data())
    def run(data: Any) -> None:
        faults.append(try_once(data.draw))

    run()
    assert not list(filter(None, faults))
