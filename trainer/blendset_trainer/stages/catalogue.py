# SPDX-License-Identifier: Apache-2.0
"""The captioners and scorers by the names that users write."""

from __future__ import annotations

from blendset_trainer.stages.registry import Scheme

SCORERS = {
    "image-stats": Scheme("blendset_trainer.scoring.image_stats:ImageStats"),
    "ssim-roundtrip": Scheme("blendset_trainer.scoring.ssim:SsimRoundtrip"),
    "phash": Scheme("blendset_trainer.scoring.phash:Phash"),
    "geometry": Scheme("blendset_trainer.scoring.geometry:GeometryScorer"),
    "consistency": Scheme("blendset_trainer.scoring.consistency:Consistency"),
    "clip": Scheme("blendset_trainer.scoring.clip:find_clip_scorer", "MODEL"),
    "aesthetic": Scheme("blendset_trainer.scoring.aesthetic:find_aesthetic_scorer", "HEAD"),
    "dino": Scheme("blendset_trainer.scoring.dino:find_dino_scorer", "MODEL"),
    "feature-consistency": Scheme("blendset_trainer.scoring.feature_consistency:find_feature_scorer", "MODEL"),
    "depth-agreement": Scheme("blendset_trainer.scoring.depth_agreement:find_depth_scorer", "MODEL"),
    "mask-agreement": Scheme("blendset_trainer.scoring.mask_agreement:find_mask_scorer", "MODEL"),
    "preference": Scheme("blendset_trainer.scoring.preference:find_preference_scorer", "MODEL"),
    "vqa": Scheme("blendset_trainer.scoring.vqa:find_vqa_scorer", "MODEL"),
    "vlm-quality": Scheme("blendset_trainer.scoring.vlm_quality:find_quality_scorer", "MODEL"),
}

CAPTIONERS = {
    "metadata": Scheme("blendset_trainer.captioning.metadata:MetadataCaptioner"),
    "hf": Scheme("blendset_trainer.captioning.models.captioner:find_local_captioner", "MODEL"),
    "openai": Scheme("blendset_trainer.captioning.models.captioner:find_server_captioner", "URL#MODEL"),
}
