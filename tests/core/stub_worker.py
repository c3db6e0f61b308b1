# SPDX-License-Identifier: Apache-2.0
"""A worker without Blender: speaks the protocol and writes real, tiny views. Its scene file is a JSON table of orders.

views: how many · seconds: per view · broken: why it does not open · silent: numbers of views on which it hangs
flat: numbers of views that fail a check · losses, limit, bytes: as ScenePlanned has them · refused: why, after opening
fatal: {"7": how often it dies at view 7, -1 for always; "7 written": before it tells of it} · says: its last words
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np

from blendset.config import config_from_dict
from blendset.dataset import Dataset
from blendset.exr import Passes, write_passes
from blendset.files import sha256_file
from blendset.jobs.messages import (
    Job,
    PlanScene,
    Quit,
    RenderViews,
    SceneOpened,
    ScenePlanned,
    ViewRendered,
    WorkerFailed,
    WorkerIdle,
    WorkerReady,
    command_from_dict,
)
from blendset.jobs.protocol import EventWriter, read_job, watch_stdin
from blendset.records import CameraRecord, SceneRecord, ViewRecord, write_json


def png(value: int) -> bytes:
    """A 2 x 2 picture of one grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([value] * 6)) * 2
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Stub:
    """One worker's life."""

    def __init__(self, job: Job, events: EventWriter) -> None:
        self.path = Path(job.scene_path)
        self.wanted = json.loads(self.path.read_text(encoding="utf-8"))
        self.config = config_from_dict(job.config)
        self.dataset = Dataset(Path(job.dataset))
        self.scene = f"{self.path.stem}-{sha256_file(self.path)[:6]}"
        self.run = job.run or f"{self.scene}-{self.config.compute_digest()}"
        self.events = events
        self.slot = job.slot

    def plan(self) -> None:
        views = [f"{self.scene}-{index:03d}" for index in range(self.wanted["views"])]
        record = SceneRecord(
            scene=self.scene,
            blend_name=self.path.name,
            blend_sha256=sha256_file(self.path),
            blender_scene="Scene",
            frame=1,
            metres_per_unit=1.0,
            objects=(),
            missing_files=(),
            notes=(),
        )
        write_json(self.dataset.scene_path(self.scene), record)
        write_json(self.dataset.plan_path(self.run), {"views": views})
        planned = ScenePlanned(
            run=self.run,
            scene=self.scene,
            views=tuple(views),
            done=tuple(view for view in views if self.dataset.has_view(self.scene, view)),
            funnel={"candidates": 34 + len(views), "blocked": 30, "too little in frame": 4, "accepted": len(views)},
            subjects={"found": 5, "seen": 4, "chosen": 3},
            notes=("a texture is missing",),
            previews=0,
            previews_s=0.0,
            bytes=self.wanted.get("bytes", 0),
            losses=self.wanted.get("losses", ""),
            limit=self.wanted.get("limit", ""),
        )
        self.events.emit(planned)

    def render(self, view: str) -> None:
        value = int(view[-3:])
        if value in self.wanted.get("silent", []):
            time.sleep(1000)
        self._die_if_told(str(value))
        started = time.monotonic()
        time.sleep(self.wanted.get("seconds", 0.0))
        planes = np.full((2, 2), value, np.float32), np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.uint32)
        record = self.record(view, value, time.monotonic() - started)
        written = self.dataset.write_view(record, {"rgb.png": png(value), "passes.exr": write_passes(Passes(*planes))})
        self._die_if_told(f"{value} written")
        rendered = ViewRendered(
            view=view,
            index=value,
            path=self.dataset.view_folder(self.scene, view).relative_to(self.dataset.root).as_posix(),
            seconds=written.timings["render"],
            cycles_seconds=0.0,
            passed=not written.failed_checks,
            failed_checks=written.failed_checks,
        )
        self.events.emit(rendered)

    def record(self, view: str, value: int, seconds: float) -> ViewRecord:
        """A view whose number is among `flat` fails a check."""
        return ViewRecord(
            view_id=view,
            run=self.run,
            scene=self.scene,
            subject="",
            subject_label="",
            subject_objects=(),
            view_set="",
            view_index=value,
            source="render",
            camera=CameraRecord(2, 2, 1.0, 1.0, 1.0, 1.0, tuple(np.eye(4).ravel().tolist()), 36.0, 36.0),
            azimuth_deg=None,
            elevation_deg=None,
            distance=None,
            visible_fraction=None,
            subject_share=None,
            truncation=None,
            visible_objects=(),
            exposure_ev=0.0,
            samples=1,
            seed=self.config.seed,
            lighting="scene",
            statistics={},
            failed_checks=("flat",) if value in self.wanted.get("flat", []) else (),
            files={},
            timings={"render": seconds, "pid": os.getpid(), "slot": self.slot},
        )

    def _die_if_told(self, moment: str) -> None:
        times = self.wanted.get("fatal", {}).get(moment, 0)
        deaths = self.path.with_suffix(f".{moment}.deaths")
        before = len(deaths.read_bytes()) if deaths.exists() else 0
        if times < 0 or before < times:
            deaths.write_bytes(b"." * (before + 1))
            print(self.wanted.get("says", "about to die"), flush=True)
            os.abort()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--events", type=Path, required=True)
    arguments = parser.parse_args()
    events = EventWriter(arguments.events)
    commands = watch_stdin()
    events.emit(WorkerReady(protocol=1, blender="stub", pid=os.getpid()))
    stub = Stub(read_job(arguments.job), events)
    if "broken" in stub.wanted:
        events.emit(WorkerFailed(kind="scene", message=stub.wanted["broken"]))
        sys.exit(1)
    events.emit(SceneOpened(scene=stub.scene, objects=5, triangles=60, notes=()))
    if "refused" in stub.wanted:
        events.emit(WorkerFailed(kind="scene", message=stub.wanted["refused"]))
        sys.exit(1)
    while not isinstance(command := command_from_dict(commands.get()), Quit):
        if isinstance(command, PlanScene):
            stub.plan()
        for view in command.views if isinstance(command, RenderViews) else ():
            if not stub.dataset.has_view(stub.scene, view):
                stub.render(view)
        events.emit(WorkerIdle())


main()
