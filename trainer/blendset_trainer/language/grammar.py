# SPDX-License-Identifier: Apache-2.0
"""The small grammar of English noun phrases: number, articles, lists."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import inflect
from textblob.en import lexicon

MIN_SEVERAL, MIN_MANY = 7, 13
"""From these counts on people say "several", and "many"."""
NUMBERS = "no one two three four five six".split()
_MASS_NOUNS = frozenset(
    """
    bedding cutlery dirt fabric fencing foliage furniture grass gravel hay ivy moss mud sand scaffolding skirting smoke
    snow soil vegetation water
    """.split()
)
_english = inflect.engine()


@lru_cache(maxsize=4096)
def singularize(noun: str) -> str:
    """Put a noun phrase into the singular; one that is singular already stays as it is."""
    head = noun.split()[-1] if noun else ""
    known = lexicon.get(head)
    if not head or known == "NN" or head in _MASS_NOUNS or (known is None and not head.endswith("s")):
        return noun
    return str(_english.singular_noun(noun) or noun)


@lru_cache(maxsize=4096)
def pluralize(noun: str) -> str:
    """Put a noun phrase into the plural; one that is plural already, or a mass noun, stays as it is."""
    return noun if is_plural(noun) or is_mass_noun(noun) else str(_english.plural_noun(noun))


def is_plural(noun: str) -> bool:
    """Whether a noun is in the plural ("curtains") or always plural ("scissors")."""
    return singularize(noun) != noun or lexicon.get(noun.split()[-1]) == "NNS"


def is_mass_noun(noun: str) -> bool:
    """Whether a noun takes no article and no number (grass, water)."""
    return noun.split()[-1] in _MASS_NOUNS


def add_article(phrase: str, noun: str) -> str:
    """Add "a" or "an" to a phrase about one `noun`, where that takes an article."""
    return phrase if is_mass_noun(noun) or is_plural(noun) else str(_english.a(phrase))


def format_count(noun: str, count: int, adjectives: str = "") -> str:
    """A count of a noun with adjectives: "a red chair", "three red chairs", "several red chairs"."""
    if count == 1 or is_mass_noun(noun) or is_plural(noun):
        return add_article(f"{adjectives} {noun}".strip(), noun)
    number = NUMBERS[count] if count < MIN_SEVERAL else "several" if count < MIN_MANY else "many"
    return " ".join(part for part in (number, adjectives, pluralize(noun)) if part)


def join_phrases(phrases: Sequence[str]) -> str:
    """Join phrases, of which there is at least one: "a", "a and b", "a, b and c"."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
