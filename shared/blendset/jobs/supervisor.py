# SPDX-License-Identifier: Apache-2.0
"""Keeps several Blender children at work on many scenes: hands out work, replaces children that died, gives scenes up.

The command line calls `step` in a loop, Blender's window from a timer; `step` never waits.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from blendset.config import Config, config_to_dict
from blendset.dataset import VIEW_RECORD, Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.files import lock_folder, sha256_file
from blendset.jobs.child import Child, WorkerCommand
from blendset.jobs.estimates import describe_costs, warn_of_full_disk
from blendset.jobs.messages import (
    Event,
    Job,
    PlanScene,
    Progress,
    Quit,
    RenderViews,
    SceneOpened,
    ScenePlanned,
    ViewRendered,
    WorkerFailed,
    WorkerIdle,
)
from blendset.jobs.scenes import SceneJob, Summary
from blendset.records import ViewRecord, read_record

BATCH = 8
"""Views per command: few enough that workers finish together, many enough that they never wait."""

_GRACE_S = 30.0
_PERMANENT_FAILURES = ("scene", "device", "disk", "usage")
"""Kinds of failures that a new start would meet again."""


@dataclass(frozen=True)
class Shard:
    """One of `count` equal parts of a run, counted from 1."""

    index: int = 1
    count: int = 1


SINGLE_SHARD = Shard()


def parse_shard(text: str) -> Shard:
    """Parse a shard such as "2/8"; raises SettingsError for anything else."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise SettingsError(f"--shard is '{text}'; it must be I/N with I from 1 to N, such as 2/8.")
    return Shard(int(index), int(count))


@dataclass(frozen=True)
class Update:
    """Something that happened to a scene: a line for a person, and the event behind it where there is one."""

    kind: Literal["opened", "progress", "planned", "view", "restarted", "ended"]
    scene: Path
    text: str
    event: Event | None = None


@dataclass(eq=False)
class _Worker:
    child: Child
    scene: SceneJob
    slot: int
    batch: list[str] = field(default_factory=list)
    rendered: int = 0
    free: bool = False
    leaving: bool = False
    failure: WorkerFailed | None = None

    def terminate(self) -> None:
        """End the child now; its end needs no explanation."""
        self.leaving = True
        self.child.end()


class Supervisor:
    """Plans and renders scenes into one dataset. A context manager: leaving it ends every child.

    Raises BlendsetError where the dataset cannot take these settings, or the same shard runs there already.
    With `render=False` it only plans; `previews` then says whether planning may render previews. `copies` names files
    to open in place of scenes that a person is still working on; the scene keeps the id of what is saved now.
    """

    def __init__(
        self,
        scenes: Sequence[Path],
        dataset_root: Path,
        config: Config,
        command: WorkerCommand,
        *,
        plan: Path | None = None,
        shard: Shard = SINGLE_SHARD,
        mix_settings: bool = False,
        render: bool = True,
        previews: bool = True,
        copies: Mapping[Path, Path] | None = None,
    ) -> None:
        self.config = config
        self.paused = False
        self._command = command
        self._plan = plan
        self._render = render
        self._previews = previews
        # With fewer scenes than shards, every shard plans every scene and renders its part of the views.
        self._shard_views = shard if len(scenes) < shard.count else SINGLE_SHARD
        shard_scenes = scenes if len(scenes) < shard.count else scenes[shard.index - 1 :: shard.count]
        self._scenes = [SceneJob(path.absolute(), render, not config.renders_all) for path in shard_scenes]
        self._copies = {path.absolute(): (str(copy), sha256_file(path)) for path, copy in (copies or {}).items()}
        self._workers: list[_Worker] = []
        self._children = 0
        self._cancelled = False
        self._trouble = ""
        self._started = time.monotonic()
        self._seconds = 0.0
        self.finished = False
        self._resources = ExitStack()
        self.dataset = Dataset.open_for_run(dataset_root.absolute(), config, scenes, mix_settings)
        name = f"Shard {shard.index}/{shard.count}" if shard.count > 1 else "Blendset"
        lock = self.dataset.root / f".shard-{shard.index}-of-{shard.count}.lock"
        self._resources.enter_context(lock_folder(lock, blocking=False, name=name))
        self._folder = Path(tempfile.mkdtemp(prefix="blendset-"))
        self._resources.callback(shutil.rmtree, self._folder, ignore_errors=True)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every child and let go of the dataset, whatever state the run is in."""
        for worker in self._workers:
            worker.child.end()
            worker.child.wait()
        self._workers.clear()
        self._resources.close()

    def cancel(self) -> None:
        """End every child at once; `step` then comes to its end."""
        self._cancelled = True
        for worker in self._workers:
            worker.terminate()

    def abort(self, reason: str) -> None:
        """End everything at once; unfinished scenes get this reason."""
        for scene in self._scenes:
            scene.reason, scene.closed = scene.reason or reason, True
        self.close()
        self.finished = True

    def pause(self) -> None:
        """Hand out no more work: each child finishes the views that it has (at most `BATCH`) and waits."""
        self.paused = True

    def resume(self) -> None:
        """Hand out work again."""
        self.paused = False

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [worker.child.pid for worker in self._workers]

    @property
    def done(self) -> int:
        """Views that are in the dataset."""
        return sum(len(scene.failed_checks) for scene in self._scenes)

    @property
    def total(self) -> int:
        """Views that there will be; for a scene not planned yet, as many as were asked for."""
        return sum(scene.planned if scene.run or scene.closed else self.config.cameras.views for scene in self._scenes)

    def summarize(self) -> Summary:
        """Return how the run stands now, scene by scene."""
        scenes = tuple(scene.summarize() for scene in self._scenes)
        return Summary(scenes, self._seconds, self._cancelled, self._trouble)

    def step(self) -> list[Update]:
        """Read the children's events, replace those that died, hand out work; return what happened."""
        updates: list[Update] = []
        for worker in list(self._workers):
            ended = worker.child.ended  # read before polling, so that its last events are not lost
            for event in worker.child.poll():
                updates += self._handle_event(worker, event)
            if ended:
                self._workers.remove(worker)
                updates += self._handle_death(worker)
            else:
                self._check_silence(worker)
        if not self._cancelled and not self.paused:
            self._assign_work()
        updates += self._close_scenes()
        if not self._workers and not self.finished and all(scene.closed for scene in self._scenes):
            self._finish()
        return updates

    def _handle_event(self, worker: _Worker, event: Event) -> list[Update]:
        scene = worker.scene
        match event:
            case SceneOpened():
                worker.free = True
                scene.add_notes(event.notes)
                return [Update("opened", scene.path, f"opened, {event.objects} objects", event)]
            case Progress():
                return [Update("progress", scene.path, f"{event.what} {event.done}/{event.total}", event)]
            case ScenePlanned():
                return [self._accept_plan(scene, event)]
            case ViewRendered():
                return [self._accept_view(worker, event)]
            case WorkerIdle():
                self._end_command(worker)
            case WorkerFailed():
                worker.failure, worker.free = event, False
                worker.child.end()
        return []

    def _accept_plan(self, scene: SceneJob, event: ScenePlanned) -> Update:
        views = event.views[self._shard_views.index - 1 :: self._shard_views.count]
        known = set(event.done).intersection(views)
        scene.scene_id = event.scene
        scene.accept_plan(
            event, views, {view: self._read_failed_checks(scene, view) for view in views if view in known}
        )
        free = shutil.disk_usage(self.dataset.root).free
        scene.add_notes(warn_of_full_disk(event, len(scene.waiting), free))
        parts = (
            f"planned {len(views)} views of {scene.subjects['chosen']} subjects",
            f"{len(known)} already there" if known else "",
            describe_costs(event, self.config, len(views) - len(known), free),
        )
        return Update("planned", scene.path, ", ".join(filter(None, parts)), event)

    def _read_failed_checks(self, scene: SceneJob, view: str) -> tuple[str, ...]:
        folder = self.dataset.view_folder(scene.scene_id, view)
        return read_record(folder / VIEW_RECORD, ViewRecord).failed_checks

    def _accept_view(self, worker: _Worker, event: ViewRendered) -> Update:
        scene = worker.scene
        if event.view in worker.batch:
            worker.batch.remove(event.view)
        scene.failed_checks[event.view] = event.failed_checks
        scene.deaths = 0
        worker.rendered += 1
        failed = "" if event.passed else f", failed {', '.join(event.failed_checks)}"
        text = f"{len(scene.failed_checks)}/{scene.planned} {event.path} {event.seconds:.1f} s{failed}"
        return Update("view", scene.path, text, event)

    def _end_command(self, worker: _Worker) -> None:
        """A command is finished. A view without an event is there already: a Blender that died since had written it."""
        scene = worker.scene
        there = [view for view in worker.batch if self.dataset.has_view(scene.scene_id, view)]
        scene.failed_checks |= {view: self._read_failed_checks(scene, view) for view in there}
        if missing := len(worker.batch) - len(there):
            scene.reason = f"{missing} planned views were not rendered"
        worker.batch, worker.free = [], True

    def _check_silence(self, worker: _Worker) -> None:
        """End a child that has gone silent."""
        limit = _GRACE_S if worker.leaving else self.config.jobs.timeout_s
        if not worker.free and worker.child.silence > limit:
            if not worker.leaving:
                message = f"Blender gave no sign of life for {limit:g} seconds and was ended; raise jobs.timeout_s"
                worker.failure = WorkerFailed(kind="timeout", message=message)
            worker.child.end()

    def _handle_death(self, worker: _Worker) -> list[Update]:
        """A child has ended: nothing follows if it had to, else its scene goes on or is given up."""
        scene = worker.scene
        worker.child.end()
        if worker.leaving or scene.closed:
            return []
        scene.return_views(worker.batch)
        scene.deaths += 1
        failure = worker.failure
        permanent = failure is not None and failure.kind in _PERMANENT_FAILURES
        traceback = ((failure and failure.traceback) or "").splitlines()
        scene.log = () if permanent else (*worker.child.read_tail(), *traceback)
        message = ((failure and failure.message) or f"Blender {worker.child.explain_death()}").rstrip(".")
        if permanent or scene.deaths > self.config.jobs.retries:
            return [self._abandon_scene(scene, message)]
        return [Update("restarted", scene.path, f"{message}; starting again", failure)]

    def _abandon_scene(self, scene: SceneJob, reason: str) -> Update:
        scene.reason = reason
        scene.waiting.clear()
        for worker in self._workers:
            if worker.scene is scene:
                worker.terminate()
        return self._close_scene(scene)

    def _assign_work(self) -> None:
        for worker in self._workers:
            if worker.free and not worker.leaving:
                self._send_command(worker)
        while len(self._workers) < self.config.jobs.workers and (scene := self._find_scene_in_need()):
            self._start_worker(scene)

    def _send_command(self, worker: _Worker) -> None:
        scene = worker.scene
        room = self.config.jobs.views_per_child - worker.rendered
        worker.free = False
        if not scene.run:
            worker.child.send(PlanScene(self._previews))
        elif room > 0 and (batch := scene.take_views(min(BATCH, room))):
            worker.batch = batch
            worker.child.send(RenderViews(tuple(batch)))
        else:
            worker.leaving = True
            worker.child.send(Quit())

    def _find_scene_in_need(self) -> SceneJob | None:
        """Return a scene without a worker; else the one with most views left, if another worker pays there."""
        attended = [worker.scene for worker in self._workers]
        for scene in self._scenes:
            if scene.has_work and scene not in attended:
                return scene
        longest = max(self._scenes, key=self._count_unclaimed)
        return longest if self._count_unclaimed(longest) > BATCH else None

    def _count_unclaimed(self, scene: SceneJob) -> int:
        """Count the waiting views, less the first batches of the workers that are still starting."""
        coming = [worker for worker in self._workers if worker.scene is scene and not (worker.batch or worker.leaving)]
        return len(scene.waiting) - BATCH * len(coming)

    def _start_worker(self, scene: SceneJob) -> None:
        scene.started = scene.started or time.monotonic()
        self._children += 1
        opened, digest = self._copies.get(scene.path, (str(scene.path), ""))
        slot = min(set(range(self.config.jobs.workers)) - {worker.slot for worker in self._workers})
        job = Job(
            scene_path=str(scene.path),
            opened_path=opened,
            sha256=digest,
            dataset=str(self.dataset.root),
            config=config_to_dict(self.config),
            plan=str(self._plan.absolute()) if self._plan else None,
            run=scene.run or None,
            slot=slot,
            slots=self.config.jobs.workers,
        )
        child = Child(self._command, self._folder / f"child-{self._children}", job)
        self._workers.append(_Worker(child, scene, slot))

    def _close_scenes(self) -> list[Update]:
        """Close the scenes that have just come to their end."""
        attended = [worker.scene for worker in self._workers if self._cancelled or not worker.leaving]
        over = [scene for scene in self._scenes if not scene.closed and scene not in attended]
        return [self._close_scene(scene) for scene in over if self._cancelled or not scene.has_work]

    def _close_scene(self, scene: SceneJob) -> Update:
        if self._cancelled and (not scene.run or (self._render and len(scene.failed_checks) < scene.planned)):
            scene.reason = scene.reason or "cancelled"
        scene.closed = True
        scene.seconds = time.monotonic() - scene.started if scene.started else 0.0
        views = f"{len(scene.failed_checks)} views in " if self._render else "planned in "
        text = f"{scene.status}, {views}{scene.seconds:.0f} s"
        reason = scene.explain_end()
        return Update("ended", scene.path, text + (f": {reason}" if reason else ""))

    def _finish(self) -> None:
        if self._render:
            try:
                self.dataset.rebuild_index()
            except BlendsetError as error:
                self._trouble = str(error)
        self._seconds = time.monotonic() - self._started
        self._resources.close()
        self.finished = True
