# SPDX-License-Identifier: Apache-2.0
"""What measuring many small pictures without a model costs, against reading and decoding each once in the same run.

The command is `blendset evaluate` from its start to its end, of a dataset of adopted pictures: once, and once more when
all rows are there. Its memory is the greatest that one of its processes had resident.

.venv/bin/python benchmarks/evaluation.py
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
from adoption import make_pictures, measure, run_command
from PIL import Image
from report import format_table, write_results


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="blendset-benchmark-", dir=options.folder) as name:
        folder = Path(name)
        make_pictures(folder / "photos", options.pictures)
        run_command([str(options.blendset), "adopt", str(folder / "photos"), "--out", str(folder / "dataset")])
        decoding = measure(lambda: decode_pictures(folder / "photos"))
        workers = ["--executor", "processes", "--workers", str(options.workers)]
        command = [str(options.blendset), "evaluate", str(folder / "dataset"), *workers]
        first, second = (measure(lambda: run_command(command)) for _ in range(2))
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    results = {
        "pictures": options.pictures,
        "workers": options.workers,
        "evaluate_s": first,
        "again_s": second,
        "decode_s": decoding,
        "evaluate_to_decode": first / decoding,
        "again_to_evaluate": second / first,
        "memory_gib": memory,
    }
    write_results("evaluation", results)
    print(format_table(("", "value"), [(key, f"{value:.3g}") for key, value in results.items()]))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", help="a folder on the disk to measure (default: the system's temporary one)")
    parser.add_argument("--blendset", type=Path, default=Path(sys.executable).with_name("blendset"))
    return parser.parse_args()


def decode_pictures(folder: Path) -> None:
    """Read and decode every picture once, in one process."""
    for path in folder.rglob("*.jpg"):
        with Image.open(path) as picture:
            np.asarray(picture.convert("RGB"))


if __name__ == "__main__":
    main()
