# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of docs/artist.md from the screenshots of the window's test: guide.py SCREENSHOTS DOCS"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

# What the guide shows of which screenshot: left, top, right, bottom.
PICTURES = {
    "window-plan": ("3-without-a-subject", (0, 0, 1340, 1400)),
    "window-view": ("5-through-a-view", (0, 0, 1340, 1400)),
    "window-job": ("7-rendering", (700, 700, 1340, 1545)),
}
WIDTH = 900


def main() -> None:
    """Cuts every picture of PICTURES out of its screenshot."""
    shots, docs = map(Path, sys.argv[1:])
    for name, (shot, box) in PICTURES.items():
        with Image.open(shots / f"{shot}.png") as screen:
            part = screen.convert("RGB").crop(box)
        part.thumbnail((WIDTH, 2 * WIDTH))
        part.save(docs / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
