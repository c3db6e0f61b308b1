# SPDX-License-Identifier: Apache-2.0
"""What adopting many small pictures costs, against as many atomic writes of one file each in the same run.

The command is `blendset adopt` from its start to its end, of a folder of pictures with a caption beside each: once, and
once more when all is there. Its memory is the greatest that it had resident.

.venv/bin/python benchmarks/adoption.py
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from report import format_table, write_results

from blendset.files import atomic_write

SIDE = 48
"""Pixels of a picture's side; the file has about 2,000 bytes, as much as a record."""


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="blendset-benchmark-", dir=options.folder) as name:
        folder = Path(name)
        make_pictures(folder / "photos", options.pictures)
        command = [str(options.blendset), "adopt", str(folder / "photos"), "--out", str(folder / "dataset")]
        first, second = (measure(lambda: run_command(command)) for _ in range(2))
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        writes = measure(lambda: write_files(folder / "writes", folder / "photos", options.pictures))
    results = {
        "pictures": options.pictures,
        "adopt_s": first,
        "again_s": second,
        "writes_s": writes,
        "adopt_to_writes": first / writes,
        "again_to_adopt": second / first,
        "memory_gib": memory,
    }
    write_results("adoption", results)
    print(format_table(("", "value"), [(key, f"{value:.3g}") for key, value in results.items()]))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--folder", help="a folder on the disk to measure (default: the system's temporary one)")
    parser.add_argument("--blendset", type=Path, default=Path(sys.executable).with_name("blendset"))
    return parser.parse_args()


def make_pictures(folder: Path, count: int) -> None:
    """Write JPEGs of different colours, 1,000 to a folder, with a caption beside each."""
    rng = np.random.default_rng(0)
    for number in range(count):
        below = folder / f"{number // 1000:04d}"
        below.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(pixels).save(below / f"{number:06d}.jpg", quality=90)
        (below / f"{number:06d}.txt").write_text(f"a mosaic of colours, number {number}")
    os.sync()


def write_files(folder: Path, photos: Path, count: int) -> None:
    """Write as many files, each in a folder of its own as views are, atomically."""
    data = next(photos.rglob("*.jpg")).read_bytes()
    for number in range(count):
        atomic_write(folder / f"{number % 256:02x}" / f"{number:06d}" / "view.json", data)


def run_command(command: list[str]) -> None:
    """Run a command to its end; it must succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(run: Callable[[], None]) -> float:
    """Return how many seconds a function takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
