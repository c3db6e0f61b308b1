# SPDX-License-Identifier: Apache-2.0
"""The model card says what a model was made from, in Markdown that the hub and a person can read."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from huggingface_hub import ModelCard
from PIL import Image

from blendset_trainer.training.card import CARD, CURVES, CardData, TrainedOn, format_card, plot_curves, write_card

SOURCE = TrainedOn(
    name="renders", kind="render", dataset="kitchen", selection="sharp", selection_sha256="ab12" * 16, samples=120,
    share=0.75, bands="log-SNR above 0.647", scenes=("attic", "cellar"), licence="CC-BY-4.0",
)  # fmt: skip
DATA = CardData(
    name="kitchen-lora", base_model="owner/base: 1", family="PixArt-Σ", method="LoRA of rank 16", samples_seen=4000,
    steps=500, seed=7, resolution="512 × 512",
    sources=(SOURCE, replace(SOURCE, name="blurred | soft", kind="synthetic", share=0.25, licence="CC0-1.0")),
    curves={"renders, fine": [(8, 0.5), (4000, 0.125)], "blurred, coarse": [(8, 0.25)], "never drawn": []},
    prompts=("a red chair", "a lamp\nin a room"), samples="samples/grid.png", loads="pipeline = load()",
)  # fmt: skip


def rows(text: str) -> list[list[str]]:
    """The cells of every row of a table."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")] for line in lines]


def test_the_hub_reads_its_head() -> None:
    assert ModelCard(format_card(DATA)).data.to_dict() == {
        "library_name": "diffusers", "pipeline_tag": "text-to-image", "base_model": "owner/base: 1",
        "tags": ["blendset", "text-to-image", "lora"],
    }  # fmt: skip
    assert ModelCard(format_card(replace(DATA, method="full"))).data.to_dict()["tags"] == ["blendset", "text-to-image"]


def test_lineage_and_plan_stand_in_tables() -> None:
    table = rows(format_card(DATA))
    assert ["renders", "render", "kitchen", "sharp", f"`{'ab12' * 16}`", "120", "attic, cellar", "CC-BY-4.0"] in table
    assert ["blurred / soft", "0.2500", "log-SNR above 0.647"] in table
    assert ["renders, fine", "0.5000", "0.1250", "4000"] in table
    assert not any("never drawn" in row for row in table)
    assert "2. a lamp in a room" in format_card(DATA)


def test_what_was_not_made_is_not_spoken_of() -> None:
    text = format_card(replace(DATA, curves={}, samples="", prompts=(), loads=""))
    assert "## Noise levels" in text
    assert not any(word in text for word in ("## Loss", "## Samples", "```", CURVES))


def test_the_card_and_its_curves_are_written_the_same_twice(tmp_path: Path) -> None:
    for folder in (tmp_path / "first", tmp_path / "second"):
        write_card(folder, DATA)
    assert (tmp_path / "first" / CARD).read_text(encoding="utf-8") == format_card(DATA)
    assert (tmp_path / "first" / CURVES).read_bytes() == (tmp_path / "second" / CURVES).read_bytes()


def test_each_curve_is_drawn() -> None:
    def colours(**curves: list[tuple[int, float]]) -> int:
        return len(Image.open(io.BytesIO(plot_curves(curves))).convert("RGB").getcolors(1 << 20) or ())

    fine, coarse = [(0, 1.0), (9, 0.5)], [(0, 0.2), (9, 0.1)]
    assert colours(fine=fine) < colours(fine=fine, coarse=coarse)
