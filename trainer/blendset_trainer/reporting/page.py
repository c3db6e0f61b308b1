# SPDX-License-Identifier: Apache-2.0
"""Renders the page: template, style, script, data and pictures become one HTML file that needs no other."""

from __future__ import annotations

import json
from collections.abc import Sequence

from blendset_trainer.reporting.comparison import ExamplePictures
from blendset_trainer.reporting.data import Report
from blendset_trainer.reporting.judgement import ComparisonSection, EvaluationSection
from blendset_trainer.reporting.templates import make_environment, read_source

BLOCK_SIZE = 100
"""Views whose pictures lie in one script element; `page.js` calls it AT_ONCE."""


def render_page(
    report: Report,
    pictures: Sequence[str],
    evaluations: Sequence[EvaluationSection] = (),
    comparisons: Sequence[tuple[ComparisonSection, Sequence[ExamplePictures]]] = (),
) -> str:
    """Render the page as HTML; `pictures` holds one line per view, in the order of the report's views. Comparisons come
    with the pictures that they show.
    """
    environment = make_environment()
    data = json.dumps(report, default=vars, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    blocks = ["\n".join(pictures[start : start + BLOCK_SIZE]) for start in range(0, len(pictures), BLOCK_SIZE)]
    return environment.get_template("page.html").render(
        name=report.name,
        has_synthesis=report.synthesis is not None,
        has_training=report.training is not None,
        evaluations=evaluations,
        comparisons=comparisons,
        style=read_source(environment, "page.css")
        + (read_source(environment, "judgement.css") if evaluations or comparisons else ""),
        script=read_source(environment, "page.js"),
        report=data.replace("<", "\\u003c"),  # no text inside can end the script element
        blocks=blocks,
    )
