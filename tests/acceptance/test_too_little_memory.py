# SPDX-License-Identifier: Apache-2.0
"""A synthesis whose batch does not fit into memory goes on with half of it, and says so; nothing is staged here but the
limit on what a process may take.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import diffusers
import pytest

from tests.real_runs import ROOT
from tests.trainer.tiny_datasets import files, thirty_views
from tests.trainer.tiny_pipelines import stable_diffusion

PICTURES, SIDE = 4, 896
"""Half of the pictures take some 300 MB."""
NOTHING_SPARED = "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=1048576"
"""What is no longer used goes back to the system, so that the address space is what there is in use."""
RUNS = f"""
import resource, sys
from pathlib import Path
from blendset_trainer.cli.main import main

roomy, short, tight, model = sys.argv[1:]

def space(line):
    return 1024 * int(Path("/proc/self/status").read_text().split(line + ":")[1].split()[0])

def limit(size):
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))

def drawn(dataset, at_once):
    return main(["synthesize", "text-to-image", dataset, "--model", model, "--steps", "1", "--batch",
                 str(at_once), "--width", "{SIDE}", "--height", "{SIDE}"])

assert drawn(roomy, {PICTURES // 2}) == 0
half = space("VmPeak") - space("VmSize")
limit(space("VmPeak") + half // 2)
assert drawn(short, {PICTURES}) == 0
print("TIGHT", file=sys.stderr)
limit(space("VmSize") + half // 4)
assert drawn(tight, {PICTURES}) == 1
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says and limits the address space of a process")
def test_a_batch_that_does_not_fit_is_halved_and_one_picture_that_does_not_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # whose memory is not limited
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # each thread has a stack
    monkeypatch.setenv("GLIBC_TUNABLES", NOTHING_SPARED)
    roomy = captioned(tmp_path / "roomy")
    short, tight = (Path(shutil.copytree(roomy, tmp_path / name)) for name in ("short", "tight"))
    command = [sys.executable, "-c", RUNS, *map(str, (roomy, short, tight, model(tmp_path / "model")))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    told, told_when_tight = (text.splitlines() for text in done.stderr.split("TIGHT"))
    halved = "pictures at once were too many for the device's memory; going on with half as many."
    assert f"{PICTURES} {halved}" in told
    assert f"{PICTURES // 2} {halved}" not in told
    assert len(views(roomy)) == 2 * PICTURES
    assert views(short) == views(roomy)
    too_large = "needs more memory than the device has; make smaller pictures, or fewer in a set."
    assert len([line for line in told_when_tight if line.endswith(too_large)]) == PICTURES
    assert len(views(tight)) == PICTURES


def captioned(root: Path) -> Path:
    """A dataset of PICTURES views with captions."""
    dataset = thirty_views(root)
    for folder in sorted(root.glob("views/*/*"))[PICTURES:]:
        shutil.rmtree(folder)
    dataset.rebuild_index({view.view_id: f"a red chair {number}" for number, view in enumerate(dataset.views())})
    return root


def model(folder: Path) -> Path:
    """One whose latents are few and whose pictures are large."""
    blocks = 5
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,) * blocks, down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks, norm_num_groups=8, mid_block_add_attention=False,
    )  # fmt: skip
    vae.save_pretrained(stable_diffusion(folder) / "vae")
    return folder


def views(root: Path) -> dict[str, dict[str, bytes]]:
    """The files of all views."""
    return {folder.name: files(folder) for folder in root.glob("views/*/*")}
