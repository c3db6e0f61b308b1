# SPDX-License-Identifier: Apache-2.0
"""From rendered views to a training set, as a user goes: each command through the command line, and what the documents
tell a stranger to type.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blendset.dataset import INDEX, Dataset
from blendset.verification import verify_dataset
from blendset_trainer.cli.main import build_parser, main
from blendset_trainer.stages.catalogue import SCORERS
from blendset_trainer.stages.tables import read_index, read_index_with_stages
from tests.trainer.boxes import add_scene, add_view
from tests.trainer.tiny_datasets import add_picture, make_dataset
from tests.trainer.tiny_stages import Redness

ROOT = Path(__file__).parents[2]
VIEWS = 8
FLOW = (
    "caption DATASET --with metadata",
    "score DATASET --with image-stats,ssim-roundtrip,phash",
    "select DATASET --preset blendset --name first",
    "report DATASET --out report.html",
)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """DATASET in the current folder: a chair in two rooms, seen from all around."""
    monkeypatch.chdir(tmp_path)
    return rooms(Path("DATASET"))


def rooms(root: Path) -> Dataset:
    made = make_dataset(root)
    for number in range(VIEWS):
        scene = ("attic", "cellar")[number % 2]
        add_scene(made, scene)
        add_view(made, scene, number)
    made.rebuild_index()
    return made


def run(*lines: str) -> None:
    for line in lines:
        assert main(shlex.split(line)) == 0, line


def tree(*places: str) -> dict[str, bytes]:
    """The files below some places, but for what can be made again and what names nothing (locks)."""
    paths = [path for place in places for path in [Path(place), *Path(place).rglob("*")]]
    return {
        path.as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and "cache" not in path.parts and path.suffix != ".lock"
    }


# --- the whole way ----------------------------------------------------------------------------------------------------


def test_the_whole_way_twice_and_anew_gives_the_same_bytes(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*FLOW, "export DATASET --to image-text --selection first --out pairs")
    chosen = pq.read_table("DATASET/selections/first.parquet")
    assert chosen.num_rows + pq.read_table("DATASET/selections/first.drops.parquet").num_rows == VIEWS
    texts = {path.stem: path.read_text(encoding="utf-8") for path in Path("pairs").rglob("*.txt")}
    assert set(texts) == set(chosen["view_id"].to_pylist())
    assert all(text.endswith(".") for text in texts.values())
    assert not verify_dataset(dataset).problems
    once = tree("DATASET", "report.html", "pairs")
    capsys.readouterr()
    run(*FLOW)
    said = capsys.readouterr().out
    assert f"metadata: 0 views captioned now, {VIEWS} before" in said
    assert f"phash: 0 views scored now, {VIEWS} before" in said
    assert tree("DATASET", "report.html", "pairs") == once
    (tmp_path / "anew").mkdir()
    monkeypatch.chdir(tmp_path / "anew")
    rooms(Path("DATASET"))
    run(*FLOW, "export DATASET --to image-text --selection first --out pairs")
    assert tree("DATASET", "report.html", "pairs") == once


def test_a_new_view_is_all_that_is_done_when_there_is_one(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    run(*FLOW)
    add_view(dataset, "cellar", VIEWS)
    dataset.rebuild_index()
    capsys.readouterr()
    run(*FLOW[:2])
    said = capsys.readouterr().out
    assert f"metadata: 1 views captioned now, {VIEWS} before" in said
    assert f"image-stats: 1 views scored now, {VIEWS} before" in said


def interrupted() -> Redness:
    return Redness(dies_after=0)


def test_an_interrupted_command_says_how_to_go_on(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SCORERS.table, "interrupted", f"{__name__}:interrupted")
    assert main(["score", "DATASET", "--with", "phash,interrupted"]) == 130
    assert capsys.readouterr().err == (
        "blendset: interrupted; what is finished is kept, and the same command goes on.\n"
    )
    assert read_index_with_stages(dataset)["phash.hash"].null_count == 0


# --- what may be wrong ------------------------------------------------------------------------------------------------


def test_an_index_of_an_older_blendset_is_mended_before_anything_is_made_from_it(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    index = dataset.root / INDEX
    rows = [json.loads(line) | {"mood": "calm"} for line in index.read_text(encoding="utf-8").splitlines()]
    index.write_text("".join(json.dumps(row | {"passes_sha256": None}) + "\n" for row in rows), encoding="utf-8")
    for row in rows:
        del row["passes_sha256"]
    index.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run(FLOW[1], FLOW[0])
    assert read_index_with_stages(dataset)["metadata.dense"].null_count == 0
    assert read_index_with_stages(dataset)["image-stats.subject_mean"].null_count == 0
    assert json.loads(index.read_text(encoding="utf-8").splitlines()[0])["mood"] == "calm"
    capsys.readouterr()
    run(*FLOW[:2])
    assert f"metadata: 0 views captioned now, {VIEWS} before" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "readers"), [("captions", FLOW), ("scores", FLOW[1:])])
def test_half_written_rows_are_named_and_cost_only_themselves(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], kind: str, readers: tuple[str, ...]
) -> None:
    run(*FLOW)
    whole = tree("DATASET")
    shard = next((dataset.root / kind).rglob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-50])
    before = tree("DATASET")
    for line in readers:
        capsys.readouterr()
        assert main(shlex.split(line)) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"blendset: {shard} cannot be read (") and said.count("\n") == 1
        assert said.endswith("; delete it and run the command that wrote it again.\n")
    run("export DATASET --to image-text --out pairs")
    assert tree("DATASET") == before
    shard.unlink()
    run(*FLOW)
    assert tree("DATASET") == whole


def test_a_half_written_cache_is_made_again(dataset: Dataset) -> None:
    table = read_index(dataset)
    cached = next((dataset.root / "cache").glob("*.parquet"))
    cached.write_bytes(cached.read_bytes()[:100])
    assert read_index(dataset).equals(table)
    assert read_index(dataset).equals(pq.read_table(cached))


def test_nothing_but_time_is_lost_where_the_cache_cannot_be_written(dataset: Dataset) -> None:
    run("report DATASET --out first.html")
    again = rooms(Path("again/DATASET"))
    (again.root / "cache").write_text("in the way")
    run("report again/DATASET --out second.html", "export again/DATASET --to coco --out coco")
    assert Path("second.html").read_bytes() == Path("first.html").read_bytes()


def test_scores_that_are_no_numbers_choose_nothing_and_stay_valid_json(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    run(FLOW[1])
    shard = next((dataset.root / "scores").glob("image-stats-*/*.parquet"))
    rows = pq.read_table(shard, partitioning=None)
    means = [float("nan"), float("inf"), *rows["mean"].to_pylist()[2:]]
    pq.write_table(rows.set_column(rows.column_names.index("mean"), "mean", pa.array(means)), shard)
    capsys.readouterr()
    run(f"{FLOW[1]} --json")
    told = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert told["figures"]["image-stats.mean"]["views"] == VIEWS - 2
    run(FLOW[2], FLOW[3])
    drops = pq.read_table("DATASET/selections/first.drops.parquet").to_pylist()
    assert {"view_id": rows["view_id"][0].as_py(), "reason": "no image-stats.mean"} in [
        {name: drop[name] for name in ("view_id", "reason")} for drop in drops
    ]


def test_pictures_without_passes_are_told_of_and_give_no_empty_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = make_dataset(Path("DATASET"))
    add_scene(made, "attic")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        add_picture(made, "attic", "", number, noise, source="photograph")
    made.rebuild_index()
    run(*FLOW)
    assert "3 of them got no words" in capsys.readouterr().err
    for format in ("coco", "bop"):
        assert main(["export", "DATASET", "--to", format, "--out", format]) == 1
        assert capsys.readouterr().err.count(f"can go into {format} (") == 1
        assert not Path(format).exists()


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise on Windows")
def test_a_reader_who_has_seen_enough_is_no_error(dataset: Dataset) -> None:
    words = [sys.executable, "-m", "blendset_trainer.cli", *FLOW[1].split()]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait()
    assert read_index_with_stages(dataset)["phash.hash"].null_count == 0


# --- what the documents say -------------------------------------------------------------------------------------------


def blocks(document: str, language: str = "") -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(document: str) -> list[list[str]]:
    """Every command line of Blendset that a document shows, in its order, as words after `blendset`."""
    lines = [line for block in blocks(document) for line in block.splitlines()]
    shown = [re.match(r"(?:\.venv/bin/)?blendset (.*)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in shown if match]


@pytest.mark.parametrize("document", ["README.md", "docs/curation.md"])
def test_documented_commands_are_ones_that_there_are(document: str) -> None:
    assert commands(document)
    for words in commands(document):
        build_parser().parse_args(words)


@pytest.mark.parametrize("document", ["README.md", "docs/curation.md"])
@pytest.mark.usefixtures("dataset")
def test_documented_commands_do_what_they_say(document: str) -> None:
    """In order, one after the other; but for those that need Blender, a model or other machines."""
    for number, rules in enumerate(blocks(document, "toml")):
        Path("rules.toml" if number == 0 else f"rules-{number}.toml").write_text(rules, encoding="utf-8")
    here = [words for words in commands(document) if words[0] not in ("plan", "render", "blender")]
    for words in here:
        if not any(re.search("MODEL|HEAD|URL|ray", word) for word in words):
            assert main(words) == 0, shlex.join(words)
