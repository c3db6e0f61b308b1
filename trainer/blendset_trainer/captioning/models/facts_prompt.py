# SPDX-License-Identifier: Apache-2.0
"""What the id pass knows of some views, as a part of a prompt."""

from __future__ import annotations

from collections.abc import Sequence

from blendset_trainer.models.chat.instructions import read_prompt
from blendset_trainer.stages.stage import View
from blendset_trainer.things import label_parts, label_visible_objects

MIN_SHARE = 0.005
"""Labels with a smaller share of the picture are left out of a prompt."""


def build_facts_prompt(views: Sequence[View]) -> str:
    """The subject and the labels that the id pass knows to be in these views; "" where nothing has a label."""
    shares: dict[str, float] = {}
    for view in views:
        for label, share in _compute_label_shares(view).items():
            shares[label] = max(share, shares.get(label, 0.0))
    labels = sorted(shares, key=lambda label: (-shares[label], label))
    if not labels:
        return ""
    listing = ", ".join(f"{label} ({shares[label]:.0%})" for label in labels)
    return read_prompt("facts").format(subject=views[0].record.subject_label or "the whole scene", things=listing)


def _compute_label_shares(view: View) -> dict[str, float]:
    """The share of the picture that the things of each label have, 0 to 1."""
    shares: dict[str, float] = {}
    for entry in label_visible_objects(view.record, label_parts(view.scene)):
        if entry.label:
            shares[entry.label] = shares.get(entry.label, 0.0) + entry.share
    return {label: share for label, share in shares.items() if share >= MIN_SHARE}
