# SPDX-License-Identifier: Apache-2.0
"""What a run shows of itself: a bar with the time left on a terminal, plain lines elsewhere, tables at the end.

Progress goes to stderr and results to stdout, so that a pipe gets results only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from blendset.jobs.scenes import SceneSummary, Summary
from blendset.jobs.supervisor import Supervisor, Update
from blendset.records import to_plain

_PUMP_S = 0.05
_LINE_S = 10.0
"""Between lines of progress where there is no terminal."""


def follow(supervisor: Supervisor, *, quiet: bool) -> Summary:
    """Run it to its end and show how it goes. Ctrl-C ends the children; the summary then says so."""
    console = Console(stderr=True)
    if quiet:
        return _pump(supervisor, lambda update: None)
    if not console.is_terminal:
        return _pump(supervisor, _print_line)
    columns = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        return _pump(supervisor, _bar(progress, supervisor))


def _print_line(update: Update) -> None:
    """A line per event, for logs; progress inside a scene is left out."""
    if update.kind != "progress":
        print(f"{update.scene.stem}: {update.text}", file=sys.stderr, flush=True)


def _bar(progress: Progress, supervisor: Supervisor) -> Callable[[Update], None]:
    """A bar over all views, with what goes on at the moment; what needs reading later stays above it."""
    task = progress.add_task("starting Blender", total=None)

    def show(update: Update) -> None:
        line = escape(f"{update.scene.stem}: {update.text}")
        if update.kind in ("planned", "restarted", "ended"):
            progress.console.print(line, highlight=False)
        progress.update(task, description=line, completed=supervisor.done, total=supervisor.total)

    return show


def _pump(supervisor: Supervisor, show: Callable[[Update], None]) -> Summary:
    with supervisor:
        while not supervisor.finished:
            try:
                for update in supervisor.step():
                    show(update)
                time.sleep(_PUMP_S)
            except KeyboardInterrupt:
                supervisor.cancel()
    return supervisor.summarize()


@contextmanager
def show_progress(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function to call with how many of how many are done; shows a bar, or now and then a line."""
    console = Console(stderr=True)
    if quiet:
        yield lambda done, total: None
    elif not console.is_terminal:
        yield _counted_lines(what)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(escape(what), total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)


def _counted_lines(what: str) -> Callable[[int, int], None]:
    said = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > _LINE_S:
            said = time.monotonic()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return show


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(to_plain(value), indent=1, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn on a terminal, columns of plain text elsewhere."""
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


def _shown(scene: SceneSummary) -> str:
    """A scene's path, short where it lies below the current folder."""
    path = Path(scene.scene)
    return os.fspath(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def print_summary(summary: Summary) -> None:
    """How each scene ended; what Blender last printed where it died; what a person should know."""
    for scene in summary.scenes:
        if scene.reason and scene.log:
            print(f"The last that Blender printed for {_shown(scene)}:", *scene.log, sep="\n    ", file=sys.stderr)
        for note in scene.notes:
            print(f"{_shown(scene)}: {note}", file=sys.stderr)
    rows = [
        (
            _shown(each),
            each.status,
            f"{each.views}/{each.planned}",
            str(each.passed),
            f"{each.seconds:.0f}",
            each.reason,
        )
        for each in summary.scenes
    ]
    print_table(("scene", "status", "views", "passed", "seconds", "reason"), rows)
    if summary.trouble:
        print(f"blendset: {summary.trouble}", file=sys.stderr)


def print_funnels(plans: Sequence[tuple[str, SceneSummary]]) -> None:
    """Titled funnels side by side, the commonest reason first."""
    total = sum((Counter(plan.funnel) for _, plan in plans), Counter[str]())
    first, last = "candidates", "accepted"
    order = [first, *(reason for reason, _ in total.most_common() if reason not in (first, last)), last]
    rows = [[reason, *(str(plan.funnel.get(reason, 0)) for _, plan in plans)] for reason in order]
    subjects = dict.fromkeys(name for _, plan in plans for name in plan.subjects)
    rows += [[f"subjects {name}", *(str(plan.subjects.get(name, 0)) for _, plan in plans)] for name in subjects]
    rows.append(["views", *(str(plan.planned) for _, plan in plans)])
    print_table(["", *(title for title, _ in plans)], rows)
