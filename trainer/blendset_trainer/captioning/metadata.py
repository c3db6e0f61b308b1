# SPDX-License-Identifier: Apache-2.0
"""The captioner without weights: sentences composed from what a view's own records and pixels show.

A small seeded grammar over `Facts`: the same view and seed give the same words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal

import pyarrow as pa

from blendset.errors import BlendsetError
from blendset_trainer.captioning.english.sentences import compose_dense_caption, compose_short_caption
from blendset_trainer.captioning.grounding import ground_caption
from blendset_trainer.captioning.seeing.facts import extract_facts
from blendset_trainer.stages.stage import Column, View
from blendset_trainer.synthetic_views import SYNTHETIC, prompt_to_captions, read_synthesis

VARIANTS = 4


@dataclass(frozen=True)
class MetadataCaptioner:
    """The stage `metadata`; see `blendset_trainer.stages.stage.Stage`."""

    seed: int = 0

    name: ClassVar[str] = "metadata"
    version: ClassVar[str] = "4"
    revision: ClassVar[str] = ""
    kind: ClassVar[Literal["captions", "scores"]] = "captions"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "passes", "record"})
    whole_sets: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, Column]] = {
        "short": Column(pa.string()),
        "dense": Column(pa.string()),
        "variants": Column(pa.list_(pa.string())),
        "grounded_share": Column(pa.float32(), "share, 0 to 1"),
        "unsupported": Column(pa.list_(pa.string())),
    }

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {"seed": self.seed}

    def setup(self) -> None:
        """Nothing to load."""

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        return [self._caption_view(view) for view in views]

    def _caption_view(self, view: View) -> dict[str, Any] | BlendsetError:
        """Nothing for a photograph, of which no pass speaks; of a synthesized view its prompt is what is known."""
        if view.record.source == SYNTHETIC:
            try:
                return dict.fromkeys(self.columns) | dict(prompt_to_captions(read_synthesis(view.folder).prompt))
            except BlendsetError as error:
                return error
        if not view.has_passes:
            return dict.fromkeys(self.columns)
        facts = extract_facts(view.record, view.scene, view.rgb, view.passes)
        texts = [
            compose(facts, Random(f"{self.seed} {view.record.view_id} {number}"))
            for number, compose in enumerate([compose_short_caption, compose_dense_caption] * (1 + VARIANTS // 2))
        ]
        said = ground_caption(" ".join(texts), facts.nouns)
        return {
            "short": texts[0],
            "dense": texts[1],
            "variants": texts[2:],
            "grounded_share": said.share,
            "unsupported": list(said.unsupported),
        }
