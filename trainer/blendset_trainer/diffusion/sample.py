# SPDX-License-Identifier: Apache-2.0
"""Makes pictures of prompts with a model, as `blendset sample` does.

Torch and its friends are imported when it runs, so that the settings can be read without them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blendset.errors import BlendsetError, SettingsError
from blendset.options import REQUIRED, Settings, option, refuse_settings, resolve_settings
from blendset_trainer.api.progress import OnProgress, OnReport, ignore_progress, ignore_report
from blendset_trainer.readers.prompt_lists import read_prompt_list

if TYPE_CHECKING:
    from blendset_trainer.diffusion.sample_files import SampleReport

_MODEL_SIZE = "default: what the model was made for"


@dataclass(frozen=True, kw_only=True)
class SampleSettings(Settings):
    """What pictures are made of, and how; None leaves a value to the pipeline or to the model's family."""

    lora: str | None = option(None, "a LoRA that was trained for it", metavar="PATH")
    prompt: tuple[str, ...] = option((), "give it again for more pictures", metavar="TEXT")
    prompts: Path | None = option(None, "a list of prompts, such as a text file with one to a line", metavar="FILE")
    out: Path = option(REQUIRED, "where the pictures go", metavar="DIR")
    seed: int = option(0, "of the first picture; each next has the next one")
    steps: int | None = option(None, "of the sampler (default: the family's)", at_least=1)
    width: int | None = option(None, _MODEL_SIZE, metavar="PX", at_least=1)
    height: int | None = option(None, _MODEL_SIZE, metavar="PX", at_least=1)
    cfg_scale: float | None = option(None, "classifier-free guidance (default: the family's)")
    embedded_guidance: float | None = option(
        None, "guidance that is an input of the model, as of FLUX.1-dev (default: the family's)"
    )
    reference: tuple[str, ...] = option(
        (),
        "of what the pictures are to show, for a LoRA that was trained with references; give it again for more",
        metavar="PICTURE",
    )
    image_scale: float | None = option(None, "how far references are followed (default: the family's)")
    text_scale: float | None = option(None, "how far the prompt is, beside them (default: the family's)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reference and (self.cfg_scale, self.embedded_guidance) != (None, None):
            raise SettingsError(
                "--cfg-scale and --embedded-guidance are for pictures without references; give --text-scale."
            )
        if not self.reference and (self.image_scale, self.text_scale) != (None, None):
            raise SettingsError(
                "--image-scale and --text-scale are for pictures with references; give --reference PICTURE."
            )


def sample(
    model: Path | str,
    settings: SampleSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    report: OnReport = ignore_report,
    **options: Any,
) -> SampleReport:
    """Make a picture of each prompt and write them into the folder `out`; the same seed makes the same pictures.

    `model` is a folder or a hub id of a diffusers pipeline. `options` are fields of the settings, and go over them.
    `report` is called with a sentence about prompts that are truncated. Raises BlendsetError where options do not fit,
    the model or the LoRA cannot be loaded, a size cannot be made, or `out` holds other samples.
    """
    settings = resolve_settings(SampleSettings, settings, options)
    prompts = list_prompts(settings)
    if not find_spec("diffusers"):
        raise BlendsetError("Sampling needs diffusers; install 'blendset-trainer[train]'.")
    from blendset_trainer.diffusion.references import ReferenceGuidance
    from blendset_trainer.diffusion.sample_files import write_samples
    from blendset_trainer.diffusion.sampling import SamplingSettings

    names = [field.name for field in fields(SamplingSettings)]
    sampling = SamplingSettings(**{name: getattr(settings, name) for name in names})
    guidance = ReferenceGuidance(settings.reference, settings.image_scale, settings.text_scale)
    return write_samples(str(model), settings.lora, prompts, sampling, guidance, settings.out, on_progress, report)


def list_prompts(settings: SampleSettings) -> list[str]:
    """Return the prompts of the settings and of their file, in any layout of a prompt list.

    Raises SettingsError where the file cannot be read, or there is no prompt.
    """
    with refuse_settings():
        listed = read_prompt_list(settings.prompts) if settings.prompts else []
    prompts = [*settings.prompt, *(each.prompt for each in listed)]
    if not prompts:
        raise SettingsError("There is nothing to make pictures of; give --prompt TEXT or --prompts FILE.")
    return prompts
