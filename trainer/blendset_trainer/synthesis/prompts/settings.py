# SPDX-License-Identifier: Apache-2.0
"""What prompts can be asked for, as a frozen dataclass from which `blendset prompts` derives its options."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from blendset.errors import SettingsError
from blendset.options import REQUIRED, Settings, option
from blendset_trainer.api.registry import Registry
from blendset_trainer.synthesis.prompts.curation import list_curations
from blendset_trainer.synthesis.prompts.decontamination import RUN_WORDS
from blendset_trainer.synthesis.prompts.prompt_files import (
    DEFORMABLE,
    GRAMMAR,
    KINDS,
    RESTYLE,
    SET_SIZE,
    TEXT_TO_IMAGE,
)
from blendset_trainer.synthesis.prompts.reply_cache import MAX_TOKENS

WRITERS = Registry(
    "writer of prompts",
    {
        GRAMMAR: "blendset_trainer.synthesis.prompts.grammar_writer:load_grammar",
        "hf:MODEL": "blendset_trainer.models.chat.finding:find_text_model",
        "openai:URL#MODEL": "blendset_trainer.models.chat.server:find_server",
    },
)
"""Who writes prompts, by name."""


@dataclass(frozen=True, kw_only=True)
class PromptSettings(Settings):
    """What is written, by whom, and what is left out of it.

    Creating one raises SettingsError for a value outside its limits, and for captions that are to be written by a
    writer or from a template: they are taken as they are.
    """

    writer: str | None = option(
        None, f"{WRITERS.format_choices()} (default: {GRAMMAR})", flag="--with", metavar="WRITER"
    )
    kind: str = option(RESTYLE, "what they are for (default %(default)s)", choices=KINDS)
    count: int = option(REQUIRED, "how many prompts", metavar="N", at_least=1)
    seed: int = option(0, "everything random follows from it (default 0)")
    out: Path = option(REQUIRED, "where they go", metavar="PROMPTS.jsonl")
    selection: str = option("", "from the views of a selection only", metavar="NAME")
    template: Path | None = option(None, "what a model is asked (text), or the grammar's words (TOML)", metavar="FILE")
    curate: str = option(
        "duplicates", f"{', '.join(list_curations())}, none, or a TOML file (default %(default)s)", metavar="RULES"
    )
    keep_out: tuple[Path, ...] = option(
        (),
        f"prompts that evaluate, a line each or .jsonl; what shares {RUN_WORDS} words in a row with one is left out",
        metavar="FILE",
    )

    max_tokens: int = option(
        MAX_TOKENS, "tokens of a model's answer, thoughts included (default %(default)s)", metavar="N", at_least=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == TEXT_TO_IMAGE and (self.writer or self.template):
            raise SettingsError(f"--kind {TEXT_TO_IMAGE} takes captions as they are; leave --with and --template out.")

    @property
    def total(self) -> int:
        """How many prompts to keep: `count`, or as many as make up complete sets."""
        size = SET_SIZE if self.kind == DEFORMABLE else 1
        return size * math.ceil(self.count / size)
