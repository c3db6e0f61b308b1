# SPDX-License-Identifier: Apache-2.0
"""What each job of a synthesis can be asked for, as frozen dataclasses; the subcommands of `blendset synthesize` derive
their options from them.

Nothing here imports torch, so that a command line is read before the models' libraries are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

from blendset.errors import SettingsError
from blendset.options import REQUIRED, option
from blendset_trainer.stages.caption_forms import CAPTION_FORMS, DENSE
from blendset_trainer.stages.executors.settings import RAY, ExecutorSettings
from blendset_trainer.stages.mask_origins import AUTO, MASKS, SEGMENTER
from blendset_trainer.synthesis.search.grid import parse_grid

SYNCD_WINDOW = 0.8
"""Sigma of rectified flow above which SynCD (arXiv 2502.01720) warps."""
APART = "apart"
"""The views of a set do not attend to one another."""
BACKGROUNDS = {"grey": 127, "white": 255}
"""Levels (0 to 255). Grey is what Zero123++ puts behind a picture with transparency, and draws behind its own."""


@dataclass(frozen=True, kw_only=True)
class SynthesisSettings(ExecutorSettings):
    """What every job takes: the generator, how and where it is run, and how many pictures it makes.

    Creating one raises SettingsError for a value outside its limits, and for code of a model that is to run on Ray.
    """

    job: ClassVar[str]
    """The name of the job that the settings are for."""

    model: str = option(REQUIRED, "a folder or a hub id of a diffusers pipeline", metavar="MODEL")
    variants: int = option(
        1, "how often each is made, every time from other noise (default %(default)s)", metavar="N", at_least=1
    )
    seed: int = option(0, "everything random follows from it (default %(default)s)", metavar="N")
    steps: int = option(30, "steps of the sampler (default %(default)s)", metavar="N", at_least=1)
    cfg_scale: float | None = option(None, "classifier-free guidance (default: the pipeline's own)", metavar="SCALE")
    embedded_guidance: float | None = option(
        None, "guidance that a distilled model takes as an input (default: the pipeline's own)", metavar="SCALE"
    )
    negative_prompt: str = option("", "what pictures should not show", metavar="TEXT")
    precision: str | None = option(
        None,
        "numbers that the model computes with (default: bf16 on a GPU, fp32 elsewhere)",
        choices=("fp32", "bf16", "fp16"),
    )
    batch: int = option(4, "least number of pictures at once (default %(default)s)", metavar="N", at_least=1)
    remote_code: str = option("", "run the pipeline.py of this folder or hub id", metavar="MODEL")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.remote_code and self.executor == RAY:
            raise SettingsError("--remote-code runs here or in processes, not on Ray.")


@dataclass(frozen=True, kw_only=True)
class _FromViews:
    """Of jobs that begin with views of the dataset."""

    selection: str = option("", "the selection of views to begin with (default: all renders)", metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class _OfSize:
    """Of jobs whose pictures may have any size that the model makes; sides in pixels."""

    width: int | None = option(
        None, "width of a picture (default: what the model was made for)", metavar="PX", at_least=1
    )
    height: int | None = option(
        None, "height of a picture (default: what the model was made for)", metavar="PX", at_least=1
    )


@dataclass(frozen=True, kw_only=True)
class WithOut(SynthesisSettings):
    """Of jobs that need no views but prompts, and so no dataset to begin with."""

    prompts: Path | None = option(
        None, "prompts of any origin (.txt, .jsonl, .csv, .parquet), instead of the views' captions", metavar="FILE"
    )
    out: Path | None = option(
        None, "the dataset that the pictures join, in place of DATASET; made where there is none", metavar="DATASET"
    )


@dataclass(frozen=True, kw_only=True)
class TextToImageSettings(_OfSize, _FromViews, WithOut):
    """Pictures of prompts: those in a file, or each view's caption in the form `captions`."""

    job: ClassVar[str] = "text-to-image"

    captions: str = option(DENSE, "form of the captions (default %(default)s)", choices=CAPTION_FORMS)
    search: tuple[str, ...] = option(
        (),
        "try these values on a sample of prompts, such as cfg-scale=3,5,7 steps=30,60, and use the best",
        metavar="NAME=VALUES",
        several=True,
    )
    by: str = option("", "what rates the pictures of a search, such as clip:MODEL or NAME.COLUMN", metavar="SCORER")
    on: int = option(1000, "prompts in the sample of a search (default %(default)s)", metavar="N", at_least=2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.search) != bool(self.by):
            lack = (
                "--by SCORER, what rates the pictures" if self.search else "--search NAME=VALUES, what it is to choose"
            )
            raise SettingsError(f"{'--search' if self.search else '--by'} is given alone; add {lack}.")
        for choice in parse_grid(self.search, [each.name for each in fields(self)]) if self.search else ():
            replace(self, search=(), by="", **choice)


@dataclass(frozen=True, kw_only=True)
class RestyleSettings(_FromViews, SynthesisSettings):
    """View sets that keep their geometry, once for each `prompt` and for each prompt in the file.

    `share` is the mode of shared attention among the views of a set, or "apart" for none. `warp` is what one view takes
    from another while there is more noise than rectified flow's sigma `warp_above`: "noisy" latents, the predicted
    "clean" ones, or "none". With `anchor` the first view's render stands among the views that are denoised. Creating
    one raises SettingsError also for a set of one view and where there is no prompt.
    """

    job: ClassVar[str] = "restyle"

    prompt: tuple[str, ...] = option((), "a prompt for whole sets; may be repeated", metavar="TEXT")
    prompts: Path | None = option(
        None, "what 'blendset prompts --kind restyle' wrote, or a text file with a prompt to a line", metavar="FILE"
    )
    views: int = option(3, "views of a set (default %(default)s)", metavar="N", at_least=1)
    covisible: float = option(
        0.25,
        "least share of the subject that a view has in common with another of its set (default %(default)s)",
        metavar="SHARE",
        at_least=0,
        at_most=1,
    )
    controlnet: str = option("", "a ControlNet for depth, with a Stable Diffusion model", metavar="MODEL")
    share: str = option(
        "foreground",
        "what views see of one another in attention (default %(default)s, SynCD's)",
        choices=("foreground", "same-object", "same-object+scene", APART),
    )
    warp: str = option(
        "noisy",
        "what views hand to one another where they show the same: latents as they are, latents as they are predicted, "
        "or nothing (default %(default)s)",
        choices=("noisy", "clean", "none"),
    )
    warp_above: float = option(
        SYNCD_WINDOW, "sigma of rectified flow above which they do (default %(default)s)", metavar="SIGMA"
    )
    anchor: bool = option(False, "let the first view's render stand among the views that are denoised")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.views < 2:
            raise SettingsError("A set of one view has nothing to agree with; give --views 2 or more.")
        if not self.prompt and not self.prompts:
            raise SettingsError("There is nothing to ask for; give --prompt TEXT or --prompts FILE.")


@dataclass(frozen=True, kw_only=True)
class NovelViewsSettings(_OfSize, _FromViews, SynthesisSettings):
    """Subjects from other sides, cut out by a mask and put on a `background`.

    `layout` says in how many rows and columns the model draws its views, `azimuths` how far each is turned beyond the
    picture's; both are left out for a model that is known. With `grid` a set is the picture, cut out, and three views a
    quarter turn apart, as Bootstrap3D has them. Creating one raises SettingsError also for `mask` "segmenter" without
    one, and for other than one azimuth for each view.
    """

    job: ClassVar[str] = "novel-views"

    layout: tuple[int, int] | None = option(
        None,
        "rows and columns in which the model draws its views (default: known of Zero123++)",
        metavar="ROWSxCOLUMNS",
        at_least=1,
    )
    azimuths: tuple[float, ...] = option(
        (),
        "degrees by which each view of the model is turned beyond the picture's (default: known of Zero123++)",
        metavar="DEG,DEG,...",
    )
    background: str = option("grey", "what is behind the subject (default %(default)s)", choices=tuple(BACKGROUNDS))
    mask: str = option(
        AUTO,
        "what the subject is cut out by: render passes, object ids, transparency, a plain background, a segmenter, or "
        "the first of these that finds it (default %(default)s)",
        choices=(AUTO, *MASKS),
    )
    segmenter: str = option(
        "", "a segmenter of transformers that takes points, for pictures where nothing else finds it", metavar="MODEL"
    )
    of_synthetic: bool = option(
        False, "begin with synthetic pictures too, which else a selection has to name; never with novel views"
    )
    grid: bool = option(
        False, "make each set of the picture, cut out, and three views a quarter turn apart, as training's 2x2 grids"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask == SEGMENTER and not self.segmenter:
            raise SettingsError(
                "--mask segmenter needs a segmenter; add --segmenter MODEL, such as facebook/sam2.1-hiera-small."
            )
        if self.azimuths and not self.layout:
            raise SettingsError("--azimuths needs the --layout of the model's views.")
        if self.azimuths and self.layout and len(self.azimuths) != (count := self.layout[0] * self.layout[1]):
            raise SettingsError(
                f"--azimuths names {len(self.azimuths)} views and --layout has {count}; name each once."
            )


@dataclass(frozen=True, kw_only=True)
class DeformableSettings(_OfSize, WithOut):
    """Sets of pictures of one subject, from a file of prompts alone."""

    job: ClassVar[str] = "deformable"

    prompts: Path = option(REQUIRED, "what 'blendset prompts --kind deformable' wrote", metavar="FILE")
