# SPDX-License-Identifier: Apache-2.0
"""Data-Juicer's measures of a text, each a share from 0 to 1, equal to those of its release 1.6.1; and counts of words.

SynthVLM curates captions by the shares (arXiv 2407.20756, appendix, table 1). The two of repetition were BigScience's
first (arXiv 2303.03915).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path

from blendset_trainer.language.ngrams import split_words

NGRAM_LENGTH = 10
"""Characters, or words, in a row: an n-gram, which is repeated where it comes again."""
SPECIAL_CHARACTERS_FILE = Path(__file__).with_name("words") / "special_characters.txt"
FLAGGED_WORDS = "flagged_words"
"""The measure that needs a list."""
CONTENT_TAGS = ("NN", "JJ")
"""How the tags of nouns and adjectives begin (Penn Treebank)."""
FOREIGN, NAME = "FW", "NNP"
"""Tags of words that say nothing of the language that they stand in."""
_SPACES = re.compile(r"[ \n\t]+")


def compute_alphanumeric_ratio(text: str) -> float:
    """Share of the characters that are letters or digits, of any script."""
    return sum(map(str.isalnum, text)) / max(1, len(text))


def compute_special_character_ratio(text: str) -> float:
    """Share of the characters that are in Data-Juicer's list: signs, digits, spaces, emoji."""
    special = load_special_characters()
    return sum(character in special for character in text) / max(1, len(text))


def compute_character_repetition_ratio(text: str) -> float:
    """Share of the character n-grams that are repeated. Only the most frequent of the different ones count, at most the
    square root of their number.
    """
    counts = Counter(text[start : start + NGRAM_LENGTH] for start in range(len(text) - NGRAM_LENGTH + 1))
    repeated = sorted((count for count in counts.values() if count > 1), reverse=True)
    return sum(repeated[: math.isqrt(len(counts))]) / max(1, counts.total())


def compute_word_repetition_ratio(text: str) -> float:
    """Share of the word n-grams that come more than once."""
    words = split_bare_words(text)
    counts = Counter(tuple(words[start : start + NGRAM_LENGTH]) for start in range(len(words) - NGRAM_LENGTH + 1))
    return sum(count for count in counts.values() if count > 1) / max(1, counts.total())


def compute_flagged_ratio(text: str, flagged: Collection[str]) -> float:
    """Share of the words that are flagged; these are in lower case and have no special characters at their ends."""
    words = split_bare_words(text)
    return sum(word in flagged for word in words) / max(1, len(words))


def compute_english_ratio(text: str) -> float:
    """Share of the words that textblob's English lexicon knows, other than as a name or a foreign word."""
    from textblob.en import lexicon  # which imports SciPy, and no command should wait for that

    words = split_words(text)
    return sum(lexicon.get(word, FOREIGN) not in (FOREIGN, NAME) for word in words) / max(1, len(words))


def count_words(text: str) -> int:
    """How many words a text has."""
    return len(split_words(text))


def count_content_words(text: str) -> int:
    """How many different nouns and adjectives an English text has, by textblob's tagger."""
    from textblob.en import tag

    return len({word.lower() for word, part in tag(text, tokenize=True) if part.startswith(CONTENT_TAGS)})


def split_bare_words(text: str) -> list[str]:
    """The words between spaces, tabs and ends of lines in lower case, without the special characters at their ends."""
    signs = _list_special_characters()
    return [bare for word in _SPACES.split(text.lower()) if (bare := word.strip(signs))]


@cache
def load_special_characters() -> frozenset[str]:
    """The characters of special_characters.txt."""
    lines = SPECIAL_CHARACTERS_FILE.read_text(encoding="utf-8").splitlines()
    ranges = [word.split("-") for line in lines if not line.startswith("#") for word in line.split()]
    return frozenset(chr(code) for each in ranges for code in range(int(each[0], 16), int(each[-1], 16) + 1))


@cache
def _list_special_characters() -> str:
    return "".join(sorted(load_special_characters()))


MEASURES: Mapping[str, Callable[[str], float]] = {
    "alphanumeric": compute_alphanumeric_ratio,
    "special_characters": compute_special_character_ratio,
    "character_repetition": compute_character_repetition_ratio,
    "word_repetition": compute_word_repetition_ratio,
    "words": count_words,
    "english": compute_english_ratio,
    "content_words": count_content_words,
}
"""The measures that need nothing but the text, by the names that curation rules give them."""
