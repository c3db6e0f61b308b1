# SPDX-License-Identifier: Apache-2.0
"""`image-reward:FILE[@TOKENIZER]`: how much people would like a picture for its caption, by ImageReward (Xu et al.,
arXiv 2304.05977). FILE is the released `ImageReward.pt`, such as THUDM/ImageReward/ImageReward.pt.

BLIP's text encoder reads the caption and, by cross attention, the picture; linear layers make one number of the first
token's state. The weights are those of the released code and run in transformers' classes.
"""

from __future__ import annotations

import re
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
from transformers import AutoTokenizer, BlipTextConfig, BlipVisionConfig, BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextModel

from blendset.errors import BlendsetError
from blendset.naming import slugify
from blendset_trainer.models.loading import choose_device
from blendset_trainer.models.weights import compute_revision, explain_load_errors, find_file, find_model_index
from blendset_trainer.scoring.aesthetic import build_head
from blendset_trainer.stages.stage import Column, View

DEFAULT_TOKENIZER = "bert-base-uncased"
MEAN, DEVIATION = 0.16717362830052426, 1.0333394966054072
"""Of the raw reward over the training's pairs (released code): what `score` is standardized by."""
TOKENS = 35
"""The longest caption that the model reads, with a beginning and an end."""
HEAD_WIDTH = 64
"""Numbers of one attention head, in both of BLIP's encoders."""
UNUSED = re.compile(r"blip\.(vision_proj|text_proj)\.|blip\.text_encoder\.embeddings\.position_ids$")
"""What the file holds of BLIP's other tasks, and positions counted."""
VISION_NAMES = {
    r"^cls_token": "embeddings.class_embedding",
    r"^pos_embed": "embeddings.position_embedding",
    r"^patch_embed\.proj": "embeddings.patch_embedding",
    r"^blocks\.": "encoder.layers.",
    r"\.attn\.qkv": ".self_attn.qkv",
    r"\.attn\.proj": ".self_attn.projection",
    r"\.norm([12])": r".layer_norm\1",
    r"^norm\.": "post_layernorm.",
}
"""Patterns of the released names of the picture's encoder, and the names in transformers."""

State = Mapping[str, torch.Tensor]


class ImageRewardModel(torch.nn.Module):
    """BLIP's encoders of picture and text, and the head; their sizes are those of the released tensors.

    Raises the errors of torch and Python for tensors that are missing, left over or of other shapes.
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        state = {name: tensor for name, tensor in state.items() if not UNUSED.match(name)}
        vision, text, head = (
            _take_part(state, prefix) for prefix in ("blip.visual_encoder", "blip.text_encoder", "mlp")
        )
        if left := len(state) - len(vision) - len(text) - len(head):
            raise ValueError(f"{left} of its tensors belong to no part of it")
        self.vision = BlipVisionModel(_size_vision(vision))
        self.vision.load_state_dict({_rename(name): tensor for name, tensor in vision.items()})
        self.text = BlipTextModel(_size_text(text), add_pooling_layer=False)
        self.text.load_state_dict(text)
        layers = build_head(head)
        if layers is None:
            raise ValueError("its mlp does not end in one figure")
        self.head = layers

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return rewards (N,), standardized, of pixels (N, 3, side, side) and of token ids and their mask (N, T)."""
        patches = self.vision(pixels).last_hidden_state
        states = self.text(ids, attention_mask=attention_mask, encoder_hidden_states=patches).last_hidden_state
        rewards: torch.Tensor = self.head(states[:, 0])[:, 0]
        return (rewards - MEAN) / DEVIATION


def _take_part(state: State, prefix: str) -> State:
    """The tensors whose names begin with a prefix, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in state.items() if name.startswith(f"{prefix}.")}


def _rename(name: str) -> str:
    for pattern, replacement in VISION_NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def _count_layers(state: State, pattern: str) -> int:
    return len({found[1] for name in state if (found := re.match(pattern, name))})


def _size_vision(state: State) -> BlipVisionConfig:
    _, tokens, width = state["pos_embed"].shape
    patch = state["patch_embed.proj.weight"].shape[-1]
    return BlipVisionConfig(
        hidden_size=width,
        intermediate_size=state["blocks.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=_count_layers(state, r"blocks\.(\d+)\."),
        num_attention_heads=width // HEAD_WIDTH,
        image_size=patch * round((tokens - 1) ** 0.5),
        patch_size=patch,
        layer_norm_eps=1e-6,  # transformers' own is 1e-5, BLIP's vision transformer has timm's
    )


def _size_text(state: State) -> BlipTextConfig:
    words, width = state["embeddings.word_embeddings.weight"].shape
    return BlipTextConfig(
        vocab_size=words,
        hidden_size=width,
        encoder_hidden_size=state["encoder.layer.0.crossattention.self.key.weight"].shape[1],
        intermediate_size=state["encoder.layer.0.intermediate.dense.weight"].shape[0],
        num_hidden_layers=_count_layers(state, r"encoder\.layer\.(\d+)\."),
        num_attention_heads=width // HEAD_WIDTH,
        max_position_embeddings=state["embeddings.position_embeddings.weight"].shape[0],
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
        sep_token_id=None,
    )


def load_image_reward(path: Path) -> ImageRewardModel:
    """Return the model in a released file; BlendsetError for a file of another kind, or one that is not whole."""
    with explain_load_errors(str(path), "ImageReward as it was released"):
        return ImageRewardModel(torch.load(path, "cpu", weights_only=True)).to(choose_device()).eval()


@dataclass
class ImageRewardScorer:
    """Computes ImageReward of a picture and its caption; None where there is no caption."""

    checkpoint: Path
    tokenizer: str = DEFAULT_TOKENIZER
    _loaded: tuple[ImageRewardModel, Any, Any] | None = field(default=None, init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "caption"})
    whole_sets: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, Column]] = {
        "score": Column(pa.float32(), "standardized reward, mostly -2 to 2"),
        "tokens": Column(pa.int32(), "tokens of the caption, beginning and end included"),
        "truncated": Column(pa.bool_(), "whether the model read only the caption's beginning"),
    }

    def __post_init__(self) -> None:
        source, index = find_model_index(self.tokenizer, "tokenizer_config.json")
        self._source = source, None if Path(source).is_dir() else compute_revision(index)
        revision = self._source[1] or compute_revision(Path(source))
        self.name = slugify(f"image-reward-{self.checkpoint.stem}")
        self.revision = f"{compute_revision(self.checkpoint)} with {revision}"
        self.parameters = {"tokens": TOKENS}

    def setup(self) -> None:
        """Load the model and its tokenizer; BlendsetError for a tokenizer of other words than the model's."""
        model = load_image_reward(self.checkpoint)
        source, commit = self._source
        with explain_load_errors(self.tokenizer, "a tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(source, revision=commit, trust_remote_code=False)
        if len(tokenizer) > (words := model.text.config.vocab_size):
            raise BlendsetError(
                f"{self.tokenizer} knows {len(tokenizer)} tokens and {self.checkpoint} {words}; name the tokenizer "
                "that the model was trained with (image-reward:FILE@TOKENIZER)."
            )
        self._loaded = model, tokenizer, open_clip.image_transform(model.vision.config.image_size, is_train=False)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        captioned = [view for view in views if view.caption]
        rows = iter(self._score([view.rgb for view in captioned], [view.caption for view in captioned]))
        return [next(rows) if view.caption else dict.fromkeys(self.columns) for view in views]

    @torch.inference_mode()
    def _score(self, pictures: list[npt.NDArray[np.uint8]], captions: list[str]) -> list[dict[str, Any]]:
        if not captions:
            return []
        assert self._loaded is not None
        model, tokenizer, prepare = self._loaded
        counts = [len(ids) for ids in tokenizer(captions).input_ids]
        words = tokenizer(captions, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt")
        pixels = torch.stack([prepare(Image.fromarray(picture)) for picture in pictures])
        inputs = (each.to(choose_device()) for each in (pixels, words.input_ids, words.attention_mask))
        return [
            {"score": score, "tokens": count, "truncated": count > TOKENS}
            for score, count in zip(model(*inputs).tolist(), counts, strict=True)
        ]


def find_image_reward_scorer(spec: str) -> ImageRewardScorer:
    """Return the stage of `image-reward:SPEC`: the released file (or OWNER/REPOSITORY/FILE), and after @ its tokenizer,
    bert-base-uncased by default."""
    checkpoint, _, tokenizer = spec.partition("@")
    return ImageRewardScorer(find_file(checkpoint), tokenizer or DEFAULT_TOKENIZER)
