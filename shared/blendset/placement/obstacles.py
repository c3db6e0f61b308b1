# SPDX-License-Identifier: Apache-2.0
"""Why a scene gives no view, or fewer than were asked for: one sentence each, with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blendset.config import Config
from blendset.naming import join_names
from blendset.placement.planner import PlanningResult
from blendset.placement.reasons import Reason
from blendset.placement.selection import Unit

GATES: tuple[tuple[str, tuple[Reason, ...]], ...] = (
    ("clearance", (Reason.CLEARANCE,)),
    ("framing", (Reason.TRUNCATED,)),
    ("visibility", (Reason.BLOCKED, Reason.HIDDEN)),
    ("inside solid", (Reason.INSIDE_SOLID,)),
    (
        "the ray grid",
        (
            Reason.ONE_SURFACE,
            Reason.TOO_LITTLE_IN_FRAME,
            Reason.TOO_MUCH_IN_FRAME,
            Reason.NEAR_OCCLUDER,
            Reason.BARE,
            Reason.TOO_CLOSE,
        ),
    ),
    (
        "the preview",
        (
            Reason.TEXTURE_MISSING,
            Reason.HIDDEN_IN_PICTURE,
            Reason.TOO_LITTLE_IN_PICTURE,
            Reason.TOO_MUCH_IN_PICTURE,
            Reason.TRUNCATED_IN_PICTURE,
            Reason.DARK,
            Reason.DARK_SUBJECT,
            Reason.BLOWN_OUT,
            Reason.FLAT,
            Reason.FLAT_SUBJECT,
        ),
    ),
)
"""The gates in the order in which a camera passes them, each with its reasons."""
PREVIEW = GATES[-1][1]
_PUT_BACK = "put the missing files back, leave out what uses them (subjects.exclude), or use --missing neutral"
_LIGHT = "add a lamp, or use --lighting sky or interior"
CURES: Mapping[str, str] = {
    Reason.CLEARANCE: "lower gates.clearance and gates.clearance_metres",
    Reason.TRUNCATED: "raise gates.truncation, or lower cameras.fill",
    Reason.BLOCKED: "lower gates.visible_fraction, or leave out what hides it",
    Reason.HIDDEN: "lower gates.visible_fraction, or leave out what hides it",
    Reason.INSIDE_SOLID: "raise gates.back_faces, or turn the normals outside in Blender",
    Reason.ONE_SURFACE: "raise gates.one_surface",
    Reason.TOO_LITTLE_IN_FRAME: "lower gates.subject_share_min, or raise cameras.fill",
    Reason.TOO_MUCH_IN_FRAME: "raise gates.subject_share_max, or lower cameras.fill",
    Reason.NEAR_OCCLUDER: "raise gates.near_occluder",
    Reason.TEXTURE_MISSING: _PUT_BACK,
    Reason.HIDDEN_IN_PICTURE: "leave out what hides it",
    Reason.TOO_LITTLE_IN_PICTURE: "raise cameras.fill",
    Reason.TOO_MUCH_IN_PICTURE: "lower cameras.fill",
    Reason.TRUNCATED_IN_PICTURE: "lower cameras.fill",
    Reason.DARK: _LIGHT,
    Reason.DARK_SUBJECT: _LIGHT,
    Reason.BLOWN_OUT: "make the lamps weaker, or raise render.exposure_ev",
    Reason.FLAT: "give things materials, or use --lighting sky, interior or studio",
    Reason.FLAT_SUBJECT: "give things materials, or use --lighting sky, interior or studio",
    "too small": "lower subjects.smallest",
    "too large": "raise subjects.largest",
    "not included": "check subjects.include",
    "excluded": "check subjects.exclude",
    "plain": "name it in subjects.include",
    "plain panel": "name it in subjects.include",
}
"""What to do about a reason: of a gate, or why a thing is no subject."""
_SUMS = ("candidates", "accepted", "found", "seen", "chosen")


def explain_no_views(
    funnel: Mapping[str, int], subjects: Mapping[str, int] | None = None, files: Sequence[str] = ()
) -> str:
    """Return why a scene gives no view at all.

    `funnel` counts its cameras by reason, `subjects` its things; `files` are those that the things lack. The reason is
    that of the last gate that any camera came to; where nothing is a subject, it is why.
    """
    left_out = _drop_sums(subjects or {})
    if left_out and not (subjects or {}).get("found"):
        return f"nothing in it can be a subject ({format_counts(left_out, files)}); {_find_cure(left_out)}"
    for name, reasons in reversed(GATES):
        failed: dict[str, int] = {reason: funnel[reason] for reason in reasons if funnel.get(reason)}
        if failed:
            count, total = sum(failed.values()), funnel.get("candidates", 0)
            rest = f"all {count}" if count >= total else f"the last {count} of {total}"
            return f"{rest} cameras failed at {name} ({format_counts(failed, files)}); {_find_cure(failed)}"
    return "nothing in it can be photographed (no camera was proposed); check that it renders in Blender"


def explain_losses(funnel: Mapping[str, int], count: int, asked: int) -> str:
    """Return why there are `count` views instead of as many as `asked` for, where previews turned others down."""
    failed: dict[str, int] = {reason: funnel[reason] for reason in PREVIEW if funnel.get(reason)}
    return (
        f"{count} of {asked} views: {sum(failed.values())} previews failed ({format_counts(failed)}); "
        f"{_find_cure(failed)}"
    )


def explain_limits(result: PlanningResult, config: Config, views: Mapping[str, int], count: int) -> str:
    """Return which limits keep a plan at `count` views, where no preview did; `views` counts them by subject."""
    cameras = config.cameras
    if config.renders_all:
        return f"{count} of {cameras.views} views: --preset {cameras.preset} proposes no more cameras"
    pools = [(views.get(_get_id(units), 0), sum(map(len, units))) for units in result.subject_units]
    limits = []
    if any(used >= cameras.per_subject for used, _ in pools):
        limits.append(f"cameras.per_subject = {cameras.per_subject}")
    if any(used < min(cameras.per_subject, there) for used, there in pools):
        limits.append(f"cameras.separation_deg = {cameras.separation_deg:g}")
    if copies := result.search.left_out.get("copy"):
        limits.append(f"subjects.copies = {config.subjects.copies}, which leaves out {copies},")
    things = "1 subject is" if len(pools) == 1 else f"{len(pools)} subjects are"
    bound = f", and {' and '.join(limits)} allow{'s' * (len(limits) == 1)} no more" if limits else ""
    return f"{count} of {cameras.views} views: {things} in sight{bound}"


def format_counts(counts: Mapping[str, int], files: Sequence[str] = ()) -> str:
    """Return counts as a person reads them, the largest first; missing files stand behind their reason."""
    ranked = sorted(counts.items(), key=lambda entry: -entry[1])
    named = f": {join_names(files, 3)}" if files else ""
    return ", ".join(f"{count} {name}{named * (name == Reason.TEXTURE_MISSING)}" for name, count in ranked)


def _drop_sums(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count and name not in _SUMS}


def _get_id(units: Sequence[Unit]) -> str:
    subject = units[0][0].candidate.subject
    return subject.id if subject else ""


def _find_cure(counts: Mapping[str, int]) -> str:
    """What to do about the commonest reason that something can be done about."""
    cures = (CURES[name] for name in sorted(counts, key=lambda name: -counts[name]) if name in CURES)
    return next(cures, "check that it renders in Blender")
