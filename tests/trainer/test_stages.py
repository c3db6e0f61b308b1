# SPDX-License-Identifier: Apache-2.0
"""A stage's rows: made once, made again for what changed, the same bytes however often a run was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from blendset.dataset import INDEX, RGB, Dataset
from blendset.errors import BlendsetError
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.folder import QUARANTINE, StageFolder
from blendset_trainer.stages.run import StageReport, run_stage
from blendset_trainer.stages.stage import View
from blendset_trainer.stages.tables import read_index, read_index_with_stages
from tests.trainer.tiny_datasets import add_scene, add_view, files, make_dataset, thirty_views
from tests.trainer.tiny_stages import Hungry, Redness


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return thirty_views(tmp_path / "data")


def run(dataset: Dataset, stage: Redness, shard_views: int = 4) -> StageReport:
    return run_stage(dataset, stage, LocalExecutor(), shard_views=shard_views)


def rgb_of(dataset: Dataset, view_id: str) -> Path:
    return next(dataset.rgb_path(view) for view in dataset.views() if view.view_id == view_id)


def test_every_view_gets_a_row_once(dataset: Dataset) -> None:
    first, stage = run(dataset, Redness()), Redness()
    second = run(dataset, stage)
    assert (first.made, first.kept, second.made, second.kept) == (30, 0, 0, 30)
    assert stage.seen == []
    table = read_index_with_stages(dataset)
    assert table["redness.red"].null_count == 0
    assert table.schema.field("redness.red").metadata[b"scale"] == b"grey levels, 0 to 255"
    view = table.slice(0, 1).to_pylist()[0]
    record = next(dataset.views())
    assert view["view_id"] == record.view_id
    assert view["redness.red"] == pytest.approx(View(record, dataset.rgb_path(record).parent, None).rgb[0, 0, 0])  # type: ignore[arg-type]


def test_too_many_views_for_the_memory_are_done_in_halves(dataset: Dataset) -> None:
    report = run(dataset, Hungry(at_once=3), shard_views=30)
    assert (report.made, report.unreadable) == (30, {})
    assert report.notes[0] == "16 pictures at once were too many for the device's memory; going on with half as many."
    assert read_index_with_stages(dataset)["redness.red"].null_count == 0


def test_a_view_that_does_not_fit_into_the_memory_is_named_and_a_set_stays_whole(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "data")
    add_scene(made, "attic")
    for number in range(6):
        add_view(made, "attic", "lamp", number, view_set="a" if number < 4 else "b")
    made.rebuild_index()
    report = run(made, Hungry(at_once=2, whole_sets=True), shard_views=30)
    assert report.made == 2
    assert set(report.unreadable.values()) == {
        "attic/a needs more memory than the device has; take a smaller model, or one behind a server."
    }
    assert set(read_index_with_stages(made)["redness.company"].to_pylist()) == {None, 2}


@pytest.mark.parametrize("dies_after", range(0, 30, 4))
def test_an_interrupted_run_ends_with_the_same_files(dataset: Dataset, tmp_path: Path, dies_after: int) -> None:
    whole = files(run(dataset, Redness()).folder)
    for path in StageFolder.from_stage(dataset.root, Redness()).path.iterdir():
        path.unlink()
    with pytest.raises(KeyboardInterrupt):
        run(dataset, Redness(dies_after=dies_after))
    report = run(dataset, Redness())
    assert report.kept == dies_after
    assert files(report.folder) == whole


def test_a_changed_picture_alone_is_done_again(dataset: Dataset) -> None:
    run(dataset, Redness())
    before = read_index_with_stages(dataset)["redness.red"].to_pylist()
    changed = read_index(dataset)["view_id"].to_pylist()[7]
    add_view(dataset, "attic", "lamp-attic", 60, size=(8, 8), view_id=changed)
    dataset.rebuild_index()
    assert read_index_with_stages(dataset)["redness.red"].to_pylist() == [*before[:7], None, *before[8:]]
    stage = Redness()
    assert run(dataset, stage).made == 1
    assert stage.seen == [changed]
    after = read_index_with_stages(dataset)["redness.red"].to_pylist()
    assert (after[:7], after[8:]) == (before[:7], before[8:])
    assert after[7] not in (before[7], None)


def test_a_stage_that_reads_captions_follows_them(dataset: Dataset) -> None:
    stage = Redness(reads=frozenset({"rgb", "caption"}))
    run(dataset, stage)
    lines = [json.loads(line) for line in (dataset.root / INDEX).read_text().splitlines()]
    lines[3]["caption"] = "a red lamp"
    (dataset.root / INDEX).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert run(dataset, Redness()).made == 30, "another set of inputs has rows of its own"
    assert run(dataset, stage).made == 1
    assert read_index_with_stages(dataset)["redness.caption"].to_pylist()[3] == "a red lamp"


def test_what_cannot_be_read_is_listed_and_tried_again(dataset: Dataset) -> None:
    victim = read_index(dataset)["view_id"].to_pylist()[5]
    path = rgb_of(dataset, victim)
    sound = path.read_bytes()
    path.write_bytes(sound[:50])
    report = run(dataset, Redness())
    assert (report.made, list(report.unreadable)) == (29, [victim])
    assert str(path) in report.unreadable[victim]
    assert json.loads((report.folder / QUARANTINE).read_text()) == report.unreadable
    assert read_index_with_stages(dataset)["redness.red"].null_count == 1
    path.write_bytes(sound)
    report = run(dataset, Redness())
    assert (report.made, report.unreadable) == (1, {})
    assert not (report.folder / QUARANTINE).exists()


def test_sets_stay_whole(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    add_scene(dataset, "attic")
    for number in range(50):  # sets of five whose views lie apart in the index
        add_view(
            dataset, "attic", "lamp", number, size=(8, 8), view_set=f"orbit-{number % 10}", view_index=number // 10
        )
    dataset.rebuild_index()
    stage = Redness(whole_sets=True)
    assert run(dataset, stage, shard_views=7).made == 50
    assert all(company % 5 == 0 for company in read_index_with_stages(dataset)["redness.company"].to_pylist())
    add_view(dataset, "attic", "lamp", 13, size=(16, 16), view_set="orbit-3", view_index=1)
    dataset.rebuild_index()
    assert run(dataset, stage, shard_views=7).made == 5, "a changed view changes what its whole set gets"
    rgb_of(dataset, "lamp-0004").unlink()
    broken = run(dataset, Redness({"again": True}, whole_sets=True))
    assert sorted(broken.unreadable) == [f"lamp-{number:04d}" for number in (4, 14, 24, 34, 44)]


def test_the_parameters_of_the_last_run_count(dataset: Dataset) -> None:
    for threshold in (1, 2, 1):  # the last run finds all its rows made
        report = run(dataset, Redness({"threshold": threshold}))
        field = read_index_with_stages(dataset).schema.field("redness.red")
        assert field.metadata[b"folder"].decode() == report.folder.name


def test_the_index_as_a_table(dataset: Dataset) -> None:
    table = read_index(dataset)
    assert table.num_rows == 30
    assert table.schema.field("world_from_camera").type == pa.list_(pa.float64())
    assert table["caption"].null_count == 30
    assert read_index(dataset).equals(table), "the cached one is the same"
    assert len(list((dataset.root / "cache").iterdir())) == 1
    add_view(dataset, "attic", "chair", 40)
    dataset.rebuild_index()
    assert read_index(dataset).num_rows == 31
    assert len(list((dataset.root / "cache").iterdir())) == 1
    (dataset.root / INDEX).write_text('{"view_id": ')
    with pytest.raises(BlendsetError, match=INDEX):
        read_index(dataset)


def test_the_record_is_the_same_however_the_index_is_spelled(dataset: Dataset) -> None:
    add_view(dataset, "attic", "lamp", 50, subject_label='Stehlampe "Grün"')
    dataset.rebuild_index()
    before, index = read_index(dataset)["record_sha256"].to_pylist(), dataset.root / INDEX
    rows = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
    assert len(set(before)) == len(rows)
    spellings = {
        "as ASCII": [json.dumps(row) for row in rows],
        "compact": [json.dumps(row, separators=(",", ":")) for row in rows],
        "in another order": [json.dumps(dict(sorted(row.items()))) for row in rows],
        "with a caption": [json.dumps(row | {"caption": "a lamp"}) for row in rows],
    }
    for name, lines in spellings.items():
        index.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        assert read_index(dataset)["record_sha256"].to_pylist() == before, name
    rows[3]["exposure_ev"] += 0.5
    index.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    after = read_index(dataset)["record_sha256"].to_pylist()
    assert [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other] == [3]


def test_figures_are_kept_in_the_cache_for_as_long_as_they_hold(dataset: Dataset) -> None:
    folder = run(dataset, Redness()).folder
    first = read_index_with_stages(dataset)
    assert read_index_with_stages(dataset).equals(first, check_metadata=True)
    kept = list((dataset.root / "cache").glob(f"scores-{folder.name}-*.parquet"))
    assert len(kept) == 1
    shard = next(folder.glob("*.parquet"))
    shard.unlink()
    assert read_index_with_stages(dataset)["redness.red"].null_count == 4
    run(dataset, Redness())
    assert read_index_with_stages(dataset).equals(first)
    assert len(list((dataset.root / "cache").glob(f"scores-{folder.name}-*.parquet"))) == 1


def test_a_dataset_that_cannot_be_written_to_opens_too(dataset: Dataset) -> None:
    (dataset.root / "cache").write_bytes(b"no folder")
    assert read_index(dataset).num_rows == 30


def test_a_damaged_shard_is_named(dataset: Dataset) -> None:
    shards = sorted(run(dataset, Redness()).folder.glob("*.parquet"))
    shards[2].write_bytes(shards[2].read_bytes()[:-9])
    with pytest.raises(BlendsetError, match=rf"{shards[2].name} cannot be read \(.*\); delete it"):
        read_index_with_stages(dataset)
    shards[2].unlink()
    assert run(dataset, Redness()).made == 4


def test_an_empty_dataset_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BlendsetError, match="no views yet"):
        run(make_dataset(tmp_path), Redness())


def test_a_picture_that_was_painted_over_is_no_input(dataset: Dataset) -> None:
    first, second = (rgb_of(dataset, name) for name in read_index(dataset)["view_id"].to_pylist()[:2])
    first.write_bytes(second.read_bytes())
    report = run(dataset, Redness())
    assert "SHA-256" in next(iter(report.unreadable.values()))
    assert first.name == RGB


def test_datasets_reads_the_folder_with_its_scores(dataset: Dataset, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    run(dataset, Redness())
    loaded = datasets.load_dataset("imagefolder", data_dir=str(dataset.root), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["view_id"] == read_index(dataset)["view_id"].to_pylist()
