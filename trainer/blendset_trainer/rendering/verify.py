# SPDX-License-Identifier: Apache-2.0
"""The check of a dataset, as `blendset verify` makes it."""

from __future__ import annotations

from pathlib import Path

from blendset.dataset import Dataset, open_dataset
from blendset.verification import VerifyReport, verify_dataset


def verify(dataset: Dataset | Path | str) -> VerifyReport:
    """Check every record, picture and pass of a dataset.

    Returns how many views are sound, what is wrong, and what interrupted runs left behind. Raises BlendsetError where
    there is no dataset.
    """
    return verify_dataset(open_dataset(dataset))
