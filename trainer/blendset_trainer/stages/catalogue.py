# SPDX-License-Identifier: Apache-2.0
"""Every captioner and scorer by the name that the command line gives it."""

from __future__ import annotations

from blendset_trainer.stages.registry import Scheme

SCORERS = {
    "image-stats": Scheme("blendset_trainer.scoring.image_stats:ImageStats"),
    "ssim-roundtrip": Scheme("blendset_trainer.scoring.ssim:SsimRoundtrip"),
    "phash": Scheme("blendset_trainer.scoring.phash:Phash"),
    "geometry": Scheme("blendset_trainer.scoring.geometry:GeometryScorer"),
    "consistency": Scheme("blendset_trainer.scoring.consistency:Consistency"),
    "clip": Scheme("blendset_trainer.scoring.clip:clip_scorer", "MODEL"),
    "aesthetic": Scheme("blendset_trainer.scoring.aesthetic:aesthetic_scorer", "HEAD"),
    "dino": Scheme("blendset_trainer.scoring.dino:dino_scorer", "MODEL"),
    "feature-consistency": Scheme("blendset_trainer.scoring.feature_consistency:feature_scorer", "MODEL"),
    "depth-agreement": Scheme("blendset_trainer.scoring.depth_agreement:depth_scorer", "MODEL"),
    "mask-agreement": Scheme("blendset_trainer.scoring.mask_agreement:mask_scorer", "MODEL"),
    "preference": Scheme("blendset_trainer.scoring.preference:preference_scorer", "MODEL"),
    "vqa": Scheme("blendset_trainer.scoring.vqa:vqa_scorer", "MODEL"),
    "vlm-quality": Scheme("blendset_trainer.scoring.vlm_quality:quality_scorer", "MODEL"),
}


CAPTIONERS = {
    "metadata": Scheme("blendset_trainer.captioning.metadata:Metadata"),
    "hf": Scheme("blendset_trainer.captioning.models.captioner:local_captioner", "MODEL"),
    "openai": Scheme("blendset_trainer.captioning.models.captioner:server_captioner", "URL#MODEL"),
}
