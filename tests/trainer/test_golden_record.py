# SPDX-License-Identifier: Apache-2.0
"""What the commands say and leave on disk is what they have always said and left: a refactoring changes none of it.

Everything goes through the command line and the files on disk, so no name of a module stands here. golden/ holds the
record: one file per topic, with floats that are compared with a tolerance, and without what differs from machine to
machine. `python -m tests.trainer.test_golden_record [TOPIC ...]` writes it anew, for a change that is meant.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.real_runs import BLENDER, ROOT, require_blender, save_scene
from tests.trainer.golden_inputs import make_all

GOLDEN = Path(__file__).with_name("golden")
CLOSE, TINY = 1e-4, 1e-5
"""Relative and absolute: how far figures may be off, for processors add in another order."""
CAMERA = "world_from_camera"
"""Where only the absolute holds."""
SHOWN = 0.01
"""Relative: how far figures in printed text may be off, which have few digits."""
CONTEXT = 40
"""Characters of a text that are shown before the first that differs."""
LINE = 116
"""Characters of a line of a data file, where it can be kept."""
UNSTABLE = {"seconds", "bytes", "passed", "blend_sha256"}
"""Keys whose values differ from run to run, with the library that packs pictures, or with the noise of few pixels."""

PLANNING = """
[cameras]
views = 24
candidates = 24
"""
FEW = """
[cameras]
views = 24
candidates = 8
"""
RENDERING = """
[cameras]
views = 6
candidates = 8
[preview]
resolution = 32
samples = 2
[render]
resolution = 48
samples = 2
device = "cpu"
"""
TRAINING = """
out = "run"
[model]
path = "models/stable_diffusion"
method = "lora"
rank = 2
[train]
samples = 8
batch = 4
micro_batch = 2
resolution = 32
log_every = 1
[plan]
reference = "pixart-linear"
[[source]]
name = "render"
dataset = "rooms"
[[source.bands]]
weight = 0.25
[[source]]
name = "synthetic"
kind = "synthetic"
dataset = "figures"
selection = "bootstrap3d"
[[source.bands]]
lo = 200
weight = 0.75
"""
RULES = """
views = 12
[[keep]]
column = "image-stats.sharpness"
at_least = 60.0
missing = "keep"
reason = "not sharp"
[ranking]
standardise = true
[[ranking.terms]]
column = "ssim-roundtrip.ssim"
[[ranking.terms]]
column = "image-stats.mean"
weight = 0.5
[[duplicates]]
column = "phash.hash"
bits = 6
[budgets]
label = 3
subject = 2
[splits]
held_out = 0.3
by = "label"
[sources.synthetic]
weight = 0.5
noise_band = "log_snr <= 0.5"
"""
K_CENTER = """
views = 10
[[keep]]
column = "source"
one_of = ["render"]
[ranking]
[[ranking.terms]]
column = "image-stats.mean"
[diversity]
method = "k-center"
column = "dino-dinov2-base.embedding"
quality = 0.5
"""
SCENES = ("one_mesh", "collection_instances")
"""Of tests/addon/scenes.py, beside the tidy one."""
PLACEMENTS = ("blendfusion", "random-grid", "orbit-4", "scene-cameras")
SELECTIONS = {
    "figures": {
        "preset-blendset": "--preset blendset",
        "blendfusion": "--preset blendfusion --top 12",
        "synthvlm": "--preset synthvlm",
        "syncd": "--preset syncd",
        "bootstrap3d": "--preset bootstrap3d",
        "ruled": "--rules rules.toml",
        "diverse": "--rules k-center.toml",
        "other-scorer": "--preset synthvlm --scorer clip-synthvlm=clip-vit-l-14",
    },
    "rooms": {"preset-blendset": "--preset blendset", "ruled": "--rules rules.toml"},
}
"""The selections of each dataset, and the rules of each."""
CAPTION = "caption rooms --with metadata"
SCORERS = "image-stats", "ssim-roundtrip", "phash", "geometry", "consistency"
FORMATS = "image-text", "webdataset", "huggingface", "croissant", "coco", "bop", "nerf", "colmap", "llava", "yolo"
PROMPTS = {
    "restyle": "--kind restyle --count 12",
    "deformable": "--kind deformable --count 6 --seed 1",
    "text-to-image": "--kind text-to-image --count 6",
    "curated": "--kind restyle --count 8 --seed 2 --curate synthvlm --keep-out restyle.jsonl",
}
SYNTHESIS = {
    "restyle": "--model models/flux_depth --prompts asked.txt --views 4 --covisible 0",
    "text-to-image": "--model models/pixart_sigma --prompts text-to-image.jsonl --width 32 --height 32",
    "deformable": "--model models/flux --prompts deformable.jsonl --width 32 --height 32",
    "novel-views": "--model models/zero123plus-v1.2 --remote-code sheet-code --variants 2",
}
COMMAND_IN_HELP = re.compile(r"^    ([a-z0-9-]+)(?: {2}|$)", re.MULTILINE)
NUMBER_OF_A_FILE = re.compile(r"(?<![0-9A-Za-z])\d{4,}(?![0-9A-Za-z])")
NUMBER = re.compile(r"(-?\d+\.\d+(?:e[+-]?\d+)?)")


class Workshop:
    """A folder with inputs, in which each command is run once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        [self._main] = {each.load() for each in entry_points(group="console_scripts", name="blendset")}
        self._printed: dict[str, str] = {}

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, line: str) -> str:
        """What `blendset` with these words (none with a blank in it) prints; it is to succeed."""
        if line not in self._printed:
            words, out, err = line.split(), StringIO(), StringIO()
            if words[0] in ("plan", "render") or words[:2] == ["blender", "check"]:
                words += ["--blender", str(BLENDER)]
            with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
                patch.chdir(self.folder)
                patch.setenv("COLUMNS", "100")
                patch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(self.folder / "modules"))
                try:
                    code = self._main(words)
                except SystemExit as stop:  # after --help
                    code = stop.code
            assert code == 0, f"blendset {line}: exit code {code}\n{out.getvalue()}\n{err.getvalue()}"
            self._printed[line] = self._normalize(out.getvalue())
        return self._printed[line]

    def run_json(self, *lines: str) -> dict[str, Any]:
        """What commands print with --json, by their words."""
        return {line: mask_keys(json.loads(self.run(f"{line} --json")), UNSTABLE) for line in lines}

    def read(self, pattern: str) -> Any:
        """What the JSON file of this pattern says, or each line of the .jsonl file."""
        [path] = self.folder.glob(pattern)
        text = self._normalize(path.read_text(encoding="utf-8"))
        value = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
        return mask_keys(value, UNSTABLE)

    def read_first(self, pattern: str) -> Any:
        """The same of the first of several files."""
        return self.read(min(self.folder.glob(pattern)).relative_to(self.folder).as_posix())

    def read_rows(self, pattern: str) -> dict[str, dict[str, Any]]:
        """The rows of the parquet files of this pattern, by view."""
        paths = sorted(self.folder.glob(pattern))
        assert paths, f"there is no {pattern}"
        rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
        return {row.pop("view_id"): mask_keys(row, {"key"}) for row in rows}

    def count_files(self, folder: str) -> dict[str, int]:
        """How many files there are of each name below a folder, numbers and hashes in names aside."""
        root = self.folder / folder
        names = (self._normalize(path.relative_to(root).as_posix()) for path in root.rglob("*.*"))
        return dict(sorted(Counter(NUMBER_OF_A_FILE.sub("0000", name) for name in names).items()))

    def _normalize(self, text: str) -> str:
        """Without this machine's paths, and without what follows from the bytes of a scene or of weights."""
        for blend in self.folder.glob("*.blend"):
            text = text.replace(hashlib.sha256(blend.read_bytes()).hexdigest()[:6], "BLEND")
        for path, name in ((self.folder.resolve(), "FOLDER"), (self.folder, "FOLDER"), (ROOT, "ROOT")):
            text = text.replace(str(path), name)
        text = re.sub(r"\b[0-9a-f]{32,64}\b", "HASH", text)
        text = re.sub(r"(?<=-)[0-9a-f]{10}\b", "ID", text)
        return re.sub(r"(?<=tfevents)\.\S*", "", text)


def mask_keys(value: Any, hidden: Collection[str]) -> Any:
    """The value, with a dash in place of what stands under these keys."""
    if isinstance(value, dict):
        return {key: "-" if key in hidden else mask_keys(each, hidden) for key, each in value.items()}
    return [mask_keys(each, hidden) for each in value] if isinstance(value, list) else value


def describe_types(value: Any) -> Any:
    """The keys of a value, and the type of what stands under each; of a list of such, of the first."""
    if isinstance(value, dict):
        return {key: describe_types(each) for key, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [describe_types(value[0])]
    return type(value).__name__


# --- what is recorded -------------------------------------------------------------------------------------------------


def record_help(shop: Workshop) -> dict[str, str]:
    """The help of every command that a help names."""
    found, waiting = dict[str, str](), [""]
    while waiting:
        command = waiting.pop(0)
        line = f"{command} --help".strip()
        found[line] = shop.run(line)
        *_, inner = re.split(r"\n(?:commands|jobs):\n", found[line])
        waiting += [f"{command} {name}".strip() for name in COMMAND_IN_HELP.findall(inner)]
    return found


def record_demo_room(shop: Workshop) -> Any:
    """The plan of the demo's room, and what the gates make of it by other ways of placing cameras."""
    require_blender()
    subprocess.run([BLENDER, ROOT / "demo" / "room.py", shop.folder / "room.blend"], check=True, capture_output=True)
    presets = " ".join(f"--preset {preset}" for preset in PLACEMENTS)
    output = shop.run_json(
        "plan room.blend --config planning.toml --out plan.json", f"plan room.blend --config few.toml {presets}"
    )
    return output | {"plan.json": shop.read("plan.json")}


def record_scenes(shop: Workshop) -> Any:
    """A rendered dataset but for its pixels, and what the gates make of scenes of other kinds.

    A placement as published is rendered, for it needs no previews, whose noise is another in each file of a scene.
    """
    require_blender()
    save_scene(shop.folder / "tidy.blend")
    tidy = "tidy.blend --config rendering.toml"
    found: Any = shop.run_json(f"plan {tidy} --out tidy.json", f"render {tidy} --preset blendfusion --out rendered")
    found |= shop.run_json("verify rendered") | {"tidy.json": shop.read("tidy.json")}
    for name in ("dataset.json", "scenes/*.json", "plans/*.json", "funnels/*.jsonl"):
        found[name] = shop.read(f"rendered/{name}")
    found["a view.json"] = describe_types(shop.read_first("rendered/views/**/view.json"))
    found["a line of metadata.jsonl"] = list(shop.read("rendered/metadata.jsonl")[0])
    found["runs/*.json"] = describe_types(shop.read("rendered/runs/*.json"))
    found["files"] = shop.count_files("rendered")
    for name in SCENES:
        save_scene(shop.folder / f"{name}.blend", name)
        found |= shop.run_json(f"plan {name}.blend --config planning.toml")
    return found | {
        line: describe_types(output) for line, output in shop.run_json("blender list", "blender check").items()
    }


def record_captions(shop: Workshop) -> Any:
    """The captions from passes, of two seeds."""
    output = shop.run_json(CAPTION)
    rows = shop.read_rows("rooms/captions/*/*.parquet")
    shutil.copytree(shop.folder / "rooms", shop.folder / "said-otherwise", dirs_exist_ok=True)
    return output | {"rows": rows} | shop.run_json("caption said-otherwise --with metadata --seed 3")


def record_scores(shop: Workshop) -> Any:
    """Every figure of the scorers without a model; of tiny models, whose weights differ from machine to machine, which
    figures there are."""
    output = shop.run_json(CAPTION, f"score rooms --with {','.join(SCORERS)}")
    for scorer in SCORERS:
        output[scorer] = shop.read_rows(f"rooms/scores/{scorer}-*/*.parquet")
        output[f"{scorer}/stage.json"] = shop.read(f"rooms/scores/{scorer}-*/stage.json")
    shutil.copytree(shop.folder / "rooms", shop.folder / "modelled", dirs_exist_ok=True)
    modelled = shop.run_json("score modelled --with clip:models/open_clip,dino:models/dino")
    return output | {line: describe_types(value) for line, value in modelled.items()}


def record_selections(shop: Workshop) -> Any:
    """Which views are chosen, in order, and what decided on each other view."""
    record_scores(shop)
    found: Any = {}
    for dataset, rules in SELECTIONS.items():
        for name, words in rules.items():
            found |= shop.run_json(f"select {dataset} {words} --name {name}")
            folder = f"{dataset}/selections/{name}"
            found[folder] = [[view, *row.values()] for view, row in shop.read_rows(f"{folder}.parquet").items()]
            found[f"{folder} drops"] = [
                [view, *row.values()] for view, row in shop.read_rows(f"{folder}.drops.parquet").items()
            ]
    return found


def record_exports(shop: Workshop) -> Any:
    """The files of every format, and the page of the report."""
    record_selections(shop)
    found: Any = {}
    for to in FORMATS:
        found |= shop.run_json(f"export rooms --to {to} --out exports/{to}")
        found[f"exports/{to}"] = shop.count_files(f"exports/{to}")
    chosen = "exports/chosen"
    found |= shop.run_json(f"export rooms --to image-text --selection ruled --out {chosen}")
    found["texts"] = {each.name: each.read_text("utf-8") for each in sorted((shop.folder / chosen).rglob("*.txt"))}
    for name in ("coco/annotations/*_train.json", "nerf/**/transforms.json", "croissant/croissant.json"):
        found[f"the keys of {name}"] = describe_types(shop.read_first(f"exports/{name}"))
    found |= shop.run_json(
        "unpack exports/webdataset --out unpacked", "report rooms --selection ruled --out report.html"
    )
    return found | {"unpacked": shop.count_files("unpacked")}


def record_prompts(shop: Workshop) -> Any:
    """What the grammar and the captions give generators to draw."""
    record_captions(shop)
    found: Any = {}
    for name, words in PROMPTS.items():
        found |= shop.run_json(f"prompts rooms {words} --out {name}.jsonl")
        found[f"{name}.jsonl"] = shop.read(f"{name}.jsonl")
    return found


def record_synthesis(shop: Workshop) -> Any:
    """What tiny models are asked for by each job, and what their pictures are recorded as."""
    record_prompts(shop)
    found: Any = {}
    for job, words in SYNTHESIS.items():
        shutil.copytree(shop.folder / "rooms", shop.folder / "sets" / job)
        found |= shop.run_json(f"synthesize {job} sets/{job} {words} --steps 2")
        made = [path.parent for path in (shop.folder / "sets" / job).rglob("synthesis.json")]
        relative = [path.relative_to(shop.folder).as_posix() for path in made]
        kinds = [(shop.read(f"{each}/view.json"), shop.read(f"{each}/synthesis.json")) for each in relative]
        found[f"{job}: pictures"] = sorted(
            f"{view['scene']}/{view['subject']} {view['view_index']} of {view['view_set']} from "
            f"{', '.join(made['parents']) or 'nothing'}: {made['prompt']}"
            for view, made in kinds
        )
        found[f"{job}: synthesis.json"] = mask_keys(kinds[0][1], {"seed", "prompt", "parents"})
        found[f"{job}: view.json"] = describe_types(kinds[0][0])
    return found


def record_training(shop: Workshop) -> Any:
    """The plan of a run, its options, what it leaves, and what samples its LoRA; losses are in golden_losses.json."""
    record_selections(shop)
    train = "train training.toml"
    found: Any = shop.run_json(f"{train} --dry-run", f"{train} --explain", train)
    found["run"] = shop.count_files("run")
    found["log.jsonl"] = sorted({key for row in shop.read("run/log.jsonl") for key in row})
    found |= shop.run_json("cache info rooms", "cache gc rooms")
    found |= shop.run_json("sample models/stable_diffusion --lora run/lora --prompts asked.txt --steps 2 --out samples")
    return found | shop.run_json("calibrate figures --clean render --source synthetic --resolution 32")


def record_printed(shop: Workshop) -> dict[str, str]:
    """What commands print for a person, once all there is to do has been done."""
    record_scores(shop), record_selections(shop), record_training(shop)
    lines = [
        CAPTION, f"score rooms --with {','.join(SCORERS)}", "verify rooms",
        "select figures --preset syncd --name syncd", "select rooms --rules rules.toml --name ruled",
        "prompts rooms --kind restyle --count 3 --out few.jsonl",
        "train training.toml --dry-run", "train training.toml --explain", "cache info rooms", "cache gc rooms",
        "calibrate figures --clean render --source synthetic --resolution 32",
    ]  # fmt: skip
    return {line: shop.run(line) for line in lines}


TOPICS: dict[str, Callable[[Workshop], Any]] = {
    "help.txt": record_help,
    "printed.txt": record_printed,
    "demo_room.json": record_demo_room,
    "scenes.json": record_scenes,
    "captions.json": record_captions,
    "scores.json": record_scores,
    "selections.json": record_selections,
    "exports.json": record_exports,
    "prompts.json": record_prompts,
    "synthesis.json": record_synthesis,
    "training.json": record_training,
}
"""The data files, and what each records."""


# --- comparing --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return make_workshop(tmp_path_factory.mktemp("golden"))


def make_workshop(folder: Path) -> Workshop:
    make_all(folder)
    made = Workshop(folder)
    made.write("asked.txt", "a red chair\nthe blue lamp\n")
    texts = {"planning": PLANNING, "few": FEW, "rendering": RENDERING, "training": TRAINING, "rules": RULES}
    for name, text in (texts | {"k-center": K_CENTER}).items():
        made.write(f"{name}.toml", text)
    return made


@pytest.mark.parametrize("name", TOPICS)
def test_nothing_differs_from_the_record(shop: Workshop, name: str) -> None:
    text = (GOLDEN / name).read_text(encoding="utf-8")
    recorded = split_sections(text) if name.endswith(".txt") else json.loads(text)
    found = json.loads(json.dumps(TOPICS[name](shop)))
    differing = list(find_differences("", recorded, found))
    assert not differing, f"{len(differing)} differ from golden/{name}:\n" + "\n".join(differing[:40])


def test_a_difference_is_found_wherever_it_is() -> None:
    recorded = {"a": [1, 2.0, "mean 0.500"], "b": {"c": None}, "d": "x"}
    assert not list(find_differences("", recorded, {"a": [1, 2.00001, "mean  0.50001"], "b": {"c": None}, "d": "x"}))
    for other in (
        [1, 2.001, "mean 0.500"],
        [2, 2.0, "mean 0.500"],
        [1, 2.0, "mean 0.510"],
        [1, 2.0],
        [1, 2.0, "sum 0.500"],
    ):
        assert len(list(find_differences("", recorded, recorded | {"a": other}))) == 1
    assert list(find_differences("", recorded, {"a": recorded["a"], "b": {"e": 0}, "d": "x"})) == [
        "b/c: None is gone",
        "b/e: 0 is new",
    ]


def find_differences(where: str, recorded: Any, found: Any) -> Iterator[str]:
    """Where a value is not what was recorded: other words, or a float that is further off than rounding brings it."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        for key in recorded | found:
            inner = f"{where}/{key}".removeprefix("/")
            if key in recorded and key in found:
                yield from find_differences(inner, recorded[key], found[key])
            elif key in recorded:
                yield f"{inner}: {shorten_value(recorded[key])} is gone"
            else:
                yield f"{inner}: {shorten_value(found[key])} is new"
    elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for number, pair in enumerate(zip(recorded, found, strict=True)):
            yield from find_differences(f"{where}/{number}", *pair)
    elif not is_same(recorded, found, 0 if CAMERA in where else CLOSE):
        begin = 0
        if isinstance(recorded, str) and isinstance(found, str):
            recorded, found = (" ".join(each.split()) for each in (recorded, found))
            alike = (one == two for one, two in zip(recorded, found, strict=False))
            begin = max(next((number for number, same in enumerate(alike) if not same), 0) - CONTEXT, 0)
        yield f"{where}: {shorten_value(recorded, begin)} became {shorten_value(found, begin)}"


def is_same(recorded: Any, found: Any, close: float) -> bool:
    if isinstance(recorded, str) and isinstance(found, str):
        pairs = list(zip(NUMBER.split(" ".join(recorded.split())), NUMBER.split(" ".join(found.split())), strict=False))
        return len(NUMBER.findall(recorded)) == len(NUMBER.findall(found)) and all(
            float(one) == pytest.approx(float(two), rel=SHOWN) if number % 2 else one == two
            for number, (one, two) in enumerate(pairs)
        )
    if isinstance(recorded, float) and isinstance(found, float):
        return found == pytest.approx(recorded, rel=close, abs=TINY)
    return type(recorded) is type(found) and bool(recorded == found)


def shorten_value(value: Any, begin: int = 0) -> str:
    """A value as a line shows it; of a text from some place on."""
    text = repr(value[begin:] if isinstance(value, str) else value)
    return "..." * (begin > 0) + (text if len(text) <= 2 * LINE else f"{text[: 2 * LINE]}...")


# --- writing ----------------------------------------------------------------------------------------------------------


def split_sections(text: str) -> dict[str, str]:
    """The texts of a data file, by the command that printed each."""
    parts = re.split(r"^\$ blendset (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def format_json(value: Any, indent: str = "") -> str:
    """JSON in which what fits into a line has a line of its own."""
    plain = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(plain) <= LINE or not isinstance(value, dict | list) or not value:
        return plain
    deeper = indent + " "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + format_json(each, deeper) for each in value) + f"\n{indent}]"
    lines = [
        f"{deeper}{json.dumps(key, ensure_ascii=False)}: {format_json(each, deeper)}" for key, each in value.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def round_floats(value: Any) -> Any:
    """The value with floats of seven digits, of which no more are compared."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: round_floats(each) for key, each in value.items()}
    return list(map(round_floats, value)) if isinstance(value, list) else value


def write(*names: str) -> None:
    """Write these topics, or all."""
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        shop = make_workshop(Path(folder))
        for name in names or TOPICS:
            found = TOPICS[name](shop)
            if name.endswith(".txt"):
                text = "".join(f"$ blendset {line}\n{output}\n" for line, output in found.items())
            else:
                text = format_json(round_floats(found)) + "\n"
            (GOLDEN / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(*sys.argv[1:])
