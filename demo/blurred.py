# SPDX-License-Identifier: Apache-2.0
"""Blurs pictures, captions beside them: like a generator's, they are right about the whole and wrong in the detail.

python demo/blurred.py PAIRS OUT
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image, ImageFilter

BLUR = 1 / 50
"""Of a picture's width: the Gaussian's deviation."""


def main(pairs: Path, out: Path) -> None:
    out.mkdir(parents=True)
    for path in sorted(pairs.glob("*.png")):
        with Image.open(path) as picture:
            picture.filter(ImageFilter.GaussianBlur(BLUR * picture.width)).save(out / path.name)
        shutil.copy(path.with_suffix(".txt"), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
