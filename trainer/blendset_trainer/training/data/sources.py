# SPDX-License-Identifier: Apache-2.0
"""Sources of images in a training configuration, and their samples: views, grids of a view set, tiled photos.

A source has its rows as a table; a sample is made of them when it is read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blendset.errors import BlendsetError
from blendset.options import REQUIRED, option
from blendset.randomness import sample_uniform
from blendset_trainer.language.decontamination import Decontaminator
from blendset_trainer.readers.findings import NAMED, Finding
from blendset_trainer.stages.caption_forms import CAPTION_FORMS, DENSE, SHORT
from blendset_trainer.training.data.feature_cache import find_cache_folder
from blendset_trainer.training.data.photos import load_photos
from blendset_trainer.training.data.views import SourceRows, load_view_rows
from blendset_trainer.training.timesteps.settings import BandSettings

NO_SIBLINGS = "no other view of its set or subject"
UNREADABLE, NO_CAPTION, HELD, TRAINED = "unreadable", "no caption", "held out", "for training"
KEPT_OUT = "captions that share words with a prompt of keep_out"
"""Why rows are left out."""
SINGLE, GRID, TILED = "single", "grid", "tiled"
MAX_UNEVENNESS_DEG = 30.0
"""How far from a right angle neighbours in a grid may be. 21 views around a subject give 85.7 degrees at least."""


@dataclass(frozen=True)
class CaptionWeights:
    """How often each form of caption is used, to one another."""

    short: float = option(0.45, "how often the short caption", at_least=0)
    dense: float = option(0.45, "how often the dense caption", at_least=0)
    none: float = option(0.1, "how often no words at all, which classifier-free guidance needs", at_least=0)


@dataclass(frozen=True)
class SourceSettings:
    """Pictures of one kind, from a dataset or a folder, and how they are trained on."""

    name: str = option(REQUIRED, "what the plan and the logs call it")
    kind: str = option("render", "where the pictures come from", choices=("render", "synthetic", "photo"))
    dataset: str = option("", "a Blendset dataset's folder")
    selection: str = option("", "which of the dataset's views; empty is all")
    folder: str = option("", "instead of a dataset: a folder of pictures with captions beside them")
    layout: str = option(
        SINGLE,
        "one picture; the 2x2 grid of a view set by azimuth; one picture four times, as a companion of grids",
        choices=(SINGLE, GRID, TILED),
    )
    crop: str = option("centre", "what of a picture to keep; random draws anew each time", choices=("centre", "random"))
    prefix: str = option("", "words before each caption, say of the layout")
    max_samples: int | None = option(None, "train on so many of them at most; the run's seed draws them", at_least=1)
    background: float = option(1.0, "loss weight of pixels that are not the subject's; 1 masks nothing", at_least=0)
    captions: CaptionWeights = field(default_factory=CaptionWeights)
    bands: tuple[BandSettings, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One sample to train on. `pictures` are one path, or the four of a grid: top left, top right, bottom left, bottom
    right. `hashes`, `passes` (None where there are none) and `subjects` (ids in passes.exr) have one entry for each.

    `size` is a picture's width and height in pixels; `lowest` and `highest` bound the log SNR that it may train.
    """

    id: str
    pictures: tuple[Path, ...]
    hashes: tuple[str, ...]
    passes: tuple[Path | None, ...]
    subjects: tuple[tuple[int, ...], ...]
    captions: Mapping[str, str]
    size: tuple[int, int]
    weight: float
    lowest: float
    highest: float


@dataclass(frozen=True, eq=False)
class Source:
    """A loaded source. `rows` has the schema `views.ROWS`; `members` (samples, 1 or 4) are the rows of each sample;
    `left_out` counts, by reason, the rows that are not used; `findings` are that and more for a person. `groups`
    (samples,) are equal for samples that can be references to each other; None for a model that learns without them.
    """

    settings: SourceSettings
    root: Path
    rows: pa.Table
    members: NDArray[np.int64]
    left_out: Mapping[str, int]
    groups: NDArray[np.int64] | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def name(self) -> str:
        """What the plan and the logs call the source."""
        return self.settings.name

    def __len__(self) -> int:
        return len(self.members)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Width and height of each sample's pictures in pixels, (samples, 2)."""
        size = np.stack([self.rows[side].to_numpy() for side in ("width", "height")], axis=1)
        return size[self.members[:, 0]]

    def __getitem__(self, number: int) -> Sample:
        rows = [
            {name: values[row].as_py() for name, values in self._sample_columns.items()} for row in self.members[number]
        ]
        first = rows[0]
        return Sample(
            id=first["set"] if len(rows) > 1 else first["id"],
            pictures=tuple(self.root / row["picture"] for row in rows),
            hashes=tuple(row["sha256"] for row in rows),
            passes=tuple(self.root / row["passes"] if row["passes"] else None for row in rows),
            subjects=tuple(tuple(row["subject"] or ()) for row in rows),
            captions={form: first[form] for form in CAPTION_FORMS if first[form]},
            size=(first["width"], first["height"]),
            weight=min(row["weight"] for row in rows),
            lowest=max(row["lowest"] for row in rows),
            highest=min(row["highest"] for row in rows),
        )

    def keep_samples(self, chosen: NDArray[np.bool_]) -> Source:
        """The source without the samples (samples,) that are not chosen, and those that lose their last sibling so."""
        if self.groups is not None:
            kept = self.groups[chosen]
            chosen = chosen & np.isin(self.groups, np.flatnonzero(np.bincount(kept) > 1))
        groups = None if self.groups is None else self.groups[chosen]
        return replace(self, members=self.members[chosen], groups=groups)

    def draw_samples(self, seed: int) -> Source:
        """The source with at most `max_samples` of its samples, drawn at random; fewer are among more of one seed."""
        most = self.settings.max_samples
        if most is None or most >= len(self):
            return self
        draws = [sample_uniform(seed, "max_samples", sample.id) for sample in self]
        chosen = np.zeros(len(self), bool)
        chosen[np.argsort(draws, kind="stable")[:most]] = True
        return self.keep_samples(chosen)

    def find_siblings(self, number: int) -> NDArray[np.int64]:
        """The numbers (N,) of the other samples in a sample's group."""
        assert self.groups is not None
        alike = self.groups == self.groups[number]
        alike[number] = False
        return np.flatnonzero(alike)

    @cached_property
    def _sample_columns(self) -> dict[str, pa.ChunkedArray]:
        """The columns of `rows` that a sample is made of."""
        return {
            name: self.rows[name] for name in self.rows.column_names if name not in ("group", "azimuth", "held_out")
        }

    def __iter__(self) -> Iterator[Sample]:
        return map(self.__getitem__, range(len(self)))

    def choose_caption(self, sample: Sample, seed: int, repeat: int) -> str:
        """The caption of a sample this time, "" for none: a function of the seed, the sample and the repeat."""
        shares = self.settings.captions
        at = sample_uniform(seed, "caption", sample.id, repeat) * (shares.short + shares.dense + shares.none)
        if at >= shares.short + shares.dense:
            return ""
        form, other = CAPTION_FORMS if at < shares.short else CAPTION_FORMS[::-1]
        return self.settings.prefix + sample.captions.get(form, sample.captions.get(other, ""))

    def list_captions(self, sample: Sample) -> dict[str, str]:
        """Every caption that a sample can have, with the prefix, and what each is without it."""
        shares = self.settings.captions
        forms = [form for form in CAPTION_FORMS if getattr(shares, form) > 0]
        captions = {sample.captions.get(form) or next(iter(sample.captions.values())) for form in forms}
        uncaptioned = shares.none > 0 or self.groups is not None  # references have the empty prompt
        return {self.settings.prefix + words: words for words in sorted(captions)} | ({"": ""} if uncaptioned else {})


def hash_sources(sources: Sequence[Source]) -> str:
    """A hash over every image, caption, weight and bound of the sources; a run is resumed with the same one only."""
    hasher = hashlib.sha256()
    for source in sources:
        for rows in source.rows.to_batches():
            hasher.update(rows.serialize())
    return hasher.hexdigest()


def load_source(
    settings: SourceSettings,
    base: Path = Path(),
    *,
    held_out: bool = False,
    references: bool = False,
    found: SourceRows | None = None,
    keep_out: Decontaminator | None = None,
) -> Source:
    """The samples of a source that are for training, or those held out of it (there may be none).

    With `references` only those that have another view to refer to; with `keep_out` only those without a caption in
    which it finds something, where captions are used. Paths are relative to `base`; `found` are the source's rows where
    they are read already. Raises BlendsetError where nothing is left to train on.
    """
    _check_settings(settings, references)
    found = found or read_source_rows(settings, base)
    root, rows, left_out = _find_root(settings, base), found.rows, list[Finding]()
    rows = _filter_rows(rows, pc.greater(rows["height"], 0), UNREADABLE, left_out)
    rows = _filter_rows(rows, pc.equal(rows["held_out"], held_out), TRAINED if held_out else HELD, left_out)
    if settings.captions.short + settings.captions.dense > 0:
        rows = _filter_rows(rows, pc.fill_null(pc.not_equal(_coalesce_captions(rows), ""), False), NO_CAPTION, left_out)
        if keep_out:
            rows = _filter_rows(rows, _find_clean(rows, keep_out), KEPT_OUT, left_out)
    if references:
        rows = _filter_rows(rows, pa.array(_have_siblings(_number_groups(rows))), NO_SIBLINGS, left_out)
    members = np.arange(rows.num_rows)[:, None]
    if settings.layout == GRID:
        members, skipped = _find_grids(rows)
        left_out.append(Finding("no four views around", skipped, ()))
    counted = {finding.what: finding.count for finding in left_out if finding.count}
    if not len(members) and not held_out:
        raise _nothing_left_error(settings, root, counted)
    groups = _number_groups(rows) if references else None
    findings = _list_findings(settings, found, left_out, held_out)
    return Source(settings, root, rows.combine_chunks(), members, counted, groups, findings)


def read_source_rows(settings: SourceSettings, base: Path = Path(), cache_folder: str = "") -> SourceRows:
    """The pictures of a source, for training and held out; what is known of photos is cached beside them, or in
    `cache_folder`. Raises BlendsetError where there are none.
    """
    root = _find_root(settings, base)
    if settings.folder:
        return load_photos(root, find_cache_folder(root, cache_folder))
    return SourceRows(load_view_rows(root, settings.kind, settings.selection))


def _find_root(settings: SourceSettings, base: Path) -> Path:
    return base / os.path.expanduser(settings.folder or settings.dataset)


def _list_findings(
    settings: SourceSettings, found: SourceRows, left_out: Sequence[Finding], held_out: bool
) -> tuple[Finding, ...]:
    """What a person is told of a source; of its held-out samples, what is not the same for those that train."""
    skipped = {UNREADABLE, TRAINED, HELD} if held_out else {UNREADABLE} if settings.folder else set()
    reasons = [
        Finding(f"left out, {each.what}", each.count, each.first, each.what not in (HELD, KEPT_OUT))
        for each in left_out
        if each.count and each.what not in skipped
    ]
    if held_out:
        return tuple(replace(each, what=f"held-out pictures {each.what}") for each in reasons)
    with_words = settings.captions.short + settings.captions.dense > 0
    return (*reasons, *found.findings, *(found.caption_findings if with_words else ()))


def _check_settings(settings: SourceSettings, references: bool) -> None:
    """Raise BlendsetError for settings that contradict each other."""
    name = f"Source '{settings.name}'"
    if references and (settings.layout != SINGLE or settings.folder):
        raise BlendsetError(
            f"{name} has no single views of a dataset, which references are taken from; use a dataset with "
            'layout = "single", or references.count = 0.'
        )
    if bool(settings.dataset) == bool(settings.folder):
        raise BlendsetError(f"{name} needs either a dataset or a folder; give one of them.")
    if settings.selection and settings.folder:
        raise BlendsetError(f"{name} has a folder, which has no selections; leave 'selection' out.")
    if settings.layout == GRID and settings.folder:
        raise BlendsetError(f'{name} has a folder, which has no view sets; use layout = "tiled" or "single".')
    if settings.captions.short + settings.captions.dense + settings.captions.none <= 0:
        raise BlendsetError(f"{name} has captions that are never used; give short, dense or none more than 0.")


def _coalesce_captions(rows: pa.Table) -> pa.ChunkedArray:
    return pc.coalesce(rows[DENSE], rows[SHORT])


def _find_clean(rows: pa.Table, keep_out: Decontaminator) -> pa.Array:
    """Whether no caption of each row shares words with the evaluation."""
    captions = (rows[form].to_pylist() for form in CAPTION_FORMS)
    return pa.array(
        [not any(map(keep_out.find_run, filter(None, row))) for row in zip(*captions, strict=True)], pa.bool_()
    )


def _filter_rows(rows: pa.Table, good: Any, why: str, left_out: list[Finding]) -> pa.Table:
    bad = rows["id"].filter(pc.invert(good))
    left_out.append(Finding(why, len(bad), tuple(bad.slice(0, NAMED).to_pylist())))
    return rows.filter(good)


def _number_groups(rows: pa.Table) -> NDArray[np.int64]:
    """A number for each row, (rows,), the same for pictures of one size and group; -1 without a group."""
    sizes = (rows[side].cast(pa.string()) for side in ("width", "height"))
    code = pc.binary_join_element_wise(rows["group"], *sizes, "/").combine_chunks().dictionary_encode().indices
    return np.asarray(pc.fill_null(code, -1).to_numpy(zero_copy_only=False)).astype(np.int64)


def _have_siblings(groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each row has another of its group, (rows,)."""
    counts = np.bincount(groups + 1)
    return (groups >= 0) & (counts[groups + 1] > 1)


def _find_grids(rows: pa.Table) -> tuple[NDArray[np.int64], int]:
    """Four rows a quarter turn apart of each view set that has them, from its smallest azimuth on, (sets, 4); and how
    many rows are of no such set.
    """
    code = rows["set"].combine_chunks().dictionary_encode().indices
    group = pc.fill_null(code, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    azimuth = np.asarray(rows["azimuth"].to_numpy()) % 360
    ordered = np.lexsort([azimuth, group])
    ordered = ordered[group[ordered] >= 0]
    begins = np.flatnonzero(np.diff(group[ordered], prepend=-1))
    counts = np.diff(begins, append=len(ordered))
    begins, counts = begins[counts >= 4], counts[counts >= 4]
    quarters = begins[:, None] + np.rint(np.arange(4) * counts[:, None] / 4).astype(np.int64)
    grids = ordered[quarters]
    turns = np.diff(azimuth[grids], append=azimuth[grids[:, :1]]) % 360
    even = (np.abs(turns - 90) <= MAX_UNEVENNESS_DEG).all(axis=1)
    in_order = np.argsort(grids[even].min(axis=1), kind="stable")
    return grids[even][in_order], rows.num_rows - int(counts[even].sum())


def _nothing_left_error(settings: SourceSettings, root: Path, left_out: Mapping[str, int]) -> BlendsetError:
    why, count = list(left_out.items())[-1]
    cure = {
        UNREADABLE: "check the files",
        HELD: "train on pictures that lie in no folder called held-out" if settings.folder
        else "make the selection again with a smaller share held out",
        NO_SIBLINGS: "render several views of each subject, or use references.count = 0",
        KEPT_OUT: "train on other captions",
        NO_CAPTION: "caption it, or train it without words (captions.short = captions.dense = 0)",
        "no four views around": "render some with --preset orbit-4, or use layout = \"single\"",
    }[why]  # fmt: skip
    return BlendsetError(f"Source '{settings.name}' has nothing to train on in {root} ({why}: {count}); {cure}.")
