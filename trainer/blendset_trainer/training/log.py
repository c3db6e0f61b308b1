# SPDX-License-Identifier: Apache-2.0
"""The log of a run: JSON lines and TensorBoard, by samples seen, source and noise band."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from blendset.files import atomic_write
from blendset_trainer.training.data.loader import Batch
from blendset_trainer.training.timesteps.plan import TimestepPlan
from blendset_trainer.training_runs import LOG, read_log


@dataclass(frozen=True)
class StepReport:
    """An optimizer step of this process: losses and levels of its samples, (N,) each, and times in seconds."""

    step: int
    batches: Sequence[Batch]
    losses: Tensor
    levels: Tensor
    gradient_norm: Tensor | float
    seconds: float
    waited_s: float


class TrainLog:
    """Writes means over `every` steps and all processes; lines of an earlier session after `step` are removed."""

    def __init__(
        self, folder: Path, accelerator: Accelerator, plan: TimestepPlan, step: int, batch: int, every: int
    ) -> None:
        self._accelerator, self._plan, self._batch, self._every = accelerator, plan, batch, every
        self._sources = list(plan.compute_shares())
        self._path = folder / LOG
        self._reports: list[tuple[Tensor, float, float]] = []
        self._writer: SummaryWriter | None = None
        if accelerator.is_main_process:
            rows = [row for row in read_log(self._path) if row["step"] <= step]
            atomic_write(self._path, "".join(json.dumps(row) + "\n" for row in rows).encode())
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step * batch + 1)

    def add(self, report: StepReport) -> None:
        """Add a step; write a line after every `every` of them."""
        sources = [self._sources.index(name) for batch in report.batches for name in batch.sources]
        bands = self._plan.find_bands(report.levels)
        rows = torch.stack([torch.tensor(sources), bands.cpu(), report.losses.double().cpu()], dim=1)
        gathered = self._accelerator.gather(rows.to(self._accelerator.device)).cpu()
        self._reports.append((gathered, report.seconds, report.waited_s))
        if len(self._reports) == self._every:
            self._write_means(report)

    def add_validation(self, step: int, held_out: Mapping[str, float]) -> None:
        """Write the losses of held-out samples by "source/band", those that are finite."""
        self._write_line(step, {"held_out": {name: loss for name, loss in held_out.items() if math.isfinite(loss)}})

    def close(self) -> None:
        """Flush TensorBoard's events and close its file."""
        if self._writer:
            self._writer.close()

    def _write_means(self, report: StepReport) -> None:
        """Write the means over the steps since the last line."""
        gathered, seconds, waited = zip(*self._reports, strict=True)
        self._reports = []
        rows, groups = torch.cat(gathered), defaultdict(list)
        norm = float(report.gradient_norm)  # of a step that GradScaler skips, it is no number that JSON has
        for source, band, loss in rows.tolist():
            groups[f"{self._sources[int(source)]}/{self._plan.band_names[int(band)]}"].append(loss)
        self._write_line(
            report.step,
            {
                "loss": rows[:, 2].mean().item(),
                "loss_by": {name: sum(losses) / len(losses) for name, losses in sorted(groups.items())},
                **({"gradient_norm": norm} if math.isfinite(norm) else {}),
                "samples_per_second": len(rows) / sum(seconds),
                "waiting_share": sum(waited) / sum(seconds),
            },
        )

    def _write_line(self, step: int, values: Mapping[str, Any]) -> None:
        """Write a line of JSON, and its numbers to TensorBoard; in the main process only."""
        if self._writer is None:
            return
        samples = step * self._batch
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "samples": samples} | dict(values)) + "\n")
        for name, value in values.items():
            for inner, number in value.items() if isinstance(value, dict) else [("", value)]:
                self._writer.add_scalar(f"{name}/{inner}".rstrip("/"), number, samples)
