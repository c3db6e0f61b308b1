# SPDX-License-Identifier: Apache-2.0
"""What docs/extending.md says: each of its files and lines is added, used as the page says, and taken out again; and
what other packages bring is there, costs only itself, and is not looked for before somebody asks.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from blendset.config import config_from_dict
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.placement import planner, presets
from blendset_trainer.api import registry
from blendset_trainer.cli.main import main
from blendset_trainer.diffusion.families import FAMILIES
from blendset_trainer.exporting.export import FORMATS
from blendset_trainer.selection import rules
from blendset_trainer.stages.catalogue import CAPTIONERS, SCORERS
from blendset_trainer.stages.tables import read_index_with_stages
from tests.core.analytic import BruteForce, furnished_room
from tests.trainer import boxes, test_families, tiny_pipelines
from tests.trainer.tiny_datasets import add_scene, add_view, make_dataset, thirty_views

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
TABLES: dict[str, dict[str, Any]] = {
    "SCORERS": SCORERS.table,
    "CAPTIONERS": CAPTIONERS.table,
    "FORMATS": FORMATS.table,
    "FAMILIES": FAMILIES.table,
    "PRESETS": presets.PRESETS,
}


@dataclass(frozen=True)
class Section:
    """A section of the page: a file's path and text, the table and the line that it needs, and command lines."""

    path: str
    text: str
    table: str
    line: str
    commands: tuple[str, ...]

    def run(self) -> None:
        for command in self.commands:
            assert main(shlex.split(command)) == 0, command


def read_section(title: str) -> Section:
    body = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    path, text = re.findall(r"whole\s+file,\s+`(\S+)`:\n\n```\w+\n(.*?)^```", body, re.DOTALL | re.MULTILINE)[0]
    table, line = (re.findall(r"Its line in `(\w+)`[^`]*?(?:`Preset`[^`]*)?```python\n(.*)\n```", body) or [("", "")])[
        0
    ]
    return Section(path, text, table, line, tuple(re.findall(r"^blendset (.*)$", body, re.MULTILINE)))


@contextmanager
def added(title: str, checkout: Path) -> Iterator[Section]:
    """The file and the line of a section, as if they stood in the checkout."""
    section = read_section(title)
    file = checkout / section.path
    file.parent.mkdir(parents=True)
    file.write_text(section.text, encoding="utf-8")
    name = ".".join(Path(section.path).with_suffix("").parts[1:])
    with pytest.MonkeyPatch.context() as patch:
        if section.table:
            folder: Any = importlib.import_module(name.rpartition(".")[0])
            patch.setattr(folder, "__path__", [*folder.__path__, str(file.parent)])
            for key, value in eval(f"{{{section.line}}}", vars(presets)).items():
                patch.setitem(TABLES[section.table], key, value)
        else:
            shutil.copytree(rules.PRESETS, file.parent, dirs_exist_ok=True)
            patch.setattr(rules, "PRESETS", file.parent)
        yield section
    sys.modules.pop(name, None)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def views(here: Path) -> Dataset:
    return thirty_views(Path("DATASET"))


# ---- the sections of the page ----------------------------------------------------------------------------------------


def test_a_scorer(views: Dataset, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with added("A scorer", here) as section:
        section.run()
        assert "colourfulness.value" in capsys.readouterr().out
        assert read_index_with_stages(views)["colourfulness.value"].null_count == 0
        module = importlib.import_module("blendset_trainer.scoring.colourfulness")
        assert module.compute_colourfulness(np.full((4, 4, 3), 90, np.uint8)) == 0
        halves = np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)
        assert module.compute_colourfulness(halves) == pytest.approx(255 + 0.3 * 127.5)
    assert main(shlex.split(section.commands[0])) == 2
    assert "There is no 'colourfulness'" in capsys.readouterr().err


def test_a_captioner(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = make_dataset(Path("DATASET"))
    add_scene(dataset, "attic")
    add_view(dataset, "attic", "lamp", 0, elevation_deg=30.0)
    add_view(dataset, "attic", "", 1)
    dataset.rebuild_index()
    with added("A captioner", here) as section:
        section.run()
    assert "1 of them got no words" in capsys.readouterr().err
    assert read_index_with_stages(dataset)["caption"].to_pylist() == ["A picture of the lamp, seen from above.", None]
    assert main(shlex.split(section.commands[0])) == 2


def test_an_export_format(views: Dataset, here: Path) -> None:
    captions = {view.view_id: f"View {view.view_id}." for view in views.views()}
    views.rebuild_index(captions)
    with added("An export format", here) as section:
        section.run()
    written = json.loads(Path("KOHYA/train.json").read_text(encoding="utf-8"))
    assert {Path(name).stem: one["caption"] for name, one in written.items()} == captions
    assert {Path("KOHYA/train", name) for name in written} == set(Path("KOHYA/train").iterdir())
    assert main(shlex.split(section.commands[0])) == 2


def test_a_selection_preset(here: Path) -> None:
    dataset = make_dataset(Path("DATASET"))
    for number in range(4):
        boxes.add_scene(dataset, "attic")
        boxes.add_view(dataset, "attic", number)
    dataset.rebuild_index()
    with added("A selection preset", here) as section:
        score, select, select_by_file = section.commands
        assert main(shlex.split(score)) == 0
        in_new_process = "from blendset_trainer.selection import rules; from pathlib import Path; import sys; "
        in_new_process += "rules.PRESETS = Path(sys.argv.pop(1)); from blendset_trainer.cli.main import main; main()"
        command = [sys.executable, "-c", in_new_process, str(rules.PRESETS), *shlex.split(select)]
        subprocess.run(command, check=True)
        shutil.copy(section.path, ".")
    assert main(shlex.split(select_by_file)) == 0
    for name in ("overview", "overview-again"):
        assert pq.read_table(f"DATASET/selections/{name}.parquet").num_rows > 0
    assert main(shlex.split(select)) == 2


def test_a_camera_preset(here: Path) -> None:
    room, settings = furnished_room(), {"cameras": {"preset": "overhead", "candidates": 16}}
    with added("A camera preset", here):
        result = planner.plan(room, BruteForce(room), config_from_dict(settings))
    assert any(verdict.accepted for verdict in result.verdicts)
    elevations = [verdict.candidate.angles[1] for verdict in result.verdicts]
    assert 50 < min(elevations) < max(elevations) < 90
    with pytest.raises(BlendsetError, match=r"cameras\.preset is 'overhead'"):
        config_from_dict(settings)


def test_a_model_family(views: Dataset, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views.rebuild_index({view.view_id: "a red chair" for view in views.views()})
    model = save_aura_flow(here / "aura")
    Path("run.toml").write_text(
        'out = "run"\n[model]\npath = "aura"\n[train]\nsamples = 4\nbatch = 2\nmicro_batch = 2\nresolution = 32\n'
        '[[source]]\nname = "render"\ndataset = "DATASET"\n',
        encoding="utf-8",
    )
    with added("A model family", here) as section:
        test_families.test_the_denoiser_is_called_as_diffusers_calls_it(lambda kind: model, "aura_flow")
        section.run()
    assert "4 pictures seen" in capsys.readouterr().out
    assert main(shlex.split(section.commands[0])) == 1
    assert "which Blendset cannot train" in capsys.readouterr().err


def save_aura_flow(folder: Path) -> Path:
    """A tiny AuraFlow with random weights, as a folder."""
    torch.manual_seed(0)
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=16, num_mmdit_layers=1, num_single_dit_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=32, caption_projection_dim=16, pos_embed_max_size=256,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=1.73)
    words, text_encoder = tiny_pipelines._words(), tiny_pipelines._t5()
    pipeline = diffusers.AuraFlowPipeline(words, text_encoder, tiny_pipelines._vae(), transformer, scheduler)
    return tiny_pipelines._saved(pipeline, folder)


# ---- packages of others ----------------------------------------------------------------------------------------------


def install(site: Path, package: str, group: str, **points: str) -> None:
    """What an installer leaves of a package that has nothing but entry points."""
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    lines = "".join(f"{name.replace('_', '-')} = {target}\n" for name, target in points.items())
    (info / "entry_points.txt").write_text(f"[blendset.{group}]\n{lines}", encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where packages can be installed."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    registry.list_entry_points.cache_clear()
    yield tmp_path / "site"
    registry.list_entry_points.cache_clear()


def test_a_scorer_from_a_package_of_its_own(views: Dataset, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, and in the worker processes of that, from what the page's pyproject.toml declares."""
    (group, name, target) = re.findall(r'entry-points."blendset\.(\w+)"\]\n(\w+) = "(.*)"', PAGE)[0]
    site = here / "site"
    install(site, "blendset-colours", group, **{name: target})
    module = site / Path(*target.partition(":")[0].split(".")).with_suffix(".py")
    module.parent.mkdir()
    module.write_text(read_section("A scorer").text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(site))
    command = [sys.executable, "-m", "blendset_trainer.cli", "score"]
    subprocess.run([*command, "DATASET", "--with", name, "--executor", "processes", "--workers", "1"], check=True)
    assert read_index_with_stages(views)[f"{name}.value"].null_count == 0
    shutil.rmtree(site)
    gone = subprocess.run([*command, "DATASET", "--with", name], stderr=subprocess.PIPE, text=True, check=False)
    assert gone.returncode == 2
    assert gone.stderr.startswith(f"blendset: There is no '{name}'; ")


def test_help_and_choices_show_what_other_packages_bring(
    site: Path, views: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "colours", "scorers", **{"glare": "colours:Glare", "tint:MODEL": "colours:find_tint"})
    install(site, "papers", "exports", latex=f"{__name__}:write_nothing")
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    assert "glare, tint:MODEL" in " ".join(capsys.readouterr().out.split())
    assert main(["export", "DATASET", "--to", "latex", "--out", "out"]) == 1
    assert "No view of DATASET can go into latex" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert ",yolo,latex}" in capsys.readouterr().out
    assert main(["score", "DATASET", "--with", "tint"]) == 2
    assert "write tint:MODEL" in capsys.readouterr().err


def write_nothing(source: Any, out: Path) -> int:
    """An export."""
    return 0


def test_a_broken_package_costs_only_itself(site: Path, views: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "broken", "scorers", absent="no_such_module:Scorer", wordless=f"{__name__}:Wordless")
    install(site, "broken-family", "families", SanaPipeline="no_such_module:Sana")
    (site / "torn-1.0.dist-info").mkdir()
    (site / "torn-1.0.dist-info" / "entry_points.txt").write_bytes(b"[blendset.scorers]\n\xff\xfe=\n\0")
    assert main(["score", "DATASET", "--with", "phash"]) == 0
    capsys.readouterr()
    for name, reason in (
        ("absent", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("wordless", "TypeError"),
    ):
        assert main(["score", "DATASET", "--with", name]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"blendset: The scorer '{name}' of the package broken cannot be used ({reason}")
        assert error.count("\n") == 1
    assert "SanaPipeline" in FAMILIES
    assert "SanaPipeline" not in FAMILIES.load_all()
    with pytest.raises(BlendsetError, match="The family 'SanaPipeline' of the package broken-family cannot be used"):
        FAMILIES.load("SanaPipeline")


class Wordless:
    """A scorer that cannot be made."""

    def __init__(self, word: str) -> None:
        self.word = word


def test_a_name_that_two_packages_have_is_refused(
    site: Path, views: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "copycat", "scorers", phash="copycat:Phash", glare="copycat:Glare")
    install(site, "optics", "scorers", glare="optics:Glare")
    assert main(["score", "DATASET", "--with", "phash"]) == 1
    assert "The scorer 'phash' is in blendset-trainer and in copycat; " in capsys.readouterr().err
    assert main(["score", "DATASET", "--with", "glare"]) == 1
    assert "The scorer 'glare' is in copycat and in optics; " in capsys.readouterr().err
    assert main(["score", "DATASET", "--with", "image-stats"]) == 0


@pytest.mark.parametrize("words", [["--help"], ["verify", "--help"], ["score", "DATASET", "--executor", "nowhere"]])
def test_entry_points_are_not_read_before_somebody_asks(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "list_entry_points", lambda: pytest.fail("entry points were read"))
    with pytest.raises(SystemExit) if "--help" in words else pytest.MonkeyPatch.context():
        assert main(words) == 2
