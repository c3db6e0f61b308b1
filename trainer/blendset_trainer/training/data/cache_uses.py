# SPDX-License-Identifier: Apache-2.0
"""Which entries of a cache its last runs have used: a file of keys for each configuration, as old as its last run."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from blendset.errors import DiskError
from blendset.files import atomic_write, sha256_bytes, translate_disk_errors

LAST_RUNS = 10
"""Runs with different configurations whose entries are kept."""
SUFFIX = ".keys"


def record_run(root: Path, keys: Collection[str]) -> None:
    """Write down, in a cache's folder, the keys that a run uses; where that cannot be written, nothing happens."""
    lines = "\n".join(sorted(keys)).encode()
    with suppress(DiskError):
        atomic_write(root / f"{sha256_bytes(lines)[:32]}{SUFFIX}", lines)


def read_last_keys(root: Path, last_runs: int) -> set[str] | None:
    """Return the keys that the last runs have used, a configuration once; None where no run has written any down."""
    records = _list_records(root)[:last_runs]
    return {key for path in records for key in path.read_text("ascii", "replace").split("\n")} if records else None


def forget_old_runs(root: Path, last_runs: int) -> None:
    """Delete what earlier runs than the last have written down."""
    for path in _list_records(root)[last_runs:]:
        with translate_disk_errors(path):
            path.unlink(missing_ok=True)


def _list_records(root: Path) -> list[Path]:
    return sorted(root.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
