# SPDX-License-Identifier: Apache-2.0
"""What a user can cause and mend: one exception type, whose text is one sentence.

Everything else that is raised is a bug. The library raises it as it is; a command says so in one sentence, and shows
the traceback with --debug.
"""

from __future__ import annotations

import os
import reprlib
from textwrap import shorten


class BlendsetError(Exception):
    """One sentence that says what went wrong, where, and what to do about it. `kind` tells a supervisor what it is
    about."""

    kind = "scene"


class SettingsError(BlendsetError):
    """What was asked for cannot be done as it was asked: an option that there is not, or a value that it does not
    take. The command line reports it as wrong usage."""


class DeviceError(BlendsetError):
    """The device that should render is not there."""

    kind = "device"


class MemoryShortage(BlendsetError):
    """The device or the machine has too little memory."""

    kind = "memory"


class DiskError(BlendsetError):
    """The disk refuses: full, read-only, forbidden."""

    kind = "disk"


def describe_error(error: BaseException) -> str:
    """Return what a library says went wrong, as a part of a sentence: one line, not too long, without a full stop."""
    number = error.errno if isinstance(error, OSError) else None
    text = os.strerror(number) if number else str(error).strip() or type(error).__name__
    return shorten(text.splitlines()[0], 160, placeholder=" ...").rstrip(".")


def describe_value(value: object) -> str:
    """Return a value as it is written in Python, shortened where it is long."""
    return _short.repr(value)


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 100
_short.maxlong = 40
