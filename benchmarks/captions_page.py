# SPDX-License-Identifier: Apache-2.0
"""Draws captions of the metadata captioner by seed and sets them beside their pictures, each with a reader's verdict.

.venv/bin/python benchmarks/captions_page.py DATASET [DATASET ...] [--seed 8] [--count 60]

The verdicts lie in a text file beside the page, one caption a line: its digest, one of VERDICTS, and why. Captions
without one are printed, and the page shows them as unread: read each against its picture and add its line.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from random import Random

from PIL import Image

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import atomic_write
from blendset_trainer.captioning.metadata import MetadataCaptioner
from blendset_trainer.stages.stage import View

VERDICTS = {
    "reads": "read as a person would write them",
    "wooden": "true, but not as a person would write them",
    "poor": "say something wrongly or clumsily",
    "invisible": "name something invisible",
    "unread": "not read yet",
}
THUMBNAIL, MOST_BYTES = 176, 5000
STYLE = """
body{font:15px/1.4 sans-serif;margin:2em;max-width:75em}main{display:grid;gap:1.5em;
grid-template-columns:repeat(auto-fill,minmax(15em,1fr))}figure{margin:0;border-top:4px solid #2a7;padding-top:.5em}
.wooden,.unread{border-color:#aaa}.poor,.invisible{border-color:#c33}img{width:11em}p{margin:.4em 0}i,small{color:#666}
"""


@dataclass(frozen=True)
class SampledCaption:
    """One caption with its picture; `form` is "short", "dense" or "variant 1" and so on."""

    scene: str
    view_id: str
    form: str
    caption: str
    picture: Path

    @property
    def digest(self) -> str:
        """Another caption of this view needs another reading."""
        return hashlib.sha256(f"{self.view_id} {self.caption}".encode()).hexdigest()[:10]


def main() -> None:
    """Run the benchmark and print its results."""
    options = parse_arguments()
    captions_by_digest = {each.digest: each for root in options.datasets for each in compose_captions(Dataset(root))}
    drawn = Random(options.seed).sample(list(captions_by_digest.values()), options.count)
    verdicts = read_verdicts(options.page.with_suffix(".txt"))
    for each in drawn:
        if each.digest not in verdicts:
            print(each.digest, each.view_id, each.caption)
    names = ", ".join(root.name for root in options.datasets)
    method = (
        f"Random({options.seed}).sample of the {len(captions_by_digest)} different captions of all views of {names}"
    )
    atomic_write(options.page, format_page(drawn, verdicts, method).encode())


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", type=Path, nargs="+", metavar="DATASET", help="rendered ones")
    parser.add_argument("--seed", type=int, default=8, metavar="N")
    parser.add_argument("--count", type=int, default=60, metavar="N")
    parser.add_argument("--page", type=Path, default=Path("docs/captions.html"), metavar="FILE")
    return parser.parse_args()


def compose_captions(dataset: Dataset) -> Iterator[SampledCaption]:
    """Every caption of every view, in the order of the ids."""
    stage = MetadataCaptioner()
    for record in sorted(dataset.views(), key=lambda each: each.view_id):
        view = View(record, dataset.view_folder(record.scene, record.view_id), dataset.scene(record.scene))
        [row] = stage.compute_rows([view])
        if isinstance(row, BlendsetError):
            raise row
        forms = {"short": row["short"], "dense": row["dense"]}
        forms |= {f"variant {number}": text for number, text in enumerate(row["variants"] or (), start=1)}
        for form, text in forms.items():
            if text:
                yield SampledCaption(record.scene, record.view_id, form, text, dataset.rgb_path(record))


def read_verdicts(path: Path) -> dict[str, tuple[str, str]]:
    """Verdict and reason by digest."""
    if not path.exists():
        return {}
    rows = (line.split(maxsplit=2) for line in path.read_text("utf-8").splitlines() if line and line[0] != "#")
    verdicts_by_digest = {digest: (verdict, " ".join(why)) for digest, verdict, *why in rows}
    if wrong := {verdict for verdict, _ in verdicts_by_digest.values()} - VERDICTS.keys():
        raise SystemExit(f"{path}: {', '.join(sorted(wrong))} is no verdict; use {', '.join(VERDICTS)}.")
    return verdicts_by_digest


# ---- the page --------------------------------------------------------------------------------------------------------


def format_page(drawn: Sequence[SampledCaption], verdicts: Mapping[str, tuple[str, str]], method: str) -> str:
    """The whole page as HTML; `method` says how the captions were sampled."""
    judged = [(each, *verdicts.get(each.digest, ("unread", ""))) for each in drawn]
    counts = Counter(verdict for _, verdict, _ in judged)
    summary = "".join(f"<li>{counts[name]} {words}</li>" for name, words in VERDICTS.items() if name != "unread")
    failures = "".join(
        f"<li><a href='#{each.digest}'>{escape(each.caption)}</a> <i>{verdict}: {escape(why)}</i></li>"
        for each, verdict, why in judged
        if verdict != "reads"
    )
    figures = "".join(format_figure(number, *each) for number, each in enumerate(judged, start=1))
    return (
        "<!doctype html><!-- SPDX-License-Identifier: Apache-2.0 --><html lang=en><meta charset=utf-8>"
        f"<title>Captions</title><style>{STYLE}</style><h1>{len(drawn)} captions read against their pictures</h1>"
        f"<p>Made by the <code>metadata</code> captioner, which uses no model. Drawn by <code>{escape(method)}</code>."
        f" Of these:</p><ul>{summary}</ul><h2>Failures</h2><ul>{failures or '<li>none</li>'}</ul><main>{figures}</main>"
        "</html>\n"
    )


def format_figure(number: int, each: SampledCaption, verdict: str, why: str) -> str:
    """One caption with its picture and verdict."""
    note = f"{verdict}: {why}" if why else verdict
    return (
        f"<figure class={verdict} id='{each.digest}'><img alt='' src='{encode_thumbnail(each.picture)}'><figcaption>"
        f"<small>{number}. {escape(each.scene)}, {each.form}</small><p>{escape(each.caption)}</p>"
        f"<i>{escape(note)}</i></figcaption></figure>\n"
    )


def encode_thumbnail(path: Path) -> str:
    """A data URI of at most MOST_BYTES: the best quality that fits."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB").resize((THUMBNAIL, THUMBNAIL * opened.height // opened.width))
    for quality in range(85, 0, -5):
        encoded = BytesIO()
        picture.save(encoded, "JPEG", quality=quality)
        uri = "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
        if len(uri) <= MOST_BYTES:
            break
    return uri


if __name__ == "__main__":
    main()
