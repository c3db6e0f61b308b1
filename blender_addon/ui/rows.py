# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lists show, on the window manager: written when something changes, never saved, only read when drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews
import numpy as np

from blendset.dataset import INDEX
from blendset.errors import BlendsetError
from blendset.placement.subjects import Subject

from .. import jobs, planning
from ..properties import dataset_folder, declared, settings_of
from . import overlay

Property = bpy.props

BLENDSET_PG_subject_row = declared(
    "BLENDSET_PG_subject_row",
    "A subject in the list; its name is the subject's id.",
    label=Property.StringProperty(name="Label", description="What it is called; saved with the object"),
    views=Property.IntProperty(),
    cameras=Property.IntProperty(),
    unseen=Property.StringProperty(),
    left_out=Property.BoolProperty(),
)
BLENDSET_PG_reason_row = declared(
    "BLENDSET_PG_reason_row",
    "What a gate took, in the funnel; its name is the reason.",
    count=Property.IntProperty(),
    share=Property.FloatProperty(),
)
BLENDSET_PG_view_row = declared(
    "BLENDSET_PG_view_row",
    "A view in the list; its name is what it is of.",
    number=Property.IntProperty(description="The candidate's number; negative for one that was added by hand"),
    score=Property.FloatProperty(),
    turned_down=Property.BoolProperty(),
)


def _redraw(_shown: object, _context: object) -> None:
    overlay.changed()


BLENDSET_PG_window = declared(
    "BLENDSET_PG_window",
    "What the window shows of the last plan.",
    subjects=Property.CollectionProperty(type=BLENDSET_PG_subject_row),
    subject=Property.IntProperty(name="Subject", update=_redraw),
    left_out=Property.IntProperty(name="Left out"),
    reasons=Property.CollectionProperty(type=BLENDSET_PG_reason_row),
    reason=Property.IntProperty(name="Reason", update=_redraw),
    views=Property.CollectionProperty(type=BLENDSET_PG_view_row),
    view=Property.IntProperty(name="View", update=_redraw),
    candidates=Property.IntProperty(),
    there=Property.StringProperty(),
    picture=Property.IntProperty(),
    unfinished=Property.StringProperty(),
    doing=Property.StringProperty(),
    done=Property.IntProperty(),
    progress=Property.FloatProperty(),
    show_accepted=Property.BoolProperty(
        name="Chosen cameras", description="Show the cameras of the planned views", default=True, update=_redraw
    ),
    show_rejected=Property.BoolProperty(
        name="Rejected cameras",
        description="Show the cameras that the reason selected in the funnel took",
        update=_redraw,
    ),
)

CLASSES = (BLENDSET_PG_subject_row, BLENDSET_PG_reason_row, BLENDSET_PG_view_row, BLENDSET_PG_window)


def window(context: bpy.types.Context) -> Any:
    """What the window shows."""
    return context.window_manager.blendset


def refresh(context: bpy.types.Context, plan: planning.WindowPlan | None) -> None:
    """Write all lists from a plan."""
    shown = window(context)
    for rows in (shown.subjects, shown.reasons, shown.views):
        rows.clear()
    shown.candidates = 0
    if plan is not None:
        _subjects(context, plan)
        _reasons(shown, plan)
        _views(shown, plan)
    overlay.changed()


def look_at_dataset(context: bpy.types.Context) -> None:
    """Write what is in the dataset's folder, and whether a job of this file is unfinished there."""
    shown = window(context)
    shown.there, shown.unfinished = "nothing there yet", ""
    try:
        root = dataset_folder(context.scene)
        if (root / "dataset.json").is_file():
            index = root / INDEX
            rendered = len(index.read_text(encoding="utf-8").splitlines()) if index.is_file() else 0
            scenes = len(list((root / "scenes").glob("*.json")))
            shown.there = f"{rendered} views of {scenes} scene{'s' * (scenes != 1)}"
            if bpy.data.filepath:
                shown.unfinished = str(jobs.unfinished(context.scene, Path(bpy.data.filepath), root) or "")
    except (BlendsetError, OSError) as error:
        shown.there = str(error)


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _file_opened(*_: object) -> None:
    planning.remember(None)
    window(bpy.context).doing = ""
    refresh(bpy.context, None)
    look_at_dataset(bpy.context)


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _file_saved(*_: object) -> None:
    look_at_dataset(bpy.context)


def _job_pumped(job: jobs.RenderJob) -> None:
    """Load the last picture where drawing finds it; look at the dataset at the end."""
    if job.picture and job.picture not in _pictures and Path(job.picture).exists():
        _pictures.clear()
        window(bpy.context).picture = _pictures.load(job.picture, job.picture, "IMAGE").icon_id
    if job.supervisor.finished:
        look_at_dataset(bpy.context)
    overlay.redraw()


def _subjects(context: bpy.types.Context, plan: planning.WindowPlan) -> None:
    shown, views, unseen = window(context), plan.views_of(), plan.why_unseen()
    cameras = {
        units[0][0].candidate.subject.id: len(units)
        for units in plan.planned.subject_units
        if units[0][0].candidate.subject
    }
    out = {each.object.name_full for each in settings_of(context.scene).left_out if each.object}
    for subject in sorted(plan.planned.found.subjects, key=lambda each: (-views[each.id], -cameras.get(each.id, 0))):
        row = shown.subjects.add()
        row.name, row.label = subject.id, subject.label
        row.views, row.cameras, row.unseen = views[subject.id], cameras.get(subject.id, 0), unseen.get(subject.id, "")
        row.left_out = not out.isdisjoint(names_of(plan, subject))
    shown.subject = min(shown.subject, max(len(shown.subjects) - 1, 0))


def names_of(plan: planning.WindowPlan, subject: Subject) -> list[str]:
    """The objects that make a subject, by name; instances stand for the object that scatters them."""
    objects = [plan.opened.snapshot.objects[number - 1] for number in sorted(subject.objects)]
    return list(dict.fromkeys(each.instance_of or each.name for each in objects))


def objects_of(plan: planning.WindowPlan, subject: Subject) -> list[bpy.types.Object]:
    """The objects that make a subject and are still there under their names."""
    names = set(names_of(plan, subject))
    return [each for each in bpy.data.objects if each.name_full in names]


def largest_object(plan: planning.WindowPlan, subject: Subject) -> str:
    """The object that a subject goes by: a table's top rather than one of its legs."""
    boxes = plan.opened.snapshot.bounds
    sizes = {number: float(np.linalg.norm(boxes[number - 1, 1] - boxes[number - 1, 0])) for number in subject.objects}
    return plan.opened.snapshot.objects[max(sizes, key=lambda number: sizes[number]) - 1].name


def _reasons(shown: Any, plan: planning.WindowPlan) -> None:
    counts = plan.planned.counts()
    shown.candidates = counts.pop("candidates")
    for reason, count in counts.items():
        row = shown.reasons.add()
        row.name, row.count, row.share = reason, count, count / max(shown.candidates, 1)
    shown.reason = min(shown.reason, max(len(shown.reasons) - 1, 0))


def _views(shown: Any, plan: planning.WindowPlan) -> None:
    down = sorted(plan.turned_down)
    numbered = [(number, plan.planned.verdicts[number]) for number in [*plan.chosen, *down]]
    numbered += [(-1 - place, verdict) for place, verdict in enumerate(plan.added)]
    for number, verdict in numbered:
        row, candidate = shown.views.add(), verdict.candidate
        row.name = candidate.name or (candidate.subject.id if candidate.subject else "whole scene")
        row.number, row.score, row.turned_down = number, verdict.score, number in plan.turned_down
    shown.view = min(shown.view, max(len(shown.views) - 1, 0))


_pictures: Any = None


def register() -> None:
    """Give the window manager its rows."""
    global _pictures
    _pictures = bpy.utils.previews.new()
    bpy.types.WindowManager.blendset = bpy.props.PointerProperty(type=BLENDSET_PG_window)
    bpy.app.handlers.load_post.append(_file_opened)
    bpy.app.handlers.save_post.append(_file_saved)
    jobs.listeners.append(_job_pumped)


def unregister() -> None:
    """Take them back."""
    bpy.utils.previews.remove(_pictures)
    jobs.listeners.remove(_job_pumped)
    bpy.app.handlers.save_post.remove(_file_saved)
    bpy.app.handlers.load_post.remove(_file_opened)
    del bpy.types.WindowManager.blendset
