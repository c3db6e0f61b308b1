# SPDX-License-Identifier: Apache-2.0
"""From a seed and an identity to random numbers: no state is kept, so the same question gets the same answer.

Each scheme is baked into results that must not move (plans, captions, renders, losses, exports), so all of them stay.
"""

from __future__ import annotations

import hashlib
import json
from random import Random

import numpy as np


def hash_identity(*identity: str | int) -> int:
    """Return 64 bits for an identity; JSON keeps 1 apart from "1", and ("a", "b") from ("ab",)."""
    return int.from_bytes(hashlib.blake2b(json.dumps(identity).encode(), digest_size=8).digest(), "big")


def sample_uniform(seed: int, *identity: str | int) -> float:
    """Return a number in [0, 1), the same for one seed and identity on every platform and in every version."""
    return (hash_identity(seed, *identity) >> 11) * 2.0**-53


def make_philox_key(seed: int, *identity: str | int) -> int:
    """Return a key for `numpy.random.Philox`, whose raw numbers NumPy promises to keep (NEP 19)."""
    return hash_identity(seed, *identity)


def make_rng(seed: int, *identity: object) -> np.random.Generator:
    """Return the generator of a seed and an identity in camera placement, whatever ran before it."""
    digest = hashlib.sha256("\x1f".join(map(str, (seed, *identity))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def make_view_rng(view_id: str) -> np.random.Generator:
    """Return the generator of a view in exports: the same points are sampled whenever the view is exported."""
    return np.random.default_rng(int(hashlib.sha256(view_id.encode()).hexdigest(), 16))


def make_text_random(seed: int, *identity: object) -> Random:
    """Return the random choices of a seed and an identity in what is written: captions and prompts."""
    return Random(" ".join(map(str, (seed, *identity))))


def derive_render_seed(view_id: str, seed: int) -> int:
    """Return Cycles' seed for a view, by its id: the order in which views are rendered does not change their noise."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{view_id}".encode()).digest()[:4], "little") >> 1


def derive_image_seed(digest: str, number: int) -> int:
    """Return the seed, below 2**32, of the noise that image `number` of a synthesis request starts from, by its
    digest."""
    return int(hashlib.sha256(f"{digest} {number}".encode()).hexdigest()[:8], 16)
