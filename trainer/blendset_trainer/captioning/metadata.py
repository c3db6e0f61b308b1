# SPDX-License-Identifier: Apache-2.0
"""The captioner without weights: a small seeded grammar over the facts that a view's records and pixels show.

The same view and seed give the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from blendset.errors import BlendsetError
from blendset.randomness import make_text_random
from blendset_trainer.captioning.english.sentences import compose_dense_caption, compose_short_caption
from blendset_trainer.captioning.grounding import ground_caption
from blendset_trainer.captioning.seeing.facts import extract_facts
from blendset_trainer.stages.caption_forms import DENSE, SHORT
from blendset_trainer.stages.stage import Captioner, Column, View
from blendset_trainer.synthetic_views import SYNTHETIC, prompt_to_captions, read_synthesis

VARIANTS = 4
"""How many other wordings a view gets, short and dense ones in turn."""


@dataclass(frozen=True)
class MetadataCaptioner(Captioner):
    """The stage `metadata`; see `blendset_trainer.stages.stage.Stage`."""

    seed: int = 0

    name = "metadata"
    version = "4"
    reads = frozenset({"rgb", "passes", "record"})
    columns: ClassVar[Mapping[str, Column]] = {
        SHORT: Column(pa.string()),
        DENSE: Column(pa.string()),
        "variants": Column(pa.list_(pa.string())),
        "grounded_share": Column(pa.float32(), "share, 0 to 1"),
        "unsupported": Column(pa.list_(pa.string())),
    }

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        """One row of captions for each view, or why it has none."""
        return [self._caption_view(view) for view in views]

    def _caption_view(self, view: View) -> dict[str, Any] | BlendsetError:
        """Caption a view by its facts; a synthesized view has its prompt, a photo without passes has nulls."""
        if view.record.source == SYNTHETIC:
            try:
                return dict.fromkeys(self.columns) | dict(prompt_to_captions(read_synthesis(view.folder).prompt))
            except BlendsetError as error:
                return error
        if not view.has_passes:
            return dict.fromkeys(self.columns)
        facts = extract_facts(view.record, view.scene, view.rgb, view.passes)
        texts = [
            compose(facts, make_text_random(self.seed, view.record.view_id, number))
            for number, compose in enumerate([compose_short_caption, compose_dense_caption] * (1 + VARIANTS // 2))
        ]
        grounding = ground_caption(" ".join(texts), facts.nouns)
        return {
            SHORT: texts[0],
            DENSE: texts[1],
            "variants": texts[2:],
            "grounded_share": grounding.share,
            "unsupported": list(grounding.unsupported),
        }
