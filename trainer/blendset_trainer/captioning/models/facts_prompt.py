# SPDX-License-Identifier: Apache-2.0
"""What the id pass knows of some views, as a part of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from blendset_trainer.models.chat.instructions import read_prompt
from blendset_trainer.stages.stage import View

MIN_SHARE = 0.005
"""Of the picture: smaller things are not worth a word in a prompt."""


def build_facts_prompt(views: Sequence[View]) -> str:
    """What the id pass knows to be in these views, as an addition to a prompt; "" where nothing has a label."""
    shares: dict[str, float] = {}
    for view in views:
        for label, share in _compute_label_shares(view).items():
            shares[label] = max(share, shares.get(label, 0.0))
    things = sorted(shares, key=lambda label: (-shares[label], label))
    if not things:
        return ""
    listed = ", ".join(f"{label} ({shares[label]:.0%})" for label in things)
    return read_prompt("facts").format(subject=views[0].record.subject_label or "the whole scene", things=listed)


def _compute_label_shares(view: View) -> dict[str, float]:
    shares: dict[str, float] = {}
    for each in view.record.visible_objects:
        if each.label:
            shares[each.label] = shares.get(each.label, 0.0) + each.share
    return {label: share for label, share in shares.items() if share >= MIN_SHARE}
