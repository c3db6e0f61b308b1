# SPDX-License-Identifier: Apache-2.0
"""How long a dataset of 100,000 views takes to open, and each step of a selection from it; and the peak of memory.

.venv/bin/python benchmarks/selection.py [--views 100000] [--chosen 10000]
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from report import format_table, write_results

from blendset.dataset import COLUMNS, INDEX, Dataset
from blendset.records import DatasetRecord
from blendset_trainer.selection.apply_rules import apply_rules
from blendset_trainer.selection.rules import load_preset, rules_from_dict
from blendset_trainer.stages.tables import read_index

DIMENSIONS, VIEWS_PER_SUBJECT = 768, 20
IMAGE_STATS = ("mean", "dark_fraction", "clipped_fraction", "magenta", "fireflies", "sharpness")


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="blendset-selection-") as folder:
        dataset = write_index(Path(folder), options.views)
        time_step(seconds, "open, first time", lambda: read_index(dataset))
        views = add_scores(time_step(seconds, "open", lambda: read_index(dataset)))
    for name, rules in make_rules(options.chosen).items():
        time_step(seconds, name, lambda rules=rules: apply_rules(views, rules))  # type: ignore[misc]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    write_results("selection", {"views": options.views, "chosen": options.chosen, "seconds": seconds, "peak_gib": peak})
    print(format_table(("step", "seconds"), [(name, f"{each:.1f}") for name, each in seconds.items()]))
    print(f"peak of memory: {peak:.2f} GiB")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=100_000, metavar="N")
    parser.add_argument("--chosen", type=int, default=10_000, metavar="N", help="views that diversity chooses")
    return parser.parse_args()


def time_step(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """Run one step, record its seconds under its name, and return its result."""
    begun = time.perf_counter()
    result = work()
    seconds[name] = time.perf_counter() - begun
    print(f"{name}: {seconds[name]:.1f} s", file=sys.stderr)
    return result


def make_rules(chosen: int) -> dict[str, Any]:
    """Rules that hold one costly step each."""
    embedding = "dino.embedding"
    k_center = {"views": chosen, "diversity": {"column": embedding}}
    parallel = {"method": "parallel-fps", "column": embedding, "parts": [3.0, 1.0, 1.0]}
    tables: dict[str, dict[str, Any]] = {
        "k-center": k_center,
        "k-center, weighted with quality": k_center | {"ranking": {"terms": [{"column": "image-stats.sharpness"}]}},
        "parallel farthest points": {"views": chosen, "diversity": parallel},
        "split at a least distance": {"views": chosen, "splits": {"column": embedding, "apart": 0.05}},
        "duplicates by embedding": {"duplicates": [{"column": embedding, "cosine": 0.95}]},
    }
    rules = {name: rules_from_dict(values, name) for name, values in tables.items()}
    return {"preset blendset (rules, hashes, budgets, split)": load_preset("blendset"), **rules}


def write_index(root: Path, count: int) -> Dataset:
    """A dataset's index without its pictures."""
    record = DatasetRecord(name="many", licence="CC0-1.0", creator="benchmark", sources=(), render_settings={})
    dataset = Dataset.create_or_open(root, record)
    rows = (json.dumps(dict.fromkeys(COLUMNS) | make_row(number)) for number in range(count))
    (root / INDEX).write_text("".join(f"{line}\n" for line in rows), encoding="utf-8")
    return dataset


def make_row(number: int) -> dict[str, Any]:
    """The index's row of one view."""
    subject = number // VIEWS_PER_SUBJECT
    return {
        "view_id": f"subject-{subject}-{number:08x}",
        "rgb_file_name": f"views/scene-{subject % 50}/subject-{subject}-{number:08x}/rgb.png",
        "scene": f"scene-{subject % 50}",
        "subject": f"subject-{subject}",
        "subject_label": f"label {subject % 300}",
        "subject_objects": [1, 2, 3],
        "view_set": "",
        "source": "render",
        "world_from_camera": [float(index % 5 == 0) for index in range(16)],
        "visible_objects": [{"id": each, "label": "thing", "pixels": 900, "share": 0.1} for each in range(8)],
    }


def add_scores(views: pa.Table) -> pa.Table:
    """The table with figures, hashes and embeddings; the views of a subject are near to one another."""
    random = np.random.default_rng(0)
    for name in IMAGE_STATS:
        values = random.random(views.num_rows) if name == "sharpness" else np.full(views.num_rows, 0.01)
        views = views.append_column(f"image-stats.{name}", pa.array(values + (100 if name == "mean" else 0)))
    hashes = [f"{each:016x}" for each in random.integers(0, 2**63, views.num_rows).tolist()]
    subjects = random.standard_normal((views.num_rows // VIEWS_PER_SUBJECT + 1, DIMENSIONS), dtype=np.float32)
    vectors = 0.6 * random.standard_normal((views.num_rows, DIMENSIONS), dtype=np.float32)
    vectors += subjects[np.arange(views.num_rows) // VIEWS_PER_SUBJECT]
    embeddings = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSIONS)
    return views.append_column("phash.hash", pa.array(hashes)).append_column("dino.embedding", embeddings)


if __name__ == "__main__":
    main()
