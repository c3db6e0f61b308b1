# SPDX-License-Identifier: Apache-2.0
"""One picture of a dataset: every view small, by scene and subject, with its share, visible part and failed checks.

python -m blendset_trainer.contact_sheet DATASET OUT.png [--columns N]
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import atomic_write
from blendset.naming import slugify
from blendset.records import ViewRecord
from blendset_trainer.adopted_views import read_adopted_names
from blendset_trainer.readers.images import load_rgb
from blendset_trainer.style import GREY, INK, PAPER, RED, SERIES_COLOURS
from blendset_trainer.synthetic_views import has_camera

TILE, GAP, MARGIN = 256, 16, 40
"""Pixels of a picture's longer side, between pictures, and around them."""


def build_contact_sheet(dataset: Dataset, columns: int | None = None) -> Image.Image:
    """Draw all views of a dataset, with a heading for each scene.

    Raises BlendsetError where there is no view or one cannot be read.
    """
    views = sorted(dataset.views(), key=make_sort_key)
    if not views:
        raise BlendsetError(f"{dataset.root} holds no views yet; render a scene into it first.")
    columns = columns or _choose_columns(len(views))
    width = columns * (TILE + GAP) - GAP + 2 * MARGIN
    return _stack_bands(list(_draw_bands(dataset, views, columns, width)), width)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m blendset_trainer.contact_sheet", description="Puts every view of a dataset into one picture."
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="the folder that holds dataset.json")
    parser.add_argument("out", type=Path, metavar="OUT.png", help="the picture to write")
    parser.add_argument(
        "--columns", type=_parse_positive, metavar="N", help="views in a row (default: 4 to 8, by number)"
    )
    options = parser.parse_args(arguments)
    try:
        png = io.BytesIO()
        build_contact_sheet(Dataset(options.dataset), options.columns).save(png, "PNG", optimize=True)
        atomic_write(options.out, png.getvalue())
    except BlendsetError as error:
        print(error, file=sys.stderr)
        return 1
    print(options.out)
    return 0


def _parse_positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def make_sort_key(view: ViewRecord) -> tuple[str, bool, str, str, str, int, str]:
    """A key that sorts views by scene, then subject, then set in its order; views of the whole scene come last."""
    is_scene_view = not view.subject
    return view.scene, is_scene_view, view.subject_label, view.subject, view.view_set, view.view_index, view.view_id


def _choose_columns(count: int) -> int:
    """Choose 4 to 8 columns: about as many as make the sheet square, and of those what fills the last row best."""
    square = math.ceil(math.sqrt(1.2 * count))
    near = [max(4, min(8, square + change)) for change in (0, -1, 1)]
    return min(near, key=lambda columns: -count % columns)


def _draw_bands(dataset: Dataset, views: list[ViewRecord], columns: int, width: int) -> Iterator[Image.Image]:
    """Draw the sheet's bands from top to bottom: the title, then each scene's heading and rows."""
    scenes = len({view.scene for view in views})
    yield _draw_heading(
        dataset.record.name, f"{_format_counts(views)}, {scenes} scene{'s' * (scenes > 1)}", width, round(width / 42)
    )
    names = read_adopted_names(dataset)
    for scene, members in groupby(views, key=lambda view: view.scene):
        scene_views = list(members)
        yield _draw_heading(scene, _format_counts(scene_views), width, max(20, width // 62))
        subjects = list(dict.fromkeys(view.subject for view in scene_views))
        for start in range(0, len(scene_views), columns):
            yield _draw_row(dataset, scene_views[start : start + columns], subjects, names, width)


def _format_counts(views: Sequence[ViewRecord]) -> str:
    """ "12 views of 3 subjects"; of pictures of no scene and no subject their number alone."""
    subjects = len({(view.scene, view.subject) for view in views if view.subject})
    if not subjects and not any(has_camera(view.camera) for view in views):
        return f"{len(views)} picture{'s' * (len(views) != 1)}"
    return f"{len(views)} view{'s' * (len(views) != 1)} of {subjects} subject{'s' * (subjects != 1)}"


def _stack_bands(bands: list[Image.Image], width: int) -> Image.Image:
    sheet = Image.new("RGB", (width, sum(band.height for band in bands) + MARGIN), PAPER)
    top = 0
    for band in bands:
        sheet.paste(band, (0, top))
        top += band.height
    return sheet


def _draw_heading(text: str, note: str, width: int, size: int) -> Image.Image:
    """Draw a heading of `size` pixels with a smaller grey note behind it."""
    band = Image.new("RGB", (width, round(size * 2.4)), PAPER)
    draw, baseline = ImageDraw.Draw(band), round(size * 1.8)
    text = find_drawable(text) or slugify(text)
    name_font, note_font = _load_font(size, text), _load_font(round(size * 0.6))
    name = _shorten_text(text, size, width - 2 * MARGIN - GAP - note_font.getlength(note))
    draw.text((MARGIN, baseline), name, INK, name_font, "ls")
    draw.text((MARGIN + name_font.getlength(name) + GAP, baseline), note, GREY, note_font, "ls")
    return band


def _draw_row(
    dataset: Dataset, views: Sequence[ViewRecord], subjects: list[str], names: Mapping[str, str], width: int
) -> Image.Image:
    """Draw one row of pictures; a coloured rule runs above those of the same subject.

    `names` are those of adopted pictures at their sources, by view id.
    """
    pictures = [_load_thumbnail(dataset, view) for view in views]
    top = 12
    bottom = top + max(picture.height for picture in pictures)
    band = Image.new("RGB", (width, bottom + 84), PAPER)
    draw = ImageDraw.Draw(band)
    for column, (view, picture) in enumerate(zip(views, pictures, strict=True)):
        left = MARGIN + column * (TILE + GAP)
        continues = column + 1 < len(views) and views[column + 1].subject == view.subject
        colour = SERIES_COLOURS[subjects.index(view.subject) % len(SERIES_COLOURS)] if view.subject else GREY
        draw.rectangle((left, 2, left + TILE - 1 + GAP * continues, 5), colour)
        band.paste(picture, (left + (TILE - picture.width) // 2, top))
        _draw_caption(draw, view, names.get(view.view_id, ""), left, bottom)
    return band


def _load_thumbnail(dataset: Dataset, view: ViewRecord) -> Image.Image:
    """Load a view's picture at the size of a tile; BlendsetError where it cannot be read."""
    path = dataset.rgb_path(view)
    small = load_rgb(path, cure=f"render it again or run `blendset verify` on {dataset.root}")
    small.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    return small


def _draw_caption(draw: ImageDraw.ImageDraw, view: ViewRecord, name: str, left: int, top: int) -> None:
    """Draw a view's label or adopted name, its shares and its failed checks below its picture."""
    label = find_drawable(view.subject_label) or view.subject or find_drawable(name) or name_whole(view)
    draw.text((left, top + 25), _shorten_text(label, 20, TILE), INK, _load_font(20, label), "ls")
    shares = {"share": view.subject_share, "visible": view.visible_fraction}
    text = "   ".join(f"{name} {value:.0%}" for name, value in shares.items() if value is not None)
    draw.text((left, top + 47), text, GREY, _load_font(17), "ls")
    failed = ", ".join(view.failed_checks).replace("_", " ")
    draw.text((left, top + 68), _shorten_text(failed, 17, TILE), RED, _load_font(17), "ls")


def name_whole(view: ViewRecord) -> str:
    """What a view without a subject is called: a view of the whole scene, or a picture of no scene."""
    return "whole scene" if has_camera(view.camera) else "picture"


def find_drawable(text: str) -> str:
    """A text in one line as the fonts can draw it: itself, or without accents; "" where no font has all letters."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    is_leftward = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)
    if set(text) <= _load_letters() and not is_leftward:
        return text
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return plain if plain.isascii() else ""


def _shorten_text(text: str, size: int, width: float) -> str:
    """A text, or as much of its beginning as fits `width` pixels, with an ellipsis."""
    font, beginning = _load_font(size, text), text
    while beginning and font.getlength(text if beginning == text else f"{beginning}...") > width:
        beginning = beginning[:-1]
    return text if beginning == text else f"{beginning.rstrip()}..."


def _load_font(size: int, text: str = "") -> ImageFont.FreeTypeFont:
    """Load the font that comes with Pillow, which has ASCII only; for another text the one that matplotlib brings.

    So a sheet looks the same on every machine that has both.
    """
    wide = None if text.isascii() else _find_wide_font()
    font = ImageFont.truetype(str(wide), size) if wide else ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _find_wide_font() -> Path | None:
    """Find DejaVu Sans (Latin, Cyrillic, Greek, ...) in matplotlib; None where that is not installed."""
    package = find_spec("matplotlib")
    return Path(package.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if package and package.origin else None


@cache
def _load_letters() -> frozenset[str]:
    """The letters that the fonts have."""
    path = _find_wide_font()
    if path is None:
        return frozenset(map(chr, range(128)))
    from matplotlib.ft2font import FT2Font  # not every installation has it

    return frozenset(map(chr, range(128))) | frozenset(map(chr, FT2Font(str(path)).get_charmap()))


if __name__ == "__main__":
    sys.exit(main())
