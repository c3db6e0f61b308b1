# SPDX-License-Identifier: GPL-3.0-or-later
"""What can render here, and which of it should. The choice is a pure function over a list of devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy

from blendset.errors import DeviceError

PREFERENCE = ("OPTIX", "CUDA", "HIP", "ONEAPI", "METAL")


@dataclass(frozen=True)
class Device:
    """A device as Cycles lists it; `kind` is a compute type of Cycles or "CPU"."""

    kind: str
    name: str
    id: str = ""


def choose_devices(setting: str, devices: Sequence[Device], slot: int = 0, slots: int = 1) -> tuple[Device, ...]:
    """The devices that one of `slots` processes renders on, all of one kind; `slot` is its number from 0.

    Processes share out the devices in turn: of more processes several share one, of fewer each has several. "auto"
    takes the best kind there is; a kind that is not there is an error, never the CPU.
    """
    kinds = {device.kind for device in devices}
    best = next((kind for kind in PREFERENCE if kind in kinds), "CPU")
    kind = best if setting == "auto" else setting.upper()
    chosen = tuple(device for device in devices if device.kind == kind)
    if kind == "CPU":
        return chosen or (Device("CPU", "CPU"),)
    if not chosen:
        present = ", ".join(sorted(kinds - {"CPU"})) or "the CPU only"
        raise DeviceError(
            f"No {kind} device was found by this Blender (it sees {present}); choose --device auto or cpu, "
            "or install the driver."
        )
    return chosen[slot::slots] or (chosen[slot % len(chosen)],)


def list_devices() -> list[Device]:
    """Every device that this Blender's Cycles sees."""
    preferences = _get_cycles_preferences()
    found = {}
    for kind in PREFERENCE:
        for device in _list_devices_of_kind(preferences, kind):
            if device.type == kind:
                found[device.id] = Device(kind, device.name, device.id)
    return [*found.values(), Device("CPU", "CPU")]


def enable_devices(chosen: Sequence[Device]) -> str:
    """Switch Cycles to these devices; returns what a scene's `cycles.device` must be."""
    kind = chosen[0].kind
    if kind == "CPU":
        return "CPU"
    preferences = _get_cycles_preferences()
    preferences.compute_device_type = kind
    ids = {device.id for device in chosen}
    for device in _list_devices_of_kind(preferences, kind):
        device.use = device.id in ids
    return "GPU"


def _get_cycles_preferences() -> Any:
    addon: Any = bpy.context.preferences.addons.get("cycles")
    if addon is None:
        raise DeviceError(
            "Cycles is switched off in this Blender; enable the add-on 'Cycles Render Engine' in its preferences."
        )
    return addon.preferences


def _list_devices_of_kind(preferences: Any, kind: str) -> list[Any]:
    """Devices of one compute type; a type that this build does not know has none."""
    try:
        return list(preferences.get_devices_for_type(kind) or [])
    except (TypeError, ValueError):
        return []
