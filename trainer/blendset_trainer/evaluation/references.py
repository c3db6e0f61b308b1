# SPDX-License-Identifier: Apache-2.0
"""Identity: how much pictures show the subject of their references, by features of the subject alone (M-DINO, M-CLIP of
SynCD, arXiv 2502.01720).

The subject of a render is its label; that of another picture is the folder that it lies in, as in DreamBooth's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from blendset.dataset import Dataset
from blendset.errors import SettingsError
from blendset_trainer.adopted_views import read_adopted_names
from blendset_trainer.api.progress import OnProgress
from blendset_trainer.evaluation.measurement import Measurement, measure
from blendset_trainer.evaluation.metrics import Metric
from blendset_trainer.evaluation.settings import MeasureSettings
from blendset_trainer.evaluation.sources import open_source
from blendset_trainer.evaluation.statistics.kernels import Features
from blendset_trainer.stages.stage import COSINE, Stage

MASKED = "masked-"
"""How the names of the scorers begin that see the subject alone."""
REFERENCES = "references"


def add_identity(
    measured: Measurement, stages: Sequence[Stage], settings: MeasureSettings, on_progress: OnProgress
) -> Measurement:
    """Return a measurement with the mean cosine of each picture to the references of its subject, NaN without any. A
    picture is no reference of its own.

    Raises SettingsError where the settings name references and no scorer that sees the subject alone.
    """
    if settings.references is None:
        return measured
    masked = [stage for stage in stages if stage.name.startswith(MASKED)]
    if not masked:
        raise SettingsError("--references needs a scorer that sees the subject alone; add masked-dino:MODEL to --with.")
    plain = replace(settings, selection="", prompts=None, pairs=None)
    opened = open_source(settings.references, None, plain, on_progress)
    references = measure(opened.dataset, opened.title, masked, plain, on_progress)
    subjects, known = find_subjects(measured), find_subjects(references)
    own, others = (np.array(each.index["rgb_sha256"].to_pylist()) for each in (measured, references))
    is_itself = own[:, None] == others[None, :]
    values = {}
    for stage in masked:
        metric = Metric(stage.name, REFERENCES, stage.revision, f"{COSINE}, mean over the subject's references")
        cosines = measured.features[stage.name] @ references.features[stage.name].T
        cosines[is_itself] = np.nan
        values[metric] = average_references(cosines, subjects, known)
    return replace(measured, values={**measured.values, **values})


def find_subjects(measured: Measurement) -> NDArray[np.str_]:
    """Return what each picture shows (N,): the label of its subject, the folder it lay in, or ""."""
    folders = _read_folders(measured.dataset)
    rows = zip(measured.index["subject_label"].to_pylist(), measured.index["view_id"].to_pylist(), strict=True)
    return np.array([label or folders.get(view, "") for label, view in rows])


def average_references(cosines: Features, subjects: NDArray[np.str_], known: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return each picture's mean cosine (N,) to the references of its subject, from cosines (N, M) and subjects (N,)
    and (M,). Where all references show one subject, they are those of every picture.
    """
    is_same = np.ones(cosines.shape, bool) if len(set(known)) == 1 else subjects[:, None] == known[None, :]
    counted = is_same & np.isfinite(cosines)
    number = counted.sum(axis=1)
    return np.where(number > 0, np.where(counted, cosines, 0).sum(axis=1) / np.maximum(number, 1), np.nan)


def _read_folders(dataset: Dataset) -> dict[str, str]:
    """By view id, the folder in which each adopted picture lay at its source; "" for none."""
    names = read_adopted_names(dataset)
    return {view: PurePosixPath(name).parent.name for view, name in names.items()}
