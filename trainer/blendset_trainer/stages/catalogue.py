# SPDX-License-Identifier: Apache-2.0
"""The captioners and scorers by the names that users write. docs/extending.md shows how to add one."""

from __future__ import annotations

from blendset_trainer.api.registry import Registry

SCORERS = Registry(
    "scorer",
    {
        "image-stats": "blendset_trainer.scoring.image_stats:ImageStats",
        "appearance": "blendset_trainer.scoring.appearance:Appearance",
        "ssim-roundtrip": "blendset_trainer.scoring.ssim:SsimRoundtrip",
        "phash": "blendset_trainer.scoring.phash:Phash",
        "geometry": "blendset_trainer.scoring.geometry:GeometryScorer",
        "consistency": "blendset_trainer.scoring.consistency:Consistency",
        "clip:MODEL": "blendset_trainer.scoring.clip:find_clip_scorer",
        "aesthetic:HEAD": "blendset_trainer.scoring.aesthetic:find_aesthetic_scorer",
        "dino:MODEL": "blendset_trainer.scoring.dino:find_dino_scorer",
        "masked-dino:MODEL": "blendset_trainer.scoring.features.masked_features:find_masked_dino_scorer",
        "masked-clip:MODEL": "blendset_trainer.scoring.features.masked_features:find_masked_clip_scorer",
        "inception:WEIGHTS": "blendset_trainer.scoring.features.inception:find_inception_scorer",
        "feature-consistency:MODEL": "blendset_trainer.scoring.feature_consistency:find_feature_scorer",
        "depth-agreement:MODEL": "blendset_trainer.scoring.depth_agreement:find_depth_scorer",
        "mask-agreement:MODEL": "blendset_trainer.scoring.mask_agreement:find_mask_scorer",
        "preference:MODEL": "blendset_trainer.scoring.preference:find_preference_scorer",
        "image-reward:FILE": "blendset_trainer.scoring.image_reward:find_image_reward_scorer",
        "itm:MODEL": "blendset_trainer.scoring.itm:find_itm_scorer",
        "vqa:MODEL": "blendset_trainer.scoring.chat.vqa:find_vqa_scorer",
        "tifa:MODEL": "blendset_trainer.scoring.chat.tifa:find_tifa_scorer",
        "vlm-filter:MODEL": "blendset_trainer.scoring.chat.vlm_filter:find_vlm_filter",
        "vlm-quality:MODEL": "blendset_trainer.scoring.chat.vlm_quality:find_quality_scorer",
    },
    group="blendset.scorers",
)

CAPTIONERS = Registry(
    "captioner",
    {
        "metadata": "blendset_trainer.captioning.metadata:MetadataCaptioner",
        "hf:MODEL": "blendset_trainer.captioning.models.captioner:find_local_captioner",
        "openai:URL#MODEL": "blendset_trainer.captioning.models.captioner:find_server_captioner",
    },
    group="blendset.captioners",
)
