# SPDX-License-Identifier: Apache-2.0
"""Prompts for a dataset, in one call: a writer writes more than are asked for, and rules and the evaluation take some
away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from blendset.dataset import Dataset, open_dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.options import resolve_settings
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.models.chat.chat_model import ChatModel
from blendset_trainer.stages.registry import find_stage
from blendset_trainer.synthesis.prompts import grammar_writer, model_writer
from blendset_trainer.synthesis.prompts.curation import (
    PATIENCE,
    Curation,
    RemovedPrompt,
    curate_prompts,
    keep_complete_sets,
    load_curation,
)
from blendset_trainer.synthesis.prompts.decontamination import remove_contaminated
from blendset_trainer.synthesis.prompts.prompt_files import (
    DEFORMABLE,
    GRAMMAR,
    RESTYLE,
    SET_SIZE,
    TEXT_TO_IMAGE,
    Prompt,
    read_texts,
    write_prompts,
)
from blendset_trainer.synthesis.prompts.reply_cache import ReplyCache
from blendset_trainer.synthesis.prompts.settings import WRITERS, PromptSettings
from blendset_trainer.synthesis.prompts.sources import load_caption_prompts, load_subjects


@dataclass(frozen=True)
class PromptReport:
    """The file that prompts went to, the prompts in it, and those that were left out, each with a reason."""

    out: Path
    kept: tuple[Prompt, ...]
    removed: tuple[RemovedPrompt, ...]


def prompts(
    dataset: Dataset | Path | str,
    settings: PromptSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> PromptReport:
    """Write prompts for further pictures of a dataset's subjects to the file `out`, and return them.

    `options` are fields of the settings, on top of them. The same seed writes the same prompts; what a model has
    answered is not asked again.

    Raises SettingsError for settings that cannot be made, for a writer or rules that there are not, and for a file of
    the evaluation that cannot be read; BlendsetError where no prompt can be made, and where `out` holds others.
    """
    settings = resolve_settings(PromptSettings, settings, options)
    dataset, removed = open_dataset(dataset), list[RemovedPrompt]()
    kept: list[Prompt] = []
    on_progress("prompts", 0, settings.total)
    for prompt in compose_prompts(dataset, settings, *_load_rules(settings), removed):
        kept.append(prompt)
        on_progress("prompts", len(kept), settings.total)
    if not kept:
        reasons = Counter(prompt.reason for prompt in removed).most_common()
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons) or "none was written"
        raise BlendsetError(f"No prompt is left ({counts}); loosen --curate or ask another writer.")
    write_prompts(settings.out, kept)
    return PromptReport(settings.out, tuple(kept), tuple(removed))


def _load_rules(settings: PromptSettings) -> tuple[Curation, list[str]]:
    """How to curate, and the texts that evaluate; SettingsError for what is wrong in either."""
    try:
        evaluation = [text for path in settings.keep_out for text in read_texts(path)]
        return load_curation(settings.curate), evaluation
    except BlendsetError as error:
        raise SettingsError(str(error)) from error


def compose_prompts(
    dataset: Dataset,
    settings: PromptSettings,
    curation: Curation,
    evaluation: list[str],
    removed: list[RemovedPrompt],
) -> Iterator[Prompt]:
    """Prompts for a dataset, at most `settings.total` of them; those that `curation` or the texts of `evaluation` leave
    out are appended to `removed`.

    Raises UnknownStageError for a writer that there is not, and BlendsetError where the dataset gives nothing to write
    about.
    """
    prompts = curate_prompts(_write_candidates(dataset, settings, removed), curation, removed)
    prompts = remove_contaminated(prompts, evaluation, removed)
    if settings.kind == DEFORMABLE:
        prompts = keep_complete_sets(prompts, SET_SIZE, removed)
    return islice(prompts, settings.total)


def _write_candidates(dataset: Dataset, settings: PromptSettings, removed: list[RemovedPrompt]) -> Iterator[Prompt]:
    """More prompts than are asked for, where there can be more."""
    if settings.kind == TEXT_TO_IMAGE:
        return load_caption_prompts(dataset, settings.selection, settings.seed)
    word = settings.writer or GRAMMAR
    writer = cast(Any, find_stage(word, WRITERS))
    subjects = load_subjects(dataset, settings.selection)
    if isinstance(writer, grammar_writer.PromptGrammar):
        grammar = grammar_writer.load_grammar(settings.template) if settings.template else writer
        by_grammar = {
            RESTYLE: grammar_writer.write_restyle_prompts,
            DEFORMABLE: grammar_writer.write_deformable_prompts,
        }
        return islice(by_grammar[settings.kind](grammar, subjects, settings.seed), PATIENCE * settings.total)
    author = model_writer.PromptAuthor(
        ReplyCache(writer, settings.out, settings.max_tokens),
        _format_author(word, writer),
        model_writer.load_template(settings.template or model_writer.TEMPLATES / f"{settings.kind}.txt"),
        grammar_writer.load_grammar(),
        settings.seed,
    )
    by_model = {RESTYLE: model_writer.write_restyle_prompts, DEFORMABLE: model_writer.write_deformable_prompts}
    return by_model[settings.kind](author, subjects, settings.total, removed)


def _format_author(word: str, model: ChatModel) -> str:
    """What a prompt says of its author: the model's name and what is known of its revision; a server tells its name
    only.
    """
    scheme = word.partition(":")[0]
    return f"{scheme}:{model.title}@{model.revision[:8]}" if scheme == "hf" else f"{scheme}:{model.revision}"
