# SPDX-License-Identifier: Apache-2.0
"""What a supervisor and a worker tell each other, a dataclass each: the job, the commands, and the events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from blendset.converter import strict_converter


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs to know from the start.

    `opened_path` is the file to open in place of the scene; `sha256` is the scene's own hash where that is a copy.
    `plan` is the path of a plan that a user named, `run` the name of one that another worker made.
    `slot` is the worker's number from 0 among `slots` that share this machine's devices.
    """

    scene_path: str
    opened_path: str
    sha256: str
    dataset: str
    config: dict[str, Any]
    plan: str | None
    run: str | None
    slot: int = 0
    slots: int = 1


# ---- commands, from the supervisor -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlanScene:
    """Plan the scene, or adopt the plan that is there; `previews` says whether previews may be rendered."""

    word: ClassVar[str] = "plan"
    previews: bool


@dataclass(frozen=True)
class RenderViews:
    """Render these views of the plan, in order."""

    word: ClassVar[str] = "render"
    views: tuple[str, ...]


@dataclass(frozen=True)
class Quit:
    """End."""

    word: ClassVar[str] = "quit"


Command = PlanScene | RenderViews | Quit
_COMMANDS: dict[str, type[Any]] = {kind.word: kind for kind in (PlanScene, RenderViews, Quit)}


def command_to_dict(command: Command) -> dict[str, Any]:
    """Return a command as its JSON line has it."""
    return {"do": command.word, **asdict(command)}


def command_from_dict(message: Mapping[str, Any]) -> Command:
    """Return the command of a JSON line; raises RuntimeError for one that this version does not know."""
    kind = _COMMANDS.get(str(message.get("do")))
    if kind is None:
        raise RuntimeError(f"unknown command {message.get('do')!r}")
    return _build(kind, message)  # type: ignore[no-any-return]


# ---- events, from the worker -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that a worker reports; `time` is when it was written, in seconds since 1970."""

    word: ClassVar[str]
    time: float = 0.0


@dataclass(frozen=True, kw_only=True)
class WorkerReady(Event):
    """The worker runs."""

    word: ClassVar[str] = "ready"
    protocol: int
    blender: str
    pid: int


@dataclass(frozen=True, kw_only=True)
class SceneOpened(Event):
    """The scene is open; `notes` are what a person should know of it."""

    word: ClassVar[str] = "opened"
    scene: str
    objects: int
    triangles: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """How far some work is."""

    word: ClassVar[str] = "progress"
    what: str
    done: int
    total: int
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class CamerasScreened(Event):
    """The geometric gates are through with all candidates."""

    word: ClassVar[str] = "screened"
    candidates: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ScenePlanned(Event):
    """There is a plan: its views in order, those that are `done` already, and how it came about.

    `funnel` counts candidates by reason, `subjects` counts subjects; `bytes` is what all views will take, 0 where no
    preview was rendered. Where there are fewer views than were asked for, `losses` says which previews failed, or
    `limit` which limit holds.
    """

    word: ClassVar[str] = "planned"
    run: str
    scene: str
    views: tuple[str, ...]
    done: tuple[str, ...]
    funnel: dict[str, int]
    subjects: dict[str, int]
    notes: tuple[str, ...]
    previews: int
    previews_s: float
    bytes: int
    losses: str = ""
    limit: str = ""


@dataclass(frozen=True, kw_only=True)
class ViewRendered(Event):
    """A view is in the dataset: its number in the plan, its folder below the dataset's, and which checks it failed."""

    word: ClassVar[str] = "view"
    view: str
    index: int
    path: str
    seconds: float
    cycles_seconds: float
    passed: bool
    failed_checks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WorkerIdle(Event):
    """A command is finished."""

    word: ClassVar[str] = "idle"


@dataclass(frozen=True, kw_only=True)
class WorkerFailed(Event):
    """The worker ends: `kind` as in BlendsetError, or "bug" with its traceback."""

    word: ClassVar[str] = "failed"
    kind: str
    message: str
    traceback: str | None = None


@dataclass(frozen=True, kw_only=True)
class DeviceTried(Event):
    """A small frame was rendered on a device; `error` says why not."""

    word: ClassVar[str] = "device"
    type: str
    name: str
    seconds: float
    error: str | None


_EVENTS: dict[str, type[Event]] = {
    kind.word: kind
    for kind in (
        WorkerReady,
        SceneOpened,
        Progress,
        CamerasScreened,
        ScenePlanned,
        ViewRendered,
        WorkerIdle,
        WorkerFailed,
        DeviceTried,
    )
}


def event_to_dict(event: Event) -> dict[str, Any]:
    """Return an event as its JSON line has it."""
    return {"event": event.word, **asdict(event)}


def event_from_dict(message: Mapping[str, Any]) -> Event | None:
    """Return the event of a JSON line; None for one that this version does not know."""
    kind = _EVENTS.get(str(message.get("event")))
    return None if kind is None else _build(kind, message)


def _build(kind: type[Any], message: Mapping[str, Any]) -> Any:
    names = {field.name for field in fields(kind)}
    return strict_converter.structure({name: value for name, value in message.items() if name in names}, kind)
