# SPDX-License-Identifier: Apache-2.0
"""Stopping between two steps: the first Ctrl-C (or a cluster's SIGTERM) requests it, the second does not wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = signal.SIGINT, signal.SIGTERM


@contextmanager
def catch_stop_signals() -> Iterator[Callable[[], bool]]:
    """Yields a function: whether a stop was requested. A second signal raises KeyboardInterrupt at once.

    A signal that was ignored when the program started stays so: Ctrl-C is not for what nohup or `&` has sent behind.
    """
    requested = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield requested.is_set
        return
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, request) for number in heeded}
    try:
        yield requested.is_set
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
