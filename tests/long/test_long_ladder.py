# SPDX-License-Identifier: Apache-2.0
"""The long form of tests/trainer/test_ladder.py: a ladder is killed in each step of each run, one after another, and
ends with the bytes of one that was not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blendset_trainer.evaluation.ladder.ablate import ablate
from tests.trainer.test_ladder import dataset, kill_after, model, write_ladder

__all__ = ["dataset", "model", "write_ladder"]


def test_a_ladder_that_is_killed_in_every_step_ends_alike(write_ladder: Any, tmp_path: Path) -> None:
    steps: dict[str, bool] = {}

    def note_step(what: str, done: int, total: int) -> None:
        steps[what] = steps.get(what, False) or done > 0

    ablate(write_ladder("whole"), on_progress=note_step)
    killed = write_ladder("killed")
    kills = [what for what, has_begun in steps.items() if has_begun]
    assert len(kills) >= 3 * 4  # training, drawing and measuring, of two rungs with two seeds
    for what in kills:
        kill_after(killed, what)
    ablate(killed)
    assert (tmp_path / "killed" / "ablation.json").read_bytes() == (tmp_path / "whole" / "ablation.json").read_bytes()
