# SPDX-License-Identifier: Apache-2.0
"""Which devices render, decided over lists of every vendor's; what this machine has; what is never done silently."""

from __future__ import annotations

from typing import Any

import bpy
import pytest

from blendset.config import DEVICES
from blendset.errors import BlendsetError
from tests.addon.runs import import_addon

devices = import_addon("scene.devices")
CPU = devices.Device("CPU", "AMD EPYC")
RTX = [devices.Device(kind, "NVIDIA RTX 4090", f"{kind}_{n}") for n in (0, 1) for kind in ("OPTIX", "CUDA")]
GTX = devices.Device("CUDA", "NVIDIA GTX 1080", "CUDA_0")
RADEON = devices.Device("HIP", "AMD Radeon RX 7900 XTX", "HIP_0")
ARC = devices.Device("ONEAPI", "Intel Arc A770", "ONEAPI_0")
APPLE = devices.Device("METAL", "Apple M3 Max", "METAL_0")
MACHINES = {
    "nothing but a processor": ([CPU], "CPU", ["AMD EPYC"]),
    "nothing listed at all": ([], "CPU", ["CPU"]),
    "two RTX cards": ([*RTX, CPU], "OPTIX", ["OPTIX_0", "OPTIX_1"]),
    "an older NVIDIA card": ([GTX, CPU], "CUDA", ["CUDA_0"]),
    "a Radeon": ([RADEON, CPU], "HIP", ["HIP_0"]),
    "an Arc": ([ARC, CPU], "ONEAPI", ["ONEAPI_0"]),
    "a Mac": ([APPLE, CPU], "METAL", ["METAL_0"]),
    "an old NVIDIA card beside a Radeon": ([RADEON, GTX, CPU], "CUDA", ["CUDA_0"]),
    "a Radeon beside an Arc": ([ARC, CPU, RADEON], "HIP", ["HIP_0"]),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_auto_takes_all_devices_of_the_best_kind(machine: str) -> None:
    there, kind, expected = MACHINES[machine]
    chosen = devices.choose_devices("auto", there)
    assert {each.kind for each in chosen} == {kind}
    assert [each.id or each.name for each in chosen] == expected


@pytest.mark.parametrize("setting", ["optix", "cuda", "hip", "oneapi", "metal"])
def test_a_kind_that_is_not_there_is_one_sentence_and_never_the_processor(setting: str) -> None:
    others = [each for each in (*RTX, RADEON, ARC, APPLE, CPU) if each.kind != setting.upper()]
    for there in ([CPU], others):
        with pytest.raises(BlendsetError) as refusal:
            devices.choose_devices(setting, there)
        text = str(refusal.value)
        assert setting.upper() in text and "--device" in text and text.endswith(".") and ". " not in text
    assert "HIP" in text or "OPTIX" in text  # it says what is there


@pytest.mark.parametrize("setting", [each for each in DEVICES if each not in ("auto", "cpu")])
def test_a_kind_that_is_there_is_taken_whatever_else_is(setting: str) -> None:
    chosen = devices.choose_devices(setting, [CPU, *RTX, RADEON, ARC, APPLE])
    assert chosen and {each.kind for each in chosen} == {setting.upper()}


def test_the_processor_is_taken_when_asked_for() -> None:
    assert devices.choose_devices("cpu", [*RTX, CPU]) == (CPU,)


@pytest.mark.parametrize(
    ("cards", "workers", "expected"),
    [
        (4, 1, ["0123"]),
        (4, 2, ["02", "13"]),
        (4, 3, ["03", "1", "2"]),
        (4, 4, ["0", "1", "2", "3"]),
        (2, 5, ["0", "1", "0", "1", "0"]),
        (1, 3, ["0", "0", "0"]),
    ],
)
def test_workers_share_out_the_cards_of_a_machine(cards: int, workers: int, expected: list[str]) -> None:
    """Every card has work as soon as there are enough workers, and none has two while another has none."""
    there = [*(devices.Device("OPTIX", "NVIDIA L40S", str(number)) for number in range(cards)), GTX, CPU]
    chosen = [devices.choose_devices("auto", there, slot, workers) for slot in range(workers)]
    assert ["".join(card.id for card in cards) for cards in chosen] == expected


@pytest.mark.parametrize("there", [[CPU], [], [*RTX, CPU]])
def test_every_worker_has_the_processor(there: list[Any]) -> None:
    chosen = [devices.choose_devices("cpu", there, slot, 3) for slot in range(3)]
    assert [each[0].kind for each in chosen] == ["CPU"] * 3


def test_this_machine_lists_each_device_once_and_its_processor_last() -> None:
    there = devices.list_devices()
    assert there[-1].kind == "CPU" and [each.kind for each in there].count("CPU") == 1
    gpus = [each.id for each in there[:-1]]
    assert len(set(gpus)) == len(gpus) and all(gpus)
    assert {each.kind for each in there} <= {*devices.PREFERENCE, "CPU"}


def test_what_was_chosen_is_what_cycles_is_switched_to() -> None:
    chosen = devices.choose_devices("auto", devices.list_devices())
    assert devices.enable_devices(chosen) == ("CPU" if chosen[0].kind == "CPU" else "GPU")
    if chosen[0].kind != "CPU":
        preferences = bpy.context.preferences.addons["cycles"].preferences
        assert {each.id for each in preferences.devices if each.use} == {each.id for each in chosen}


def test_without_cycles_one_sentence_says_so() -> None:
    bpy.ops.preferences.addon_disable(module="cycles")
    try:
        with pytest.raises(BlendsetError) as refusal:
            devices.list_devices()
    finally:
        bpy.ops.preferences.addon_enable(module="cycles")
    assert "Cycles is switched off" in str(refusal.value) and "enable" in str(refusal.value)
