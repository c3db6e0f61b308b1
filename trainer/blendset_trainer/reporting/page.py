# SPDX-License-Identifier: Apache-2.0
"""Joins the page: template, style, script, data and pictures become one HTML file that needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from blendset_trainer.reporting.data import Report

BLOCK = 100
"""Views whose pictures lie in one script element; `page.js` knows it as AT_ONCE."""


def page_of(report: Report, pictures: Sequence[str]) -> str:
    """The page's HTML; `pictures` holds one line per view, in the order of the report's views."""
    room = Environment(
        loader=PackageLoader("blendset_trainer.reporting", "."), autoescape=True, undefined=StrictUndefined
    )
    data = json.dumps(report, default=vars, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    blocks = ["\n".join(pictures[start : start + BLOCK]) for start in range(0, len(pictures), BLOCK)]
    return room.get_template("page.html").render(
        name=report.name,
        has_synthesis=report.synthesis is not None,
        has_training=report.training is not None,
        style=_source(room, "page.css"),
        script=_source(room, "page.js"),
        report=data.replace("<", "\\u003c"),  # no text inside can end the script element
        blocks=blocks,
    )


def _source(room: Environment, name: str) -> str:
    assert room.loader is not None
    return room.loader.get_source(room, name)[0]
