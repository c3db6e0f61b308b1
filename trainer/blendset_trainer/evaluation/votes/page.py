# SPDX-License-Identifier: Apache-2.0
"""The page of a vote: one HTML file with everything inside, which does not say which system made what."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from blendset.errors import BlendsetError, SettingsError
from blendset.files import atomic_write, sha256_bytes
from blendset.records import encode_json, read_record, write_json
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.evaluation.settings import QUESTIONS
from blendset_trainer.evaluation.votes.ballot import BallotKey, BallotPair, get_key_path
from blendset_trainer.evaluation.votes.pairs import PicturePair, choose_pairs
from blendset_trainer.evaluation.votes.sides import PairSides, draw_sides

QUESTION = QUESTIONS["overall"]
CHECKS = 5
SIZE = 640
"""Pixels on a picture's longer side."""
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
    on_progress: OnProgress = ignore_progress,
) -> VotePage:
    """Choose `count` pairs of pictures (system, unit, pictures) and write the page of a vote on them, with its key.

    `references` are pictures of a unit's subject. Raises BlendsetError where there is nothing to compare, or a picture
    cannot be read.
    """
    pairs = choose_pairs(systems, prompts, count, seed, references)
    options = {"title": title, "question": question}
    return write_vote_page(pairs, out, **options, checks=checks, seed=seed, size=size, on_progress=on_progress)


def write_vote_page(
    pairs: Sequence[PicturePair],
    out: Path,
    *,
    title: str,
    question: str = QUESTION,
    checks: int = CHECKS,
    seed: int,
    size: int = SIZE,
    on_progress: OnProgress = ignore_progress,
) -> VotePage:
    """Write a page with these pairs and `checks` attention checks, in random order and on random sides; and its key.

    The same arguments give the same bytes. Raises BlendsetError where there is no pair, a picture cannot be read, or
    the key of another ballot would be lost, and SettingsError where the title or the question names a system.
    """
    if not pairs:
        raise BlendsetError("There is no pair of pictures to vote on; give pictures of the same prompts.")
    systems = tuple(sorted({picture.system for pair in pairs for picture in (pair.one, pair.other)}))
    _refuse_names(systems, {"title": title, "question": question})
    sides = draw_sides(pairs, checks, size, seed, on_progress)
    key_pairs = tuple(replace(each.pair, pair=number) for number, each in enumerate(sides))
    ballot = _hash_ballot(question, key_pairs, sides)
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


def _hash_ballot(question: str, pairs: Sequence[BallotPair], sides: Sequence[PairSides]) -> str:
    """The id of a ballot: it depends on the question, the pictures and their systems, and not on where they lie."""
    blind = [replace(pair, left_path="", right_path="") for pair in pairs]
    return sha256_bytes(encode_json([question, blind]) + b"".join(each.left + each.right for each in sides))[:12]


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


def _render(ballot: str, title: str, question: str, sides: Sequence[PairSides]) -> str:
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
