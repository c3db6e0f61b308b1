# SPDX-License-Identifier: Apache-2.0
"""Makes what benchmarks/ttr_ladder.toml trains and trusts of one rendered and captioned dataset: a few sharp renders,
blurred copies of other views, views that are held out with their captions, a small model, and a network for features.

.venv/bin/python benchmarks/ttr_ladder.py DATASET
.venv/bin/blendset ablate benchmarks/ttr_ladder.toml
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import transformers
from PIL import Image, ImageFilter
from report import ROOT

sys.path.append(str(ROOT / "demo"))
import model as demo_model
from blendset.dataset import CAPTION, Dataset
from blendset_trainer.stages.tables import read_index
from blendset_trainer.training.data.sampler import make_permutation

OUT = ROOT / "build" / "benchmarks" / "ttr-ladder"
SIDE = demo_model.SIDE
HELD_OUT, RENDER = 0.3, 0.12
"""Shares of the views that are never trained, and that are trained as they are; the others are trained blurred."""
BLUR = 1.0
"""Pixels of SIDE, the Gaussian's deviation."""


def main(root: Path) -> None:
    """Write the folders, the prompts and the models."""
    dataset = Dataset(root)
    index = read_index(dataset)
    names, captions = index["view_id"].to_pylist(), index[CAPTION].to_pylist()
    paths = {view.view_id: dataset.rgb_path(view) for view in dataset.views()}
    held_out, render = round(HELD_OUT * len(names)), round((HELD_OUT + RENDER) * len(names))
    prompts = []
    for rank, number in enumerate(make_permutation(len(names), 0, "views").tolist()):
        part = "held-out-views" if rank < held_out else "render" if rank < render else "synthetic"
        write_pair(OUT / part / f"{rank:04d}.png", paths[names[number]], captions[number], part == "synthetic")
        prompts += [captions[number]] if rank < held_out else []
    (OUT / "held-out.txt").write_text("\n".join(prompts), encoding="utf-8")
    demo_model.main(*(OUT / part for part in ("render", "synthetic", "held-out-views")), out=OUT / "model")
    write_network(OUT / "network")


def write_pair(path: Path, picture: Path, caption: str, is_blurred: bool) -> None:
    """Write a small picture, blurred or as it is, with its caption beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(picture) as opened:
        small = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    (small.filter(ImageFilter.GaussianBlur(BLUR)) if is_blurred else small).save(path)
    path.with_suffix(".txt").write_text(caption, encoding="utf-8")


def write_network(folder: Path) -> None:
    """Write a small vision transformer with random weights, whose features tell blurred pictures from sharp ones."""
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=SIDE, patch_size=4, initializer_range=0.3
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    transformers.BitImageProcessor(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
