# SPDX-License-Identifier: Apache-2.0
"""Writes golden/reference_metrics.json: what torch-fidelity, prdc and vendi-score compute of seeded features. They stay
in an environment of their own, whose packages stand behind those of the project:

    uv venv --python .venv/bin/python refs
    uv pip install --python refs/bin/python --no-deps torch-fidelity==0.4.0 prdc==0.2 vendi-score==0.0.3 \
        scikit-learn joblib threadpoolctl narwhals pandas python-dateutil pytz six
    .venv/bin/python -m tests.trainer.record_reference_metrics refs/lib/python3.*/site-packages
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blendset_trainer.evaluation.statistics.kernels import CMMD_SCALE, CMMD_SIGMA, Features, compute_bandwidth
from blendset_trainer.evaluation.statistics.neighbours import K

GOLDEN = Path(__file__).with_name("golden") / "reference_metrics.json"
PACKAGES = ("torch-fidelity", "prdc", "vendi-score")


@dataclass(frozen=True)
class Shape:
    """How many features a case has, measured and trusted, of how many dimensions; unit vectors or not."""

    count: int
    trusted: int
    width: int
    unit: bool = False


SHAPES = {
    "fewer than dimensions": Shape(40, 40, 64),
    "more than dimensions": Shape(120, 120, 16),
    "unequal": Shape(90, 150, 24),
    "unit": Shape(100, 100, 32, unit=True),
    "unit, unequal": Shape(60, 110, 48, unit=True),
    "two thousand": Shape(2000, 2000, 8),
}


def make_features(shape: Shape) -> tuple[Features, Features]:
    """Features (count, width) and trusted ones (trusted, width), which are shifted and more spread in some directions;
    unit vectors come from around a point, as those of pictures do."""
    random = np.random.default_rng(shape.width)
    mixing = random.normal(size=(shape.width, shape.width)) / np.sqrt(shape.width)
    features = 0.3 + random.normal(size=(shape.count, shape.width)) @ mixing
    trusted = random.normal(size=(shape.trusted, shape.width))
    if not shape.unit:
        return features, trusted
    features, trusted = features + 0.5, trusted + 0.5
    return features / np.linalg.norm(features, axis=1, keepdims=True), trusted / np.linalg.norm(
        trusted, axis=1, keepdims=True
    )


def measure(shape: Shape) -> dict[str, float]:
    """What the packages compute of a case, by our names. Theirs of kernels compare equally many only."""
    fid, kid = (import_module(f"torch_fidelity.metric_{name}") for name in ("fid", "kid"))
    features, trusted = make_features(shape)
    statistics = [fid.fid_features_to_statistics(torch.from_numpy(each)) for each in (features, trusted)]
    values: dict[str, Any] = {
        "frechet": fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID],
        **import_module("prdc").compute_prdc(trusted, features, K),
    }
    if shape.unit:
        values["vendi"] = import_module("vendi_score.vendi").score_X(features)
    if shape.count == shape.trusted:
        values |= measure_kernels(kid, features, trusted)
    return {name: float(value) for name, value in sorted(values.items())}


def measure_kernels(kid: Any, features: Features, trusted: Features) -> dict[str, float]:
    """KID as one subset of everything, where its default is the mean over 100 random subsets of 1,000; MMD² by its
    Gaussian kernel, whose bandwidth is ours; CMMD from its kernel and its biased estimator."""
    subset = {"kid_subsets": 1, "kid_subset_size": len(features), "verbose": False}

    def compute(**options: Any) -> float:
        tensors = map(torch.from_numpy, (features, trusted))
        return float(kid.kid_features_to_metric(*tensors, **subset, **options)[kid.KEY_METRIC_KID_MEAN])

    pairs = (features, features), (features, trusted), (trusted, trusted)
    kernels = [kid.kernel_rbf(*pair, kid_kernel_rbf_sigma=CMMD_SIGMA) for pair in pairs]
    return {
        "kid": compute(),
        "mmd2": compute(kid_kernel="rbf", kid_kernel_rbf_sigma=compute_bandwidth(trusted)),
        "cmmd": CMMD_SCALE * kid.mmd2(*kernels, mmd_est="biased"),
    }


def main() -> None:
    """Write the file."""
    sys.path.append(sys.argv[1])
    record = {
        "packages": {name: version(name) for name in PACKAGES},
        "values": {name: measure(shape) for name, shape in SHAPES.items()},
    }
    GOLDEN.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
