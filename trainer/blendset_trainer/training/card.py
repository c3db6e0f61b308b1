# SPDX-License-Identifier: Apache-2.0
"""The model card: what a model was trained from and on, under which plan, and its losses; Markdown from plain data."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from blendset.files import atomic_write

CARD, CURVES = "README.md", "curves.png"
Curve = Sequence[tuple[int, float]]
"""Pairs of samples seen and loss."""


@dataclass(frozen=True)
class TrainedOn:
    """A source of the training: its dataset and selection, its share and its noise levels."""

    name: str
    kind: str
    dataset: str
    selection: str
    selection_sha256: str
    samples: int
    share: float
    """The source's share of all samples."""
    bands: str
    """The noise levels that it trained, as text."""
    scenes: tuple[str, ...]
    licence: str


@dataclass(frozen=True)
class CardData:
    """What a model card says."""

    name: str
    base_model: str
    family: str
    method: str
    """`full`, or the rank of a LoRA as text."""
    samples_seen: int
    steps: int
    seed: int
    resolution: str
    sources: tuple[TrainedOn, ...]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """Losses by "source/band"."""
    prompts: tuple[str, ...] = ()
    """The prompts of the pictures in `samples`."""
    samples: str = ""
    """The name of a picture in the model's folder; empty where there is none."""
    loads: str = ""
    """Python that loads the model."""


_TEMPLATE = """\
---
library_name: diffusers
pipeline_tag: text-to-image
base_model: {{ data.base_model|yaml }}
tags: [blendset, text-to-image{{ ", lora" if data.method != "full" }}]
---

# {{ data.name }}

{{ data.family }}, trained from `{{ data.base_model }}` ({{ data.method }}) with Blendset:
{{ data.samples_seen }} samples in {{ data.steps }} steps at {{ data.resolution }}, seed {{ data.seed }}.
The base model's licence holds for this model too; those of the data stand below.
{% if data.loads %}
```python
{{ data.loads }}
```
{% endif %}
## Data

| source | kind | dataset | selection | SHA-256 | samples | scenes | licence |
|---|---|---|---|---|---|---|---|
{%- for each in data.sources %}
| {{ [each.name, each.kind, each.dataset, each.selection or "all", "`" ~ each.selection_sha256 ~ "`", each.samples,
      each.scenes|join(", "), each.licence]|map("cell")|join(" | ") }} |
{%- endfor %}

## Noise levels

| source | share of samples | noise levels |
|---|---|---|
{%- for each in data.sources %}
| {{ each.name|cell }} | {{ "%.4f"|format(each.share) }} | {{ each.bands|cell }} |
{%- endfor %}
{% if data.curves %}
## Loss

![loss by samples seen]({{ curves_file }})

| source and band | first | last | samples at last |
|---|---|---|---|
{%- for name, curve in data.curves.items() if curve %}
| {{ name|cell }} | {{ "%.4f"|format(curve[0][1]) }} | {{ "%.4f"|format(curve[-1][1]) }} | {{ curve[-1][0] }} |
{%- endfor %}
{% endif %}
{%- if data.samples %}
## Samples

![samples]({{ data.samples }})
{% for prompt in data.prompts %}
{{ loop.index }}. {{ prompt|cell }}
{%- endfor %}
{% endif %}"""


def format_card(data: CardData) -> str:
    """The card's Markdown, with the metadata that the Hugging Face Hub reads at its top."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {"cell": _escape_cell, "yaml": json.dumps}
    return environment.from_string(_TEMPLATE).render(data=data, curves_file=CURVES).rstrip() + "\n"


def write_card(folder: Path, data: CardData) -> None:
    """Write the card, and the plot of its curves, into the model's folder."""
    if data.curves:
        atomic_write(folder / CURVES, plot_curves(data.curves))
    atomic_write(folder / CARD, format_card(data).encode(errors="backslashreplace"))


def plot_curves(curves: Mapping[str, Curve]) -> bytes:
    """A PNG of loss by samples seen, with a line for each curve; the same bytes for the same curves."""
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot(xlabel="samples seen", ylabel="loss")
    for name, curve in curves.items():
        axes.plot([samples for samples, _ in curve], [loss for _, loss in curve], label=name)
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _escape_cell(value: object) -> str:
    """Text that stays within a cell of a Markdown table."""
    return " ".join(str(value).replace("|", "\\|").split())
