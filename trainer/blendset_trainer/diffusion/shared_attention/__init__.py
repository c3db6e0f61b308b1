# SPDX-License-Identifier: Apache-2.0
"""Shared attention between the images of a view set, which keeps one object the same in all of them (SynCD, arXiv
2502.01720): each image attends to its own tokens, and to those of the others that masks allow.
"""

from blendset_trainer.diffusion.shared_attention.sharing import share_attention
from blendset_trainer.diffusion.shared_attention.tokens import label_tokens, rotary_positions
from blendset_trainer.diffusion.shared_attention.view_sets import ViewSets

__all__ = ["ViewSets", "label_tokens", "rotary_positions", "share_attention"]
