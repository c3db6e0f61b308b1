# SPDX-License-Identifier: Apache-2.0
"""The check of a dataset, as `blendset verify` makes it."""

from __future__ import annotations

from pathlib import Path

from blendset.dataset import Dataset, open_dataset
from blendset.verification import VerifyReport, verify_dataset
from blendset_trainer.api.progress import OnProgress, ignore_progress


def verify(dataset: Dataset | Path | str, *, on_progress: OnProgress = ignore_progress) -> VerifyReport:
    """Check every record, picture and pass of a dataset. It is one step: `on_progress` is not called.

    Returns how many views are sound, what is wrong, and what interrupted runs left behind. Raises BlendsetError where
    there is no dataset.
    """
    return verify_dataset(open_dataset(dataset))
