# SPDX-License-Identifier: Apache-2.0
"""Signals for tests that send some: a shell that starts the tests in the background has SIGINT ignored."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def in_foreground() -> Iterator[None]:
    """Ctrl-C and requests to end work in here, in this process and in those that it starts, as in a foreground."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)


@contextmanager
def in_background() -> Iterator[None]:
    """Ctrl-C is ignored in here, in this process and in those that it starts, as of `nohup` or `&` in a script."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
