# SPDX-License-Identifier: Apache-2.0
"""Random numbers as functions of a seed and of what they are for.

No state is kept, so a checkpoint has none to save: whoever asks again, on whatever machine, gets the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from blendset.randomness import hash_identity


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
    return seed_generator(hash_identity(seed, *identity) >> 32)
