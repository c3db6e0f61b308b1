# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the rows of the window's lists, when a plan, a dataset or a job has changed: drawing only reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from blendset.dataset import INDEX
from blendset.errors import BlendsetError

from . import state
from .planning.window_plan import WindowPlan
from .properties import get_dataset_folder, get_settings
from .render_job import RenderJob, find_unfinished_plan


def write_lists(context: bpy.types.Context, plan: WindowPlan | None) -> None:
    """Write all lists from a plan."""
    lists = state.get_lists(context)
    for rows in (lists.subjects, lists.reasons, lists.views):
        rows.clear()
    lists.candidates = 0
    if plan is not None:
        _write_subjects(context, plan)
        _write_reasons(lists, plan)
        _write_views(lists, plan)
    state.mark_changed()


def _write_subjects(context: bpy.types.Context, plan: WindowPlan) -> None:
    lists, views, obstacles = state.get_lists(context), plan.count_views(), plan.find_obstacles()
    cameras = {
        units[0][0].candidate.subject.id: len(units)
        for units in plan.result.subject_units
        if units[0][0].candidate.subject
    }
    out = {pointer.object.name_full for pointer in get_settings(context.scene).left_out if pointer.object}
    for subject in sorted(
        plan.result.search.subjects, key=lambda subject: (-views[subject.id], -cameras.get(subject.id, 0))
    ):
        row = lists.subjects.add()
        row.name, row.label, row.views = subject.id, subject.label, views[subject.id]
        row.cameras, row.unseen = cameras.get(subject.id, 0), obstacles.get(subject.id, "")
        row.left_out = not out.isdisjoint(plan.list_object_names(subject))
    lists.subject = min(lists.subject, max(len(lists.subjects) - 1, 0))


def _write_reasons(lists: Any, plan: WindowPlan) -> None:
    counts = plan.result.count_reasons()
    lists.candidates = counts.pop("candidates")
    for reason, count in counts.items():
        row = lists.reasons.add()
        row.name, row.count, row.share = reason, count, count / max(lists.candidates, 1)
    lists.reason = min(lists.reason, max(len(lists.reasons) - 1, 0))


def _write_views(lists: Any, plan: WindowPlan) -> None:
    down = sorted(plan.turned_down)
    numbered = [(number, plan.result.verdicts[number]) for number in [*plan.chosen, *down]]
    numbered += [(-1 - index, verdict) for index, verdict in enumerate(plan.added)]
    for number, verdict in numbered:
        row, candidate = lists.views.add(), verdict.candidate
        row.name = candidate.name or (candidate.subject.id if candidate.subject else "whole scene")
        row.number, row.score, row.turned_down = number, verdict.score, number in plan.turned_down
    lists.view = min(lists.view, max(len(lists.views) - 1, 0))


def write_dataset_status(context: bpy.types.Context) -> None:
    """Write what is in the dataset's folder, and whether a job of this file is unfinished there."""
    lists = state.get_lists(context)
    lists.there, lists.unfinished = "nothing there yet", ""
    try:
        root = get_dataset_folder(context.scene)
        if (root / "dataset.json").is_file():
            index = root / INDEX
            rendered = len(index.read_text(encoding="utf-8").splitlines()) if index.is_file() else 0
            scenes = len(list((root / "scenes").glob("*.json")))
            lists.there = f"{rendered} views of {scenes} scene{'s' * (scenes != 1)}"
            if bpy.data.filepath:
                lists.unfinished = str(find_unfinished_plan(context.scene, Path(bpy.data.filepath), root) or "")
    except (BlendsetError, OSError) as error:
        lists.there = str(error)


def show_job(job: RenderJob) -> None:
    """Load the last picture where drawing finds it; read the dataset's status at the end."""
    if job.picture and Path(job.picture).exists() and (icon := state.load_picture(job.picture)) is not None:
        state.get_lists(bpy.context).picture = icon
    if job.supervisor.finished:
        write_dataset_status(bpy.context)
    state.redraw_viewports()
