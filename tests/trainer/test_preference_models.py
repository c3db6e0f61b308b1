# SPDX-License-Identifier: Apache-2.0
"""Models of what people prefer, in the layouts in which they are released, against forward passes in plain torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn import functional
from transformers import CLIPModel, CLIPProcessor

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.models.clip import find_clip
from blendset_trainer.scoring.clip import find_clip_scorer
from blendset_trainer.scoring.image_reward import TOKENS, find_image_reward_scorer, load_image_reward
from blendset_trainer.scoring.preference import find_preference_scorer
from tests.trainer.test_masked_features import rows_of
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset
from tests.trainer.tiny_models import Make, maker, tokenizer

State = dict[str, torch.Tensor]
Picture = npt.NDArray[np.uint8]
SIDE, PATCH, EYE, TEXT = 32, 16, 128, 64
"""Sides in pixels, and widths of the encoders of picture and text: two heads and one."""
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CAPTIONS = {"chair-0000": "a red chair", "chair-0001": "a blue lamp", "chair-0002": "a red chair " * 30}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("models"))


def draw(number: int) -> Picture:
    return np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Views with captions, and one without."""
    made = make_dataset(tmp_path / "data")
    add_scene(made, "attic")
    for number in range(4):
        add_picture(made, "attic", "chair", number, draw(number))
    made.rebuild_index(CAPTIONS)
    return made


def prepare(picture: Picture, side: int) -> torch.Tensor:
    """The picture as CLIP sees it: its shorter side resized, its middle cropped, normalized: (3, side, side)."""
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    size = (int(width * scale + 1e-6), int(height * scale + 1e-6))
    image = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), np.float32) / 255
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return torch.tensor((image[top : top + side, left : left + side] - MEAN) / DEVIATION).permute(2, 0, 1).float()


# --- ImageReward ------------------------------------------------------------------------------------------------------


def make_image_reward(words: int) -> State:
    """Random weights under the names of the released file, and what it holds besides."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def add(name: str, *shape: int) -> None:
        state[name] = torch.randn(shape, generator=generator) * (0.5 if len(shape) < 2 else shape[-1] ** -0.5)

    def add_linear(name: str, out: int, width: int) -> None:
        add(f"{name}.weight", out, width)
        add(f"{name}.bias", out)

    def add_norm(name: str, width: int) -> None:
        add(f"{name}.weight", width)
        add(f"{name}.bias", width)
        state[f"{name}.weight"] += 1

    eye, text = "blip.visual_encoder", "blip.text_encoder"
    add(f"{eye}.cls_token", 1, 1, EYE)
    add(f"{eye}.pos_embed", 1, (SIDE // PATCH) ** 2 + 1, EYE)
    add(f"{eye}.patch_embed.proj.weight", EYE, 3, PATCH, PATCH)
    add(f"{eye}.patch_embed.proj.bias", EYE)
    add_norm(f"{eye}.norm", EYE)
    for block in (f"{eye}.blocks.{number}" for number in range(2)):
        for name, out, width in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            add_linear(f"{block}.{name}", out * EYE, width * EYE)
        add_norm(f"{block}.norm1", EYE)
        add_norm(f"{block}.norm2", EYE)
    add(f"{text}.embeddings.word_embeddings.weight", words, TEXT)
    add(f"{text}.embeddings.position_embeddings.weight", 40, TEXT)
    add_norm(f"{text}.embeddings.LayerNorm", TEXT)
    for layer in (f"{text}.encoder.layer.{number}" for number in range(3)):
        for kind, width in (("attention", TEXT), ("crossattention", EYE)):
            add_linear(f"{layer}.{kind}.self.query", TEXT, TEXT)
            add_linear(f"{layer}.{kind}.self.key", TEXT, width)
            add_linear(f"{layer}.{kind}.self.value", TEXT, width)
            add_linear(f"{layer}.{kind}.output.dense", TEXT, TEXT)
            add_norm(f"{layer}.{kind}.output.LayerNorm", TEXT)
        add_linear(f"{layer}.intermediate.dense", 4 * TEXT, TEXT)
        add_linear(f"{layer}.output.dense", TEXT, 4 * TEXT)
        add_norm(f"{layer}.output.LayerNorm", TEXT)
    for number, out, width in ((0, 48, TEXT), (2, 24, 48), (4, 12, 24), (6, 6, 12), (7, 1, 6)):
        add_linear(f"mlp.layers.{number}", out, width)
    add_linear("blip.vision_proj", 16, EYE)
    add_linear("blip.text_proj", 16, TEXT)
    return state | {f"{text}.embeddings.position_ids": torch.arange(40)[None]}


class Reference:
    """ImageReward by the equations of ViT, BERT and BLIP, for one picture and one caption."""

    def __init__(self, state: State) -> None:
        self.state = state

    def linear(self, name: str, values: torch.Tensor) -> torch.Tensor:
        return values @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name: str, values: torch.Tensor, epsilon: float) -> torch.Tensor:
        centred = values - values.mean(dim=-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(dim=-1, keepdim=True) + epsilon).sqrt()
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    @staticmethod
    def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Heads of 64 numbers; (T, D) queries over (S, D) keys and values."""
        heads = []
        for start in range(0, queries.shape[1], 64):
            query, key, value = (each[:, start : start + 64] for each in (queries, keys, values))
            heads.append((query @ key.T / math.sqrt(64)).softmax(dim=-1) @ value)
        return torch.cat(heads, dim=1)

    def encode_picture(self, pixels: torch.Tensor) -> torch.Tensor:
        name = "blip.visual_encoder"
        patches = (
            pixels.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).permute(1, 2, 0, 3, 4).reshape(-1, 3 * PATCH**2)
        )
        weights = self.state[f"{name}.patch_embed.proj.weight"].flatten(1)
        tokens = patches @ weights.T + self.state[f"{name}.patch_embed.proj.bias"]
        states = torch.cat([self.state[f"{name}.cls_token"][0], tokens]) + self.state[f"{name}.pos_embed"][0]
        for number in range(2):
            block = f"{name}.blocks.{number}"
            parts = self.linear(f"{block}.attn.qkv", self.norm(f"{block}.norm1", states, 1e-6)).split(EYE, dim=1)
            states = states + self.linear(f"{block}.attn.proj", self.attend(*parts))
            hidden = functional.gelu(self.linear(f"{block}.mlp.fc1", self.norm(f"{block}.norm2", states, 1e-6)))
            states = states + self.linear(f"{block}.mlp.fc2", hidden)
        return self.norm(f"{name}.norm", states, 1e-6)

    def read_layer(self, layer: str, states: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        for kind, source in (("attention", None), ("crossattention", picture)):
            name = f"{layer}.{kind}"
            others = states if source is None else source
            parts = (self.linear(f"{name}.self.key", others), self.linear(f"{name}.self.value", others))
            mixed = self.linear(f"{name}.output.dense", self.attend(self.linear(f"{name}.self.query", states), *parts))
            states = self.norm(f"{name}.output.LayerNorm", states + mixed, 1e-12)
        hidden = functional.gelu(self.linear(f"{layer}.intermediate.dense", states))
        return self.norm(f"{layer}.output.LayerNorm", states + self.linear(f"{layer}.output.dense", hidden), 1e-12)

    def score(self, pixels: torch.Tensor, ids: list[int]) -> float:
        picture, name = self.encode_picture(pixels), "blip.text_encoder"
        words = self.state[f"{name}.embeddings.word_embeddings.weight"][ids]
        positions = self.state[f"{name}.embeddings.position_embeddings.weight"][: len(ids)]
        states = self.norm(f"{name}.embeddings.LayerNorm", words + positions, 1e-12)
        for number in range(3):
            states = self.read_layer(f"{name}.encoder.layer.{number}", states, picture)
        reward = states[0]
        for number in (0, 2, 4, 6, 7):
            reward = self.linear(f"mlp.layers.{number}", reward)
        return (reward.item() - 0.16717362830052426) / 1.0333394966054072


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, State, Any]:
    """The words that name a model in the released layout, its tensors, and its tokenizer."""
    folder = tmp_path_factory.mktemp("image-reward")
    words = tokenizer(limit=512)
    words.save_pretrained(folder / "words")
    state = make_image_reward(len(words))
    torch.save(state, folder / "ImageReward.pt")
    return f"{folder / 'ImageReward.pt'}@{folder / 'words'}", state, words


def test_image_reward_is_the_papers(dataset: Dataset, released: tuple[str, State, Any]) -> None:
    spec, state, words = released
    stage = find_image_reward_scorer(spec)
    rows = rows_of(dataset, stage)
    assert stage.name == "image-reward-imagereward"
    for number, (name, caption) in enumerate(CAPTIONS.items()):
        ids = words(caption, truncation=True, max_length=TOKENS).input_ids
        expected = Reference(state).score(prepare(draw(number), SIDE), ids)
        assert rows[name]["score"] == pytest.approx(expected, rel=1e-4)
        assert rows[name]["truncated"] == (len(words(caption).input_ids) > 35)
    assert len({row["score"] for row in rows.values()}) == 4
    assert [rows["chair-0003"][name] for name in stage.columns] == [None] * 3


def test_what_the_released_file_holds_is_used_or_named(released: tuple[str, State, Any], tmp_path: Path) -> None:
    _, state, _ = released
    name = "blip.text_encoder.encoder.layer.1.crossattention.self.key.bias"
    changes: dict[str, tuple[State, str]] = {
        "less": ({key: value for key, value in state.items() if key != name}, "Missing|size|Error"),
        "more": (state | {"blip.itm_head.weight": torch.ones(2, 2)}, "1 of its tensors belong to no part of it"),
        "inner": (state | {"blip.visual_encoder.blocks.0.attn.scale": torch.ones(1)}, "Error|Unexpected"),
        "head": (state | {"mlp.layers.7.weight": torch.ones(2, 6), "mlp.layers.7.bias": torch.ones(2)}, "one figure"),
        "other": ({"weight": torch.ones(1, 4)}, "belong to no part of it"),
    }
    for kind, (changed, says) in changes.items():
        torch.save(changed, tmp_path / f"{kind}.pt")
        with pytest.raises(BlendsetError, match=rf"{kind}\.pt cannot be loaded as ImageReward.*({says})"):
            load_image_reward(tmp_path / f"{kind}.pt")


def test_a_wrong_tokenizer_is_one_sentence(released: tuple[str, State, Any], tmp_path: Path) -> None:
    file = released[0].partition("@")[0]
    large = tokenizer(*(f"<{number}>" for number in range(9)), limit=512)
    large.save_pretrained(tmp_path / "large")
    with pytest.raises(BlendsetError, match=r"large knows \d+ tokens and .*; name the tokenizer"):
        find_image_reward_scorer(f"{file}@{tmp_path / 'large'}").setup()
    with pytest.raises(BlendsetError, match=r"holds no model \(it has no tokenizer_config.json\)"):
        find_image_reward_scorer(f"{file}@{tmp_path}")


# --- HPSv2 ------------------------------------------------------------------------------------------------------------


def norm(state: State, name: str, values: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(values, values.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def run_blocks(state: State, name: str, states: torch.Tensor, heads: int, mask: torch.Tensor | None) -> torch.Tensor:
    """open_clip's transformer, of its own names; states (T, D), mask (T, T)."""
    for number in range(2):
        block = f"{name}.resblocks.{number}"
        values = norm(state, f"{block}.ln_1", states)
        mixed = values @ state[f"{block}.attn.in_proj_weight"].T + state[f"{block}.attn.in_proj_bias"]
        query, key, value = (part.unflatten(1, (heads, -1)).transpose(0, 1) for part in mixed.chunk(3, dim=1))
        scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1]) + (0 if mask is None else mask)
        joined = (scores.softmax(dim=-1) @ value).transpose(0, 1).flatten(1)
        states = states + joined @ state[f"{block}.attn.out_proj.weight"].T + state[f"{block}.attn.out_proj.bias"]
        values = norm(state, f"{block}.ln_2", states)
        hidden = functional.gelu(values @ state[f"{block}.mlp.c_fc.weight"].T + state[f"{block}.mlp.c_fc.bias"])
        states = states + hidden @ state[f"{block}.mlp.c_proj.weight"].T + state[f"{block}.mlp.c_proj.bias"]
    return states


def compute_clip_cosine(state: State, pixels: torch.Tensor, ids: torch.Tensor) -> float:
    patches = functional.conv2d(pixels[None], state["visual.conv1.weight"], stride=8)[0].flatten(1).T
    states = torch.cat([state["visual.class_embedding"][None], patches]) + state["visual.positional_embedding"]
    states = run_blocks(state, "visual.transformer", norm(state, "visual.ln_pre", states), 2, None)
    picture = norm(state, "visual.ln_post", states)[0] @ state["visual.proj"]
    words = state["token_embedding.weight"][ids] + state["positional_embedding"]
    later = torch.full((len(ids), len(ids)), -torch.inf).triu(1)
    text = norm(state, "ln_final", run_blocks(state, "transformer", words, 2, later))[ids.argmax()]
    return functional.cosine_similarity(picture, text @ state["text_projection"], dim=0).item()


def test_hpsv2_is_a_checkpoint_for_a_model_of_open_clip(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As released: what training left, its weights under "state_dict", for a model that open_clip knows by name."""
    vision = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "ViT-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    torch.manual_seed(1)
    state = open_clip.CLIP(**config).state_dict()
    file = tmp_path / "HPS_v2.1_compressed.pt"
    torch.save({"epoch": 1, "name": "hps", "state_dict": {name: value.clone() for name, value in state.items()}}, file)
    stage = find_clip_scorer(f"ViT-tiny/{file}")
    rows = rows_of(dataset, stage)
    assert stage.name == "clip-vit-tiny-hps-v2-1-compressed"
    words = open_clip.get_tokenizer("ViT-tiny")
    for number, (name, caption) in enumerate(CAPTIONS.items()):
        expected = compute_clip_cosine(state, prepare(draw(number), 32), words([caption])[0])
        assert rows[name]["similarity"] == pytest.approx(expected, rel=1e-4)
    hub = {("xswu/HPSv2", "HPS_v2.1_compressed.pt"): str(file)}
    monkeypatch.setattr("blendset_trainer.models.weights.hf_hub_download", lambda *name, **_: hub[name])
    assert find_clip(f"ViT-tiny/xswu/HPSv2/{file.name}") == stage.weights


# --- PickScore --------------------------------------------------------------------------------------------------------


def test_preference_is_an_independent_cosine_times_the_scale(dataset: Dataset, model: Make) -> None:
    folder = model("clip")
    rows = rows_of(dataset, find_preference_scorer(str(folder)))
    clip, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    for number, name in enumerate(("chair-0000", "chair-0001")):
        words = processor.tokenizer([CAPTIONS[name]], return_tensors="pt")  # without padding, alone
        with torch.no_grad():
            text = clip.text_projection(clip.text_model(**words).pooler_output)[0]
            pixels = processor.image_processor(images=[draw(number)], return_tensors="pt")
            picture = clip.visual_projection(clip.vision_model(**pixels).pooler_output)[0]
        cosine = (picture @ text / picture.norm() / text.norm()).item()
        assert rows[name]["cosine"] == pytest.approx(cosine, rel=1e-4)
        assert rows[name]["score"] == pytest.approx(cosine * math.exp(clip.logit_scale.item()), rel=1e-4)
