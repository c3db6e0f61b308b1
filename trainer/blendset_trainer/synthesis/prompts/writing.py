# SPDX-License-Identifier: Apache-2.0
"""Prompts in one call: a writer writes more than are asked for, and rules and the evaluation take some
away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

from blendset.dataset import Dataset, open_dataset
from blendset.errors import BlendsetError
from blendset.options import resolve_settings
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.models.chat.chat_model import ChatModel
from blendset_trainer.stages.registry import find_stage
from blendset_trainer.synthesis.prompts import free_writer, grammar_writer, model_writer
from blendset_trainer.synthesis.prompts.curation import PATIENCE, RemovedPrompt, keep_complete_sets
from blendset_trainer.synthesis.prompts.pools import read_pool
from blendset_trainer.synthesis.prompts.prompt_files import (
    DEFORMABLE,
    FREE,
    GRAMMAR,
    RESTYLE,
    SET_SIZE,
    TEXT_TO_IMAGE,
    Prompt,
    write_prompts,
)
from blendset_trainer.synthesis.prompts.prompt_rules import PromptRules, load_rules
from blendset_trainer.synthesis.prompts.reply_cache import AnswerCache, ReplyCache
from blendset_trainer.synthesis.prompts.settings import WRITERS, PromptSettings
from blendset_trainer.synthesis.prompts.sources import (
    PromptSubject,
    load_caption_prompts,
    load_subjects,
    read_subjects,
)


@dataclass(frozen=True)
class PromptReport:
    """The file that prompts went to, the prompts in it, and those that were left out, each with a reason.

    `total` is how many were asked for, None for all; `notes` has a sentence for each rule that was not applied.
    """

    out: Path
    kept: tuple[Prompt, ...]
    removed: tuple[RemovedPrompt, ...]
    total: int | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


def prompts(
    dataset: Dataset | Path | str | None = None,
    settings: PromptSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> PromptReport:
    """Write prompts to the file `out`, and return them: for further pictures of a dataset's subjects, or, without a
    dataset, for no scene, of a list of subjects, or from pools.

    `options` are fields of the settings, on top of them. The same seed writes the same prompts; what a model has
    answered is not asked again.

    Raises SettingsError for settings that cannot be made, for a writer, rules or a model that there are not, and for a
    file of the evaluation that cannot be read; BlendsetError where no prompt can be made, for a pool that is none, and
    where `out` holds others.
    """
    settings = resolve_settings(PromptSettings, settings, options).resolve_kind(dataset is not None)
    opened, removed = None if dataset is None else open_dataset(dataset), list[RemovedPrompt]()
    cache = AnswerCache(settings.out)
    rules = load_rules(settings, cache)
    kept: list[Prompt] = []
    on_progress("prompts", 0, settings.total or 0)
    for prompt in compose_prompts(opened, settings, rules, cache, removed):
        kept.append(prompt)
        on_progress("prompts", len(kept), settings.total or len(kept))
    if not kept:
        reasons = Counter(prompt.reason for prompt in removed).most_common()
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons) or "none was written"
        raise BlendsetError(f"No prompt is left ({counts}); loosen --curate or ask another writer.")
    write_prompts(settings.out, kept)
    return PromptReport(settings.out, tuple(kept), tuple(removed), settings.total, rules.notes)


def compose_prompts(
    dataset: Dataset | None,
    settings: PromptSettings,
    rules: PromptRules,
    cache: AnswerCache,
    removed: list[RemovedPrompt],
) -> Iterator[Prompt]:
    """Prompts, at most `settings.total` of them; those that the rules leave out are appended to `removed`.

    Raises UnknownStageError for a writer that there is not, and BlendsetError where there is nothing to write about.
    """
    prompts = rules.apply(_write_candidates(dataset, settings, cache, removed), removed)
    if settings.kind == DEFORMABLE and not settings.pool:
        prompts = keep_complete_sets(prompts, SET_SIZE, removed)
    return islice(prompts, settings.total)


def _write_candidates(
    dataset: Dataset | None, settings: PromptSettings, cache: AnswerCache, removed: list[RemovedPrompt]
) -> Iterator[Prompt]:
    """More prompts than are asked for, where there can be more."""
    if settings.pool:
        return chain.from_iterable([read_pool(path) for path in settings.pool])
    if settings.kind == TEXT_TO_IMAGE:
        assert dataset is not None
        return load_caption_prompts(dataset, settings.selection, settings.seed)
    word = settings.writer or GRAMMAR
    writer = cast(Any, find_stage(word, WRITERS))
    subjects = load_subjects(dataset, settings.selection) if dataset else read_subjects(settings.subjects)
    if isinstance(writer, grammar_writer.PromptGrammar):
        return islice(_write_by_grammar(writer, settings, subjects), PATIENCE * (settings.total or 1))
    return _write_by_model(word, writer, settings, subjects, cache, removed)


def _write_by_grammar(
    grammar: grammar_writer.PromptGrammar, settings: PromptSettings, subjects: list[PromptSubject]
) -> Iterator[Prompt]:
    """Prompts without end."""
    if settings.kind == FREE:
        words = free_writer.load_free_words(settings.template or free_writer.FREE_FILE)
        return free_writer.write_free_prompts(grammar, words, settings.seed)
    if settings.template:
        grammar = grammar_writer.load_grammar(settings.template)
    if settings.kind == RESTYLE:
        return grammar_writer.write_restyle_prompts(grammar, subjects, settings.seed)
    return grammar_writer.write_deformable_prompts(grammar, subjects, settings.seed)


def _write_by_model(
    word: str,
    model: ChatModel,
    settings: PromptSettings,
    subjects: list[PromptSubject],
    cache: AnswerCache,
    removed: list[RemovedPrompt],
) -> Iterator[Prompt]:
    """The prompts that a model writes, some to spare."""
    kind, count = cast(str, settings.kind), settings.total or 1
    author = model_writer.PromptAuthor(
        ReplyCache(model, cache, settings.max_tokens),
        _format_author(word, model),
        model_writer.load_template(settings.template or model_writer.TEMPLATES / f"{kind}.txt", kind),
        grammar_writer.load_grammar(),
        settings.seed,
    )
    if kind == FREE:
        return model_writer.write_free_prompts(author, free_writer.load_free_words(), count, removed)
    if kind == RESTYLE:
        return model_writer.write_restyle_prompts(author, subjects, count, removed)
    return model_writer.write_deformable_prompts(author, subjects, count, removed)


def _format_author(word: str, model: ChatModel) -> str:
    """What a prompt says of its author: the model's name and what is known of its revision; a server tells its name
    only.
    """
    scheme = word.partition(":")[0]
    return f"{scheme}:{model.title}@{model.revision[:8]}" if scheme == "hf" else f"{scheme}:{model.revision}"
