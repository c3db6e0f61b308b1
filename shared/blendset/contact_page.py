# SPDX-License-Identifier: Apache-2.0
"""A page of all pictures of a dataset, for a look from Blender's window; the companion writes the full report."""

from __future__ import annotations

from html import escape
from pathlib import Path

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import atomic_write
from blendset.records import ViewRecord

STYLE = """
body { margin: 2rem; background: #1d1d1d; color: #e6e6e6; font: 15px/1.4 system-ui, sans-serif }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 1.2rem }
figure { margin: 0 } img { width: 100%; border-radius: 4px } figcaption { color: #a8a8a8 } .failed { color: #ff9d7a }
"""


def write_contact_page(dataset: Dataset) -> Path:
    """Write cache/contact.html, which shows the pictures where they lie, and return its path.

    Raises BlendsetError for a dataset without views.
    """
    path = dataset.root / "cache" / "contact.html"
    figures = [_format_figure(dataset, view) for view in dataset.views()]
    if not figures:
        raise BlendsetError(f"{dataset.root} has no views yet; render first.")
    title = escape(dataset.record.name)
    head = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    body = f"<h1>{title}</h1><p>{len(figures)} views</p><main>{''.join(figures)}</main>"
    atomic_write(path, f"{head}{body}\n".encode(errors="backslashreplace"))
    return path


def _format_figure(dataset: Dataset, view: ViewRecord) -> str:
    picture = dataset.rgb_path(view).relative_to(dataset.root).as_posix()
    name = escape(view.subject_label or view.subject or "whole scene")
    faults = f" <span class=failed>{escape(', '.join(view.failed_checks))}</span>" if view.failed_checks else ""
    image = f'<img src="../{escape(picture, quote=True)}" loading=lazy alt="{escape(name, quote=True)}">'
    return f'<figure title="{escape(view.view_id, quote=True)}">{image}<figcaption>{name}{faults}</figcaption></figure>'
