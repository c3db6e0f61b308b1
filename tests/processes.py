# SPDX-License-Identifier: Apache-2.0
"""Whether a process still runs, for tests that kill some."""

from __future__ import annotations

import os
from pathlib import Path


def is_running(pid: int) -> bool:
    """Whether a process still runs; one that has ended and waits to be collected does not.

    It may go between two looks at it.
    """
    if Path("/proc/self").exists():
        try:
            state = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        return state.rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
