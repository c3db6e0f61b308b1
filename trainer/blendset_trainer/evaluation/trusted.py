# SPDX-License-Identifier: Apache-2.0
"""Trusted pictures, which others are held against: measured like those, or their features from a file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from blendset.dataset import CAPTION
from blendset.errors import BlendsetError, SettingsError
from blendset.files import atomic_write, explain_read_errors
from blendset_trainer.api.progress import OnProgress
from blendset_trainer.evaluation.measurement import Measurement, measure
from blendset_trainer.evaluation.metrics import has_embedding
from blendset_trainer.evaluation.set_metrics import MAX_PICTURES
from blendset_trainer.evaluation.settings import MeasureSettings
from blendset_trainer.evaluation.sources import open_source
from blendset_trainer.evaluation.statistics.kernels import Features
from blendset_trainer.stages.stage import Stage

ENDING = ".npz"


@dataclass(frozen=True, eq=False)
class Trusted:
    """Trusted pictures: features (M, D) and the revision of the weights behind them, by scorer; what they are called;
    how many there are; the hashes of their files, and their captions.
    """

    features: Mapping[str, Features] = field(default_factory=dict)
    revisions: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    count: int = 0
    hashes: frozenset[str] = frozenset()
    captions: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def read_trusted(stages: Sequence[Stage], settings: MeasureSettings, on_progress: OnProgress) -> Trusted:
    """Return the trusted pictures of the settings in the features of some scorers, at most MAX_PICTURES, drawn at
    random; nothing where the settings name none.

    Raises SettingsError where no scorer has features, and BlendsetError for pictures that cannot be measured and for
    features of another revision.
    """
    if settings.against is None:
        return Trusted()
    stages = [stage for stage in stages if has_embedding(stage)]
    if not stages:
        raise SettingsError(
            "--against needs a scorer with an embedding, in which sets are compared; add clip:MODEL or dino:MODEL to "
            "--with."
        )
    if settings.against.suffix == ENDING:
        return _read_features(settings.against, stages)
    plain = replace(settings, selection="", prompts=None, pairs=None)
    opened = open_source(settings.against, None, plain, on_progress)
    measured = measure(opened.dataset, opened.title, stages, plain, on_progress, most=MAX_PICTURES)
    known = {name: features[np.isfinite(features).all(axis=1)] for name, features in measured.features.items()}
    return Trusted(
        known, measured.revisions, opened.title, measured.count, *_collect_identities(measured), opened.notes
    )


def refuse_common_pictures(measured: Measurement, trusted: Trusted) -> None:
    """Raise BlendsetError for pictures that are among the trusted ones, whose distance to themselves says nothing."""
    common = [name for name in measured.index["rgb_sha256"].to_pylist() if name in trusted.hashes]
    if common:
        raise BlendsetError(
            f"{len(common)} of the {measured.count} pictures of {measured.title} are among the trusted ones of "
            f"{trusted.title}, too; take them out of one of the two."
        )


def find_common_prompts(measured: Measurement, trusted: Trusted) -> list[str]:
    """Return a sentence about prompts that stand as captions in the trusted set, where there are some."""
    prompts = {caption for caption in measured.index[CAPTION].to_pylist() if caption}
    common = prompts & trusted.captions
    if not common:
        return []
    return [
        f"{len(common)} of {len(prompts)} prompts of {measured.title} are captions of {trusted.title}, such as "
        f"'{min(common)}'; distances then tell how well these pictures were learned: trust some of other captions."
    ]


def write_features(path: Path, measured: Measurement) -> None:
    """Write the features of a measurement into a file that `read_trusted` takes."""
    hashes, captions = _collect_identities(measured)
    data = io.BytesIO()
    arrays = {f"features/{name}": features.astype(np.float32) for name, features in measured.features.items()}
    revisions = [f"{name}\n{measured.revisions[name]}" for name in measured.features]
    np.savez(
        data, allow_pickle=False, title=np.array(measured.title), count=np.array(measured.count),
        revisions=np.array(revisions), hashes=np.array(sorted(hashes)), captions=np.array(sorted(captions)), **arrays,
    )  # fmt: skip
    atomic_write(path, data.getvalue())


def _read_features(path: Path, stages: Sequence[Stage]) -> Trusted:
    with explain_read_errors(path, "write it again with 'blendset evaluate --save'"):
        arrays = _read_arrays(path)
        revisions = dict(str(line).split("\n") for line in arrays["revisions"])
        found = {name: arrays[f"features/{name}"].astype(np.float64) for name in revisions}
        title, count = str(arrays["title"]), int(arrays["count"])
        hashes, captions = (frozenset(map(str, arrays[name])) for name in ("hashes", "captions"))
    features = {}
    for stage in stages:
        if stage.name not in found:
            raise BlendsetError(f"{path} has features of {', '.join(sorted(found))} and none of {stage.name}.")
        if revisions[stage.name] != stage.revision:
            raise BlendsetError(
                f"The features of {stage.name} in {path} are by revision {revisions[stage.name][:12]} of its weights, "
                f"and yours are by {stage.revision[:12]}; measure both with the same weights."
            )
        known = found[stage.name][np.isfinite(found[stage.name]).all(axis=1)]
        features[stage.name] = known[np.random.default_rng(0).permutation(len(known))[:MAX_PICTURES]]
    return Trusted(features, revisions, title, count, hashes, captions)


def _read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a file; ValueError for one that is no .npz."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError("it is no .npz file") from error


def _collect_identities(measured: Measurement) -> tuple[frozenset[str], frozenset[str]]:
    """The hashes of the pictures' files, and their captions."""
    captions = measured.index[CAPTION].to_pylist()
    return frozenset(measured.index["rgb_sha256"].to_pylist()), frozenset(filter(None, captions))
