# SPDX-License-Identifier: Apache-2.0
"""The page of a vote: one HTML file with everything inside, which does not say which system made what."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image, ImageOps

from blendset.errors import BlendsetError, SettingsError
from blendset.files import atomic_write, sha256_bytes
from blendset.records import encode_json, read_record, write_json
from blendset_trainer.evaluation.votes.ballot import LEFT, RIGHT, BallotKey, BallotPair, get_key_path
from blendset_trainer.evaluation.votes.pairs import PicturePair, choose_pairs
from blendset_trainer.readers.images import load_rgb

QUESTIONS = {
    "overall": "Which picture is better?",
    "text": "Which picture follows the text better?",
    "subject": "Which picture shows the subject more faithfully?",
    "realism": "Which picture looks more real?",
}
"""What SynCD's study asks people (arXiv 2502.01720, overall, text, image and realism), in our words."""
QUESTION = QUESTIONS["overall"]
CHECKS = 5
SIZE = 640
"""Pixels on a picture's longer side."""
QUALITY = 90
"""Of WebP, 0 to 100."""
SPOILED_PIXELS, SPOILED_NOISE = 14, 50
"""Of the ruined copy in an attention check: the pixels on its longer side, and the deviation of its noise in levels."""
DATA_MARK = '<script type="application/json" id="ballot">'
SHORTEST_NAME = 3
"""Letters of a system's name that is looked for in the title and the question: shorter ones are words."""


@dataclass(frozen=True)
class VotePage:
    """A page that was written: where it and its key lie, its ballot's id, its pairs without and its attention checks,
    and its size.
    """

    path: Path
    key: Path
    ballot: str
    pairs: int
    checks: int
    bytes: int


@dataclass(frozen=True, eq=False)
class _Sides:
    """A pair as it goes onto the page: what the key says of it, its prompt, and its pictures as WebP."""

    pair: BallotPair
    prompt: str
    left: bytes
    right: bytes
    references: tuple[bytes, ...]


def write_ballot(
    systems: Mapping[str, Mapping[str, Sequence[Path]]],
    prompts: Mapping[str, str],
    out: Path,
    *,
    count: int,
    seed: int,
    title: str = "Picture vote",
    question: str = QUESTION,
    checks: int = CHECKS,
    size: int = SIZE,
    references: Mapping[str, Sequence[Path]] | None = None,
) -> VotePage:
    """Choose `count` pairs of pictures (system, unit, pictures) and write the page of a vote on them, with its key.

    `references` are pictures of a unit's subject. Raises BlendsetError where there is nothing to compare, or a picture
    cannot be read.
    """
    pairs = choose_pairs(systems, prompts, count, seed, references)
    return write_vote_page(pairs, out, title=title, question=question, checks=checks, seed=seed, size=size)


def write_vote_page(
    pairs: Sequence[PicturePair],
    out: Path,
    *,
    title: str,
    question: str = QUESTION,
    checks: int = CHECKS,
    seed: int,
    size: int = SIZE,
) -> VotePage:
    """Write a page with these pairs and `checks` attention checks, in random order and on random sides; and its key.

    The same arguments give the same bytes. Raises BlendsetError where there is no pair, a picture cannot be read, or
    the key of another ballot would be lost, and SettingsError where the title or the question names a system.
    """
    if not pairs:
        raise BlendsetError("There is no pair of pictures to vote on; give pictures of the same prompts.")
    systems = tuple(sorted({picture.system for pair in pairs for picture in (pair.one, pair.other)}))
    _refuse_names(systems, {"title": title, "question": question})
    rng = np.random.default_rng(seed)
    sides = [_turn_pair(pair, size, rng) for pair in pairs]
    sides += [_make_check(pairs[number], size, rng) for number in rng.permutation(len(pairs))[:checks]]
    sides = [sides[number] for number in rng.permutation(len(sides))]
    key_pairs = tuple(replace(each.pair, pair=number) for number, each in enumerate(sides))
    ballot = _hash_ballot(key_pairs, sides)
    page = _render(ballot, title, question, sides).encode()
    key = get_key_path(out)
    _keep_other_key(key, ballot)
    write_json(key, BallotKey(ballot, title, question, systems, key_pairs))
    atomic_write(out, page)
    return VotePage(out, key, ballot, len(pairs), len(sides) - len(pairs), len(page))


def read_page(path: Path) -> tuple[Mapping[str, object], list[bytes]]:
    """Read what a page says of its ballot, and its pictures as WebP; BlendsetError for a file that is no such page."""
    try:
        text = path.read_text("utf-8")
        ballot = json.loads(text.split(DATA_MARK, 1)[1].split("</script>", 1)[0])
        return ballot, [base64.b64decode(line) for line in ballot["pictures"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BlendsetError(f"{path} is no page of a vote; give one that `blendset compare --vote` wrote.") from error


def _hash_ballot(pairs: Sequence[BallotPair], sides: Sequence[_Sides]) -> str:
    """The id of a ballot: it depends on the pictures and the systems behind them, and not on where they lie."""
    blind = [replace(pair, left_path="", right_path="") for pair in pairs]
    return sha256_bytes(encode_json(blind) + b"".join(each.left + each.right for each in sides))[:12]


def _keep_other_key(key: Path, ballot: str) -> None:
    """Refuse to write over the key of another ballot, without which its votes are lost."""
    if key.exists() and read_record(key, BallotKey).ballot != ballot:
        raise BlendsetError(f"{key} belongs to votes on other pairs; choose another name, or delete it with its page.")


def _refuse_names(systems: Sequence[str], texts: Mapping[str, str]) -> None:
    """Refuse texts of the page that name a system."""
    for system in (name for name in systems if len(name) >= SHORTEST_NAME):
        for what, text in texts.items():
            if re.search(rf"(?<!\w){re.escape(system)}(?!\w)", text, re.IGNORECASE):
                raise SettingsError(f"The {what} of the vote names the system {system}; voters must not know it.")


def _turn_pair(pair: PicturePair, size: int, rng: np.random.Generator) -> _Sides:
    """A pair with its systems on random sides."""
    left, right = (pair.other, pair.one) if rng.integers(2) else (pair.one, pair.other)
    key = BallotPair(0, pair.unit, left.system, right.system, str(left.path), str(right.path))
    pictures = _encode(_load(left.path, size)), _encode(_load(right.path, size))
    return _Sides(key, pair.prompt, *pictures, _encode_references(pair, size))


def _make_check(pair: PicturePair, size: int, rng: np.random.Generator) -> _Sides:
    """An attention check: a picture of a pair, and the same in ruins."""
    picture = pair.other if rng.integers(2) else pair.one
    whole = _load(picture.path, size)
    images = [whole, _spoil(whole, rng)]
    good = (LEFT, RIGHT)[swap := int(rng.integers(2))]
    left, right = map(_encode, reversed(images) if swap else images)
    key = BallotPair(0, pair.unit, "", "", str(picture.path), str(picture.path), good)
    return _Sides(key, pair.prompt, left, right, _encode_references(pair, size))


def _encode_references(pair: PicturePair, size: int) -> tuple[bytes, ...]:
    return tuple(_encode(_load(path, size // 2)) for path in pair.references)


def _load(path: Path, size: int) -> Image.Image:
    """A picture whose longer side has `size` pixels: its own size could tell the system that made it."""
    return ImageOps.contain(load_rgb(path), (size, size), Image.Resampling.LANCZOS)


def _spoil(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture of which only coarse patches are left, under noise."""
    tiny = ImageOps.contain(image, (SPOILED_PIXELS, SPOILED_PIXELS)).resize(image.size, Image.Resampling.BICUBIC)
    pixels = np.asarray(tiny, np.float64)
    noise = rng.normal(0, SPOILED_NOISE, pixels.shape[:2])[:, :, None]
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def _encode(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "WEBP", quality=QUALITY, method=4)
    return data.getvalue()


def _render(ballot: str, title: str, question: str, sides: Sequence[_Sides]) -> str:
    """The page as HTML. Each picture is in it once."""
    number_of: dict[bytes, int] = {}

    def number(picture: bytes) -> int:
        return number_of.setdefault(picture, len(number_of))

    pairs = [
        {
            "prompt": each.prompt,
            "left": number(each.left),
            "right": number(each.right),
            "references": [number(picture) for picture in each.references],
        }
        for each in sides
    ]
    pictures = [base64.b64encode(picture).decode() for picture in number_of]
    data = {"ballot": ballot, "title": title, "question": question, "pairs": pairs, "pictures": pictures}
    environment = Environment(
        loader=PackageLoader("blendset_trainer.evaluation.votes", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("vote.html").render(
        title=title,
        style=_read_source(environment, "vote.css"),
        script=_read_source(environment, "vote.js"),
        mark=DATA_MARK,
        data=json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _read_source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
