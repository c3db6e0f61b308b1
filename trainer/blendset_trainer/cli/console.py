# SPDX-License-Identifier: Apache-2.0
"""What commands print: progress (a bar on a terminal, plain lines elsewhere), tables and JSON.

Progress goes to stderr and results to stdout, so that a pipe gets results only.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from blendset.errors import BlendsetError, describe_error
from blendset.jobs.scenes import SceneSummary, Summary
from blendset.jobs.supervisor import Update
from blendset.records import to_plain
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.rendering.supervision import OnUpdate, format_update, ignore_update

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LINE_S = 10.0
"""Between lines of progress where there is no terminal."""


@contextmanager
def report_scenes(*, quiet: bool) -> Iterator[tuple[OnProgress, OnUpdate]]:
    """Yield functions for `on_progress` and `on_update` of runs of Blender; they move a bar, or print lines."""
    console = Console(stderr=True)
    if quiet:
        yield ignore_progress, ignore_update
    elif not console.is_terminal:
        yield ignore_progress, _print_update
    else:
        columns = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=console, transient=True) as progress:
            yield _make_scene_bar(progress)


def _print_update(update: Update) -> None:
    """Print a line per event, for logs; progress inside a scene is left out."""
    if update.kind != "progress":
        print(format_update(update), file=sys.stderr, flush=True)


def _make_scene_bar(progress: Progress) -> tuple[OnProgress, OnUpdate]:
    """Return functions that move a bar over all views, and that print the updates that matter later above it."""
    task = progress.add_task("starting Blender", total=None)

    def move_bar(line: str, done: int, total: int) -> None:
        progress.update(task, description=escape(line), completed=done, total=total)

    def print_above(update: Update) -> None:
        if update.kind in ("planned", "restarted", "ended"):
            progress.console.print(escape(format_update(update)), highlight=False)

    return move_bar, print_above


def _make_printer() -> OnProgress:
    printed = time.monotonic()

    def print_line(what: str, done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() - printed > _LINE_S:
            printed = time.monotonic()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return print_line


@contextmanager
def report_progress(*, quiet: bool) -> Iterator[OnProgress]:
    """Yield a function for the library's `on_progress`; it moves a bar for what is being done, or prints lines."""
    console = Console(stderr=True)
    if quiet:
        yield ignore_progress
    elif not console.is_terminal:
        yield _make_printer()
    else:
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        with ExitStack() as stack:
            yield _make_bars(lambda: stack.enter_context(Progress(*columns, console=console, transient=True)))


def _make_bars(start: Callable[[], Progress]) -> OnProgress:
    """Return a function that moves the bar of what is being done, which replaces the bar of what was done before.

    `start` opens the display at the first call: of several processes on one terminal only those that report have one. A
    total of 0 is one that nobody knows yet.
    """
    displays: list[Progress] = []
    tasks: dict[str, TaskID] = {}

    def move_bar(what: str, done: int, total: int) -> None:
        if not displays:
            displays.append(start())
        [progress] = displays
        if what not in tasks:
            for task in tasks.values():
                progress.remove_task(task)
            tasks.clear()
            tasks[what] = progress.add_task(escape(what), total=None)
        progress.update(tasks[what], completed=done, total=total or None)

    return move_bar


def print_any_name() -> None:
    """Let stdout show what its encoding lacks, such as a file name that is no text, as an escape."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_error(error: Exception, *, with_traceback: bool) -> None:
    """Print why a command failed, on one line of stderr: a BlendsetError's own sentence, or that it is our fault."""
    if isinstance(error, BlendsetError):
        sentence = str(error)
    else:
        place = traceback.extract_tb(error.__traceback__)[-1]
        sentence = (
            f"this is a fault of Blendset ({type(error).__name__}: {describe_error(error)}, in "
            f"{Path(place.filename).name}, line {place.lineno}); run the command again with --debug, and report it."
        )
    print(f"blendset: {_CONTROLS.sub(_escape, sentence)}", file=sys.stderr)
    if with_traceback:
        traceback.print_exception(error)


def _escape(control: re.Match[str]) -> str:
    """A line break or another control character, which a file's name may hold, as Python writes it."""
    return repr(control[0])[1:-1]


def print_note(sentence: str) -> None:
    """Print what the library reports, on stderr."""
    print(sentence, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a record, or plain data, as one JSON document."""
    print(json.dumps(to_plain(value), indent=1, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with lines on a terminal, as columns of plain text elsewhere."""
    console = Console()
    if console.is_terminal:
        table = Table(*head)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _shorten_path(scene: SceneSummary) -> str:
    """Return a scene's path, relative where it is below the current folder."""
    path = Path(scene.scene)
    return os.fspath(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def print_notes(scenes: Sequence[SceneSummary]) -> None:
    """Print what a person should know of these scenes, each note once."""
    for line in dict.fromkeys(f"{_shorten_path(scene)}: {note}" for scene in scenes for note in scene.notes):
        print(line, file=sys.stderr)


def print_summary(summary: Summary) -> None:
    """Print how each scene ended, the last output of a Blender that died, and notes for the user."""
    for scene in summary.scenes:
        if scene.reason and scene.log:
            print(
                f"The last that Blender printed for {_shorten_path(scene)}:", *scene.log, sep="\n    ", file=sys.stderr
            )
    print_notes(summary.scenes)
    rows = [
        (
            _shorten_path(scene),
            scene.status,
            f"{scene.views}/{scene.planned}",
            str(scene.passed),
            f"{scene.seconds:.0f}",
            scene.reason,
        )
        for scene in summary.scenes
    ]
    print_table(("scene", "status", "views", "passed", "seconds", "reason"), rows)
    if summary.trouble:
        print(f"blendset: {summary.trouble}", file=sys.stderr)


def print_funnels(plans: Sequence[tuple[str, SceneSummary]]) -> None:
    """Print funnels next to each other, each under its title, the commonest reason first."""
    total = sum((Counter(plan.funnel) for _, plan in plans), Counter[str]())
    first, last = "candidates", "accepted"
    order = [first, *(reason for reason, _ in total.most_common() if reason not in (first, last)), last]
    rows = [[reason, *(str(plan.funnel.get(reason, 0)) for _, plan in plans)] for reason in order]
    subjects = dict.fromkeys(name for _, plan in plans for name in plan.subjects)
    rows += [[f"subjects {name}", *(str(plan.subjects.get(name, 0)) for _, plan in plans)] for name in subjects]
    rows.append(["views", *(str(plan.planned) for _, plan in plans)])
    print_table(["", *(title for title, _ in plans)], rows)
