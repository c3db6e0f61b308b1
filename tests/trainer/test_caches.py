# SPDX-License-Identifier: Apache-2.0
"""Latents and text features on disk: made once, never stale, never half, and removed only when asked."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli import main as cli
from blendset_trainer.training.data.cache_filling import fill_latents, fill_texts, make_latents_reader
from blendset_trainer.training.data.cache_uses import record_run
from blendset_trainer.training.data.feature_cache import Entry, FeatureCache, make_latent_key, make_text_key
from blendset_trainer.training.data.loader import Loader
from blendset_trainer.training.data.sources import CaptionWeights, Source, SourceSettings, load_source
from tests.trainer.tiny_datasets import add_view, thirty_views

BUCKETS = ((32, 32), (48, 16))
KIND = {"revision": "vae-1", "made_by": "latents of a tiny VAE", "dtype": torch.bfloat16}


class TinyVae:
    """Mean colours by 8 x 8 pixels, and how many pictures it was shown."""

    seen = 0

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self.seen += len(pixels)
        return torch.nn.functional.avg_pool2d(pixels.float() / 127.5 - 1, 8)


class TinyEncoder:
    """The lengths of words, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        self.asked += texts
        lengths = [[float(len(word)) for word in text.split(" ")[:4]] for text in texts]
        return {"features": torch.tensor([row + [0.0] * (4 - len(row)) for row in lengths])}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos in two shapes, each with words of its own."""
    for number in range(12):
        colour = np.array((number * 20, 255 - number * 20, number % 2 * 255), np.uint8)
        size = (64, 64) if number % 3 else (32, 96)
        Image.fromarray(np.broadcast_to(colour, (*size, 3)).copy()).save(tmp_path / f"{number:02}.png")
        (tmp_path / f"{number:02}.txt").write_text(f"photo number {number}", encoding="utf-8")
    return tmp_path


def source_of(folder: Path, **settings: Any) -> Source:
    given: dict[str, Any] = {"name": "photos", "kind": "photo", "folder": str(folder)}
    return load_source(SourceSettings(**given | settings))


def fill(folder: Path, **changes: Any) -> tuple[int, dict[str, str]]:
    """Fill a folder's cache with latents; how many were made, and what could not be read."""
    vae = TinyVae()
    failures = fill_latents(FeatureCache(folder), source_of(folder), BUCKETS, vae, **{**KIND, **changes})
    return vae.seen, failures


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "cache" / "features").iterdir())}


def test_a_feed_reads_the_latents_of_its_pictures(photos: Path) -> None:
    source = source_of(photos)
    assert fill(photos) == (12, {})
    cached = make_latents_reader({"photos": FeatureCache(photos)}, "vae-1", torch.bfloat16)
    common: dict[str, Any] = {"micro_batch": 2, "seed": 5}
    with (
        Loader([source], {"photos": 1.0}, BUCKETS, cached=cached, **common) as kept,
        Loader([source], {"photos": 1.0}, BUCKETS, **common) as fresh,
    ):
        for _, with_latents, with_pixels in zip(range(20), kept, fresh, strict=False):
            assert with_latents.ids == with_pixels.ids and with_latents.captions == with_pixels.captions
            assert with_pixels.pixels is not None and with_latents.latents is not None
            assert torch.equal(with_latents.latents, TinyVae()(with_pixels.pixels).bfloat16())


def test_filling_again_makes_nothing_and_touching_one_picture_makes_one(photos: Path) -> None:
    fill(photos)
    before = shards(photos)
    assert fill(photos) == (0, {}) and shards(photos) == before
    Image.new("RGB", (64, 64), "white").save(photos / "04.png")
    assert fill(photos) == (1, {})
    os.utime(photos / "05.png", ns=(1, 1))
    assert fill(photos) == (0, {})


def test_everything_that_decides_on_an_entry_is_in_its_key(photos: Path) -> None:
    fill(photos)
    assert fill(photos, revision="vae-2")[0] == 12
    assert fill(photos, dtype=torch.float32)[0] == 12
    vae = TinyVae()
    fill_latents(FeatureCache(photos), source_of(photos, layout="tiled"), BUCKETS, vae, **KIND)  # type: ignore[arg-type]
    fill_latents(FeatureCache(photos), source_of(photos), ((64, 64),), vae, **KIND)  # type: ignore[arg-type]
    assert vae.seen == 24 and len(FeatureCache(photos)) == 60
    assert make_latent_key("a", "b", torch.float16) != make_latent_key("ab", "", torch.float16)
    assert make_text_key("a", "b") != make_text_key("b", "a")


def test_the_same_picture_twice_is_one_entry(photos: Path) -> None:
    (photos / "copy.png").write_bytes((photos / "01.png").read_bytes())
    (photos / "copy.txt").write_text("the same", encoding="utf-8")
    assert fill(photos) == (12, {})


def test_processes_fill_parts(photos: Path) -> None:
    parts = [fill(photos, rank=rank, processes=3)[0] for rank in range(3)]
    assert sum(parts) == 12 and max(parts) < 12 and fill(photos) == (0, {})


def test_a_picture_that_changed_since_it_was_listed_is_not_filed_under_its_old_hash(photos: Path) -> None:
    source = source_of(photos)
    Image.new("RGB", (64, 64), "white").save(photos / "04.png")
    failures = fill_latents(FeatureCache(photos), source, BUCKETS, TinyVae(), **KIND)  # type: ignore[arg-type]
    assert list(failures) == ["04.png"] and len(FeatureCache(photos)) == 11


def test_all_words_that_can_be_said_are_kept_once(photos: Path) -> None:
    (photos / "copy.png").write_bytes((photos / "01.png").read_bytes())
    (photos / "copy.txt").write_text("photo number 2", encoding="utf-8")
    encode, source = TinyEncoder(), source_of(photos, prefix="A photo: ")
    for _ in range(2):
        fill_texts(FeatureCache(photos), source, encode, revision="t5", made_by="texts of T5")
    assert sorted(encode.asked) == sorted({"", *(f"A photo: photo number {number}" for number in range(12))})
    cache = FeatureCache(photos)
    said = {source.choose_caption(sample, 0, repeat) for sample in source for repeat in range(30)}
    for text in said:
        assert torch.equal(cache.get(make_text_key(text, "t5"))["features"], TinyEncoder()([text])["features"][0])


def test_a_missing_entry_is_one_sentence(photos: Path) -> None:
    with pytest.raises(BlendsetError, match=r"has no entry abc; start the training again, which fills it\."):
        FeatureCache(photos).get("abc")


# --- files ---


def entry(value: float, origin: str = "origin") -> Entry:
    return Entry({"one": torch.full((4,), value), "two": torch.tensor([value])}, [origin])


def test_two_writers_do_not_hurt_each_other(tmp_path: Path) -> None:
    one, other = FeatureCache(tmp_path), FeatureCache(tmp_path)
    one.add({"a": entry(1), "b": entry(2)}, "x")
    other.add({"b": entry(2), "c": entry(3)}, "x")
    other.add({"a": entry(1), "b": entry(2)}, "x")
    one.add({"a": entry(7)}, "x")
    both = FeatureCache(tmp_path)
    assert len(both) == 3
    assert {key: both.get(key)["two"].item() for key in "abc"} == {"a": 1.0, "b": 2.0, "c": 3.0}


def killed_before_the_rename(folder: Path) -> None:
    cache = FeatureCache(folder)
    cache.add({"done": entry(1)}, "x")
    os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)
    cache.add({"half": entry(2)}, "x")


@pytest.mark.skipif(sys.platform != "linux", reason="it forks, which is safe here only")
def test_a_killed_writer_leaves_whole_shards_only(tmp_path: Path) -> None:
    writer = multiprocessing.get_context("fork").Process(target=killed_before_the_rename, args=(tmp_path,))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    cache = FeatureCache(tmp_path)
    assert len(cache) == 1 and "done" in cache and not cache.damaged
    debris = [name for name in shards(tmp_path) if name.endswith(".tmp")]
    assert len(debris) == 1 and cache.list_debris() == []
    os.utime(cache.root / debris[0], (0, 0))
    cache.remove([])
    assert [Path(name).suffix for name in shards(tmp_path)] == [".safetensors"]


def test_a_damaged_shard_is_left_out_made_again_and_removed(photos: Path) -> None:
    fill(photos)
    (path,) = (photos / "cache" / "features").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    assert FeatureCache(photos).damaged == [path] and len(FeatureCache(photos)) == 0
    assert fill(photos)[0] == 12
    assert len(FeatureCache(photos)) == 12 and not FeatureCache(photos).damaged


def test_opening_reads_no_features(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.add({"big": Entry({"one": torch.ones(1 << 24)}, ["x"])}, "x")
    before = resident_bytes()
    again = FeatureCache(tmp_path)
    assert "big" in again and resident_bytes() - before < 16 << 20


def resident_bytes() -> int:
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell how much memory is in use")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- the command ---


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["cache", *words]) == 0
    return capsys.readouterr().out


def test_info_says_what_is_kept_and_who_made_it(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(photos)
    fill_texts(FeatureCache(photos), source_of(photos), TinyEncoder(), revision="t5", made_by="texts of T5")
    lines = run(capsys, "info", str(photos)).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["made by", "latents of a tiny VAE", "texts of T5", "in all"]
    assert lines[-1].split()[2] == "25"
    told = json.loads(run(capsys, "info", str(photos), "--json"))
    assert [(group["made_by"], group["entries"]) for group in told["made"]] == [
        ("latents of a tiny VAE", 12),
        ("texts of T5", 13),
    ]


def test_gc_shows_what_it_would_remove_and_removes_it_only_when_told(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(photos)
    fill_texts(
        FeatureCache(photos), source_of(photos, prefix="A photo: "), TinyEncoder(), revision="t5", made_by="texts of T5"
    )
    assert "0 of 25 entries" in run(capsys, "gc", str(photos), "--yes")
    Image.new("RGB", (64, 64), "white").save(photos / "04.png")
    (photos / "07.txt").write_text("other words", encoding="utf-8")
    (photos / "cache" / "features" / "broken.safetensors").write_bytes(b"none")
    before = shards(photos)
    shown = run(capsys, "gc", str(photos))
    assert "2 of 25 entries are of pictures or captions that are no longer there" in shown
    assert "broken.safetensors is damaged" in shown and "nothing was removed; --yes does it" in shown
    assert shards(photos) == before
    run(capsys, "gc", str(photos), "--yes")
    cache = FeatureCache(photos)
    assert len(cache) == 23 and not cache.list_debris()
    assert fill(photos)[0] == 1
    assert "0 of 24 entries" in run(capsys, "gc", str(photos))


def test_gc_frees_what_no_late_run_has_used(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for age, revision in enumerate(("vae-3", "vae-2", "vae-1")):
        cache = FeatureCache(photos)
        others, before = cache.list_keys(), {*cache.root.glob("*.keys")}
        fill_latents(cache, source_of(photos), BUCKETS, TinyVae(), **KIND | {"revision": revision})  # type: ignore[arg-type]
        record_run(cache.root, cache.list_keys() - others)
        (record,) = {*cache.root.glob("*.keys")} - before
        os.utime(record, (1000 + age, 1000 + age))
    assert run(capsys, "gc", str(photos)).splitlines() == [
        "0 of 36 entries are of pictures or captions that are no longer there"
    ]
    (photos / "04.png").unlink()
    lines = run(capsys, "gc", str(photos), "--last-runs", "1").splitlines()
    assert lines == [
        "3 of 36 entries are of pictures or captions that are no longer there",
        "22 more are for no settings of the last runs (--last-runs 1)",
        "nothing was removed; --yes does it",
    ]
    run(capsys, "gc", str(photos), "--last-runs", "1", "--yes")
    assert len(FeatureCache(photos)) == 11 and fill(photos)[0] == 0  # vae-1 is KIND's
    assert [*FeatureCache(photos).root.glob("*.keys")] == [record]
    assert cli.main(["cache", "gc", str(photos), "--last-runs", "0"]) == 2


def test_gc_of_a_dataset_goes_by_its_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = thirty_views(tmp_path / "dataset")
    source = load_source(
        SourceSettings(name="renders", dataset=str(dataset.root), captions=CaptionWeights(short=0, dense=0, none=1))
    )
    fill_latents(FeatureCache(dataset.root), source, BUCKETS, TinyVae(), **KIND)  # type: ignore[arg-type]
    assert "0 of 15 entries" in run(capsys, "gc", str(dataset.root))
    add_view(Dataset(dataset.root), "attic", "lamp-attic", 0, size=(9, 9))
    add_view(Dataset(dataset.root), "cellar", "lamp-cellar", 0, size=(9, 9))
    dataset.rebuild_index()
    assert "1 of 15 entries" in run(capsys, "gc", str(dataset.root))


def test_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache", "info", str(tmp_path / "gone")]) == 1
    assert "is no folder; give that of a dataset" in capsys.readouterr().err
