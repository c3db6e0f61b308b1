# SPDX-License-Identifier: Apache-2.0
"""What a cache of features may be made from: the pictures and captions that are in a folder today."""

from __future__ import annotations

from pathlib import Path

from blendset_trainer.stages.caption_forms import CAPTION_FORMS
from blendset_trainer.training.data.feature_cache import hash_caption
from blendset_trainer.training.data.photos import load_photo_rows
from blendset_trainer.training.data.views import load_view_rows


def hash_origins(folder: Path) -> set[str]:
    """The hashes of all pictures and captions of a dataset or a folder of photos, as `Entry.origins` has them."""
    rows = load_view_rows(folder) if (folder / "dataset.json").is_file() else load_photo_rows(folder)
    captions = {text or "" for form in CAPTION_FORMS for text in rows[form].to_pylist()}
    return {*rows["sha256"].to_pylist(), *map(hash_caption, captions | {""})}
