# SPDX-License-Identifier: Apache-2.0
"""Builds the installable add-on: blender_addon/, the wheel of the core, and the pure wheels that the core needs.

Run it with a Python that has uv, pip and markdown-it-py (`make addon` does). The same sources give the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent
ADDON = ROOT / "blender_addon"
TRAINER_FOLDER = ROOT / "trainer" / "blendset_trainer" / "addon"
"""The trainer's package carries the zip here."""
BUILD = ROOT / "build"
BUNDLED = ("attrs", "cattrs", "tomli-w", "typing-extensions")
"""What the core needs and not every Blender has; numpy is Blender's own."""
GENERATED = "# version and wheels: build_addon.py writes them here\n"
GUIDE_STYLE = (
    "body { max-width: 50rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 sans-serif } img { max-width: 100% }"
)
OLDEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
VALIDATOR = "scripts/addons_core/bl_pkg/cli/blender_ext.py"
VALID_TAGS = "scripts/modules/_bpy_internal/extensions/tags.py"


def build_addon(folder: Path) -> Path:
    """Builds blendset-<version>.zip in `folder` and returns its path."""
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        core = build_core_wheel(Path(scratch))
        version = core.name.split("-")[1]
        wheels = {f"wheels/{wheel.name}": wheel.read_bytes() for wheel in (core, *fetch_wheels(Path(scratch)))}
    files = read_sources() | wheels | build_guide()
    files["blender_manifest.toml"] = fill_manifest(version, sorted(wheels)).encode()
    files["LICENSE"] = (ROOT / "LICENSES" / "GPL-3.0-or-later.txt").read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"blendset-{version}.zip"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.write_bytes(pack_zip(files))
    os.replace(unfinished, path)
    return path


def build_core_wheel(folder: Path) -> Path:
    """Builds the wheel of shared/ in `folder`."""
    options = ["--wheel", "--python", sys.executable, "--build-constraints", str(ROOT / "constraints" / "trainer.txt")]
    command = [sys.executable, "-m", "uv", "build", "--quiet", *options, "--out-dir", str(folder), str(ROOT / "shared")]
    subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": "315532800"})
    return next(folder.glob("blendset-*.whl"))


def fetch_wheels(scratch: Path) -> list[Path]:
    """Paths of the wheels of BUNDLED at their pinned versions, downloaded once with the user's own index settings."""
    words = (ROOT / "constraints" / "blender.txt").read_text().split()
    pins = [word for word in words if word.split("==")[0] in BUNDLED]
    cache = BUILD / "wheels"
    wheels = [cache / f"{pin.replace('-', '_').replace('==', '-')}-py3-none-any.whl" for pin in pins]
    missing = [pin for pin, wheel in zip(pins, wheels, strict=True) if not wheel.exists()]
    if missing:
        cache.mkdir(exist_ok=True)
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(scratch)]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, *missing], check=True)
        for wheel in wheels:
            if not wheel.exists():
                os.replace(scratch / wheel.name, wheel)
    return wheels


def read_sources() -> dict[str, bytes]:
    """The add-on's own files, by their names in the zip."""
    names = {path: path.relative_to(ADDON) for path in ADDON.rglob("*") if path.is_file()}
    return {
        name.as_posix(): path.read_bytes()
        for path, name in names.items()
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
    }


def build_guide() -> dict[str, bytes]:
    """The artist's guide as a page, and its pictures."""
    source = ROOT / "docs" / "artist.md"
    body = MarkdownIt().render(source.read_text(encoding="utf-8"))
    head = f"<!doctype html><meta charset=utf-8><title>Blendset</title><style>{GUIDE_STYLE}</style>"
    pictures = re.findall(r'<img src="([^"]+)"', body)
    return {"manual/index.html": f"{head}{body}".encode()} | {
        f"manual/{name}": (source.parent / name).read_bytes() for name in pictures
    }


def fill_manifest(version: str, wheels: list[str]) -> str:
    """The manifest's text with what only the build knows."""
    template = (ADDON / "blender_manifest.toml").read_text(encoding="utf-8")
    before, after = template.split(GENERATED)
    return f'{before}version = "{version}"\nwheels = {json.dumps(wheels, indent=2)}\n{after}'


def pack_zip(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files that depends on nothing else: sorted names, one time, one mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, OLDEST_ZIP_TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            target.writestr(entry, files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def find_validators() -> Iterator[Path]:
    """The `scripts` parents of the Blenders at hand: environments made by `make`, and the one on PATH."""
    resources = [
        path for lib in ("lib/python*", "Lib") for path in ROOT.glob(f".venv-blender*/{lib}/site-packages/bpy")
    ]
    if installed := shutil.which("blender"):
        folder = Path(installed).resolve().parent
        resources += [folder, folder.parent / "Resources", folder.parent / "share" / "blender"]
    for folder in resources:
        yield from (scripts for scripts in sorted(folder.glob("*.*")) if (scripts / VALIDATOR).exists())


def validate_addon(path: Path) -> list[str]:
    """Runs the validator of each Blender at hand over the zip and returns their versions.

    Raises SystemExit at a complaint.
    """
    versions = set()
    for blender in find_validators():
        command = [str(blender / VALIDATOR), "validate", "--valid-tags", str(blender / VALID_TAGS), str(path)]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{path} is not valid for Blender {blender.name}:\n{done.stdout}{done.stderr}")
        versions.add(blender.name)
    return sorted(versions)


def main() -> None:
    """Builds the zip where the trainer carries it, without zips of other versions beside it."""
    path = build_addon(TRAINER_FOLDER)
    for other in set(TRAINER_FOLDER.glob("blendset-*.zip")) - {path}:
        other.unlink()
    versions = validate_addon(path)
    verdict = f"validated by Blender {', '.join(versions)}" if versions else "not validated: no Blender at hand"
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1024:.0f} KiB  {verdict}")


if __name__ == "__main__":
    main()
