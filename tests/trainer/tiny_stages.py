# SPDX-License-Identifier: Apache-2.0
"""Stages for tests: a small real one, and some that die as stages in worker processes do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import torch

from blendset.errors import BlendsetError
from blendset_trainer.stages.stage import Column, View


@dataclass(frozen=True)
class Redness:
    """The mean red of a picture, and how many pictures came with it; stops after some rows where a test says so."""

    parameters: dict[str, Any] = field(default_factory=dict)
    reads: frozenset[str] = frozenset({"rgb"})
    whole_sets: bool = False
    dies_after: int = 1 << 30
    revision: str = ""
    name: ClassVar[str] = "redness"
    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    columns: ClassVar[dict[str, Column]] = {
        "red": Column(pa.float64(), "grey levels, 0 to 255"),
        "company": Column(pa.int64(), "views"),
        "caption": Column(pa.string()),
    }
    seen: list[str] = field(default_factory=list, compare=False)

    def setup(self) -> None:
        self.seen.clear()

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        if len(self.seen) >= self.dies_after:
            raise KeyboardInterrupt
        self.seen.extend(view.record.view_id for view in views)
        return [
            {
                "red": float(view.rgb[..., 0].mean()),
                "company": len({other.record.view_id for other in views if other.record.view_set}),
                "caption": view.caption,
            }
            for view in views
        ]


@dataclass(frozen=True)
class Hungry(Redness):
    """Needs more memory than any machine has for more than some views at once."""

    at_once: int = 0

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        if len(views) > self.at_once:
            torch.empty(1 << 60)
        return super().compute_rows(views)


@dataclass(frozen=True)
class Mortal(Redness):
    """Its process is killed at a view, as often as there are files in a folder, each of which says so once."""

    dies_at: str = ""
    lives: Path = Path()

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        if any(view.record.view_id == self.dies_at for view in views) and (left := list(self.lives.iterdir())):
            left[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().compute_rows(views)


@dataclass(frozen=True)
class Refusing(Redness):
    """A stage whose model is not there."""

    def setup(self) -> None:
        raise BlendsetError("There is no model here; name another.")


@dataclass(frozen=True)
class Sleeping(Redness):
    """Writes its process's number into a folder, and then takes longer than any test."""

    log: Path = Path()

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        (self.log / f"{os.getpid()}.pid").touch()
        time.sleep(600)
        return super().compute_rows(views)
