# SPDX-License-Identifier: Apache-2.0
"""Questions about what a picture must show, in the form of TIFA (Hu et al., arXiv 2303.11897): each with choices and
the right one. They are written from the facts of a view, and only about what is certain: no model is asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from blendset.randomness import make_text_random
from blendset_trainer.captioning.seeing.colours import COLOUR_EXAMPLES, SIMILAR_COLOURS
from blendset_trainer.captioning.seeing.entities import PALE_COLOURS, Entity
from blendset_trainer.captioning.seeing.facts import Facts, extract_facts
from blendset_trainer.language.grammar import NUMBERS, add_article, is_mass_noun, is_plural, pluralize, singularize
from blendset_trainer.language.lexicon import COLOURS, MATERIAL_OF, extract_noun
from blendset_trainer.stages.stage import View
from blendset_trainer.synthetic_views import SYNTHETIC, read_synthesis
from blendset_trainer.things import label_parts, label_visible_objects

YES, NO = YES_NO = ("yes", "no")
OBJECT, LIVING, COUNTING, COLOUR, MATERIAL, SPATIAL, ATTRIBUTE = (
    *("object", "animal/human", "counting", "color", "material", "spatial", "attribute"),
)
"""Kinds of what is asked about, as TIFA calls them."""
LIVING_NOUNS = frozenset(
    """
    animal baby bear bird boy bull butterfly cat chicken child cow deer dog dolphin duck elephant fish fox giraffe girl
    goat horse human insect lion man monkey mouse penguin person pig rabbit sheep tiger turtle woman zebra
    """.split()
)
ABSENT_NOUNS = ("elephant", "helicopter", "giraffe", "sailboat", "zebra", "tractor", "penguin", "fire truck")
"""What a picture is asked about that does not show it: nothing that other things are taken for."""
MATERIAL_KINDS = (("wood", "wicker"), ("metal", "brass"), ("glass",), ("leather", "velvet"),
                  ("marble", "concrete", "brick", "stone", "ceramic", "clay"))  # fmt: skip
"""Materials, those together that may be taken for each other."""
_BESIDE = "In the picture, is the {noun} to the left or to the right of the {subject}?"
_OVER = "Is the {noun} above or below the {subject}?"
_BEFORE = "Is the {noun} in front of the {subject} or behind it?"
SIDES = {
    "left": (_BESIDE, ("left", "right"), "left"),
    "right": (_BESIDE, ("left", "right"), "right"),
    "above": (_OVER, ("above", "below"), "above"),
    "below": (_OVER, ("above", "below"), "below"),
    "front": (_BEFORE, ("in front", "behind"), "in front"),
    "behind": (_BEFORE, ("in front", "behind"), "behind"),
    "on": ("Is the {noun} on the {subject}?", YES_NO, YES),
    "in": ("Is the {noun} in the {subject}?", YES_NO, YES),
    "under": ("Is the {subject} on the {noun}?", YES_NO, YES),
}
"""By `Entity.relation`: how it is asked where something stands, the choices, and the right one."""
ANGLES = {"directly above": "above", "above": "above", "below": "below"}
"""The camera angles that are clear, and what they are called in an answer."""
MOST_COUNTED, MOST_CHOICES = 6, 4
MIN_COLOUR_SHARE = 0.01
"""The share of the picture that something needs for its colour to be asked about."""


@dataclass(frozen=True)
class Question:
    """A question about a picture, the choices, the right one of them, and the kind of what it is about (`element`).

    `mentions` are words that a prompt must hold to promise the answer: "chair" and "red".
    """

    question: str
    choices: tuple[str, ...]
    answer: str
    element: str
    mentions: tuple[str, ...] = ()

    def is_promised(self, prompt: str) -> bool:
        """Whether a prompt holds all words that the answer follows from, in the singular or the plural."""
        return all(
            re.search(rf"\b(?:{re.escape(word)}|{re.escape(pluralize(word))})", prompt, re.IGNORECASE)
            for word in self.mentions
        )


def ask_about_view(view: View) -> tuple[Question, ...]:
    """Return the questions about a rendered view; none about a picture without render passes, or that a model made."""
    if view.record.source == SYNTHETIC or not view.has_passes:
        return ()
    facts = extract_facts(view.record, view.scene, view.rgb, view.passes)
    return write_questions(facts, count_things(view))


def find_prompt(view: View) -> str:
    """Return what a picture is of, in words: the prompt of one that a model made, else its caption; "" without."""
    is_synthetic = view.record.source == SYNTHETIC
    return read_synthesis(view.folder).prompt if is_synthetic else view.caption


def count_things(view: View) -> dict[str, int]:
    """Return how many things of each noun, in the singular, have at least one pixel of a view."""
    things = {record.id: record.thing for record in view.scene.objects if record.thing}
    found = {
        (things.get(entry.id, entry.id), singularize(extract_noun(entry.label)))
        for entry in label_visible_objects(view.record, label_parts(view.scene))
    }
    return Counter(noun for _, noun in found)


def write_questions(facts: Facts, counts: Mapping[str, int] | None = None) -> tuple[Question, ...]:
    """Return the questions that the facts of a view answer, always the same ones of the same facts.

    `counts` say how many things of a noun (in the singular) have any pixel in the view. It is asked how many there are
    only where none of them is too small to be recognized; without `counts` it is not asked.
    """
    entities = [entity for entity in (facts.subject, *facts.others) if entity and entity.is_named]
    nouns = list(dict.fromkeys(entity.noun for entity in entities))
    alone = [entity for entity in entities if [other.noun for other in entities].count(entity.noun) == 1]
    subject = facts.subject if facts.subject in alone else None
    return (
        *(_ask_existence(noun, sum(each.count for each in entities if each.noun == noun)) for noun in nouns),
        *(_ask_absence(facts.nouns | {*nouns}) if nouns else ()),
        *_ask_counts(entities, counts or {}),
        *(question for entity in alone if not facts.palette for question in _ask_colour(entity)),
        *(question for entity in alone for question in _ask_material(entity)),
        *(question for entity in alone for question in _ask_relation(entity, subject)),
        *_ask_angle(facts.angle),
    )


def _ask_existence(noun: str, count: int) -> Question:
    element = LIVING if noun.split()[-1] in LIVING_NOUNS else OBJECT
    if is_mass_noun(noun):
        text = f"Is there any {noun} in the picture?"
    elif count > 1 or is_plural(noun):
        text = f"Are there any {pluralize(noun)} in the picture?"
    else:
        text = f"Is there {add_article(noun, noun)} in the picture?"
    return Question(text, YES_NO, YES, element, (noun,))


def _ask_absence(nouns: Collection[str]) -> Iterator[Question]:
    """One question that is answered by no, so that a model that always says yes is found out."""
    words = {word for noun in nouns for word in noun.split()}
    absent = [noun for noun in ABSENT_NOUNS if not words & {*noun.split()}]
    if absent:
        noun = make_text_random(0, *sorted(nouns)).choice(absent)
        yield Question(
            f"Is there {add_article(noun, noun)} in the picture?", YES_NO, NO, _ask_existence(noun, 1).element
        )


def _ask_counts(entities: Sequence[Entity], counts: Mapping[str, int]) -> Iterator[Question]:
    for noun in dict.fromkeys(entity.noun for entity in entities):
        count = sum(entity.count for entity in entities if entity.noun == noun)
        is_certain = counts.get(singularize(noun)) == count and not is_mass_noun(noun) and not is_plural(noun)
        if is_certain and 1 < count <= MOST_COUNTED:
            others = [str(number) for number in range(1, MOST_COUNTED + 1) if number != count]
            text = f"How many {pluralize(noun)} are in the picture?"
            yield _choose(text, str(count), others, COUNTING, noun, NUMBERS[count])


def _ask_colour(entity: Entity) -> Iterator[Question]:
    """Wood and what is named by its colour are not asked about; "dark green" is green, and two colours are none."""
    colour = entity.colour.split(" ")[-1]
    is_clear = entity.colour and " and " not in entity.colour and entity.share >= MIN_COLOUR_SHARE
    if is_clear and entity.material != "wooden" and not {*entity.noun.split()} & (COLOURS | MATERIAL_OF.keys()):
        others = [name for name in COLOUR_EXAMPLES if not _may_be_mistaken(name, colour)]
        yield _choose(f"What colour {_name_with_verb(entity)}?", colour, others, COLOUR, entity.noun, colour)


def _may_be_mistaken(one: str, other: str) -> bool:
    return one == other or frozenset((one, other)) in SIMILAR_COLOURS or {one, other} <= PALE_COLOURS


def _ask_material(entity: Entity) -> Iterator[Question]:
    material = {"wooden": "wood"}.get(entity.material, entity.material)
    kind = next((kind for kind in MATERIAL_KINDS if material in kind), None)
    if kind and not {*entity.noun.split()} & MATERIAL_OF.keys():
        others = [other for others in MATERIAL_KINDS if others is not kind for other in others]
        yield _choose(f"What {_name_with_verb(entity)} made of?", material, others, MATERIAL, entity.noun, material)


def _ask_relation(entity: Entity, subject: Entity | None) -> Iterator[Question]:
    """About two single things, each the only one of its name."""
    if not subject or entity is subject or entity.relation not in SIDES:
        return
    if any(each.count > 1 or is_plural(each.noun) or is_mass_noun(each.noun) for each in (entity, subject)):
        return
    text, choices, answer = SIDES[entity.relation]
    word = {"under": "on", "front": "in front"}.get(entity.relation, entity.relation)
    text = text.format(noun=entity.noun, subject=subject.noun)
    yield Question(text, choices, answer, SPATIAL, (entity.noun, subject.noun, word))


def _ask_angle(angle: str) -> Iterator[Question]:
    if answer := ANGLES.get(angle):
        text = "Does the camera look at this from above or from below?"
        yield Question(text, ("above", "below"), answer, ATTRIBUTE, (answer,))


def _name_with_verb(entity: Entity) -> str:
    """ "is the chair", "are the chairs"."""
    is_many = entity.count > 1 or is_plural(entity.noun)
    return f"are the {pluralize(entity.noun)}" if is_many else f"is the {entity.noun}"


def _choose(text: str, answer: str, others: Sequence[str], element: str, *mentions: str) -> Question:
    """A question with the answer among some of the others, in an order that follows from the text."""
    random = make_text_random(0, text, answer)
    choices = [answer, *random.sample(others, min(len(others), MOST_CHOICES - 1))]
    random.shuffle(choices)
    return Question(text, tuple(choices), answer, element, mentions)
