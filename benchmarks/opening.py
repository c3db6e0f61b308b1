# SPDX-License-Identifier: Apache-2.0
"""How long a dataset takes to open, alone and with three scorers, the first time and from its cache.

.venv/bin/python benchmarks/opening.py [--views 1000000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from report import format_table, write_results
from selection import make_row

from blendset.dataset import COLUMNS, INDEX, Dataset
from blendset.records import DatasetRecord
from blendset_trainer.scoring.image_stats import ImageStats
from blendset_trainer.scoring.phash import Phash
from blendset_trainer.scoring.ssim import SsimRoundtrip
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.shards import find_missing_shards
from blendset_trainer.stages.stage import Stage, build_stage_record
from blendset_trainer.stages.tables import read_index, read_index_with_stages

SCORERS: tuple[Stage, ...] = (ImageStats(), SsimRoundtrip(), Phash())


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    if options.open:
        print(json.dumps(time_opening(options.open, options.with_scores)))
        return
    with tempfile.TemporaryDirectory(prefix="blendset-opening-") as folder:
        root = Path(folder)
        write_index(root, options.views)
        steps = {"index, first time": time_in_process(root), "index": time_in_process(root)}
        write_scores(Dataset(root))
        scored = "index and three scorers"
        steps |= {f"{scored}, first time": time_in_process(root, "--with-scores")}
        steps |= {scored: time_in_process(root, "--with-scores")}
    write_results("opening", {"views": options.views, "steps": steps})
    rows = [(name, f"{each['seconds']:.1f}", f"{each['cpu_seconds']:.1f}") for name, each in steps.items()]
    print(format_table(("step", "seconds", "CPU seconds"), rows))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--open", type=Path, metavar="DATASET", help="only open this one, and print how long it took")
    parser.add_argument("--with-scores", action="store_true")
    return parser.parse_args()


def time_in_process(root: Path, *more: str) -> dict[str, float]:
    """Opened by a process of its own, as a command does; what it imports is not counted."""
    done = subprocess.run([sys.executable, __file__, "--open", root, *more], stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    print(more, found, file=sys.stderr)
    return found


def time_opening(root: Path, with_scores: bool) -> dict[str, float]:
    """Seconds and CPU seconds to read the index, with all scores or without."""
    begun, before = time.perf_counter(), os.times()
    (read_index_with_stages if with_scores else read_index)(Dataset(root))
    after = os.times()
    return {"seconds": time.perf_counter() - begun, "cpu_seconds": sum(after[:2]) - sum(before[:2])}


def write_index(root: Path, count: int) -> None:
    """A dataset's index without its pictures."""
    record = DatasetRecord(name="many", licence="CC0-1.0", creator="benchmark", sources=(), render_settings={})
    Dataset.create_or_open(root, record)
    with (root / INDEX).open("w", encoding="utf-8") as index:
        for number in range(count):
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            full = dict.fromkeys(COLUMNS) | make_row(number) | {"rgb_sha256": sha256, "passes_sha256": sha256[::-1]}
            index.write(json.dumps(full, ensure_ascii=False) + "\n")


def write_scores(dataset: Dataset) -> None:
    """The rows of every scorer as its runs leave them: in shards, with the keys of today's inputs, made-up figures."""
    index = read_index(dataset)
    for stage in SCORERS:
        folder = StageFolder.from_stage(dataset.root, stage)
        folder.write_record(stage)
        for shard in find_missing_shards(dataset.root, build_stage_record(stage), index, ()):
            rows: list[dict[str, Any]] = [
                dict.fromkeys(stage.columns, item.key[:16] if isinstance(stage, Phash) else int(item.key[:4], 16))
                for item in shard
            ]
            folder.write_shard(stage, shard, rows)


if __name__ == "__main__":
    main()
