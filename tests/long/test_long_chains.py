# SPDX-License-Identifier: Apache-2.0
"""The long form of tests/trainer/test_chains.py: every step of every chain is killed, at its begin, within and at its
end, and the chain ends with the bytes of one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.trainer import chains
from tests.trainer.chains import Chain, Runner


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    chains.make_models(folder)
    return folder


@pytest.fixture(scope="module")
def judge() -> Iterator[str]:
    with chains.judging() as url:
        yield url


@pytest.mark.parametrize("make", [chains.synthvlm, chains.bootstrap3d, chains.syncd])
def test_a_chain_that_is_killed_in_every_step_ends_alike(
    make: Callable[..., Chain], models: Path, judge: str, tmp_path: Path
) -> None:
    runner, chain = Runner(), make(judge) if make is chains.bootstrap3d else make()
    whole = chains.prepare(chain, tmp_path / "whole" / "work", models)
    ends = runner.run(chain, whole)
    expected = chains.read_results(whole)
    begins = [0, *ends[:-1]]
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        for at in sorted({begin + 1, (begin + end + 1) // 2, end} - {begin}):
            killed = chains.prepare(chain, tmp_path / f"killed-{number}-{at}" / "work", models)
            runner.run(chain, killed, kill_at=at)
            runner.run(chain, killed)
            found = chains.read_results(killed)
            differ = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
            assert differ == [], (chain.steps[number], at)
