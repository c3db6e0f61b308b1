# SPDX-License-Identifier: Apache-2.0
"""What the report's page is made of: the funnel, figures, captions, selections and small pictures of a dataset."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import VisibleObject
from blendset_trainer.cli.main import main
from blendset_trainer.reporting.data import Report, build_report, read_selection, read_sorted_views
from blendset_trainer.reporting.report import report
from blendset_trainer.reporting.synthesis import SynthesizedSet
from blendset_trainer.reporting.thumbnails import MISSING, build_thumbnails, choose_size, colour_objects
from blendset_trainer.selection.files import DROPS, get_drops_path, get_selection_path
from blendset_trainer.stages.tables import read_index_with_stages
from blendset_trainer.synthetic_views import SYNTHESIS
from tests.trainer.boxes import add_scene
from tests.trainer.boxes import add_view as add_box_view
from tests.trainer.tiny_datasets import add_picture, add_restyled, add_view, choose, make_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three views of a lamp and one of the whole attic; one failed a check."""
    dataset = make_dataset(tmp_path / "attic-dataset")
    for number in (1, 2, 3):
        failed = ("dark",) if number == 2 else ()
        add_view(dataset, "attic", "lamp", number, failed_checks=failed, subject_share=number / 10)
    add_view(dataset, "attic", "", 4)
    dataset.rebuild_index()
    return dataset


def content(dataset: Dataset, table: pa.Table | None = None, selection: str = "") -> Report:
    chosen = read_selection(dataset, selection) if selection else None
    return build_report(
        dataset, read_sorted_views(dataset), read_index_with_stages(dataset) if table is None else table, chosen
    )


def with_columns(dataset: Dataset, **columns: pa.Array) -> pa.Table:
    table = read_index_with_stages(dataset)
    for name, values in columns.items():
        table = table.append_column(name.replace("__", "."), values)
    return table


def select(dataset: Dataset, name: str, chosen: list[str], dropped: dict[str, str]) -> None:
    path = get_selection_path(dataset, name)
    choose(dataset, name, [{"view_id": view_id} for view_id in chosen])
    drops = [{"view_id": view_id, "reason": reason} for view_id, reason in dropped.items()]
    pq.write_table(pa.Table.from_pylist(drops, DROPS), get_drops_path(path))


def test_the_funnel_counts_candidates_renders_and_checks(dataset: Dataset) -> None:
    lines = [{"view_id": f"v{n}", "accepted": not reason, "reason": reason} for n, reason in
             enumerate(["", "", "", "", "", "hidden", "hidden", "clearance"])]  # fmt: skip
    dataset.funnel_path("run").parent.mkdir()
    dataset.funnel_path("run").write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset.funnel_path("empty").touch()
    funnel = content(dataset).funnel
    [empty, run] = funnel.runs
    assert (run.candidates, run.accepted, run.rendered, run.sound) == (8, 5, 4, 3)
    assert (empty.candidates, empty.rendered) == (0, 0)
    assert [(each.name, each.count) for each in funnel.turned_down] == [("hidden", 2), ("clearance", 1)]
    assert [(each.name, each.count) for each in funnel.failed] == [("dark", 1)]


def test_parts_of_a_thing_are_counted_as_the_thing(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "boxes")
    add_scene(dataset, "attic", things={2: ("Car", "car"), 3: ("Car", "car")})
    shares = ((1, "floor", 0.4), (2, "seat", 0.3), (3, "back", 0.2), (4, "", 0.1))
    seen = tuple(VisibleObject(number, label, 1, share) for number, label, share in shares)
    add_box_view(dataset, "attic", 0, visible_objects=seen)
    dataset.rebuild_index()
    [view] = content(dataset).views
    assert view.objects == [("car", 0.5), ("floor", 0.4), ("unnamed", 0.1)]


def test_a_damaged_funnel_is_named(dataset: Dataset) -> None:
    dataset.funnel_path("run").parent.mkdir()
    dataset.funnel_path("run").write_text('{"reason": "hid')
    with pytest.raises(BlendsetError, match=r"run\.jsonl cannot be read"):
        content(dataset)


def test_views_without_a_funnel_captions_or_scores_are_a_report_too(dataset: Dataset) -> None:
    made = content(dataset)
    assert [(view.label, view.failed) for view in made.views] == [
        ("lamp", ()), ("lamp", ("dark",)), ("lamp", ()), ("whole scene", ())
    ]  # fmt: skip
    assert made.funnel.runs[0].candidates is None
    assert {figure.group for figure in made.figures if any(value is not None for value in figure.values)} == {
        "Camera and framing",
        "Light",
    }
    shares = next(figure for figure in made.figures if figure.name == "subject_share")
    assert shares.values == [0.1, 0.2, 0.3, None]


def test_scores_and_captions_come_with_their_scale_and_what_is_in_doubt(dataset: Dataset) -> None:
    ids = read_index_with_stages(dataset)["view_id"].to_pylist()
    cosine = pa.field("clip-b.cosine", pa.float32(), metadata={"scale": "cosine, -1 to 1"})
    table = with_columns(
        dataset,
        metadata__short=pa.array(["a lamp", None, "a lamp on a table", None]),
        metadata__dense=pa.array(["a green lamp beside a cat", None, "a lamp", None]),
        metadata__unsupported=pa.array([["cat"], None, [], None], pa.list_(pa.string())),
        metadata__grounded_share=pa.array([0.5, None, 1.0, None]),
    ).append_column(cosine, pa.array([0.3, float("nan"), 0.1, None], pa.float32()))
    made = content(dataset, table)
    figures = {figure.name: figure for figure in made.figures}
    place = [ids.index(view.id) for view in made.views]
    assert [figures["clip-b.cosine"].values[place.index(row)] for row in range(4)] == [0.3, None, 0.1, None]
    assert figures["clip-b.cosine"].scale == "cosine, -1 to 1"
    assert figures["metadata.grounded_share"].group == figures["metadata.dense:words"].group == "Captions"
    assert [figures["metadata.dense:words"].values[place.index(row)] for row in range(4)] == [6, None, 2, None]
    first = made.views[place.index(0)]
    assert [(caption.form, list(caption.unsupported)) for caption in first.captions] == [
        ("dense", ["cat"]),
        ("short", []),
    ]
    assert made.unsupported == [("cat", 1)]


def test_the_caption_of_the_index_is_shown_where_no_stage_has_rows_for_it(dataset: Dataset) -> None:
    table = read_index_with_stages(dataset).drop_columns("caption")
    table = table.append_column("metadata.dense", pa.nulls(4, pa.string()))
    made = content(dataset, table.append_column("caption", pa.array(["an attic"] * 4)))
    assert [[caption.text for caption in view.captions] for view in made.views] == [["an attic"]] * 4


def test_a_selection_gives_every_view_its_fate(dataset: Dataset) -> None:
    select(dataset, "first", ["lamp-0001", "long-gone"], {"lamp-0002": "too dark", "lamp-0003": "too dark"})
    made = content(dataset, selection="first")
    assert [(view.id, view.selected, view.drop) for view in made.views] == [
        ("lamp-0001", True, ""),
        ("lamp-0002", False, "too dark"),
        ("lamp-0003", False, "too dark"),
        ("scene-0004", False, "made after the selection"),
    ]
    assert made.selection is not None and made.selection.chosen == 1
    assert [(each.name, each.count) for each in made.selection.reasons] == [
        ("too dark", 2),
        ("made after the selection", 1),
    ]


def test_synthesized_sets_stand_beside_their_parents(tmp_path: Path) -> None:
    made = make_dataset(tmp_path / "made")
    for number in (1, 2):
        add_view(made, "attic", "lamp", number, view_set="orbit")
    for number in (3, 4):
        add_restyled(made, "attic", "lamp", number, parent=5 - number, view_index=4 - number)
    made.rebuild_index()
    shown = content(made)
    assert shown.synthesis is not None
    [only] = shown.synthesis.sets
    assert (only.job, only.model, only.prompt) == ("restyle", "FLUX", "a red lamp")
    ids = [view.id for view in shown.views]
    assert [ids[place] for place in only.parents] == ["lamp-0001", "lamp-0002"]
    assert [ids[place] for place in only.views] == ["lamp-0004", "lamp-0003"]
    assert sum(run.rendered for run in shown.funnel.runs) == 2


@pytest.mark.parametrize("text", [None, b"{", b"{}"])
def test_what_does_not_say_how_it_was_made_is_shown_all_the_same(tmp_path: Path, text: bytes | None) -> None:
    made = make_dataset(tmp_path / "made")
    add_restyled(made, "attic", "lamp", 1, parent=7, prompt="a blue lamp")
    add_restyled(made, "attic", "lamp", 2, parent=7)
    path = made.view_folder("attic", "lamp-0002") / SYNTHESIS
    path.unlink() if text is None else path.write_bytes(text)
    made.rebuild_index()
    synthesis = content(made).synthesis
    assert synthesis is not None
    assert synthesis.sets == [SynthesizedSet("restyle", "FLUX", "", [], [0, 1])]


def test_a_dataset_of_renders_has_no_synthesis_to_show(dataset: Dataset) -> None:
    assert content(dataset).synthesis is None


def test_duplicates_are_found_by_bytes_and_by_hash(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    for subject, number in (("lamp", 1), ("vase", 1), ("vase", 2)):
        add_view(dataset, "attic", subject, number)
    dataset.rebuild_index()
    made = content(dataset)
    assert ([[made.views[place].id for place in group] for group in made.duplicates], made.compared) == (
        [["lamp-0001", "vase-0001"]],
        "byte for byte",
    )
    near = {"lamp-0001": "00000000000000ff", "vase-0001": "ffffffff00000000", "vase-0002": "00000000000000fe"}
    ids = read_index_with_stages(dataset)["view_id"].to_pylist()
    made = content(dataset, with_columns(dataset, phash__hash=pa.array([near[view] for view in ids])))
    assert [[made.views[place].id for place in group] for group in made.duplicates] == [["lamp-0001", "vase-0002"]]


def opened(line: str) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(part)))) for part in line.split(" ")]


def test_thumbnails_show_the_subject_and_are_made_once(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    ids = np.zeros((64, 96), np.uint32)
    ids[:, :32], ids[:, 64:] = 7, 8
    rgb = np.full((64, 96, 3), 200, np.uint8)
    add_picture(dataset, "attic", "lamp", 1, rgb, ids, subject_objects=(7,))
    [line] = build_thumbnails(dataset, read_sorted_views(dataset))
    picture, objects, depth, normals = opened(line)
    assert picture.shape == objects.shape == depth.shape == normals.shape == (64, 96, 3)
    assert abs(picture.astype(int) - 200).max() < 6
    subject, nothing, other = (objects[32, column].astype(int) for column in (16, 48, 80))
    assert subject[0] > subject[2] + 100 > other.max() - other.min()
    assert nothing.max() < 50
    assert abs(normals[32, 16].astype(int) - (128, 128, 255)).max() < 25
    dataset.rgb_path(read_sorted_views(dataset)[0]).unlink()
    assert build_thumbnails(dataset, read_sorted_views(dataset)) == [line]


def test_a_picture_that_cannot_be_read_is_left_out_and_not_remembered(dataset: Dataset, tmp_path: Path) -> None:
    broken = dataset.rgb_path(read_sorted_views(dataset)[0])
    whole = broken.read_bytes()
    broken.write_bytes(whole[:50])
    assert report(dataset, out=tmp_path / "report.html").unreadable == 1
    broken.write_bytes(whole)
    assert report(dataset, out=tmp_path / "report.html").unreadable == 0


def test_objects_without_passes_are_none(dataset: Dataset) -> None:
    assert build_thumbnails(dataset, read_sorted_views(dataset))[0].split(" ")[1:] == [MISSING] * 3


def test_neighbouring_ids_differ_and_more_views_mean_smaller_pictures() -> None:
    colours = colour_objects(np.arange(1, 21, dtype=np.uint32)[None], ())[0]
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 0.05
    assert choose_size(10) > choose_size(500) > choose_size(5000)


def test_command_line(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "pages" / "report.html"
    select(dataset, "only", ["lamp-0001"], {})
    assert main(["report", str(dataset.root), "--out", str(page), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["views"], said["bytes"]) == (4, page.stat().st_size)
    first = page.read_bytes()
    assert main(["report", str(dataset.root), "--out", str(page), "--selection", "only"]) == 0
    assert page.read_bytes() == first, "the only selection is shown without being named, in the same bytes"
    assert main(["report", str(dataset.root), "--out", str(page), "--selection", "other"]) == 1
    assert "it has only" in capsys.readouterr().err


def test_the_page_fetches_nothing_and_no_label_ends_its_script(dataset: Dataset, tmp_path: Path) -> None:
    add_view(dataset, "attic", "vase", 9, subject_label="</script><b>vase")
    report(dataset, out=tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!#|data:)|@import|url\(""", html)
    assert "</script><b>" not in html
    assert "default-src 'none'" in html


def test_an_empty_dataset_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BlendsetError, match="render a scene"):
        report(make_dataset(tmp_path), out=tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_folder_without_a_run_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(BlendsetError, match=r"holds no log of a training run; give the 'out' folder"):
        report(dataset, out=tmp_path / "report.html", training=tmp_path)
