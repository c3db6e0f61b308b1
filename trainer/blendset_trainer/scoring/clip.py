# SPDX-License-Identifier: Apache-2.0
"""`clip:MODEL`: how well a picture and its caption agree, by any open_clip model; also the picture's embedding.

Raw cosines, never clamped or scaled: a threshold belongs to the model that it was found with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import open_clip
import pyarrow as pa
import torch
from PIL import Image

from blendset.errors import BlendsetError
from blendset.naming import slugify
from blendset.options import find_nearest
from blendset_trainer.models.loading import best_device, normalize_rows
from blendset_trainer.models.weights import (
    compute_revision,
    explain_fetch_errors,
    explain_load_errors,
    fetch_hub_file,
    find_local_path,
)
from blendset_trainer.stages.stage import COSINE, Column, View

Picture = npt.NDArray[np.uint8]

DEFAULT_TAG = "openai"
SYNTHVLM_MODEL, SYNTHVLM_PREFIX = "ViT-B-32/openai", "A photo depicts "
"""The model and the words before each caption of SynthVLM's CLIPScore (its repository), which is max(cosine, 0)."""


@dataclass(frozen=True)
class ClipWeights:
    """An open_clip model: its name there, the tag or file of its weights (None where the name says it), and what it
    is called in the names of stages."""

    model: str
    pretrained: str | None
    revision: str
    title: str

    @property
    def width(self) -> int:
        """Of an embedding."""
        with explain_load_errors(self.model, "an open_clip model"):
            return int(open_clip.get_model_config(self.model)["embed_dim"])


def find_clip(spec: str) -> ClipWeights:
    """NAME[/TAG or /FILE], a folder with open_clip_config.json, or hf-hub:OWNER/REPOSITORY; the default tag is openai.

    Fetches the weights, for their revision; raises BlendsetError where there are none.
    """
    if spec.startswith("hf-hub:"):
        config = fetch_hub_file(spec.removeprefix("hf-hub:"), "open_clip_config.json")
        return ClipWeights(spec, None, compute_revision(config), spec.rpartition("/")[2])
    name, _, pretrained = spec.partition("/")
    if name in open_clip.list_models():
        return _named_clip(name, pretrained or DEFAULT_TAG)
    folder = find_local_path(spec)
    if folder is None:
        near = find_nearest(name, open_clip.list_models())
        cure = f"did you mean {near}?" if near else "see open_clip.list_models(), or give a folder."
        raise BlendsetError(f"open_clip knows no model {name} and there is no such folder; {cure}")
    return ClipWeights(f"local-dir:{folder}", None, compute_revision(folder), folder.name)


def _named_clip(name: str, pretrained: str) -> ClipWeights:
    known = open_clip.get_pretrained_cfg(name, pretrained)
    title = name if pretrained == DEFAULT_TAG else f"{name}-{Path(pretrained).stem}"
    if known:
        with explain_fetch_errors(f"{name}/{pretrained}"):
            file = Path(open_clip.pretrained.download_pretrained(known))
        return ClipWeights(name, pretrained, compute_revision(file), title)
    path = find_local_path(pretrained)
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
                device=best_device(),
                # open_clip 3 only warns where the weights were trained with the other activation
                force_quick_gelu=bool(known and known.get("quick_gelu")),
            )
            self._tokenizer = open_clip.get_tokenizer(weights.model)
        self._model.eval()

    @torch.inference_mode()
    def encode_pictures(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """Unit embeddings (N, D) of sRGB pictures (height, width, 3)."""
        prepared = torch.stack([self._prepare(Image.fromarray(picture)) for picture in pictures])
        return normalize_rows(self._model.encode_image(prepared.to(best_device())))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit embeddings (N, D); what is over `token_limit` is not read."""
        return normalize_rows(self._model.encode_text(self._tokenizer(list(texts)).to(best_device())))

    @property
    def token_limit(self) -> int:
        return int(self._tokenizer.context_length)

    def count_tokens(self, text: str) -> int:
        """Tokens of the whole text, marks of beginning and end included."""
        if isinstance(self._tokenizer, open_clip.tokenizer.HFTokenizer):
            return len(self._tokenizer.tokenizer(self._tokenizer.clean_fn(text)).input_ids)
        return len(self._tokenizer.encode(text)) + 2


@dataclass
class ClipScorer:
    """Cosine of picture and caption, the caption's tokens and whether it was cut, the picture's embedding."""

    weights: ClipWeights
    prefix: str = ""
    name: str = ""
    _clip: ClipModel | None = field(default=None, init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "caption"})
    whole_sets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.name = self.name or slugify(f"clip-{self.weights.title}")

    @property
    def revision(self) -> str:
        return self.weights.revision

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {"model": self.weights.title, "prefix": self.prefix}

    @property
    def columns(self) -> Mapping[str, Column]:
        return {
            "similarity": Column(pa.float32(), COSINE),
            "tokens": Column(pa.int32(), "tokens of the caption, beginning and end included"),
            "truncated": Column(pa.bool_(), "whether the model read only the caption's beginning"),
            "embedding": Column(pa.list_(pa.float32(), self.weights.width), "unit vector"),
        }

    def setup(self) -> None:
        self._clip = ClipModel(self.weights)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        assert self._clip is not None
        pictures = self._clip.encode_pictures([view.rgb for view in views]).cpu()
        captions = self._clip.encode_texts([self.prefix + view.caption for view in views]).cpu()
        cosines = (pictures * captions).sum(dim=1).tolist()
        return [
            self._agreement(view.caption, cosine) | {"embedding": picture.numpy()}
            for view, cosine, picture in zip(views, cosines, pictures, strict=True)
        ]

    def _agreement(self, caption: str, cosine: float) -> dict[str, Any]:
        """The figures about the caption; None where there is none."""
        if not caption:
            return dict.fromkeys(("similarity", "tokens", "truncated"))
        assert self._clip is not None
        tokens = self._clip.count_tokens(self.prefix + caption)
        return {"similarity": cosine, "tokens": tokens, "truncated": tokens > self._clip.token_limit}


def find_clip_scorer(spec: str) -> ClipScorer:
    """The stage of `clip:SPEC`; `clip:synthvlm` is SynthVLM's CLIPScore, words before the caption included."""
    if spec == "synthvlm":
        return ClipScorer(find_clip(SYNTHVLM_MODEL), SYNTHVLM_PREFIX, "clip-synthvlm")
    return ClipScorer(find_clip(spec))
