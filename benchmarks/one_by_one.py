# SPDX-License-Identifier: Apache-2.0
"""What `benchmarks/scoring.py` is held against: the loop that one would write first, one picture after the other.

Pillow opens, NumPy, SciPy and scikit-image compute, a model gets a batch of one; nothing is checked, keyed or written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Row = dict[str, Any]
Scorer = Callable[[Path, Row], object]


def main() -> None:
    """Run the benchmark and print its results."""
    root, scorer = Path(sys.argv[1]), SCORERS[sys.argv[2]](*sys.argv[3:])
    with (root / "metadata.jsonl").open(encoding="utf-8") as lines:
        print(len([scorer(root, json.loads(line)) for line in lines]))


def make_image_stats_scorer() -> Scorer:
    """The figures of `image-stats`; where a formula is Blendset's own, by Blendset's own function."""
    from scipy import ndimage
    from skimage.measure import shannon_entropy

    from blendset.exr import read_passes
    from blendset_trainer.scoring.image_stats import measure_fireflies, measure_magenta

    def score(root: Path, row: Row) -> object:
        picture = Image.open(root / row["rgb_file_name"]).convert("RGB")
        levels = np.asarray(picture.convert("L"))
        grey = levels.astype(np.float32)
        found = [grey.mean(), grey.var(), (grey <= 5).mean(), (grey >= 250).mean()]
        found += [
            ndimage.laplace(grey).var(),
            shannon_entropy(levels),
            measure_fireflies(grey),
            measure_magenta(np.asarray(picture)),
        ]
        if row["subject"]:
            mask = np.isin(read_passes(root / row["passes_path"]).id, row["subject_objects"])
            subject, rest = grey[mask], grey[~mask]
            found += [mask.sum(), subject.mean(), subject.std(), abs(subject.mean() - rest.mean())]
        return found

    return score


def make_ssim_scorer() -> Scorer:
    """Structural similarity after 336 x 336 pixels and back, and the variance of the Laplacian."""
    from scipy import ndimage
    from skimage.metrics import structural_similarity

    def score(root: Path, row: Row) -> object:
        picture = Image.open(root / row["rgb_file_name"]).convert("L")
        back = picture.resize((336, 336), Image.Resampling.BICUBIC).resize(picture.size, Image.Resampling.BICUBIC)
        grey = np.asarray(picture)
        return structural_similarity(grey, np.asarray(back)), ndimage.laplace(grey.astype(np.float32)).var()

    return score


def make_clip_scorer(folder: str) -> Scorer:
    """Cosine of picture and caption, and the picture's embedding."""
    import open_clip
    import torch

    model, prepare = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    torch.set_num_threads(1)  # a model as small as this is no faster with more

    @torch.inference_mode()
    def score(root: Path, row: Row) -> object:
        picture = Image.open(root / row["rgb_file_name"]).convert("RGB")
        image = model.encode_image(prepare(picture)[None], normalize=True)
        text = model.encode_text(tokenizer([row["caption"]]), normalize=True)
        return float((image * text).sum()), image[0].numpy()

    return score


SCORERS: dict[str, Callable[..., Scorer]] = {
    "image-stats": make_image_stats_scorer,
    "ssim-roundtrip": make_ssim_scorer,
    "clip": make_clip_scorer,
}


if __name__ == "__main__":
    main()
