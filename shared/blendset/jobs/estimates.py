# SPDX-License-Identifier: Apache-2.0
"""How long the views of a plan will take, and how much of the disk: by what their previews took."""

from __future__ import annotations

from blendset.config import Config
from blendset.jobs.messages import ScenePlanned

LONG_S = 90
"""Above this a time is given in minutes."""


def estimate_view_seconds(planned: ScenePlanned, config: Config) -> float:
    """Return the seconds that one view will take, by pixels and samples; 0 where no preview was rendered."""
    view, preview = config.render, config.preview
    effort = (view.resolution / preview.resolution) ** 2 * view.samples / preview.samples
    return planned.previews_s / max(planned.previews, 1) * effort


def format_seconds(seconds: float) -> str:
    """Return a time as a person says it."""
    return f"{seconds / 60:.0f} min" if seconds > LONG_S else f"{seconds:.0f} s"


def format_size(size: float) -> str:
    """Return bytes as a person says them."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def describe_costs(planned: ScenePlanned, config: Config, views: int, free: int) -> str:
    """Return what rendering so many of the plan's views will cost; "" where no preview tells.

    `free` is how many bytes the disk has left.
    """
    if not planned.bytes or not views:
        return ""
    size = planned.bytes * views / len(planned.views)
    seconds = estimate_view_seconds(planned, config) * views / config.jobs.workers
    return f"about {format_seconds(seconds)} and {format_size(size)} ({format_size(free)} free)"


def warn_of_full_disk(planned: ScenePlanned, views: int, free: int) -> list[str]:
    """Return a note where so many of the plan's views need more than `free` bytes; an empty list where they do not."""
    size = planned.bytes * views / max(len(planned.views), 1)
    if size <= free:
        return []
    return [f"the views need about {format_size(size)} and {format_size(free)} are free; free some space first"]
