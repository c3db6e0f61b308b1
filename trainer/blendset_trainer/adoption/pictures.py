# SPDX-License-Identifier: Apache-2.0
"""What a layout gives: the pictures of a source one after another, each read only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SourceInstance:
    """An instance in a picture: its label, and what draws its mask (H, W), bool, at the size of the upright picture.

    Masks are drawn one after another, for all those of a large picture would fill the memory. Later instances of a
    picture lie on top of earlier ones.
    """

    label: str
    draw_mask: Callable[[], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class PictureContent:
    """A picture that was read: its bytes, and what its source says of it.

    `path` is a file that holds exactly these bytes and nothing else, which a dataset may link to; None where they come
    from an archive or a table. `captions` are by form (`stages.caption_forms`); `variants` are further ones. `licence`
    and `creator` are in words, `origin` is the address that the picture comes from; "" where the source does not say.
    `notes` are sentences about this picture for the user.
    """

    data: bytes
    path: Path | None = None
    captions: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()
    licence: str = ""
    origin: str = ""
    creator: str = ""
    instances: tuple[SourceInstance, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SourcePicture:
    """A picture of a source, not read yet.

    `name` is what the source calls it, such as "holiday/beach.jpg" or "row 17"; several pictures may have one name.
    `stamp` is a text that changes when the picture or what is said of it changes. `labels` are those of its instances,
    in their order. Both are known without reading the picture. `read` returns the content; it raises BlendsetError for
    a picture that cannot be read, and may be called in any thread.
    """

    name: str
    stamp: str
    read: Callable[[], PictureContent]
    labels: tuple[str, ...] = ()


class PictureSource(Protocol):
    """A source in one layout."""

    @property
    def title(self) -> str:
        """The short name of the source, such as its folder's, from which the scene gets its name."""

    @property
    def licence(self) -> str:
        """The licence of the whole source in words; "" where it does not say."""

    @property
    def is_picklable(self) -> bool:
        """Whether pictures can be sent to other processes, which read them in any order."""

    @property
    def findings(self) -> tuple[str, ...]:
        """Sentences about what is in the source and not used, or was guessed; complete after the last picture."""

    def list_pictures(self) -> Iterator[SourcePicture]:
        """Yield the pictures in a fixed order, without reading any; BlendsetError for a source that cannot be read."""
