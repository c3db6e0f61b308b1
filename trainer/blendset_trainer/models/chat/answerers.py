# SPDX-License-Identifier: Apache-2.0
"""Who answers questions, by the names that the command line gives them; torch is imported for local models only."""

from __future__ import annotations

from blendset_trainer.models.chat.chat_model import Answerer


def find_answerer(scheme: str, spec: str) -> Answerer:
    """A model by `hf` (a folder or a hub id) or `openai` (URL[#MODEL]); BlendsetError where there is none."""
    if scheme == "openai":
        from blendset_trainer.models.chat.server import find_server

        return find_server(spec)
    from blendset_trainer.models.chat.local import LocalModel
    from blendset_trainer.models.weights import find_model

    return LocalModel(find_model(spec))
