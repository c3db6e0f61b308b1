# SPDX-License-Identifier: Apache-2.0
"""Finds chat models by the names that users write: `hf:MODEL`, `openai:URL`."""

from __future__ import annotations

from blendset_trainer.models.chat.chat_model import ChatModel


def find_chat_model(scheme: str, spec: str, text_only: bool = False) -> ChatModel:
    """Return the chat model that `scheme:spec` names: `hf:MODEL` (a folder or a hub id) or `openai:URL[#MODEL]`.

    With `text_only`, a local model is loaded as one that writes text and is shown no pictures. Raises BlendsetError
    where there is no such model. Torch is imported for local models only.
    """
    if scheme == "openai":
        from blendset_trainer.models.chat.server import find_server

        return find_server(spec)
    from blendset_trainer.models.chat.local import LocalChatModel
    from blendset_trainer.models.weights import find_model

    return LocalChatModel(find_model(spec), text_only)


def find_text_model(spec: str) -> ChatModel:
    """Return the chat model of `hf:SPEC` for requests without pictures; BlendsetError where there is none."""
    return find_chat_model("hf", spec, text_only=True)
