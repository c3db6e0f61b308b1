# SPDX-License-Identifier: Apache-2.0
"""The long form of the damages in tests/trainer/test_layouts.py: 2,000 of each layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.test_layouts import WRITERS, try_damages


@pytest.mark.parametrize("kind", WRITERS)
def test_two_thousand_damages_are_told_in_sentences(kind: str, tmp_path: Path) -> None:
    try_damages(kind, tmp_path / "source", 2000)
