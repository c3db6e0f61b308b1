# SPDX-License-Identifier: Apache-2.0
"""Adopts other people's pictures: each becomes a view of a dataset, once, completely or not at all.

Pictures are adopted in blocks (`adoption.task`), those of large sources in several processes. A run that was killed
does its last blocks again and ends with the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

from blendset.dataset import BLOCK, CAPTION, INDEX, VIEW_RECORD, Dataset, read_index
from blendset.errors import BlendsetError
from blendset.files import lock_folder, sha256_bytes, sha256_file
from blendset.naming import slugify
from blendset.options import REQUIRED, Settings, option, resolve_settings
from blendset.records import DatasetRecord, read_record
from blendset_trainer.adopted_views import ADOPTIONS
from blendset_trainer.adoption.captions import CaptionFolder
from blendset_trainer.adoption.layouts.detection import LAYOUTS, find_layout
from blendset_trainer.adoption.layouts.listed_prompts import list_prompts
from blendset_trainer.adoption.ledger import RECORD, AdoptionRecord, Ledger
from blendset_trainer.adoption.pictures import PictureSource, SourcePicture
from blendset_trainer.adoption.scene_record import SourceScene
from blendset_trainer.adoption.source_stamp import compute_stamp, count_views
from blendset_trainer.adoption.task import AdoptionTask, BlockResult, PictureBlock
from blendset_trainer.adoption.views import AdoptionOptions, PictureRequest
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.readers.findings import make_findings
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.executors.processes import ProcessExecutor
from blendset_trainer.stages.executors.task import Executor

SOURCES = ("photo", "synthetic", "render")
BLOCK_PICTURES = 256
"""Pictures that a killed run does again at most."""
MAX_WORKERS = 8
"""Most processes that read pictures where nobody says how many; more wait for the disk."""
LOCK = ".adopt.lock"

NumberedPicture = tuple[SourcePicture, int]
"""A picture, and its number among those of its name, from 0."""


@dataclass(frozen=True, kw_only=True)
class AdoptSettings(Settings):
    """Where pictures go, as what, and what is kept of their files."""

    out: Path = option(REQUIRED, "the dataset that they join, new or not", metavar="DATASET")
    layout: str = option("", f"how the source is laid out: {', '.join(LAYOUTS.table)} (default: seen)", metavar="NAME")
    kind: str = option("photo", "what the pictures are (default %(default)s)", flag="--as", choices=SOURCES)
    name: str = option("", "what the source is called in the dataset (default: its own name)", metavar="NAME")
    licence: str = option("", "licence of pictures whose source says none", metavar="TEXT")
    creator: str = option("", "creator of pictures whose source says none", metavar="TEXT")
    prompts: Path | None = option(
        None, "captions of the pictures, in the order of their names, a line each", metavar="FILE"
    )
    copy: bool = option(False, "copy files instead of linking to them")
    keep_metadata: bool = option(False, "keep places, cameras and names (EXIF, XMP, IPTC, comments) in the files")
    workers: int | None = option(
        None,
        f"processes that read more than {BLOCK} pictures of a folder, COCO or LLaVA (default: one a CPU, at most 8)",
        metavar="N",
        at_least=1,
    )


@dataclass(frozen=True)
class AdoptReport:
    """What a run did: pictures that became views now and before, why others did not by name, and what was found.

    `files` counts what became of the files of the pictures that were adopted now.
    """

    dataset: str
    scene: str
    made: int
    kept: int
    faults: dict[str, str]
    files: dict[str, int]
    findings: tuple[str, ...]


def adopt(
    source: Path | str,
    settings: AdoptSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> AdoptReport:
    """Make views of the pictures of a source (a path, or an id of the Hugging Face Hub) in the dataset `out`.

    Files are linked to, or copied, and never changed. `options` are fields of `AdoptSettings`. What is adopted already
    is not read again, so it is safe to interrupt and to call again. Raises SettingsError for wrong options, and
    BlendsetError for a source that cannot be read; a picture that cannot be read stops nothing.
    """
    settings = resolve_settings(AdoptSettings, settings, options)
    path = Path(source)
    _refuse_nesting(path, settings.out)
    stamp = compute_stamp(path, (replace(settings, out=Path(), workers=None), _hash_file(settings.prompts)))
    if stamp and (before := _find_complete(path, settings.out, stamp)):
        return before
    opened = find_layout(str(source), settings.layout)
    if settings.prompts:
        opened = list_prompts(opened, settings.prompts)
    pictures = _number_pictures(opened)
    head = list(islice(pictures, BLOCK + 1))
    is_large = len(head) > BLOCK
    dataset = _open_dataset(opened, settings, is_large)
    with lock_folder(dataset.root / LOCK, blocking=False, name="blendset adopt"):
        run = _Adoption(dataset, _name_scene(settings.name or opened.title), _make_options(settings))
        run.claim_scene(str(path.resolve()) if path.exists() else str(source))
        executor = _choose_executor(opened, settings, is_large)
        for result in executor.run(AdoptionTask(dataset), run.list_missing(_cut_blocks(chain(head, pictures)))):
            assert isinstance(result, BlockResult)
            run.add_result(result)
            on_progress("pictures", run.done, 0)
        return run.finish(stamp, opened.findings)


def _hash_file(file: Path | None) -> str:
    """The hash of a file that there is; "" else, which is said when it is read."""
    return sha256_file(file) if file and file.is_file() else ""


def _find_complete(source: Path, out: Path, stamp: str) -> AdoptReport | None:
    """Return the report of a run that adopted all of a source, where neither it nor its views have changed since."""
    for path in sorted(out.glob(f"{ADOPTIONS}/*/{RECORD}")):
        record = read_record(path, AdoptionRecord)
        if record.stamp == stamp and record.source == str(source.resolve()):
            dataset, ledger = Dataset(out), Ledger(Dataset(out), record.scene)
            kept = ledger.count_rows()
            is_whole = kept == count_views(dataset, record.scene) and dataset.scene_path(record.scene).exists()
            if is_whole and not _is_index_stale(dataset, ledger):
                return AdoptReport(str(out), record.scene, 0, kept, {}, {}, record.findings)
    return None


def _is_index_stale(dataset: Dataset, ledger: Ledger) -> bool:
    index = dataset.root / INDEX
    return not index.exists() or index.stat().st_mtime_ns <= ledger.find_newest_change()


def _cut_blocks(pictures: Iterator[NumberedPicture]) -> Iterator[list[NumberedPicture]]:
    """Yield the pictures in blocks of BLOCK_PICTURES."""
    while block := list(islice(pictures, BLOCK_PICTURES)):
        yield block


def _number_pictures(source: PictureSource) -> Iterator[NumberedPicture]:
    counts: Counter[str] = Counter()
    for picture in source.list_pictures():
        yield picture, counts[picture.name]
        counts[picture.name] += 1


def _refuse_nesting(source: Path, out: Path) -> None:
    """Raise BlendsetError where a source on disk holds the dataset, or lies in it."""
    if not source.exists():
        return
    one, other = source.resolve(), out.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise BlendsetError(f"{out} and {source} lie in one another; choose a folder beside the source.")


def _name_scene(title: str) -> str:
    """The id of a source's scene, as those of .blend files are built: a slug, and six digits of a hash of the name."""
    return f"{slugify(title)}-{sha256_bytes(title.encode(errors='replace'))[:6]}"


def _open_dataset(source: PictureSource, settings: AdoptSettings, is_large: bool) -> Dataset:
    record = DatasetRecord(
        name=settings.out.absolute().name,
        licence=settings.licence or source.licence,
        creator=settings.creator,
        sources=(settings.name or source.title,),
        render_settings={},
        view_blocks=is_large,
    )
    return Dataset.create_or_open(settings.out, record)


def _choose_executor(source: PictureSource, settings: AdoptSettings, is_large: bool) -> Executor:
    """Worker processes for a large source whose pictures can be sent to them, else this process."""
    if is_large and source.is_picklable and (settings.workers or 1) > 1:
        return ProcessExecutor(settings.workers)
    return LocalExecutor()


def _make_options(settings: AdoptSettings) -> AdoptionOptions:
    return AdoptionOptions(settings.kind, settings.copy, settings.keep_metadata, settings.licence, settings.creator)


class _Adoption:
    """A run over one source: what is known of its pictures from before, and what becomes of them."""

    def __init__(self, dataset: Dataset, scene: str, options: AdoptionOptions) -> None:
        self.dataset = dataset
        self.options = options
        self.scene = SourceScene(dataset, scene)
        self.ledger = Ledger(dataset, scene)
        self.captions = CaptionFolder(dataset)
        self.stamps = self.ledger.read_stamps()
        self.left = set(self.stamps)
        self.made: set[str] = set()
        self.kept = 0
        self.faults: dict[str, str] = {}
        self.files: Counter[str] = Counter()
        self.notes: dict[str, list[str]] = {}
        self.former: dict[str, str] = {}  # captions by view id that pictures had before they were changed

    @cached_property
    def captions_before(self) -> dict[str, str]:
        """The captions before the first changed picture of this run."""
        return self.captions.read()

    @property
    def done(self) -> int:
        """How many pictures were looked at."""
        return len(self.made) + self.kept + len(self.faults)

    def claim_scene(self, source: str) -> None:
        """Write the record of the source, as one that is not complete; BlendsetError where another has its name."""
        before = self.ledger.read_record()
        if before and before.source != source and Path(before.source).exists():
            raise BlendsetError(
                f"{self.dataset.root} has pictures of {before.source} under the name of {source}; give it another one "
                "with --name."
            )
        self.ledger.write_record(AdoptionRecord(scene=self.scene.scene, source=source))

    def list_missing(self, blocks: Iterable[Sequence[NumberedPicture]]) -> Iterator[PictureBlock]:
        """Yield the pictures of blocks that are no views yet, or were changed; what was known of them is removed."""
        for block in blocks:
            self.left.difference_update((picture.name, number) for picture, number in block)
            requests = [self._make_request(picture, number) for picture, number in block]
            missing = tuple(request for request in requests if not self._is_kept(request))
            self.kept += len(block) - len(missing)
            self.scene.write()
            if missing:
                names = [request.view_id for request in missing]
                self.former |= {name: self.captions_before[name] for name in names if name in self.captions_before}
                self.captions.rows.remove(names)
                self.ledger.rows.remove(names)
                yield missing

    def add_result(self, result: BlockResult) -> None:
        """Count what became of a block."""
        self.made |= set(result.made)
        self.faults |= result.unreadable
        self.files.update(result.files)
        for note, names in result.noted.items():
            self.notes.setdefault(note, []).extend(names)

    def _make_request(self, picture: SourcePicture, number: int) -> PictureRequest:
        return PictureRequest(self.scene.scene, picture, number, self.scene.find_ids(picture.labels), self.options)

    def _is_kept(self, request: PictureRequest) -> bool:
        """Whether a picture is a view already, as it is now."""
        if self.stamps.get(request.key) != request.stamp:
            return False
        return (self.dataset.view_folder(self.scene.scene, request.view_id) / VIEW_RECORD).exists()

    def finish(self, stamp: str, findings: Sequence[str]) -> AdoptReport:
        """Bring the index up to date, write what was not adopted, and return what became of all pictures."""
        rows = read_index(self.dataset.root / INDEX)
        known = {view_id for view_id, row in rows.items() if row.get(CAPTION)} - self.made
        captions = {name: text for name, text in self.captions.read().items() if name not in known}
        is_uncaptioned = bool(captions.keys() & rows.keys())  # where another command wrote the index of a killed run
        if self.made or is_uncaptioned or _is_index_stale(self.dataset, self.ledger):
            taken = {name for name, text in self.former.items() if rows.get(name, {}).get(CAPTION) == text}
            self.dataset.rebuild_index({**dict.fromkeys(taken), **captions})
        gone = make_findings("no longer in the source, and still views", [name for name, _ in sorted(self.left)])
        notes = [
            finding for note, names in sorted(self.notes.items()) for finding in make_findings(note, sorted(names))
        ]
        found = (*findings, *map(str, (*notes, *gone)))
        faults = dict(sorted(self.faults.items()))
        self.ledger.write_quarantine(faults)
        record = self.ledger.read_record()
        if record and stamp and not self.faults and not gone:
            self.ledger.write_record(replace(record, stamp=stamp, findings=found))
        return AdoptReport(
            str(self.dataset.root),
            self.scene.scene,
            len(self.made),
            self.kept,
            dict(sorted(self.faults.items())),
            dict(self.files),
            found,
        )
