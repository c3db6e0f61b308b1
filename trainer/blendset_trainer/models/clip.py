# SPDX-License-Identifier: Apache-2.0
"""CLIP models of open_clip, which embed pictures and texts: found by name, with the revision of their weights, and
loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from PIL import Image

from blendset.errors import BlendsetError
from blendset.options import find_nearest
from blendset_trainer.models.loading import choose_device, normalize_rows
from blendset_trainer.models.weights import (
    compute_revision,
    explain_fetch_errors,
    explain_load_errors,
    fetch_hub_file,
    find_file,
    find_local_path,
)

Picture = npt.NDArray[np.uint8]

DEFAULT_TAG = "openai"


@dataclass(frozen=True)
class ClipWeights:
    """An open_clip model: its name there, and the tag or file of its weights, None where the name includes them.

    `title` is what the model is called in the names of stages.
    """

    model: str
    pretrained: str | None
    revision: str
    title: str

    @property
    def width(self) -> int:
        """The length of an embedding."""
        with explain_load_errors(self.model, "an open_clip model"):
            return int(open_clip.get_model_config(self.model)["embed_dim"])


def find_clip(spec: str) -> ClipWeights:
    """Return the open_clip model that `spec` names, after fetching its weights, which give the revision.

    `spec` is NAME[/TAG or /FILE], a folder with open_clip_config.json, or hf-hub:OWNER/REPOSITORY. FILE is a path, or
    OWNER/REPOSITORY/FILE on the hub. The default tag is openai. Raises BlendsetError where there is no such model.
    """
    if spec.startswith("hf-hub:"):
        config = fetch_hub_file(spec.removeprefix("hf-hub:"), "open_clip_config.json")
        return ClipWeights(spec, None, compute_revision(config), spec.rpartition("/")[2])
    name, _, pretrained = spec.partition("/")
    if name in open_clip.list_models():
        return _find_named_clip(name, pretrained or DEFAULT_TAG)
    folder = find_local_path(spec)
    if folder is None:
        near = find_nearest(name, open_clip.list_models())
        cure = f"did you mean {near}?" if near else "see open_clip.list_models(), or give a folder."
        raise BlendsetError(f"open_clip knows no model {name} and there is no such folder; {cure}")
    return ClipWeights(f"local-dir:{folder}", None, compute_revision(folder), folder.name)


def _find_named_clip(name: str, pretrained: str) -> ClipWeights:
    known = open_clip.get_pretrained_cfg(name, pretrained)
    title = name if pretrained == DEFAULT_TAG else f"{name}-{Path(pretrained).stem}"
    if known:
        with explain_fetch_errors(f"{name}/{pretrained}"):
            file = Path(open_clip.pretrained.download_pretrained(known))
        return ClipWeights(name, pretrained, compute_revision(file), title)
    path = find_file(pretrained) if pretrained.count("/") > 1 else find_local_path(pretrained)
    if path is None:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise BlendsetError(f"{name} has no weights {pretrained}; give a file, or one of its tags: {tags}.")
    return ClipWeights(name, str(path), compute_revision(path), title)


class ClipModel:
    """A loaded open_clip model in float32."""

    def __init__(self, weights: ClipWeights) -> None:
        known = weights.pretrained and open_clip.get_pretrained_cfg(weights.model, weights.pretrained)
        with explain_load_errors(weights.model, "an open_clip model"):
            self._model, self._prepare = open_clip.create_model_from_pretrained(
                weights.model,
                weights.pretrained,
                device=choose_device(),
                # open_clip 3 only warns where the weights were trained with the other activation
                force_quick_gelu=bool(known and known.get("quick_gelu")),
            )
            self._tokenizer = open_clip.get_tokenizer(weights.model)
        self._model.eval()

    @torch.inference_mode()
    def encode_pictures(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """Return unit embeddings (N, D) of N sRGB pictures, each (height, width, 3)."""
        prepared = torch.stack([self._prepare(Image.fromarray(picture)) for picture in pictures])
        return normalize_rows(self._model.encode_image(prepared.to(choose_device())))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return unit embeddings (N, D) of N texts; tokens beyond `token_limit` are cut off."""
        return normalize_rows(self._model.encode_text(self._tokenizer(list(texts)).to(choose_device())))

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean colour of the pictures that the model was trained on, red, green and blue, 0 to 1."""
        return tuple(open_clip.get_model_preprocess_cfg(self._model)["mean"])

    @property
    def token_limit(self) -> int:
        """How many tokens of a text the model reads."""
        return int(self._tokenizer.context_length)

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has, with those of beginning and end."""
        if isinstance(self._tokenizer, open_clip.tokenizer.HFTokenizer):
            return len(self._tokenizer.tokenizer(self._tokenizer.clean_fn(text)).input_ids)
        return len(self._tokenizer.encode(text)) + 2
