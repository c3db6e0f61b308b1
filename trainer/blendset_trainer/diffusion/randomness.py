# SPDX-License-Identifier: Apache-2.0
"""Everything random about a sample, as a function of the seed and of what it is drawn for.

No state is kept, so nothing has to be saved: whoever asks again, on whatever machine, gets the same draw.
"""

from __future__ import annotations

import hashlib
import json

import torch


def sample_uniform(seed: int, *identity: str | int) -> float:
    """A number in [0, 1) that is the same for the same seed and identity, on every platform and in every version."""
    return (_hash(seed, *identity) >> 11) * 2.0**-53


def make_generator(seed: int, *identity: str | int) -> torch.Generator:
    """A generator on the CPU: draw there and move the result, so that every device sees the same.

    Of its seed torch's CPU generator uses 32 bits; among a million samples some hundred pairs share their noise, which
    does no harm as long as their pictures differ.
    """
    return torch.Generator().manual_seed(_hash(seed, *identity) >> 32)


def make_philox_key(seed: int, *identity: str | int) -> int:
    """A key for `numpy.random.Philox`, whose raw numbers NumPy promises to keep (NEP 19)."""
    return _hash(seed, *identity)


def _hash(*identity: str | int) -> int:
    """64 bits; JSON tells 1 from "1" and ("a", "b") from ("ab",)."""
    return int.from_bytes(hashlib.blake2b(json.dumps(identity).encode(), digest_size=8).digest(), "big")
