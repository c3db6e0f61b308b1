# SPDX-License-Identifier: Apache-2.0
"""`blendset prompts`: writes prompts from a dataset's labels and captions, and says what became of each that is not
kept.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.console import print_json, print_table, show_progress
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command, parse_positive
from blendset_trainer.cli.stage_options import parse_stage
from blendset_trainer.models.chat.chat_model import ChatModel
from blendset_trainer.stages.registry import Scheme, format_choices
from blendset_trainer.synthesis.prompts.curation import (
    PATIENCE,
    Curation,
    Removed,
    curated,
    curation_names,
    load_curation,
    whole_sets,
)
from blendset_trainer.synthesis.prompts.files import (
    DEFORMABLE,
    GRAMMAR,
    KINDS,
    RESTYLE,
    SET_SIZE,
    TEXT_TO_IMAGE,
    Prompt,
    read_texts,
    write_prompts,
)
from blendset_trainer.synthesis.prompts.guard import EVALUATES, WORDS, keep_out

NAMED = 20
"""Of the prompts that are kept out, so many are named."""
WRITERS = {
    GRAMMAR: Scheme("blendset_trainer.synthesis.prompts.grammar:load_grammar"),
    "hf": Scheme("blendset_trainer.models.chat.chat_model:find_text_model", "MODEL"),
    "openai": Scheme("blendset_trainer.models.chat.server:find_server", "URL#MODEL"),
}


def add_prompts(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset prompts`."""
    prompts = add_command(
        commands,
        "prompts",
        _prompts,
        "Write prompts for further pictures of a dataset's subjects; the same seed writes the same prompts",
        "blendset prompts kitchen-dataset --with grammar --count 200 --out prompts.jsonl",
    )
    prompts.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    prompts.add_argument(
        "--with", dest="writer", metavar="WRITER", help=f"{format_choices(WRITERS)} (default: {GRAMMAR})"
    )
    prompts.add_argument("--kind", choices=KINDS, default=RESTYLE, help="what they are for (default %(default)s)")
    prompts.add_argument("--count", type=parse_positive, required=True, metavar="N", help="how many prompts")
    prompts.add_argument("--seed", type=int, default=0, help="everything random follows from it (default 0)")
    prompts.add_argument("--out", type=Path, required=True, metavar="PROMPTS.jsonl", help="where they go")
    prompts.add_argument("--selection", default="", metavar="NAME", help="from the views of a selection only")
    prompts.add_argument(
        "--template", type=Path, metavar="FILE", help="what a model is asked (text), or the grammar's words (TOML)"
    )
    prompts.add_argument(
        "--curate",
        default="duplicates",
        metavar="RULES",
        help=f"{', '.join(curation_names())}, none, or a TOML file (default %(default)s)",
    )
    prompts.add_argument(
        "--keep-out",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help=f"prompts that evaluate, a line each or .jsonl; what shares {WORDS} words in a row with one is left out",
    )


def _prompts(arguments: argparse.Namespace) -> int:
    dataset, removed = Dataset(arguments.dataset), list[Removed]()
    curation, evaluation = _rules(arguments)
    count = _whole(arguments)
    written = curated(_written(arguments, dataset, removed), curation, removed)
    passed = keep_out(written, evaluation, removed)
    if arguments.kind == DEFORMABLE:
        passed = whole_sets(passed, SET_SIZE, removed)
    kept = []
    with show_progress("prompts", quiet=arguments.json) as on_progress:
        for each in islice(passed, count):
            kept.append(each)
            on_progress(len(kept), count)
    if not kept:
        raise BlendsetError(f"No prompt is left ({_told(removed)}); loosen --curate or ask another writer.")
    write_prompts(arguments.out, kept)
    _report(arguments, kept, count, removed)
    return DONE


def _rules(arguments: argparse.Namespace) -> tuple[Curation, list[str]]:
    """How to curate, and the texts to keep out; what is wrong in either is wrong usage."""
    try:
        evaluation = [text for path in arguments.keep_out for text in read_texts(path)]
        return load_curation(arguments.curate), evaluation
    except BlendsetError as error:
        raise UsageError(str(error)) from error


def _whole(arguments: argparse.Namespace) -> int:
    """How many prompts to keep; of sets, whole ones."""
    size = SET_SIZE if arguments.kind == DEFORMABLE else 1
    return size * math.ceil(int(arguments.count) / size)


def _written(arguments: argparse.Namespace, dataset: Dataset, removed: list[Removed]) -> Iterator[Prompt]:
    """More prompts than are asked for, where there can be more. What knows of words is imported now, for it is slow."""
    from blendset_trainer.synthesis.prompts import by_model, grammar
    from blendset_trainer.synthesis.prompts.replies import Replies
    from blendset_trainer.synthesis.prompts.subjects import caption_prompts, subjects_of

    kind, seed, count, template = arguments.kind, arguments.seed, _whole(arguments), arguments.template
    if kind == TEXT_TO_IMAGE:
        if arguments.writer or template:
            raise UsageError(f"--kind {TEXT_TO_IMAGE} takes captions as they are; leave --with and --template out.")
        return caption_prompts(dataset, arguments.selection, seed)
    writer = cast(Any, parse_stage(arguments.writer or GRAMMAR, WRITERS))
    subjects = subjects_of(dataset, arguments.selection)
    if isinstance(writer, grammar.Grammar):
        words = grammar.load_grammar(template) if template else writer
        by_grammar = {RESTYLE: grammar.restyles, DEFORMABLE: grammar.deformables}
        return islice(by_grammar[kind](words, subjects, seed), PATIENCE * count)
    author = by_model.Author(
        Replies(writer, arguments.out),
        _author(arguments.writer, writer),
        by_model.load_template(template or by_model.TEMPLATES / f"{kind}.txt"),
        grammar.load_grammar(),
        seed,
    )
    ask = {RESTYLE: by_model.restyles, DEFORMABLE: by_model.deformables}
    return ask[kind](author, subjects, count, removed)


def _author(word: str, writer: ChatModel) -> str:
    """The writer's name and what is known of its revision; of a server that is the model's name."""
    scheme = word.partition(":")[0]
    return f"{scheme}:{writer.title}@{writer.revision[:8]}" if scheme == "hf" else f"{scheme}:{writer.revision}"


def _report(arguments: argparse.Namespace, kept: list[Prompt], count: int, removed: list[Removed]) -> None:
    if arguments.json:
        print_json({"prompts": str(arguments.out), "kept": len(kept), "removed": removed})
        return
    reasons = Counter(each.reason for each in removed)
    rows = [("written", len(kept) + len(removed)), *((f"  {why}", -many) for why, many in reasons.most_common())]
    print_table(("", "prompts"), [(what, str(many)) for what, many in [*rows, ("kept", len(kept))]])
    _name_kept_out([each for each in removed if each.reason == EVALUATES])
    if len(kept) < count:
        print(f"Only {len(kept)} of {count} prompts could be made.", file=sys.stderr)
    print(f"\n{arguments.out}")


def _name_kept_out(kept_out: list[Removed]) -> None:
    for each in kept_out[:NAMED]:
        print(f"shares '{each.detail}' with the evaluation: {each.prompt}", file=sys.stderr)
    if more := len(kept_out[NAMED:]):
        print(f"and {more} more, which --json names", file=sys.stderr)


def _told(removed: list[Removed]) -> str:
    reasons = Counter(each.reason for each in removed)
    return ", ".join(f"{many} {reason}" for reason, many in reasons.most_common()) or "none was written"
