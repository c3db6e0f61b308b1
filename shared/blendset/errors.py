# SPDX-License-Identifier: Apache-2.0
"""What a user can cause and mend: one exception type, whose text is one sentence.

Everything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations


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
