# SPDX-License-Identifier: Apache-2.0
"""What a run leaves when it is done: a pipeline or a LoRA that other programs load."""

from __future__ import annotations

from blendset_trainer.training.runs import Run
from blendset_trainer.training.saving import save_full, save_lora


def finish(run: Run) -> list[str]:
    """Write what was trained, with the averaged weights where a run keeps them, and return the paths."""
    run.log.close()
    made: list[str] = []
    if run.accelerator.is_main_process:
        with run.averaged_weights():
            if run.config.model.method == "full":
                folder = run.folder / "model"
                save_full(run.family, folder)
                made = [str(folder)]
            else:
                made = [str(path) for path in save_lora(run.family, run.folder / "lora")]
    run.accelerator.wait_for_everyone()
    return made
