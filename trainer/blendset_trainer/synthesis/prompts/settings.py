# SPDX-License-Identifier: Apache-2.0
"""What prompts can be asked for, as a frozen dataclass from which `blendset prompts` derives its options."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from blendset.errors import SettingsError
from blendset.options import REQUIRED, Settings, option
from blendset_trainer.api.registry import Registry
from blendset_trainer.language.decontamination import RUN_WORDS
from blendset_trainer.synthesis.prompts.curation import list_curations
from blendset_trainer.synthesis.prompts.prompt_files import DEFORMABLE, FREE, GRAMMAR, KINDS, SET_SIZE, TEXT_TO_IMAGE
from blendset_trainer.synthesis.prompts.reply_cache import MAX_TOKENS

_MODELS = {
    "hf:MODEL": "blendset_trainer.models.chat.finding:find_text_model",
    "openai:URL#MODEL": "blendset_trainer.models.chat.server:find_server",
}
WRITERS = Registry(
    "writer of prompts", {GRAMMAR: "blendset_trainer.synthesis.prompts.grammar_writer:load_grammar", **_MODELS}
)
"""Who writes prompts, by name."""
JUDGES = Registry("judge of prompts", _MODELS)
"""Who judges prompts, by name."""
EMBEDDERS = Registry(
    "model that embeds prompts",
    {
        "clip:MODEL": "blendset_trainer.synthesis.prompts.text_models:find_clip_encoder",
        "hf:MODEL": "blendset_trainer.synthesis.prompts.text_models:find_text_encoder",
    },
)
"""What embeds prompts, by name."""
KIND_OF_DATASET, KIND_WITHOUT = "restyle", FREE
"""The kinds that are written where none is asked for: of a dataset, and without one."""


@dataclass(frozen=True, kw_only=True)
class PromptSettings(Settings):
    """What is written, by whom, and what is left out of it.

    Creating one raises SettingsError for a value outside its limits, and for options that exclude each other: captions
    and pools are taken as they are.
    """

    writer: str | None = option(
        None, f"{WRITERS.format_choices()} (default: {GRAMMAR})", flag="--with", metavar="WRITER"
    )
    kind: str | None = option(
        None, f"what they are for (default {KIND_OF_DATASET}, without a dataset {KIND_WITHOUT})", choices=KINDS
    )
    pool: tuple[Path, ...] = option(
        (), "curate these: .txt with one to a line, or .jsonl, .csv, .parquet with a column prompt, text or caption",
        metavar="FILE",
    )  # fmt: skip
    subjects: Path | None = option(
        None,
        f"without a dataset: what {DEFORMABLE} sets are of, a line each (default: SynCD's 16 animals)",
        metavar="FILE",
    )
    count: int | None = option(
        None, "how many prompts (default: all of a pool, and of a dataset's captions)", metavar="N", at_least=1
    )
    seed: int = option(0, "everything random follows from it (default 0)")
    out: Path = option(REQUIRED, "where they go", metavar="PROMPTS.jsonl")
    selection: str = option("", "from the views of a selection only", metavar="NAME")
    template: Path | None = option(None, "what a model is asked (text), or the grammar's words (TOML)", metavar="FILE")
    curate: str = option(
        "duplicates", f"{', '.join(list_curations())}, none, or a TOML file (default %(default)s)", metavar="RULES"
    )
    flagged: Path | None = option(None, "leave out prompts with a word of this list, a line each", metavar="FILE")
    perplexity: str = option(
        "", "leave out prompts that this causal language model of transformers finds less likely", metavar="MODEL=BOUND"
    )
    judge: str = option(
        "", f"leave out prompts that this model does not call good: {JUDGES.format_choices()}", metavar="MODEL"
    )
    embed: str = option(
        "", f"leave out prompts that this model embeds near others: {EMBEDDERS.format_choices()}", metavar="MODEL"
    )
    keep_out: tuple[Path, ...] = option(
        (),
        f"a list of prompts that evaluate; what shares {RUN_WORDS} words in a row with one is left out",
        metavar="FILE",
    )

    max_tokens: int = option(
        MAX_TOKENS, "tokens of a model's answer, thoughts included (default %(default)s)", metavar="N", at_least=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        written = self.writer or self.template
        if self.kind == TEXT_TO_IMAGE and written:
            raise SettingsError(f"--kind {TEXT_TO_IMAGE} takes captions as they are; leave --with and --template out.")
        if self.pool and (written or self.subjects or self.selection):
            raise SettingsError(
                "--pool takes prompts as they are; leave --with, --template, --subjects and --selection out."
            )

    def resolve_kind(self, has_dataset: bool) -> PromptSettings:
        """These settings with a kind; SettingsError for what does not go with a dataset, or not without one."""
        kind = self.kind or (KIND_OF_DATASET if has_dataset else KIND_WITHOUT)
        if self.subjects and kind != DEFORMABLE:
            raise SettingsError(f"--subjects is for --kind {DEFORMABLE}; leave it out.")
        if has_dataset and (self.pool or self.subjects or kind == FREE):
            raise SettingsError(f"--kind {FREE}, --pool and --subjects need no dataset; leave it out.")
        if not has_dataset and not self.pool and (self.selection or kind not in (FREE, DEFORMABLE)):
            raise SettingsError(f"--kind {kind} is about a dataset's subjects or captions; name the dataset.")
        if self.count is None and not self.pool and kind != TEXT_TO_IMAGE:
            raise SettingsError("Say how many prompts to write: --count N.")
        return replace(self, kind=kind)

    @property
    def is_finite(self) -> bool:
        """Whether there are only so many prompts to choose from."""
        return bool(self.pool) or self.kind == TEXT_TO_IMAGE

    @property
    def total(self) -> int | None:
        """How many prompts to keep: `count`, or as many as make up complete sets; None is all of them."""
        size = SET_SIZE if self.kind == DEFORMABLE and not self.pool else 1
        return None if self.count is None else size * math.ceil(self.count / size)
