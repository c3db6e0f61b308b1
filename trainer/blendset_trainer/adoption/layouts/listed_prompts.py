# SPDX-License-Identifier: Apache-2.0
"""Captions that a text file lists, for pictures in the order of their names: what other generators leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from blendset.errors import BlendsetError
from blendset_trainer.adoption.pictures import PictureContent, PictureSource, SourcePicture
from blendset_trainer.readers.prompt_lists import read_prompt_list
from blendset_trainer.stages.caption_forms import DENSE


@dataclass(frozen=True)
class ListedPrompts:
    """The pictures of another source, with the captions of a list; see `PictureSource`."""

    pictures: PictureSource
    prompts: tuple[str, ...]
    file: Path

    is_picklable = True

    @property
    def title(self) -> str:
        """The name of the source."""
        return self.pictures.title

    @property
    def licence(self) -> str:
        """The licence of the source."""
        return self.pictures.licence

    @property
    def findings(self) -> tuple[str, ...]:
        """What is said of the source."""
        return self.pictures.findings

    def list_pictures(self) -> Iterator[SourcePicture]:
        """Yield the pictures, as many in a row to a prompt as there are for each.

        Raises BlendsetError where the prompts do not share them out evenly.
        """
        pictures = list(self.pictures.list_pictures())
        each, rest = divmod(len(pictures), len(self.prompts))
        if rest or not each:
            raise BlendsetError(
                f"{self.file} holds {len(self.prompts)} prompts for {len(pictures)} pictures; each prompt needs the "
                "same number of pictures, in the order of their names."
            )
        for number, picture in enumerate(pictures):
            prompt = self.prompts[number // each]
            yield replace(picture, stamp=f"{picture.stamp} {prompt}", read=partial(_read, picture, prompt))


def _read(picture: SourcePicture, prompt: str) -> PictureContent:
    return replace(picture.read(), captions={DENSE: prompt}, variants=())


def list_prompts(pictures: PictureSource, file: Path) -> ListedPrompts:
    """Return the pictures of a source with the prompts of a list in a file; BlendsetError for one without any."""
    return ListedPrompts(pictures, tuple(listed.prompt for listed in read_prompt_list(file)), file)
