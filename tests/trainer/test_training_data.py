# SPDX-License-Identifier: Apache-2.0
"""What training is fed with: samples of datasets and folders, pictures as they are laid out, batches in order."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from PIL import Image

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.diffusion.images import cover_size
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.stage import Column, View
from blendset_trainer.training.data.loader import Batch, Loader
from blendset_trainer.training.data.prefetch import prefetch
from blendset_trainer.training.data.sources import CaptionWeights, Source, SourceSettings, load_source
from blendset_trainer.training.data.transforms import (
    find_nearest_buckets,
    load_loss_mask,
    load_pixels,
    make_aspect_buckets,
)
from blendset_trainer.training.data.views import parse_noise_band
from tests.trainer.tiny_datasets import add_picture, add_scene, add_view, choose, make_dataset, thirty_views
from tests.trainer.tiny_stages import Redness

WORDLESS = CaptionWeights(short=0, dense=0, none=1)
RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def flat(colour: tuple[int, ...], size: tuple[int, int] = (32, 32)) -> npt.NDArray[np.uint8]:
    return np.broadcast_to(np.array(colour, np.uint8), (size[1], size[0], 3))


def settings_of(made: Dataset, /, **settings: Any) -> SourceSettings:
    given: dict[str, Any] = {"name": "renders", "dataset": str(made.root), "captions": WORDLESS}
    return SourceSettings(**given | settings)


def source_of(made: Dataset, /, **settings: Any) -> Source:
    return load_source(settings_of(made, **settings))


def feed_of(sources: list[Source], **changes: Any) -> Loader:
    shares = {source.name: 1 / len(sources) for source in sources}
    options: dict[str, Any] = {"buckets": ((32, 32),), "micro_batch": 4, "seed": 0, "threads": 2}
    return Loader(sources, shares, **options | changes)


def first_batches(feed: Loader, count: int) -> list[Batch]:
    with feed:
        return list(islice(feed, count))


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Thirty views with the captions of the metadata captioner's own making."""
    return thirty_views(tmp_path_factory.mktemp("thirty") / "dataset")


@pytest.fixture(scope="module")
def orbits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A set of four views a quarter turn apart, one of twenty-one, one of which a view is missing, a lone view."""
    dataset = make_dataset(tmp_path_factory.mktemp("orbits") / "dataset")
    add_scene(dataset, "attic")
    for number, (azimuth, colour) in enumerate([(270, GREY), (0, RED), (180, BLUE), (90, GREEN)]):
        around = {"view_set": "four", "view_index": number, "azimuth_deg": float(azimuth)}
        ids = np.zeros((32, 32), np.uint32)
        ids[:, 16:] = 7
        add_picture(dataset, "attic", "lamp", number, flat(colour), ids, subject_objects=(7,), **around)
    for number in range(21):
        add_view(dataset, "attic", "vase", number, view_set="many", view_index=number, azimuth_deg=360 / 21 * number)
    for number in (0, 1, 2):
        add_view(dataset, "attic", "rug", number, view_set="three", view_index=number, azimuth_deg=90.0 * number)
    add_view(dataset, "attic", "lone", 0)
    dataset.rebuild_index()
    return dataset


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos with captions, one on its side, one that is none."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(flat(RED, (64, 32))).save(folder / "wide.png")
    Image.fromarray(flat(GREEN, (32, 64))).save(folder / "sub" / "tall.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(flat(BLUE, (64, 32))).save(folder / "turned.jpg", exif=turned)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    for name in ("wide", "sub/tall", "turned", "broken"):
        (folder / f"{name}.txt").write_text(f"a {Path(name).name} photo\n", encoding="utf-8")
    return folder


# --- samples of a dataset ---


def test_all_views_of_the_kind_are_samples(thirty: Dataset) -> None:
    source = source_of(thirty)
    assert len(source) == 30 and (source.sizes == 8).all()
    sample = source[0]
    assert sample.pictures[0].is_file() and sample.weight == 1
    assert (sample.lowest, sample.highest) == (-math.inf, math.inf)


def test_a_selection_says_which_views_what_they_count_and_what_noise_they_train(thirty: Dataset) -> None:
    ids = source_of(thirty).rows["id"].to_pylist()
    chosen = [
        {"view_id": ids[7], "weight": 0.5, "noise_band": "log_snr <= 0.647"},
        {"view_id": ids[3]},
        {"view_id": ids[5], "split": "held-out"},
    ]
    choose(thirty, "few", chosen)
    source = source_of(thirty, selection="few")
    assert [source[number].id for number in range(len(source))] == [ids[7], ids[3]]
    assert (source[0].weight, source[0].highest, source[1].highest) == (0.5, 0.647, math.inf)
    assert source.left_out == {"held out": 1}
    assert [sample.id for sample in load_source(source.settings, held_out=True)] == [ids[5]]


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("", (-math.inf, math.inf)),
        ("log_snr <= 0.647", (-math.inf, 0.647)),
        ("log_snr >= -2", (-2.0, math.inf)),
        ("-2.5 <= log_snr <= 3", (-2.5, 3.0)),
    ],
)
def test_noise_bands(text: str, bounds: tuple[float, float]) -> None:
    assert parse_noise_band(text) == bounds


def test_a_noise_band_that_says_nothing_is_refused(thirty: Dataset) -> None:
    choose(thirty, "vague", [{"view_id": source_of(thirty)[0].id, "noise_band": "t > 200"}])
    with pytest.raises(BlendsetError, match=r"'t > 200' is no noise band; write it as 'log_snr <= 0.647'"):
        source_of(thirty, selection="vague")


def test_captions_are_short_and_dense_and_none_as_often_as_asked(tmp_path: Path) -> None:
    dataset = thirty_views(tmp_path / "dataset")
    dataset.rebuild_index({view.view_id: f"the dense words of {view.view_id}" for view in dataset.views()})
    only_dense = source_of(dataset, captions=CaptionWeights(), prefix="A render: ")
    sample = only_dense[0]
    said = [only_dense.choose_caption(sample, 0, repeat) for repeat in range(2000)]
    assert set(said) == {"", f"A render: the dense words of {sample.id}"} == set(only_dense.list_captions(sample))
    assert abs(said.count("") / 2000 - 0.1) < 0.03
    assert said == [only_dense.choose_caption(sample, 0, repeat) for repeat in range(2000)]
    assert said != [only_dense.choose_caption(sample, 1, repeat) for repeat in range(2000)]


@dataclass(frozen=True)
class Words(Redness):
    """A captioner that says which picture it sees."""

    kind: ClassVar[Literal["captions"]] = "captions"  # type: ignore[assignment]
    columns: ClassVar[dict[str, Column]] = {"short": Column(pa.string()), "dense": Column(pa.string())}

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        said = [f"{self.revision} {view.record.view_id}" for view in views]
        return [{"short": words, "dense": f"{words} at length"} for words in said]


def test_captions_come_from_the_rows_of_the_captioner_that_ran_last(tmp_path: Path) -> None:
    dataset = thirty_views(tmp_path / "dataset")
    run_stage(dataset, Words(revision="first"), LocalExecutor())
    run_stage(dataset, Words(revision="then"), LocalExecutor())
    source = source_of(dataset, captions=CaptionWeights())
    sample = source[4]
    assert sample.captions == {"short": f"then {sample.id}", "dense": f"then {sample.id} at length"}
    said = [source.choose_caption(sample, 0, repeat) for repeat in range(500)]
    assert set(said) == {*sample.captions.values(), ""} == set(source.list_captions(sample))
    assert abs(said.count(sample.captions["short"]) - 225) < 60


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"captions": CaptionWeights()}, r"nothing to train on in .* \(no caption: 30\); caption it"),
        ({"kind": "synthetic"}, "holds no view whose source is 'synthetic', but render; name those"),
        ({"layout": "grid"}, r"\(no four views around: 30\); render some with --preset orbit-4"),
        ({"selection": "nil"}, "Selection 'nil' of .* holds no view whose source is 'render', but none at all"),
        ({"selection": "gone"}, "has no selection 'gone'"),
        ({"selection": "strange"}, "names nobody-0001, which .* does not hold"),
        ({"selection": "kept-back"}, r"\(held out: 1\); make the selection again"),
        ({"folder": "."}, "needs either a dataset or a folder"),
        ({"dataset": "", "folder": ".", "selection": "x"}, "has a folder, which has no selections"),
        ({"dataset": "", "folder": ".", "layout": "grid"}, "has a folder, which has no view sets"),
        ({"captions": CaptionWeights(0, 0, 0)}, "has captions that are never used"),
    ],
)
def test_what_cannot_be_trained_on_is_said_in_one_sentence(
    thirty: Dataset, settings: dict[str, Any], sentence: str
) -> None:
    choose(thirty, "nil", [])
    choose(thirty, "strange", [{"view_id": "nobody-0001"}])
    choose(thirty, "kept-back", [{"view_id": source_of(thirty)[0].id, "split": "held-out"}])
    with pytest.raises(BlendsetError, match=sentence) as error:
        load_source(settings_of(thirty, **settings))
    assert "\n" not in str(error.value)


# --- photos ---


def test_photos_have_the_text_beside_them_and_the_size_they_are_looked_at(photos: Path) -> None:
    source = load_source(SourceSettings(name="photos", kind="photo", folder="photos"), photos.parent)
    assert {sample.id: (sample.size, sample.captions["dense"]) for sample in source} == {
        "sub/tall.jpg": ((32, 64), "a tall photo"),
        "turned.jpg": ((32, 64), "a turned photo"),
        "wide.png": ((64, 32), "a wide photo"),
    }
    assert source.left_out == {"unreadable": 1}


def test_photos_are_hashed_once_and_again_when_they_change(photos: Path) -> None:
    def hashes() -> dict[str, str]:
        source = load_source(SourceSettings(name="photos", folder=str(photos)))
        return {sample.id: sample.hashes[0] for sample in source}

    before = hashes()
    memory = photos / "cache" / "photos.parquet"
    written = memory.stat().st_mtime_ns
    assert hashes() == before and memory.stat().st_mtime_ns == written
    Image.fromarray(flat(GREY, (64, 32))).save(photos / "wide.png")
    after = hashes()
    assert {name for name in before if before[name] != after[name]} == {"wide.png"}
    memory.write_bytes(b"no parquet")
    assert hashes() == after


def test_photos_listed_in_a_metadata_file(photos: Path) -> None:
    rows = [{"file_name": "wide.png", "text": "listed"}, {"file_name": "gone.png", "text": "not there"}]
    (photos / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    source = load_source(SourceSettings(name="photos", folder=str(photos)))
    assert [(sample.id, sample.captions) for sample in source] == [("wide.png", {"dense": "listed"})]
    (photos / "metadata.jsonl").write_text('{"name": 1}\n', encoding="utf-8")
    with pytest.raises(BlendsetError, match=r"metadata.jsonl, line 1, has no file_name and text"):
        load_source(SourceSettings(name="photos", folder=str(photos)))


def test_a_folder_without_photos(tmp_path: Path) -> None:
    with pytest.raises(BlendsetError, match="holds no photos; choose a folder with pictures"):
        load_source(SourceSettings(name="photos", folder=str(tmp_path)))
    with pytest.raises(BlendsetError, match="is no folder"):
        load_source(SourceSettings(name="photos", folder=str(tmp_path / "none")))


# --- layouts and buckets ---


def test_grids_go_round_by_azimuth(orbits: Dataset) -> None:
    source = source_of(orbits, layout="grid")
    assert source.left_out == {"no four views around": 4}
    assert [sample.id for sample in source] == ["attic/four", "attic/many"]
    assert [path.parent.name for path in source[1].pictures] == ["vase-0000", "vase-0005", "vase-0010", "vase-0016"]
    shown = load_pixels(source[0], "grid", (64, 64))
    assert shown.shape == (64, 64, 3)
    corners = [tuple(shown[row, column].tolist()) for row in (5, 60) for column in (5, 60)]
    assert corners == [RED, GREEN, BLUE, GREY]


def test_tiles_are_one_picture_four_times(orbits: Dataset) -> None:
    source = source_of(orbits, layout="tiled")
    shown = load_pixels(source[0], "tiled", (48, 64))
    quarter = load_pixels(source[0], "single", (24, 32))
    assert shown.shape == (64, 48, 3)
    assert all((part == quarter).all() for half in np.split(shown, 2) for part in np.split(half, 2, axis=1))


def test_masks_weigh_what_is_not_the_subject(orbits: Dataset) -> None:
    grid, lone = source_of(orbits, layout="grid")[0], source_of(orbits)[0]
    weights = load_loss_mask(grid, "grid", (64, 64), 0.25)
    assert (weights[:, :16] == 0.25).all() and (weights[:, 16:32] == 1).all() and (weights[:, 48:] == 1).all()
    assert lone.id == "lamp-0000" and load_loss_mask(lone, "single", (32, 32), 0.0).mean() == 0.5
    without_passes = source_of(orbits)[len(source_of(orbits)) - 1]
    assert (load_loss_mask(without_passes, "single", (32, 32), 0.0) == 1).all()


def test_buckets_have_the_pixels_of_the_square_and_every_picture_has_one() -> None:
    buckets = make_aspect_buckets(512, 64)
    assert buckets[0] == (512, 512) and (704, 320) not in buckets and (640, 384) in buckets
    assert all(0.75 * 512**2 < width * height <= 512**2 for width, height in buckets)
    assert all(width % 64 == height % 64 == 0 and 0.5 <= width / height <= 2 for width, height in buckets)
    sizes = np.array([[1000, 1000], [3000, 1000], [600, 1000]])
    chosen = [buckets[place] for place in find_nearest_buckets(sizes, buckets)]
    assert chosen[0] == (512, 512) and chosen[1][0] / chosen[1][1] > 1.6 and chosen[2] == (384, 640)


def test_a_crop_keeps_the_middle_and_says_what_it_cut() -> None:
    place = cover_size((400, 200), (100, 100))
    assert place.box == (100, 0, 300, 200)
    assert place.conditions == (200, 400, 0, 50, 100, 100)
    assert cover_size((400, 200), (100, 100), at=(1, 0)).box == (200, 0, 400, 200)


def test_what_one_can_see_through_is_white_behind(tmp_path: Path) -> None:
    glass = np.zeros((32, 32, 4), np.uint8)
    glass[:, :16] = (255, 0, 0, 255)
    Image.fromarray(glass).save(tmp_path / "glass.png")
    source = load_source(SourceSettings(name="p", folder=str(tmp_path), captions=WORDLESS))
    shown = load_pixels(source[0], "single", (32, 32))
    assert tuple(shown[0, 0]) == RED and tuple(shown[0, 31]) == (255, 255, 255)


# --- the feed ---


def everything(batches: list[Batch]) -> list[tuple[Any, ...]]:
    return [(each.number, each.refs, each.ids, each.captions, each.pixels.sum().item()) for each in batches]  # type: ignore[union-attr]


def test_batches_hold_what_their_draws_say(thirty: Dataset) -> None:
    source = source_of(thirty)
    for batch in first_batches(feed_of([source]), 5):
        assert batch.pixels is not None and batch.pixels.shape == (4, 3, 32, 32) and batch.pixels.dtype == torch.uint8
        for place, draw in enumerate(batch.refs):
            sample = source[draw.sample]
            assert (batch.ids[place], batch.sources[place], batch.repeats[place]) == (sample.id, "renders", draw.repeat)
            expected = load_pixels(sample, "single", (32, 32)).transpose(2, 0, 1)
            assert (batch.pixels[place].numpy() == expected).all()
        assert batch.mask is None and batch.latents is None and batch.conditions[0].tolist() == [8, 8, 0, 0, 32, 32]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_together_see_what_one_sees_from_any_start(thirty: Dataset, processes: int) -> None:
    alone = everything(first_batches(feed_of([source_of(thirty)]), 24))
    parts = [
        everything(
            first_batches(feed_of([source_of(thirty)], rank=rank, processes=processes, start=8), 16 // processes)
        )
        for rank in range(processes)
    ]
    assert sorted(row for part in parts for row in part) == alone[8:]


def test_sources_mix_by_their_shares_with_buckets_and_masks(thirty: Dataset, orbits: Dataset) -> None:
    sources = [source_of(orbits, layout="grid", background=0.5), source_of(thirty, name="tiles", layout="tiled")]
    feed = Loader(sources, {"renders": 0.25, "tiles": 0.75}, ((32, 32), (48, 24)), micro_batch=2, seed=0)
    batches = first_batches(feed, 100)
    assert [name for batch in batches for name in batch.sources].count("renders") == 50
    masks = [batch.mask for batch in batches if batch.mask is not None]
    assert len(masks) == 100 and masks[0].shape == (2, 1, 32, 32)
    assert batches[0].conditions[batches[0].sources.index("tiles")].tolist()[:2] == [16, 16]


def test_a_picture_that_cannot_be_read_is_replaced_within_its_source_and_reported(tmp_path: Path) -> None:
    dataset = thirty_views(tmp_path / "dataset")
    source, other = source_of(dataset), source_of(dataset, name="others", layout="tiled")
    sound = first_batches(feed_of([source, other]), 30)
    bad = source[3].pictures[0]
    bad.write_bytes(bad.read_bytes()[:40])
    feed = feed_of([source, other])
    batches = first_batches(feed, 30)
    assert list(feed.failures) == [source[3].id]
    assert "is not the picture that it was" in feed.failures[source[3].id]
    for before, after in zip(sound, batches, strict=True):
        assert before.sources == after.sources and before.repeats == after.repeats
        for asked, taken in zip(before.refs, after.refs, strict=True):
            assert taken == asked if asked.sample != 3 else taken._replace(sample=3) == asked and taken.sample != 3
    assert everything(batches) == everything(first_batches(feed_of([source, other]), 30))


def test_a_source_of_which_nothing_can_be_read_ends_the_run(tmp_path: Path) -> None:
    dataset = thirty_views(tmp_path / "dataset")
    source = source_of(dataset)
    for sample in source:
        sample.pictures[0].unlink()
    with pytest.raises(
        BlendsetError, match=r"Source 'renders' has no sample left that can be read, of 30: .* cannot be read"
    ):
        first_batches(feed_of([source]), 1)


def test_random_crops_differ_by_visit_and_are_the_same_again(orbits: Dataset) -> None:
    source = source_of(orbits, crop="random")
    bucket = {"buckets": ((32, 16),)}
    conditions = [batch.conditions.tolist() for batch in first_batches(feed_of([source], **bucket), 30)]
    assert len({crop[2] for batch in conditions for crop in batch}) > 5
    assert conditions == [batch.conditions.tolist() for batch in first_batches(feed_of([source], **bucket), 30)]


def test_cached_latents_come_instead_of_pixels(thirty: Dataset) -> None:
    latents: dict[str, torch.Tensor] = {}

    def cached(source: Source, key: str) -> torch.Tensor:
        return latents.setdefault(key, torch.full((4, 2, 2), float(len(latents))))

    batch = first_batches(feed_of([source_of(thirty)], cached=cached), 20)[0]
    assert batch.pixels is None and batch.latents is not None and batch.latents.shape == (4, 4, 2, 2)
    assert len(latents) == 15  # both scenes have the same fifteen pictures, so the same contents
    with pytest.raises(BlendsetError, match="is cropped anew each time"):
        feed_of([source_of(thirty, crop="random")], cached=cached)


def test_no_thread_outlives_the_feed_and_errors_come_through(thirty: Dataset) -> None:
    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")}

    with feed_of([source_of(thirty)]) as feed:
        next(feed)
        assert threads() and feed.waited_s > 0
    assert not threads()

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = prefetch(work, range(10**9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert not threads()
