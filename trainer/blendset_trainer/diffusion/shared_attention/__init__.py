# SPDX-License-Identifier: Apache-2.0
"""Attention between the pictures of a view set, which keeps one object the same in all of them (SynCD, arXiv
2502.01720): each picture sees its own tokens, and of the others' what masks allow.
"""

from blendset_trainer.diffusion.shared_attention.sharing import shared_attention
from blendset_trainer.diffusion.shared_attention.tokens import label_tokens, rotary_positions
from blendset_trainer.diffusion.shared_attention.view_sets import ViewSets

__all__ = ["ViewSets", "label_tokens", "rotary_positions", "shared_attention"]
