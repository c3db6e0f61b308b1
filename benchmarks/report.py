# SPDX-License-Identifier: Apache-2.0
"""What every benchmark needs: where things are, how to run the product as a user does, and how to tell the results."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REAL_SCENES = ROOT.parent / "shared" / "scenes"
"""Scenes by strangers, which are beside the checkout on some machines only and never in the repository."""


def find_scenes(paths: Sequence[Path]) -> list[Path]:
    """The scenes of the command line, else the real ones beside the checkout; leaves with a sentence where none is."""
    found = list(paths) or sorted(REAL_SCENES.glob("*.blend"))
    if not found:
        sys.exit("No scene is here; give .blend files on the command line.")
    return found


def find_addon_zip() -> Path:
    """The built add-on."""
    found = sorted((ROOT / "trainer" / "blendset_trainer" / "addon").glob("blendset-*.zip"))
    if not found:
        sys.exit("The add-on is not built; run 'make addon'.")
    return found[-1]


def run_blendset(*arguments: object) -> Any:
    """Run the command line for programs and return its JSON document; what it says on stderr is shown."""
    command = [sys.executable, "-m", "blendset_trainer.cli", *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if not done.stdout:
        sys.exit(f"'{' '.join(command)}' ended with {done.returncode} and no result.")
    return json.loads(done.stdout)


def format_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, which reads well in a terminal too."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def write_results(name: str, results: Any) -> None:
    """Write build/benchmarks/<name>.json: the results and the machine that they are of."""
    path = ROOT / "build" / "benchmarks" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"system": platform.platform(), "processor": platform.processor(), "cores": os.cpu_count()}
    path.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n", encoding="utf-8")
