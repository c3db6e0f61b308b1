# SPDX-License-Identifier: Apache-2.0
"""Words for objects: the noun in an object's label, and word lists for colours, materials and kinds of objects.

The lexicon behind it (94,000 words with their commonest part of speech) comes with textblob, so nothing is fetched.
"""

from __future__ import annotations

import re
from functools import lru_cache

from textblob.en import lexicon, spelling

COLOURS = frozenset("black grey white cream beige brown orange yellow red pink purple blue teal green".split())
OTHER_COLOURS = frozenset(
    """
    gray gold golden silver tan olive navy turquoise cyan magenta violet maroon mint ivory mustard colourful colorful
    """.split()
)
MATERIALS = {
    "wooden": "wood wooden oak walnut teak pine ash birch beech mahogany cherry maple bamboo plywood timber planks",
    "metal": "metal steel iron aluminium aluminum chrome copper tin",
    "brass": "brass",
    "glass": "glass",
    "leather": "leather",
    "wicker": "wicker rattan",
    "velvet": "velvet",
    "marble": "marble",
    "concrete": "concrete cement",
    "brick": "brick bricks",
    "stone": "stone granite",
    "ceramic": "ceramic porcelain",
    "clay": "terracotta clay",
    "plastic": "plastic",
}
"""The adjective for each material, and the words in names of materials that mean it."""
MATERIAL_OF = {word: material for material, words in MATERIALS.items() for word in words.split()}
"""The adjective for each word of MATERIALS."""

CONTAINER_NOUNS = frozenset(
    """
    basket bowl box bucket cabinet cage cart cupboard drawer jar pot shelf bookshelf bookcase rack sink tray vase
    wardrobe
    """.split()
)
"""Objects that have things in them rather than on them."""

UNREMARKABLE_NOUNS = frozenset(
    "baseboard bolt cable cord hinge molding moulding nail outlet screw skirting socket trim wire".split()
)
"""Objects that nobody mentions, however visible they are."""
SEE_THROUGH_WORDS = frozenset("glass mirror monitor screen television tv window".split())
"""Objects and materials whose pixels show the colours of other things."""

_NOISE_WORDS = frozenset(
    """
    asset bsdf col collection copy ctrl default export fbx final geo grp gltf high hipoly hires hp import inst instance
    joined lod low lowpoly lores lp mat mesh model new node obj old part pivot poly prefab proxy render rig root sk skm
    sm static temp test tmp ucx uv ver version
    """.split()
)
"""Words in labels that file formats, tools and habits put there."""
_POSITION_WORDS = frozenset("back front left right top bottom upper lower inner outer middle".split())
_PREPOSITIONS = frozenset(
    "above after at before behind below beneath beside by for from in near on over under with".split()
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TOKEN = re.compile(r"([^\W\d_]+)\d{0,3}")
"""Letters, perhaps with a short number behind; anything else is a catalogue code."""


@lru_cache(maxsize=4096)
def extract_noun(label: str) -> str:
    """Extract the noun phrase of a label ("wooden chair" of "SM_Wooden_Chair_01_LOD0"); "" where there is none."""
    tokens = (
        match[1].lower() for part in re.split(r"[\W_]+", _CAMEL.sub(" ", label)) if (match := _TOKEN.fullmatch(part))
    )
    words = [word for word in tokens if word not in _NOISE_WORDS and (len(word) > 1 or not word.isascii())]
    words = [word for word in _cut_at_preposition(words) if word not in _POSITION_WORDS]
    words = [_correct_spelling(word) for index, word in enumerate(words) if word not in words[:index]]
    while words and not _can_be_noun(words[-1]):
        words.pop()
    return "" if all(word in MATERIAL_OF and word != "glass" for word in words) else " ".join(words[-3:])


def _cut_at_preposition(words: list[str]) -> list[str]:
    """The words before the first preposition: a wall above a window is a wall."""
    end = next((index for index, word in enumerate(words) if index and word in _PREPOSITIONS), len(words))
    return words[:end]


def _can_be_noun(word: str) -> bool:
    """Whether the lexicon has a word as a noun, or not at all: then it may be a name, or of another language."""
    return word not in COLOURS and not str(lexicon.get(word, "NN")).startswith(
        ("JJ", "RB", "IN", "DT", "CC", "VBN", "VBD")
    )


def _correct_spelling(word: str) -> str:
    """Correct a long word that is unknown and one letter apart from exactly one known noun."""
    if len(word) < 8 or word in lexicon or not word.isascii():
        return word
    suggestions = [str(suggestion) for suggestion, _ in spelling.suggest(word)]
    close = [noun for noun in suggestions if lexicon.get(noun) == "NN" and _is_one_letter_apart(word, noun)]
    return close[0] if len(close) == 1 else word


def _is_one_letter_apart(one: str, other: str) -> bool:
    """Whether words differ by one letter replaced, added or missing, and not in their first."""
    start = next(
        (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    return start > 0 and any(
        one[start + cut_one :] == other[start + cut_other :] for cut_one, cut_other in ((1, 1), (1, 0), (0, 1))
    )
