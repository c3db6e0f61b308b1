# SPDX-License-Identifier: Apache-2.0
"""Names that are legal on every system, and no split to `datasets`; and lists of names for a person."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from blendset.files import sha256_bytes

SPLIT_WORDS = "train|training|valid|validation|val|dev|test|testing|eval|evaluation"
"""A path part with one of these between separators is a split to `datasets.load_dataset`, which then drops the rest."""


_SPLIT = re.compile(rf"(?<![a-z])({SPLIT_WORDS})(?![a-z])")


_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])")


def slugify(text: str, max_length: int = 40) -> str:
    """Return a name of [a-z0-9-] that is legal on every system and no split to `datasets`; never empty.

    Letters other than Latin ones become a hash of the whole text, so that names in any script are kept apart.
    """
    letters = unicodedata.normalize("NFKD", text)
    plain = re.sub(r"[^a-z0-9]+", "-", letters.encode("ascii", "ignore").decode().lower())
    mark = f"-{sha256_bytes(letters.encode(errors='replace'))[:6]}" if any(map(_is_foreign, letters)) else ""
    for length in range(max_length - len(mark), 0, -1):  # a mark lengthens, and a cut can uncover a word
        name = _SPLIT.sub(r"\1x", plain[:length].strip("-")) or ("x" if mark else "unnamed")
        name += mark or ("x" if _WINDOWS_DEVICE.fullmatch(name) else "")
        if len(name) <= max_length:
            return name
    raise ValueError(f"no name fits into {max_length} characters")


def _is_foreign(letter: str) -> bool:
    """Tell a letter or digit of another script than the Latin one."""
    is_letter = not letter.isascii() and unicodedata.category(letter)[0] in "LN"
    return is_letter and not unicodedata.name(letter, "").startswith(("LATIN ", "MODIFIER LETTER "))


def name_view_set(scene: str, view_set: str, view_id: str) -> str:
    """Return a name of a view's set that no other set of the dataset has; a view of no set is a set of its own."""
    return f"{scene}/{view_set}" if view_set else view_id


def join_names(names: Sequence[str], most: int) -> str:
    """Return the first `most` names as a list for a person, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
