# SPDX-License-Identifier: Apache-2.0
"""What `blendset evaluate` and `blendset compare` take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blendset.errors import SettingsError
from blendset.options import option
from blendset_trainer.scoring.score import ScoreSettings
from blendset_trainer.stages.catalogue import SCORERS

WITHOUT_MODEL = ("image-stats", "appearance", "phash")
"""The scorers that measure pictures where none are named."""
QUESTIONS = {
    "overall": "Which picture is better?",
    "text": "Which picture follows the text better?",
    "subject": "Which picture shows the subject more faithfully?",
    "realism": "Which picture looks more real?",
}
"""What SynCD's study asks people (arXiv 2502.01720, overall, text, image and realism), in our words."""
AUTO = "auto"
PICTURE, PROMPT, SUBJECT, SCENE = UNITS = ("picture", "prompt", "subject", "scene")
"""What was sampled one by one, so that another draw would replace it."""


@dataclass(frozen=True, kw_only=True)
class MeasureSettings(ScoreSettings):
    """How pictures are measured, the same for all that are compared.

    Creating one raises SettingsError for a value outside its limits.
    """

    scorers: tuple[str, ...] = option(
        WITHOUT_MODEL, f"{SCORERS.format_choices()} (default: what needs no model)", flag="--with",
        metavar="SCORER,...", separator=",",
    )  # fmt: skip
    against: Path | None = option(
        None,
        "trusted pictures (a dataset, a folder, or features that --save wrote), for distances in the features of every "
        "scorer that has an embedding",
        metavar="TRUSTED",
    )
    references: Path | None = option(
        None,
        "pictures of the subjects that are to be shown (a dataset, or a folder with one for each subject), for the "
        "scorers masked-dino and masked-clip",
        metavar="REFERENCES",
    )
    prompts: Path | None = option(
        None, "what the pictures were made of, in the order of their names, or what a model is to draw", metavar="FILE"
    )
    selection: str = option("", "of a dataset, the views of this selection only", metavar="NAME")
    pairs: int | None = option(None, "measure at most so many pictures, drawn at random", metavar="N", at_least=2)
    unit: str = option(
        AUTO,
        "what was sampled, over which intervals are taken (default: the prompt of pictures of prompts, the subject of "
        "renders, else the picture)",
        choices=(AUTO, *UNITS),
    )
    seed: int = option(0, "what is drawn at random follows from it (default 0)")


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(MeasureSettings):
    """How pictures are measured, and what becomes of the result."""

    name: str = option("result", "what to call the result (default %(default)s)", metavar="NAME")
    out: Path | None = option(
        None, "of pictures that are no dataset, the dataset that they become (default: beside them)", metavar="DATASET"
    )
    save: Path | None = option(
        None, "write the features of the pictures, which --against takes in place of them", metavar="FILE.npz"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.save and self.save.suffix != ".npz":
            raise SettingsError(f"--save is {self.save}; give a file that ends in .npz.")


@dataclass(frozen=True, kw_only=True)
class CompareSettings(MeasureSettings):
    """How sets of pictures, or models, are compared, and where the result goes."""

    out: Path = option(Path("comparison"), "a folder for the result (default %(default)s)", metavar="FOLDER")
    images: int = option(1, "of a model, pictures of each prompt (default %(default)s)", metavar="N", at_least=1)
    steps: int | None = option(None, "of a model's sampler (default: its family's)", metavar="N", at_least=1)
    vote: Path | None = option(
        None, "write a page on which people choose between pictures, blind; its key is written beside it",
        metavar="FILE.html",
    )  # fmt: skip
    vote_pairs: int = option(100, "pairs of pictures on that page (default %(default)s)", metavar="N", at_least=1)
    question: str = option("overall", "what that page asks (default %(default)s)", choices=tuple(QUESTIONS))
    voter: str = option(
        "", "let a vision-language model vote on the page too: hf:MODEL or openai:URL#MODEL", metavar="MODEL"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.vote and (self.voter or self.question != "overall"):
            raise SettingsError("--voter and --question are about the page of --vote; give that too.")
