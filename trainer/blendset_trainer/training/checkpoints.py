# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are complete or not there: written into another folder, the manifest last, then renamed.

Tensors are safetensors. A checkpoint has no random state: all that is random in a run follows from its seed. The
manifest has the hash of every file and of its own facts, so that what a disk has changed since is not taken. Those that
version 0.1 wrote have sizes only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from blendset.files import READ_ERRORS, sha256_bytes, sha256_file, sync_directory, translate_disk_errors
from blendset.records import decode_json
from blendset_trainer.api.progress import OnReport, ignore_report

MANIFEST = "manifest.json"
_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: its folder, the optimizer steps taken, and plain facts about the run."""

    path: Path
    step: int
    facts: dict[str, Any]

    def load_tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors that were saved under a name, on the CPU."""
        return load_file(self.path / f"{name}.safetensors")


def save_checkpoint(
    folder: Path, step: int, parts: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any], keep: int
) -> Path:
    """Write a checkpoint and remove the older ones but for the newest `keep`; returns its folder.

    Raises BlendsetError where the disk refuses; earlier checkpoints are then still there.
    """
    path = folder / f"step-{step:08d}"
    unfinished = path.with_name(path.name + _UNFINISHED)
    with translate_disk_errors(path):
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            _write_files(unfinished, step, parts, facts)
            shutil.rmtree(
                path, ignore_errors=True
            )  # a damaged one of that step, or find_newest_checkpoint had found it
            unfinished.rename(path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        sync_directory(folder)
    until_now = [other for other in _list_checkpoints(folder) if other.name <= path.name]  # later ones are not sound
    for old in until_now[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def find_newest_checkpoint(folder: Path, report: OnReport = ignore_report) -> Checkpoint | None:
    """The newest sound checkpoint; None where there is none. What an interrupted writer left is removed.

    `report` gets a sentence for each newer one, which is whole no more or holds numbers that are not finite.
    """
    for debris in folder.glob(f"*{_UNFINISHED}"):
        shutil.rmtree(debris, ignore_errors=True)
    for path in reversed(_list_checkpoints(folder)):
        try:
            return _read_checkpoint(path)
        except _DamageError as damage:
            report(f"{path} is passed over, because {damage}.")
    return None


class _DamageError(Exception):
    """Why a checkpoint is not sound, as the end of a sentence."""


def _list_checkpoints(folder: Path) -> list[Path]:
    """The folders of checkpoints, complete or damaged, the oldest first."""
    return sorted(path for path in folder.glob("step-*") if not path.name.endswith(_UNFINISHED))


def _write_files(folder: Path, step: int, parts: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]) -> None:
    for name, tensors in parts.items():
        try:
            save_file({key: value.detach().contiguous() for key, value in tensors.items()}, _tensor_path(folder, name))
        except SafetensorError as error:  # how it reports a full disk
            code = re.search(r"os error (\d+)", str(error))
            number = int(code[1]) if code else 0
            raise OSError(number, os.strerror(number) if code else str(error)) from error
        _fsync(_tensor_path(folder, name))
    files = sorted(folder.iterdir())
    values = {
        "step": step,
        "bytes": {path.name: path.stat().st_size for path in files},
        "sha256": {path.name: sha256_file(path) for path in files},
        "facts": facts,
        "facts_sha256": _hash_facts(facts),
    }
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(values, indent=1), encoding="utf-8")
    _fsync(manifest)


def _hash_facts(facts: Mapping[str, Any]) -> str:
    """The hash of facts, the same before they are written and after they are read."""
    return sha256_bytes(json.dumps(facts, sort_keys=True).encode())


def _tensor_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _fsync(path: Path) -> None:
    """Write a file through to the disk, so that it survives a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a folder; _DamageError where it is not sound."""
    try:
        manifest = decode_json((path / MANIFEST).read_bytes())
        found = Checkpoint(path, int(manifest["step"]), dict(manifest["facts"]))
        sizes, hashes = dict(manifest["bytes"]), dict(manifest.get("sha256", {}))
        if manifest.get("facts_sha256") not in (None, _hash_facts(found.facts)):
            raise ValueError("its facts have changed")
    except READ_ERRORS as error:
        raise _DamageError(f"its {MANIFEST} cannot be read") from error
    for name, size in sizes.items():
        try:
            _check_file(path / name, size, hashes.get(name))
        except (OSError, SafetensorError) as error:
            raise _DamageError(f"its {name} cannot be read") from error
    return found


def _check_file(file: Path, size: int, sha256: str | None) -> None:
    """Raise _DamageError where a file of tensors is not as it was written, or holds a number that is not finite."""
    if file.stat().st_size != size:
        raise _DamageError(f"its {file.name} has {file.stat().st_size} bytes and had {size}")
    if sha256 not in (None, sha256_file(file)):
        raise _DamageError(f"its {file.name} has changed since it was written")
    with safe_open(file, "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - it is no mapping
            if not is_finite(tensors.get_tensor(name)):
                raise _DamageError(f"{name} in its {file.name} holds numbers that are not finite")


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers of a tensor of any shape are finite."""
    return bool(tensor.isfinite().all())


# --- optimizers -------------------------------------------------------------------------------------------------------


def split_optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors by name, and the rest as plain data for JSON."""
    state = optimizer.state_dict()
    tables = {f"state/{index}": values for index, values in state["state"].items()}
    tables |= {f"group/{index}": values for index, values in enumerate(state["param_groups"])}
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for group, values in tables.items():
        tensors |= {f"{group}/{name}": value for name, value in values.items() if isinstance(value, Tensor)}
        rest[group] = {name: value for name, value in values.items() if not isinstance(value, Tensor)}
    return tensors, rest


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], rest: Mapping[str, Mapping[str, Any]]
) -> None:
    """Load what `split_optimizer_state` gave into an optimizer of the same kind."""
    tables: dict[str, dict[str, Any]] = {group: dict(values) for group, values in rest.items()}
    for name, tensor in tensors.items():
        group, _, key = name.rpartition("/")
        tables[group][key] = tensor
    groups = [_restore_tuples(tables.pop(f"group/{index}")) for index in range(len(optimizer.param_groups))]
    state = {int(group.removeprefix("state/")): values for group, values in tables.items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _restore_tuples(group: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter group with lists turned back into tuples (betas), which JSON does not have."""
    return {
        name: tuple(value) if isinstance(value, list) and name != "params" else value for name, value in group.items()
    }
