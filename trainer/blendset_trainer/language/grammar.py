# SPDX-License-Identifier: Apache-2.0
"""The small grammar of English noun phrases: number, articles, lists."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import inflect
from textblob.en import lexicon

SEVERAL, MANY = 7, 13
"""So many are no longer counted out."""
_NUMBERS = "no one two three four five six".split()
_MASS = frozenset(
    """
    bedding cutlery dirt fabric fencing foliage furniture grass gravel hay ivy moss mud sand scaffolding skirting smoke
    snow soil vegetation water
    """.split()
)
_english = inflect.engine()


@lru_cache(maxsize=4096)
def singular(noun: str) -> str:
    """The singular of a noun phrase; one that is singular already stays as it is."""
    head = noun.split()[-1] if noun else ""
    known = lexicon.get(head)
    if not head or known == "NN" or head in _MASS or (known is None and not head.endswith("s")):
        return noun
    return str(_english.singular_noun(noun) or noun)


@lru_cache(maxsize=4096)
def plural(noun: str) -> str:
    """The plural of a noun phrase; one that is plural already stays as it is."""
    return noun if is_plural(noun) or is_mass(noun) else str(_english.plural_noun(noun))


def is_plural(noun: str) -> bool:
    """Whether it names several in one word ("curtains") or is always plural ("scissors")."""
    return singular(noun) != noun or lexicon.get(noun.split()[-1]) == "NNS"


def is_mass(noun: str) -> bool:
    """Whether it takes no article and no number (grass, water)."""
    return noun.split()[-1] in _MASS


def with_article(phrase: str, noun: str) -> str:
    """A phrase about one `noun` with "a" or "an", where it takes one."""
    return phrase if is_mass(noun) or is_plural(noun) else str(_english.a(phrase))


def counted(noun: str, count: int, adjectives: str = "") -> str:
    """So many of a thing with its adjectives: "a red chair", "three red chairs", "several red chairs"."""
    if count == 1 or is_mass(noun) or is_plural(noun):
        return with_article(f"{adjectives} {noun}".strip(), noun)
    number = _NUMBERS[count] if count < SEVERAL else "several" if count < MANY else "many"
    return " ".join(part for part in (number, adjectives, plural(noun)) if part)


def listed(phrases: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
