# SPDX-License-Identifier: Apache-2.0
"""Whether a round's model is the better one, and when no further round is made."""

from __future__ import annotations

from collections.abc import Sequence

from blendset_trainer.evaluation.metrics import LOWER
from blendset_trainer.evolution.records import RoundFigure, RoundRecord
from blendset_trainer.evolution.settings import JudgeSettings

BASE = "the base model"


def judge_round(
    figures: Sequence[RoundFigure], base: RoundRecord, best: RoundRecord, settings: JudgeSettings
) -> tuple[bool, str]:
    """Return whether a round's model takes the place of the best so far, and why.

    It does where the judge's figure is not below the best one's, its difference to the base model is not clearly to
    the worse, and as much diversity is left as the settings ask for.
    """
    named = {figure.name: figure for figure in figures}
    figure, before = named[settings.by], best.find_figure(settings.by)
    sign = -1 if figure.better == LOWER else 1
    assert before is not None and figure.difference is not None
    worst = max(sign * figure.difference.low, sign * figure.difference.high)
    if worst < 0:
        return False, f"{settings.by} is clearly worse than of {BASE}"
    if settings.diversity:
        spread, first = named[settings.diversity], base.find_figure(settings.diversity)
        assert first is not None
        if spread.estimate.value < settings.least_diversity * first.estimate.value:
            share = spread.estimate.value / first.estimate.value
            return False, f"{settings.diversity} is {share:.0%} of what it is of {BASE}"
    if sign * figure.estimate.value < sign * before.estimate.value:
        return False, f"{settings.by} is not better than in round {best.number}"
    return True, f"{settings.by} is as good as in round {best.number} or better"


def explain_stop(rounds: Sequence[RoundRecord], most: int, patience: int) -> str:
    """Return why no further round is made; "" where one is."""
    recent = rounds[1:][-patience:]
    if len(recent) == patience and not any(each.accepted for each in recent):
        return f"{patience} rounds in a row were not accepted" if patience > 1 else "the last round was not accepted"
    return f"all {most} rounds are made" if len(rounds) > most else ""
