# SPDX-License-Identifier: Apache-2.0
"""From an object's label to the words a person would use for it, and the small grammar of English nouns.

The lexicon (94,000 words with their commonest part of speech) comes with textblob, so nothing is fetched.
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
"""The adjective for each material, and the words in material names that tell of it."""
MATERIAL_OF = {word: material for material, words in MATERIALS.items() for word in words.split()}

CONTAINER_NOUNS = frozenset(
    """
    basket bowl box bucket cabinet cage cart cupboard drawer jar pot shelf bookshelf bookcase rack sink tray vase
    wardrobe
    """.split()
)

UNREMARKABLE_NOUNS = frozenset(
    "baseboard bolt cable cord hinge molding moulding nail outlet screw skirting socket trim wire".split()
)
"""What nobody mentions, however visible."""
SEE_THROUGH_WORDS = frozenset("glass mirror monitor screen television tv window".split())
"""What shows the colour of other things."""

_NOISE_WORDS = frozenset(
    """
    asset bsdf col collection copy ctrl default export fbx final geo grp gltf high hipoly hires hp import inst instance
    joined lod low lowpoly lores lp mat mesh model new node obj old part pivot poly prefab proxy render rig root sk skm
    sm static temp test tmp ucx uv ver version
    """.split()
)
_POSITION_WORDS = frozenset("back front left right top bottom upper lower inner outer middle".split())
_PREPOSITIONS = frozenset(
    "above after at before behind below beneath beside by for from in near on over under with".split()
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TOKEN = re.compile(r"([^\W\d_]+)\d{0,3}")
"""Letters, perhaps with a number behind; anything more mixed is a catalogue code."""


@lru_cache(maxsize=4096)
def extract_noun(label: str) -> str:
    """The noun phrase in a label ("wooden chair" of "SM_Wooden_Chair_01_LOD0"), "" where there is none."""
    tokens = (
        match[1].lower() for part in re.split(r"[\W_]+", _CAMEL.sub(" ", label)) if (match := _TOKEN.fullmatch(part))
    )
    words = [word for word in tokens if word not in _NOISE_WORDS and (len(word) > 1 or not word.isascii())]
    words = [word for word in _cut_at_preposition(words) if word not in _POSITION_WORDS]
    words = [_correct_spelling(word) for at, word in enumerate(words) if word not in words[:at]]
    while words and not _can_be_noun(words[-1]):
        words.pop()
    return "" if all(word in MATERIAL_OF and word != "glass" for word in words) else " ".join(words[-3:])


def _cut_at_preposition(words: list[str]) -> list[str]:
    """A wall above a window is a wall."""
    end = next((at for at, word in enumerate(words) if at and word in _PREPOSITIONS), len(words))
    return words[:end]


def _can_be_noun(word: str) -> bool:
    """What the lexicon does not know may be a name, or of another language."""
    return word not in COLOURS and not str(lexicon.get(word, "NN")).startswith(
        ("JJ", "RB", "IN", "DT", "CC", "VBN", "VBD")
    )


def _correct_spelling(word: str) -> str:
    """The word that was meant, where a long word is unknown and one letter away from one that is known."""
    if len(word) < 8 or word in lexicon or not word.isascii():
        return word
    near = [str(each) for each, _ in spelling.suggest(word)]
    close = [each for each in near if lexicon.get(each) == "NN" and _is_one_letter_apart(word, each)]
    return close[0] if len(close) == 1 else word


def _is_one_letter_apart(one: str, other: str) -> bool:
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return start > 0 and any(
        one[start + cut_one :] == other[start + cut_other :] for cut_one, cut_other in ((1, 1), (1, 0), (0, 1))
    )
