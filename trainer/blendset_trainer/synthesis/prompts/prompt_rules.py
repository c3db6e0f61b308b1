# SPDX-License-Identifier: Apache-2.0
"""All that is to be held against prompts in one run: rules on texts, models that were named, prompts that evaluate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from blendset.errors import SettingsError
from blendset.files import read_text_file
from blendset.options import refuse_settings
from blendset_trainer.models.weights import find_model
from blendset_trainer.readers.prompt_lists import read_prompt_list
from blendset_trainer.stages.registry import find_stage
from blendset_trainer.synthesis.prompts.curation import (
    Curation,
    Judgement,
    RemovedPrompt,
    Spread,
    curate_prompts,
    load_curation,
    refuse_other_language,
)
from blendset_trainer.synthesis.prompts.decontamination import remove_contaminated
from blendset_trainer.synthesis.prompts.prompt_files import Prompt
from blendset_trainer.synthesis.prompts.reply_cache import AnswerCache
from blendset_trainer.synthesis.prompts.settings import EMBEDDERS, JUDGES, PromptSettings
from blendset_trainer.synthesis.prompts.text_measures import FLAGGED_WORDS

if TYPE_CHECKING:
    from blendset_trainer.synthesis.prompts.text_models import PerplexityModel, PromptJudge, TextEncoder

JUDGE_TEMPLATE = Path(__file__).with_name("templates") / "judge.txt"
PERPLEXITY, JUDGED = "perplexity", "judged unclear"
"""Reasons of the prompts that a model leaves out."""


@dataclass(frozen=True)
class PromptRules:
    """Rules, and the models that were named for them; a rule whose model was not named is one of `notes`."""

    settings: PromptSettings
    curation: Curation
    evaluation: list[str]
    perplexity: tuple[PerplexityModel, float] | None
    judge: PromptJudge | None
    encoder: TextEncoder | None

    @property
    def notes(self) -> dict[str, str]:
        """A sentence for each rule that is not applied, by what it is about."""
        rules, found = self.curation, dict[str, str]()
        if not rules.flagged_words and any(bounds.measure == FLAGGED_WORDS for bounds in rules.keep):
            found["flagged words"] = "Flagged words were not looked for; name a list with --flagged FILE."
        if rules.perplexity and not self.perplexity:
            found[PERPLEXITY] = (
                f"Perplexity was not measured, for the bound of {rules.perplexity.at_most:g} is that of "
                f"{rules.perplexity.model}; name a model and its bound with --perplexity MODEL=BOUND."
            )
        if rules.judge and not self.judge:
            found[JUDGED] = "No language model judged the prompts; name one with --judge MODEL."
        if rules.diversity and not self.encoder:
            found["too similar"] = "How much the prompts differ was not measured; name a model with --embed MODEL."
        return found

    def apply(self, prompts: Iterable[Prompt], removed: list[RemovedPrompt]) -> Iterator[Prompt]:
        """The prompts that meet all rules, in their order; the others are appended to `removed`. Of the prompts that
        are left of a finite source more than were asked for, an encoder keeps those that differ most.
        """
        if self.settings.is_finite:
            prompts = refuse_other_language(prompts, self.curation, self.settings.curate)
        prompts = curate_prompts(prompts, self.curation, removed)
        prompts = remove_contaminated(prompts, self.evaluation, removed)
        return self._apply_models(prompts, removed)

    def _apply_models(self, prompts: Iterator[Prompt], removed: list[RemovedPrompt]) -> Iterator[Prompt]:
        from blendset_trainer.synthesis.prompts.model_filters import drop_alike, keep_farthest, keep_measured

        if self.perplexity:
            model, bound = self.perplexity
            prompts = keep_measured(prompts, model.compute, PERPLEXITY, lambda value: value <= bound, removed)
        if self.judge:
            least = (self.curation.judge or Judgement()).at_least
            prompts = keep_measured(prompts, self.judge.judge, JUDGED, lambda value: value >= least, removed)
        if not self.encoder:
            yield from prompts
            return
        from blendset_trainer.synthesis.prompts.text_models import embed_texts

        cosine = (self.curation.diversity or Spread()).cosine
        different = drop_alike(prompts, partial(embed_texts, self.encoder), cosine, removed)
        total = self.settings.total
        if self.settings.is_finite and total is not None:
            yield from keep_farthest(list(different), total, self.settings.seed, removed)
        else:
            yield from (prompt for prompt, _ in different)


def load_rules(settings: PromptSettings, cache: AnswerCache) -> PromptRules:
    """Everything that the settings name; SettingsError for what is wrong in it, and for a model that there is not."""
    with refuse_settings():
        evaluation = [listed.prompt for path in settings.keep_out for listed in read_prompt_list(path)]
        curation = load_curation(settings.curate, settings.flagged)
    perplexity = _find_perplexity(settings, curation, cache) if settings.perplexity else None
    encoder = cast(Any, find_stage(settings.embed, EMBEDDERS)) if settings.embed else None
    judge = _find_judge(settings, cache) if settings.judge else None
    return PromptRules(settings, curation, evaluation, perplexity, judge, encoder)


def _find_perplexity(settings: PromptSettings, curation: Curation, cache: AnswerCache) -> tuple[PerplexityModel, float]:
    """The model that is named, and its bound: that of the option, else that which the rules have for the model."""
    from blendset_trainer.synthesis.prompts.text_models import PerplexityModel

    name, bound = _split_bound(settings.perplexity)
    rule = curation.perplexity
    if bound is None and rule and rule.model == name:
        bound = rule.at_most
    if bound is None:
        raise SettingsError(
            f"The rules '{settings.curate}' have no bound on perplexity for {name}; write --perplexity {name}=BOUND."
        )
    return PerplexityModel(find_model(name), cache), bound


def _split_bound(word: str) -> tuple[str, float | None]:
    """The model and the bound in MODEL=BOUND."""
    name, _, bound = word.removeprefix("hf:").rpartition("=")
    try:
        return (name, float(bound)) if name else (bound, None)
    except ValueError:
        return word.removeprefix("hf:"), None


def _find_judge(settings: PromptSettings, cache: AnswerCache) -> PromptJudge:
    from blendset_trainer.synthesis.prompts.text_models import PromptJudge

    model = cast(Any, find_stage(settings.judge, JUDGES))
    return PromptJudge(model, cache, read_text_file(JUDGE_TEMPLATE).strip(), settings.max_tokens)
