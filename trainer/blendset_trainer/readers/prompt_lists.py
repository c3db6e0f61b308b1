# SPDX-License-Identifier: Apache-2.0
"""Lists of prompts, as benchmarks publish them and as people write them.

PartiPrompts is a .tsv, DrawBench a .csv, HPD and GPTEval3D are .json, DreamBooth is a text of classes and templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError
from blendset.files import read_text_file
from blendset.records import decode_json
from blendset_trainer.readers.tables import CAPTION_COLUMNS, READERS, find_column, read_text

PROMPT_COLUMNS = ("prompt", *CAPTION_COLUMNS, "Prompt", "Prompts")
"""What the column of prompts may be called, by people, PartiPrompts and DrawBench; the first that there is counts."""
PUBLISHED_COLUMNS = {"prompt", "Prompt", "Prompts"}
"""Those that no plain prompt holds between commas."""
CATEGORY_COLUMNS = ("category", "Category")
CURE = "give a file with a prompt to a line"
FORMATS = (".txt", ".json", ".tsv", *READERS)
"""The endings of such files; a text may have others."""
STYLES = ("anime", "concept-art", "paintings", "photo")
"""The files of HPD's benchmark, a style each."""

BACKGROUND, PROPERTY = "background", "property"
"""Kinds of DreamBooth's prompts (arXiv 2208.12242): recontextualization, and what changes the subject itself."""
CLASSES, TEMPLATES = "subject_name,class", "prompt_list = ["
LIVE_CLASSES = {"cat", "dog"}
OBJECTS, LIVE_SUBJECTS = "object", "live subject"
BACKGROUNDS = {OBJECTS: 20, LIVE_SUBJECTS: 10}
"""How many templates of each of DreamBooth's two lists, in their order, are of the kind BACKGROUND."""
TEMPLATE_COUNT = 25
_TEMPLATE = re.compile(r"""(['"])(?P<text>.*\{0\} \{1\}.*)\1\.format\(unique_token, class_token\),?""")


@dataclass(frozen=True)
class ListedPrompt:
    """A prompt of a list; its category, the subject that it is for, and its kind are "" where the list has none."""

    prompt: str
    category: str = ""
    subject: str = ""
    kind: str = ""


PromptRows = Iterator[tuple[str, ListedPrompt, Any]]
"""Each prompt after its place in words, with the row of a table that it comes from."""


def read_prompt_list(path: Path) -> list[ListedPrompt]:
    """Return the prompts of a file in their order: a prompt to a line, or any other layout of `read_prompt_rows`.

    Empty ones do not count. Raises BlendsetError, which names the line, for what is no prompt, and for a file without
    any.
    """
    prompts = [listed for _, listed, _ in read_prompt_rows(path) if listed.prompt]
    if not prompts:
        raise BlendsetError(f"{path} holds no prompt; {CURE}.")
    return prompts


def read_prompt_rows(path: Path) -> PromptRows:
    """Yield each prompt of a file with its line and its row, "" for one that is empty in a table.

    The layouts are tables with a column of PROMPT_COLUMNS (.csv, .tsv, .jsonl, .parquet), .json with a list of texts or
    of objects with a prompt, or with a list to a style, DreamBooth's `prompts_and_classes.txt`, and any other text file
    with a prompt to a line. Of a subject of DreamBooth the unique token is left out. Raises BlendsetError for what is
    none of these.
    """
    for where, listed, row in _choose_reader(path):
        if "\0" in listed.prompt or any("\ud800" <= letter <= "\udfff" for letter in listed.prompt):
            raise BlendsetError(f"{where}, has a null byte or half of a character in its prompt; mend or remove it.")
        yield where, listed, row


def _choose_reader(path: Path) -> PromptRows:
    suffix = path.suffix.lower()
    if suffix in READERS:
        return _read_table(READERS[suffix](path, None, (*PROMPT_COLUMNS, *CATEGORY_COLUMNS)))
    text = read_text_file(path, cure=CURE)
    if suffix == ".tsv":
        return _read_table(_read_tsv(path, text))
    if suffix == ".json":
        return _read_json(path, text)
    lines = [(f"{path}, line {number}", line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    if any(line in (CLASSES, TEMPLATES) for _, line in lines):
        return _read_dreambooth(path, lines)
    _refuse_other_layouts(path, text)
    return ((where, ListedPrompt(line), {"text": line}) for where, line in lines if line)


def _read_table(rows: Iterator[tuple[str, Any]]) -> PromptRows:
    for where, row in rows:
        prompt = read_text(where, row, PROMPT_COLUMNS, "prompt")
        category = row.get(find_column(row, CATEGORY_COLUMNS))
        yield where, ListedPrompt(prompt, category.strip() if isinstance(category, str) else ""), row


def _read_tsv(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Rows of cells between tabs. A quote is a letter, for a prompt may begin with a word in quotes."""
    head, *lines = text.split("\n")
    columns = head.split("\t")
    for number, line in enumerate(lines, 2):
        cells = line.split("\t")
        if len(cells) > len(columns):
            raise BlendsetError(f"{path}, line {number}, has more cells than the first line; take a tab out.")
        if line.strip():
            yield f"{path}, line {number}", dict(zip(columns, cells, strict=False))


def _read_json(path: Path, text: str) -> PromptRows:
    try:
        value = decode_json(text)
    except ValueError as error:
        raise BlendsetError(f"{path} is no JSON ({error}); mend it.") from error
    style = path.stem if path.stem in STYLES else ""
    for category, items in value.items() if isinstance(value, Mapping) else [(style, value)]:
        if not isinstance(items, list):
            raise BlendsetError(
                f"{path} holds no list of prompts; give a list of texts, of objects with a prompt, or one to a style."
            )
        yield from _read_json_list(f"{path}, {category}" if category != style else str(path), category, items)


def _read_json_list(where: str, category: str, items: Sequence[Any]) -> PromptRows:
    """Prompts of a list. Annotations name a prompt once for each pair of pictures, and it counts once."""
    known = set[str]()
    for number, item in enumerate(items, 1):
        row = item if isinstance(item, Mapping) else {"prompt": item}
        prompt = read_text(f"{where}, entry {number}", row, PROMPT_COLUMNS, "prompt")
        if row is not item or prompt not in known:
            yield f"{where}, entry {number}", ListedPrompt(prompt, category), row
        known.add(prompt)


def _read_dreambooth(path: Path, lines: Sequence[tuple[str, str]]) -> PromptRows:
    """Every prompt of every subject."""
    subjects = list(_read_subjects(lines))
    starts = [number for number, (_, line) in enumerate(lines) if line == TEMPLATES]
    if len(starts) != len(BACKGROUNDS) or not subjects:
        raise BlendsetError(
            f"{path} names {len(subjects)} subjects and has {len(starts)} lists of prompts, where DreamBooth's file "
            "has subjects, and prompts of objects and of live subjects; download it again."
        )
    templates = {
        category: _read_templates(path, lines[start + 1 :]) for category, start in zip(BACKGROUNDS, starts, strict=True)
    }
    for where, subject, noun in subjects:
        category = LIVE_SUBJECTS if noun in LIVE_CLASSES else OBJECTS
        for number, template in enumerate(templates[category]):
            prompt = " ".join(template.replace("{0}", "").replace("{1}", noun).split())
            kind = BACKGROUND if number < BACKGROUNDS[category] else PROPERTY
            yield where, ListedPrompt(prompt, category, subject, kind), None


def _read_subjects(lines: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Name and class of each subject, after its line."""
    rest = iter(lines)
    for _, line in rest:
        if line == CLASSES:
            break
    for where, line in rest:
        if not line:
            return
        name, _, noun = line.partition(",")
        if not name or not noun:
            raise BlendsetError(f"{where}, has no subject and class with a comma between; mend or remove it.")
        yield where, name, noun


def _read_templates(path: Path, lines: Sequence[tuple[str, str]]) -> list[str]:
    """The templates of a list that begins with these lines."""
    templates = []
    for where, line in lines:
        if line == "]":
            break
        if not (found := _TEMPLATE.fullmatch(line)):
            raise BlendsetError(f"{where}, has no prompt with {{0}} {{1}} in quotes; mend it.")
        templates.append(found["text"])
    if len(templates) != TEMPLATE_COUNT:
        raise BlendsetError(
            f"{path} has a list of {len(templates)} prompts, and DreamBooth's have {TEMPLATE_COUNT}, by whose order "
            "their kinds are known; download it again."
        )
    return templates


def _refuse_other_layouts(path: Path, text: str) -> None:
    """Raise BlendsetError for text that begins as a table or JSON does, whose lines are no prompts."""
    head = text.strip().partition("\n")[0]
    is_table = len(cells := re.split(r"[\t,;]", head)) > 1 and not PUBLISHED_COLUMNS.isdisjoint(cells)
    if is_table or _is_json(head) or _is_json(text):
        raise BlendsetError(
            f"{path}, line 1, is no prompt but begins a table or JSON; name the file .csv, .tsv, .json or .jsonl."
        )


def _is_json(text: str) -> bool:
    try:
        return isinstance(decode_json(text), list | dict)
    except ValueError:
        return False
