# SPDX-License-Identifier: Apache-2.0
"""Tiny real models with random weights, saved to a folder as released ones are, so that the usual loaders read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

torch.set_num_threads(1)  # threads of models as small as these only wait for one another

WORDS = "yes no Yes No a an the red green blue chair table lamp room does this figure show please answer or".split()
SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT: dict[str, Any] = {**SMALL, "num_key_value_heads": 2, "max_position_embeddings": 4096, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
EYE: dict[str, Any] = {**SMALL, "image_size": 28, "patch_size": 14}
SIZE = {"height": 28, "width": 28}
PROMPTED: dict[str, Any] = {"hidden_size": 32, "image_size": 64}
DRAWN: dict[str, Any] = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
CHAT = (
    "{% for message in messages %}{{ message.role }} : {% for part in message.content %}"
    "{% if part.type == 'image' %}PICTURE{% else %}{{ part.text }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)

Make = Callable[[str], Path]


def maker(folder: Path) -> Make:
    """Makes the tiny model of a kind (a function below) on first use; returns its folder."""
    return cache(lambda kind: globals()[f"{kind}_model"](folder / kind))


def tokenizer(*special: str, limit: int | None = None) -> Any:
    """Words, single characters for the rest, and a beginning and an end around each text if there is a `limit`."""
    names = ["<pad>", "<s>", "</s>", "<unk>", *special, *WORDS, *map(chr, range(33, 127))]
    inner = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if limit:
        inner.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=list(special), model_max_length=limit or 4096,
    )  # fmt: skip


def open_clip_model(folder: Path, context_length: int = 16, width: int = 16) -> Path:
    folder.mkdir(parents=True)
    vision = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16}
    text = {"context_length": context_length, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": width, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return folder


def clip_model(folder: Path) -> Path:
    torch.manual_seed(0)  # the class embedding is no matrix
    words = tokenizer(limit=16)
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(text_config=text, vision_config=EYE, projection_dim=16)
    eye = transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=SIZE)
    return _saved(folder, transformers.CLIPModel(config), transformers.CLIPProcessor(eye, words))


def siglip_model(folder: Path) -> Path:
    words = tokenizer(limit=16)
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 16}
    config = transformers.SiglipConfig(text_config=text, vision_config=EYE)
    eye = transformers.SiglipImageProcessor(size=SIZE)
    return _saved(folder, transformers.SiglipModel(config), transformers.SiglipProcessor(eye, words))


def dino_model(folder: Path, side: int = 28) -> Path:
    eye = transformers.BitImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return _saved(folder, transformers.Dinov2Model(transformers.Dinov2Config(**EYE | {"image_size": side})), eye)


def dino_with_registers_model(folder: Path) -> Path:
    """Of weights so large that pictures of noise are far apart."""
    eye = transformers.BitImageProcessor(size={"shortest_edge": 28}, crop_size=SIZE)
    model = transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**EYE))
    return _saved(folder, model, eye, deviation=1.0)


def depth_model(folder: Path, metric: bool = False) -> Path:
    stages = {"out_features": [f"stage{k}" for k in range(1, 5)], "reshape_hidden_states": False}
    config = transformers.DepthAnythingConfig(
        backbone_config=transformers.Dinov2Config(**EYE | {"num_hidden_layers": 4} | stages),
        patch_size=14, reassemble_hidden_size=32, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8, head_hidden_size=8,
        depth_estimation_type="metric" if metric else "relative", max_depth=20 if metric else 1,
    )  # fmt: skip
    processor = transformers.DPTImageProcessor(size={"height": 56, "width": 56}, ensure_multiple_of=14)
    return _saved(folder, transformers.DepthAnythingForDepthEstimation(config), processor)


def sam_model(folder: Path) -> Path:
    eye = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 64, "image_size": 64,
           "patch_size": 8, "window_size": 4, "global_attn_indexes": [1], "output_channels": 32, "num_pos_feats": 16,
           "initializer_range": 0.02}  # fmt: skip
    prompts = PROMPTED | {"patch_size": 8}
    config = transformers.SamConfig(vision_config=eye, prompt_encoder_config=prompts, mask_decoder_config=DRAWN)
    torch.manual_seed(0)  # places are told by random numbers that are no parameters
    looks = transformers.SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    return _saved(folder, transformers.SamModel(config), transformers.SamProcessor(looks))


def sam2_model(folder: Path) -> Path:
    """As released ones are: a model of videos by its configuration, of which the part for pictures is read."""
    widths, sides = [8, 16, 32, 64], [16, 8, 4]
    backbone = {"model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [64, 64],
                "embed_dim_per_stage": widths, "num_attention_heads_per_stage": [1, 1, 1, 1],
                "blocks_per_stage": [1, 1, 2, 1], "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [4, 4]}  # fmt: skip
    eye = {"backbone_config": backbone, "backbone_channel_list": widths[::-1], "fpn_hidden_size": 32,
           "backbone_feature_sizes": [[side, side] for side in sides]}  # fmt: skip
    memory: dict[str, Any] = {
        "memory_attention_hidden_size": 32, "memory_attention_num_layers": 1, "memory_encoder_hidden_size": 32,
        "memory_attention_rope_feat_sizes": [4, 4], "memory_encoder_output_channels": 16,
        "mask_downsampler_embed_dim": 32, "memory_fuser_embed_dim": 32,
    }  # fmt: skip
    config = transformers.Sam2VideoConfig(
        vision_config=eye, prompt_encoder_config=PROMPTED, mask_decoder_config=DRAWN, **memory
    )
    torch.manual_seed(0)
    looks = transformers.Sam2ImageProcessor(size={"height": 64, "width": 64})
    processor = transformers.Sam2VideoProcessor(looks, transformers.Sam2VideoVideoProcessor())
    return _saved(folder, transformers.Sam2VideoModel(config), processor)


def sam3_model(folder: Path) -> Path:
    """As released ones are, it segments what words say; of its weights those that take boxes are here."""
    backbone = {"model_type": "sam3_vit_model", **EYE, "image_size": 56, "window_size": 2, "global_attn_indexes": [1],
                "pretrain_image_size": 28}  # fmt: skip
    eye = {"model_type": "sam3_vision_model", "backbone_config": backbone, "fpn_hidden_size": 32,
           "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}  # fmt: skip
    prompts = PROMPTED | {"image_size": 56, "patch_size": 14}
    parts: dict[str, Any] = {"vision_config": eye, "prompt_encoder_config": prompts, "mask_decoder_config": DRAWN}
    looks = transformers.Sam3ImageProcessor(size={"height": 56, "width": 56})
    processor = transformers.Sam3VideoProcessor(looks, transformers.Sam2VideoVideoProcessor(), tokenizer())
    _saved(folder, transformers.Sam3TrackerModel(transformers.Sam3TrackerConfig(**parts)), processor)
    transformers.Sam3VideoConfig(tracker_config={"model_type": "sam3_tracker_video", **parts}).save_pretrained(folder)
    return folder


def blip_model(folder: Path) -> Path:
    return _blip(folder, transformers.BlipForConditionalGeneration)


def itm_model(folder: Path) -> Path:
    return _blip(folder, transformers.BlipForImageTextRetrieval)


def _blip(folder: Path, architecture: Any) -> Path:
    words = tokenizer()
    text = {**SMALL, "vocab_size": len(words), "encoder_hidden_size": 32, "projection_dim": 32, "bos_token_id": 1,
            "pad_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}  # fmt: skip
    config = transformers.BlipConfig(text_config=text, vision_config=EYE, projection_dim=32)
    processor = transformers.BlipProcessor(transformers.BlipImageProcessor(size=SIZE), words)
    return _saved(folder, architecture(config), processor)


def llava_model(folder: Path) -> Path:
    words = tokenizer("<image>")
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**EYE),
        text_config=transformers.LlamaConfig(vocab_size=len(words), **TEXT),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    processor = transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=SIZE),
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("PICTURE", "<image>"),
    )
    return _saved(folder, _ending(transformers.LlavaForConditionalGeneration(config)), processor)


def qwen_model(folder: Path) -> Path:
    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    words = tokenizer(*marks)
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    eye = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
           "window_size": 56, "fullatt_block_indexes": [1]}  # fmt: skip
    rope = {"type": "mrope", "rope_type": "default", "mrope_section": [2, 3, 3]}
    config = transformers.Qwen2_5_VLConfig(
        vision_config=eye,
        text_config={**TEXT, "vocab_size": len(words), "rope_scaling": rope},
        **dict(zip(names, words.convert_tokens_to_ids(list(marks)), strict=True)),
    )
    processor = transformers.Qwen2_5_VLProcessor(
        transformers.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112),
        words,
        transformers.Qwen2VLVideoProcessor(),
        chat_template=CHAT.replace("PICTURE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return _saved(folder, _ending(transformers.Qwen2_5_VLForConditionalGeneration(config)), processor)


def causal_model(folder: Path) -> Path:
    """A language model of random weights, that has a chat template and knows the words yes and no."""
    words = tokenizer("yes", "no", limit=256)
    words.chat_template = "{{ messages[0].content }} {% if add_generation_prompt %}: {% endif %}"
    config = transformers.LlamaConfig(vocab_size=len(words), **{**TEXT, "max_position_embeddings": 256})
    return _saved(folder, transformers.LlamaForCausalLM(config), words)


def text_model(folder: Path) -> Path:
    """A text encoder of BERT's form."""
    words = tokenizer(limit=32)
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=32, **SMALL)
    return _saved(folder, transformers.BertModel(config), words)


def reciting_model(folder: Path, text: str, by_word: bool = False) -> Path:
    """A language model that learned one text by heart, and says it whatever it is asked."""
    words = _phrases(text, by_word)
    words.chat_template = CHAT
    torch.manual_seed(0)
    config = transformers.MistralConfig(vocab_size=len(words), sliding_window=8, **TEXT)  # long questions are forgotten
    model = transformers.MistralForCausalLM(config)
    said = torch.tensor([*words(text).input_ids, words.eos_token_id])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(45):
        asked = torch.randint(3, len(words), (4, 24))
        ids = torch.cat([asked, said.expand(4, -1)], dim=1)
        labels = ids.where(torch.arange(ids.shape[1]) >= asked.shape[1], -100)
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _phrases(text: str, by_word: bool) -> Any:
    """A tokenizer of bytes, and of the phrases (or words) of a text, which becomes a few dozen tokens long."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=by_word)
    inner.decoder = decoders.ByteLevel()
    special, every_byte = ["<pad>", "<s>", "</s>"], pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        [text] * 3, trainers.BpeTrainer(vocab_size=385, special_tokens=special, initial_alphabet=every_byte)
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>")


def _ending(model: Any) -> Any:
    """A model that ends each answer where it has to, for one of random weights does not by itself."""
    model.generation_config.forced_eos_token_id = 2
    return model


def _saved(folder: Path, model: Any, processor: Any, deviation: float = 0.3) -> Path:
    """Random weights of a fixed seed, far enough from zero that different pictures give different answers."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for matrix in (each for each in model.parameters() if each.ndim > 1):
            matrix.normal_(0, deviation, generator=generator)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
