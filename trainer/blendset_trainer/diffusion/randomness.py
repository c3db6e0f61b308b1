# SPDX-License-Identifier: Apache-2.0
"""Random numbers as functions of a seed and of what they are for.

No state is kept, so a checkpoint has none to save: whoever asks again, on whatever machine, gets the same numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import torch


def seed_generator(seed: int) -> torch.Generator:
    """A seeded generator on the CPU: sample there and move the result, so that every device starts from the same."""
    return torch.Generator().manual_seed(seed)


def seed_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """A generator for each image of a batch."""
    return [seed_generator(seed) for seed in seeds]


def make_generator(seed: int, *identity: str | int) -> torch.Generator:
    """A generator on the CPU that is the same for the same seed and identity.

    torch's CPU generator uses 32 bits of its seed: among a million samples some hundred pairs share their noise, which
    does no harm as long as their images differ.
    """
    return seed_generator(_hash(seed, *identity) >> 32)


def sample_uniform(seed: int, *identity: str | int) -> float:
    """A number in [0, 1) that is the same for the same seed and identity, on every platform and in every version."""
    return (_hash(seed, *identity) >> 11) * 2.0**-53


def make_philox_key(seed: int, *identity: str | int) -> int:
    """A key for `numpy.random.Philox`, whose raw numbers NumPy promises to keep (NEP 19)."""
    return _hash(seed, *identity)


def _hash(*identity: str | int) -> int:
    """64 bits. JSON separates 1 from "1", and ("a", "b") from ("ab",)."""
    return int.from_bytes(hashlib.blake2b(json.dumps(identity).encode(), digest_size=8).digest(), "big")
