# SPDX-License-Identifier: Apache-2.0
"""Writes golden/data_juicer.json: 500 texts, 6 pairs of picture and caption, and what Data-Juicer's operators measure
of them. Data-Juicer stays in an environment of its own, whose packages stand behind those of the project:

    uv venv --python .venv/bin/python dj && uv pip install --python dj/bin/python py-data-juicer==1.6.1 aiohttp
    .venv/bin/python -m tests.trainer.record_data_juicer dj/lib/python3.*/site-packages
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.trainer.tiny_models import clip_model, itm_model

GOLDEN = Path(__file__).with_name("golden") / "data_juicer.json"
STATS = "__dj__stats__"
FLAGGED = ["blood", "gore", "naked", "blut", "кровь", "血", "x-rated"]
WORDS = """a the red old small wooden chair fox owl lamp street garden on in beside under with light soft morning river
Mountain GLASS blood naked gore x-rated "quoted" (bracketed) full-stop. comma, it's 3 42 1960s half-timbered e.g. Blood!
naïve café""".split()
SCRIPTS = [
    "Ein roter Fuchs schläft auf moosigen Steinen am Bach, Blut im Schnee.",
    "Une théière en porcelaine bleue — «près» d’une fenêtre…",
    "Рыжая лиса спит у ручья, кровь на снегу.",
    "一只红色的狐狸睡在溪边的石头上。 上士 血",
    "苔むした石の上で眠る赤い狐、ツシンー",
    "이끼 낀 돌 위에서 자는 붉은 여우",
    "ثعلب أحمر نائم على الحجارة ؟ ٪",
    "एक लाल लोमड़ी पत्थरों पर सो रही है।",
    "Μια κόκκινη αλεπού ΚΟΙΜΑΤΑΙ π ΣΑΣ",
    "İstanbul'da kırmızı bir tilki ıslak taşlarda",
    "สุนัขจิ้งจอกสีแดงนอนหลับ",
    "שועל אדום ישן על אבנים",
]
EMOJI = [
    "🦊",
    "🔥",
    "❤️",
    "👩‍🚀",
    "🇩🇪",
    "✨",
    "☃",
    "👍🏽",
    "™",
    "ℹ️",
    "⑨",
    "½",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "º",
    "ª",
    "ø",
    "🫠",
    "🪿",
]
CODE = [
    "def f(x):\n\treturn x ** 2  # square\n",
    "for (int i = 0; i < n; ++i) { sum += a[i]; }",
    '<div class="a">fox</div>',
    "SELECT * FROM views WHERE id = 'x-1';",
    "masterpiece, best quality, (red fox:1.3), 8k, <lora:x:0.8>",
    '{"prompt": "a fox", "seed": 42}',
    "https://example.org/a?b=1&c=%20",
]


def make_text(random: Random, number: int) -> str:
    """A text of one of ten kinds, with spaces, tabs and ends of lines of several sorts between its words."""
    words = random.choices(WORDS, k=random.randint(1, 60))
    kind = number % 10
    if kind == 0:
        words = random.choices(SCRIPTS, k=random.randint(1, 4))
    elif kind == 1:
        words = [random.choice(EMOJI) + word + random.choice(["", *EMOJI]) for word in words]
    elif kind == 2:
        words = random.choices(words, k=random.randint(2, 6)) * random.randint(2, 30)
    elif kind == 3:
        words = random.choices(CODE, k=random.randint(1, 3))
    elif kind == 4:
        return random.choice("ab1 .🦊狐") * random.randint(0, 40)
    elif kind == 5:
        words = [*words[:12], *random.choices(SCRIPTS + EMOJI, k=3)] * random.randint(1, 3)
    elif kind == 6:
        return "".join(
            chr(random.choice([random.randint(32, 0x2FFF), random.randint(0x1F300, 0x1FAFF)])) for _ in words
        )
    elif kind == 7:
        words = [word.upper() for word in words] + words
    return random.choice([" ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", " \n "]).join(words)


def load_filter(module: str, name: str) -> Any:
    """One of Data-Juicer's operators."""
    return getattr(import_module(f"data_juicer.ops.filter.{module}"), name)


def measure(texts: list[str]) -> dict[str, list[float]]:
    """What each operator measures of each text, by the names that Blendset's measures have."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "flagged_words.json").write_text(json.dumps({"en": FLAGGED}))
        operators = {
            "alphanumeric": load_filter("alphanumeric_filter", "AlphanumericFilter")(tokenization=False),
            "character_repetition": load_filter("character_repetition_filter", "CharacterRepetitionFilter")(rep_len=10),
            "flagged_words": load_filter("flagged_words_filter", "FlaggedWordFilter")(
                lang="en", flagged_words_dir=folder
            ),
            "special_characters": load_filter("special_characters_filter", "SpecialCharactersFilter")(),
            "word_repetition": load_filter("word_repetition_filter", "WordRepetitionFilter")(lang="en", rep_len=10),
        }
    measured = {}
    for name, operator in operators.items():
        samples = {operator.text_key: texts, STATS: [{} for _ in texts]}
        stats = operator.compute_stats_batched(samples)[STATS]
        measured[name] = [float(next(iter(each.values()))) for each in stats]
    return measured


def make_pictures() -> list[npt.NDArray[np.uint8]]:
    """Six pictures, each (height, width, 3)."""
    random = np.random.default_rng(0)
    noise = [random.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    return [
        picture for grey, noisy in enumerate(noise) for picture in (np.full((40, 40, 3), 60 * grey, np.uint8), noisy)
    ]


CAPTIONS = ["a red chair", "a blue lamp", "a red chair beside the lamp", "the room", "a wooden table", "chair"]


def measure_pairs(folder: Path) -> dict[str, list[float]]:
    """What each operator measures of each pair by a tiny model, which is made in `folder`."""
    operators = {
        "itm": load_filter("image_text_matching_filter", "ImageTextMatchingFilter")(
            hf_blip=str(itm_model(folder / "itm"))
        ),
        "similarity": load_filter("image_text_similarity_filter", "ImageTextSimilarityFilter")(
            hf_clip=str(clip_model(folder / "clip"))
        ),
    }
    marks = import_module("data_juicer.utils.mm_utils").SpecialTokens
    measured: dict[str, list[float]] = {name: [] for name in operators}
    for number, (picture, caption) in enumerate(zip(make_pictures(), CAPTIONS, strict=True)):
        path = folder / f"{number}.png"
        Image.fromarray(picture).save(path)
        for name, operator in operators.items():
            sample = {
                operator.text_key: f"{marks.image}{caption}{marks.eoc}",
                operator.image_key: [str(path)],
                STATS: {},
            }
            [values] = operator.compute_stats_single(sample)[STATS].values()
            measured[name].append(float(values[0]))
    return measured


def main() -> None:
    """Write the file."""
    sys.path.append(sys.argv[1])
    random = Random(18)
    texts = [make_text(random, number) for number in range(500)]
    with tempfile.TemporaryDirectory() as folder:
        pairs = measure_pairs(Path(folder))
    record = {
        "py-data-juicer": version("py-data-juicer"), "flagged": FLAGGED, "texts": texts, "shares": measure(texts),
        "pairs": pairs,
    }  # fmt: skip
    GOLDEN.write_text(json.dumps(record, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
