# SPDX-License-Identifier: Apache-2.0
"""Whether this tree makes the same files, to the byte, as another revision on this machine: for steps of a refactoring.

python tests/compare_bytes.py REVISION [--ignore PATTERN ...]       with the trainer's Python; some minutes

Each tree runs its own code over the same scenes, in a folder of the same name: renders, captions, scores, selections,
exports, reports, prompts, synthesized pictures, trained weights and samples. What REVISION makes is kept in
build/compare-bytes until this script or its scenes change. REVISION must have tests/trainer/golden_inputs.py.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "compare-bytes"
SCENES, WORK, DONE = KEPT / "scenes", KEPT / "work", "done"
PYTHON = Path(sys.executable)
BLENDER = ROOT / ".venv-blender" / PYTHON.relative_to(PYTHON.parents[1])
ADDON_WHEELS = Path("build/wheels")
NOT_COMPARED = (
    "inputs/models/*", "modules/*", "*/cache/views-*", "*/cache/scores-*", "*/cache/captions-*", "*/tensorboard/*",
    "*.lock", "exports/orbits-webdataset/index.parquet",
)  # fmt: skip
"""What no command makes, what says when it was made, and where records lie in a tar that say how long things took."""
TEXTS = (".json", ".jsonl", ".txt", ".html", ".md", ".toml")
MOMENTS = (
    re.compile(rb'("timings": )\{[^}]*\}'),
    re.compile(rb'("(?:seconds|samples_per_second|waiting_share)": )[-+.e\d]+'),
)
"""What of the bytes of a text says how long something took."""
TIDY = """
import bpy, os, pathlib, sys
from tests.addon import scenes
scenes.tidy(pathlib.Path(sys.argv[1]))
os._exit(0)
"""
"""Saves the scene of tests/addon/scenes.py that nothing is wrong with."""
MAIN = """
import contextlib, importlib, os, pathlib, sys
module, function = sys.argv[1].split(":")
main = getattr(importlib.import_module(module), function)
top = pathlib.Path(sys.argv[2])
assert top in pathlib.Path(sys.modules[module].__file__).parents, f"{module} is not that of {top}"
for number, line in enumerate(pathlib.Path(sys.argv[3]).read_text().splitlines()):
    said = pathlib.Path("said", f"{pathlib.Path(sys.argv[3]).stem}-{number:02}.txt")
    with said.open("w") as file, contextlib.redirect_stdout(file):
        print("$", line)
        code = main(line.split())
    if code:
        sys.exit(f"'blendset {line}' ended with {code}")
"""
"""Runs the commands of a file, one after another in one process, for each would load torch anew."""
RENDERING = """
[cameras]
views = 8
candidates = 24
[preview]
resolution = 32
samples = 2
[render]
resolution = 56
samples = 3
device = "cpu"
"""
ORBITS = """
[subjects]
include = ["armchair"]
[cameras]
preset = "orbit-4"
views = 4
[preview]
resolution = 32
samples = 2
[render]
resolution = 64
samples = 3
device = "cpu"
"""
RULES = """
views = 5
[ranking]
standardise = true
[[ranking.terms]]
column = "image-stats.sharpness"
[[ranking.terms]]
column = "ssim-roundtrip.ssim"
weight = 0.5
[[duplicates]]
column = "phash.hash"
bits = 4
[budgets]
subject = 3
"""
LORA = """
out = "lora-run"
[model]
path = "inputs/models/stable_diffusion_xl"
method = "lora"
rank = 2
[train]
samples = 12
batch = 4
micro_batch = 2
resolution = 32
log_every = 1
checkpoint_every = 8
[references]
count = 1
[validation]
every = 8
prompts = ["a red chair"]
steps = 2
[[source]]
name = "render"
dataset = "orbits"
"""
FULL = """
out = "full-run"
[model]
path = "inputs/models/pixart_sigma"
method = "full"
[train]
samples = 12
batch = 4
micro_batch = 2
resolution = 32
log_every = 1
ema = 0.9
[optimizer]
learning_rate = 1e-3
[plan]
reference = "pixart-linear"
loss_weighting = "min-snr"
[[source]]
name = "render"
dataset = "tidy"
selection = "ruled"
[[source.bands]]
weight = 0.5
[[source]]
name = "synthetic"
kind = "synthetic"
dataset = "inputs/figures"
selection = "bootstrap3d"
[[source.bands]]
lo = 200
weight = 0.5
"""
FILES = {
    "rendering.toml": RENDERING,
    "orbits.toml": ORBITS,
    "rules.toml": RULES,
    "lora.toml": LORA,
    "full.toml": FULL,
    "asked.txt": "a red chair\nthe blue lamp\n",
}
WITHOUT_MODELS = "image-stats,ssim-roundtrip,phash,geometry,consistency"
WITH_MODELS = ",".join(
    f"{scorer}:inputs/models/{model}"
    for scorer, model in {
        "clip": "open_clip", "preference": "clip", "dino": "dino", "feature-consistency": "dino",
        "depth-agreement": "depth", "mask-agreement": "sam", "vqa": "llava", "vlm-quality": "llava",
    }.items()
)  # fmt: skip
FORMATS = "image-text", "webdataset", "huggingface", "croissant", "coco", "bop", "nerf", "colmap"
PRESETS = "blendset", "blendfusion", "synthvlm", "syncd", "bootstrap3d"
SYNTHESIZED = {
    "depth": "restyle --model inputs/models/flux_depth --prompts asked.txt --views 4 --covisible 0",
    "control": "restyle --model inputs/models/stable_diffusion_xl --controlnet inputs/models/controlnet --prompt red"
    " --views 3 --covisible 0 --warp clean --anchor --cfg-scale 3",
    "text": "text-to-image --model inputs/models/pixart_sigma --variants 2 --width 32 --height 32",
    "deformable": "deformable --model inputs/models/flux --prompts deformable.jsonl --width 32 --height 32",
    "novel": "novel-views --model inputs/models/zero123plus-v1.2 --remote-code inputs/sheet-code",
}
"""The job of each copy of the orbits, and its options."""


def rendering() -> Iterator[str]:
    """The commands that start a Blender."""
    blender = f"--blender {BLENDER}"
    yield f"plan scenes/room.blend --config rendering.toml --out plan.json {blender}"
    yield f"plan scenes/tidy.blend --config rendering.toml --preset blendfusion --preset anchor-sweep {blender}"
    yield f"render scenes/tidy.blend --out tidy --config rendering.toml --json {blender}"
    yield f"render scenes/room.blend --out orbits --config orbits.toml --json {blender}"
    yield "verify tidy --json"
    yield "verify orbits --json"


def curating() -> Iterator[str]:
    """From renders to exports."""
    datasets = "tidy", "orbits", "inputs/rooms"
    for dataset in datasets:
        yield f"caption {dataset} --with hf:inputs/models/llava"
        yield f"caption {dataset} --with metadata --json"
        yield f"score {dataset} --with {WITHOUT_MODELS}"
        yield f"score {dataset} --with {WITH_MODELS} --json"
        yield f"select {dataset} --rules rules.toml --name ruled"
    yield "select tidy --preset blendset --name usual --json"
    for preset in PRESETS:
        yield f"select inputs/figures --preset {preset} --name {preset} --json"
    for to in FORMATS:
        yield f"export inputs/rooms --to {to} --selection ruled --out exports/rooms-{to}"
        yield f"export orbits --to {to} --out exports/orbits-{to} --json"
    yield "unpack exports/rooms-webdataset --out unpacked"
    for kind in ("restyle", "deformable", "text-to-image"):
        yield f"prompts orbits --kind {kind} --count 6 --out {kind}.jsonl --json"


def drawing() -> Iterator[str]:
    """What tiny models draw and learn."""
    for name, words in SYNTHESIZED.items():
        yield f"synthesize {name} --job {words} --steps 2 --json"
        yield f"caption {name} --with metadata"
        yield f"score {name} --with image-stats,consistency"
        yield f"report {name} --out {name}.html"
    for run in ("lora", "full"):
        yield f"train {run}.toml --dry-run --json"
        yield f"train {run}.toml --json"
    yield "cache info orbits --json"
    lora = "inputs/models/stable_diffusion_xl --lora lora-run/lora --steps 2"
    yield f"sample {lora} --prompts asked.txt --out samples --json"
    yield f"sample {lora} --prompts asked.txt --reference samples/0000.png --out beside --json"
    yield "sample full-run/model --prompts asked.txt --steps 2 --out painted --json"
    yield "calibrate inputs/figures --clean render --source synthetic --resolution 32 --json"
    yield "report tidy --selection ruled --training full-run --out report.html"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", metavar="REVISION", help="what this tree is held against, as git names it")
    parser.add_argument("--ignore", action="append", default=[], metavar="PATTERN", help="files that may differ")
    options = parser.parse_args()
    commit = git("rev-parse", f"{options.revision}^{{commit}}")
    make_scenes()
    recorded = kept_products(commit)
    found = KEPT / "here"
    make_products(ROOT, found)
    return compared(recorded, found, options.ignore)


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return done.stdout.strip()


def make_scenes() -> None:
    """Make the scenes that both trees render, once: each file of a scene has an id of its own."""
    if (SCENES / DONE).exists():
        return
    shutil.rmtree(SCENES, ignore_errors=True)
    SCENES.mkdir(parents=True)
    for words in (["-c", TIDY, f"{SCENES}/tidy.blend"], ["demo/room.py", f"{SCENES}/room.blend"]):
        subprocess.run([BLENDER, *words], cwd=ROOT, check=True, capture_output=True)
    (SCENES / DONE).touch()


def kept_products(commit: str) -> Path:
    """What a commit makes, made now unless it was before, from the same scenes and by the same commands."""
    made_by = hashlib.sha256(Path(__file__).read_bytes())
    for scene in sorted(SCENES.glob("*.blend")):
        made_by.update(scene.read_bytes())
    products = KEPT / f"{commit[:12]}-{made_by.hexdigest()[:8]}"
    if not (products / DONE).exists():
        with checked_out(commit) as tree:
            make_products(tree, products)
    return products


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A temporary worktree of a commit, with the wheels of other projects that the add-on carries."""
    tree = KEPT / "tree"
    if tree.exists():
        git("worktree", "remove", "--force", str(tree))
    git("worktree", "add", "--force", "--quiet", "--detach", str(tree), commit)
    try:
        if (ROOT / ADDON_WHEELS).exists():
            shutil.copytree(ROOT / ADDON_WHEELS, tree / ADDON_WHEELS)
        yield tree
    finally:
        git("worktree", "remove", "--force", str(tree))


def make_products(tree: Path, products: Path) -> None:
    """Run a tree's own code from the first command to the last, and keep what it leaves."""
    for folder in (WORK, products):
        shutil.rmtree(folder, ignore_errors=True)
    (WORK / "said").mkdir(parents=True)
    shutil.copytree(SCENES, WORK / "scenes")
    for name, text in FILES.items():
        (WORK / name).write_text(text, encoding="utf-8")
    run(tree, "add-on", "build_addon.py", folder=tree)
    run(tree, "inputs", "-m", "tests.trainer.golden_inputs", "inputs")
    blendset(tree, "rendering", rendering())
    blendset(tree, "curating", curating())
    for name in SYNTHESIZED:
        shutil.copytree(WORK / "orbits", WORK / name)
    blendset(tree, "drawing", drawing())
    WORK.rename(products)
    (products / DONE).touch()


def blendset(tree: Path, stage: str, lines: Iterator[str]) -> None:
    """Run commands of a tree's `blendset`, whatever its module is called there."""
    project = tomllib.loads((tree / "trainer" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    commands = WORK / f"{stage}.txt"
    commands.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    run(tree, stage, "-c", MAIN, project["scripts"]["blendset"], str(tree), str(commands))


def run(tree: Path, stage: str, *words: str, folder: Path = WORK) -> None:
    """Run this Python with a tree's packages before those that are installed, in a process that sees nothing of the
    other tree; what it says is shown where it fails."""
    started = time.monotonic()
    path = os.pathsep.join(str(tree / each) for each in ("shared", "trainer", "", "benchmarks"))
    own = {"PYTHONPATH": path, "XDG_CACHE_HOME": str(KEPT / "cache"), "HF_MODULES_CACHE": str(WORK / "modules")}
    threads = {"OMP_NUM_THREADS": "1"}  # of models as small as these they would only wait for one another
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [PYTHON, *words], cwd=folder, env=environment | own | threads, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout[-2000:]}{done.stderr[-4000:]}\n{stage} of {tree} failed")
    print(f"{tree.name}: {stage}, {time.monotonic() - started:.0f} s", flush=True)


def compared(recorded: Path, found: Path, ignored: list[str]) -> int:
    """Name the files that differ; returns the exit code."""
    ours, theirs = digests(found), digests(recorded)
    kept = [name for name in sorted({*ours, *theirs}) if not any(fnmatch.fnmatch(name, each) for each in ignored)]
    differing = [name for name in kept if ours.get(name) != theirs.get(name)]
    for name in differing:
        where = "differs" if name in ours and name in theirs else f"is only {'here' if name in ours else 'there'}"
        print(f"{name} {where}")
    if differing:
        print(f"{len(differing)} of {len(kept)} files differ; here they are in {found}, there in {recorded}")
        return 1
    print(f"{len(kept)} files are the same")
    return 0


def digests(products: Path) -> dict[str, str]:
    """A hash of each file that is compared, and of each member of a tar, without what says how long things took."""
    found = {}
    for path in sorted(each for each in products.rglob("*") if each.is_file()):
        name = path.relative_to(products).as_posix()
        if any(fnmatch.fnmatch(name, pattern) for pattern in NOT_COMPARED) or name == DONE:
            continue
        for inner, data in contents(path, name):
            found[inner] = hashlib.sha256(lasting(inner, data)).hexdigest()
    return found


def contents(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """A file by its name, or the members of a tar by its name and theirs."""
    if path.suffix != ".tar":
        yield name, path.read_bytes()
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                yield f"{name}/{member.name}", file.read()


def lasting(name: str, data: bytes) -> bytes:
    """The bytes of a file without what says how long things took; a header of tensors, whose keys have no order, has
    one."""
    if name.endswith(".safetensors"):
        end = 8 + int.from_bytes(data[:8], "little")
        return json.dumps(json.loads(data[8:end]), sort_keys=True).encode() + data[end:]
    for pattern in MOMENTS if name.endswith(TEXTS) else ():
        data = pattern.sub(rb"\1-", data)
    return data


if __name__ == "__main__":
    sys.exit(main())
