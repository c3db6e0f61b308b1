# SPDX-License-Identifier: Apache-2.0
"""Every option of planning and rendering, defined once as frozen dataclasses.

TOML files, the command lines on both sides and the add-on's properties are all derived from these fields.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import cattrs
import tomli_w

from blendset import __version__
from blendset.errors import BlendsetError

PRESETS = (
    "blendset",
    "blendfusion",
    "random",
    "random-grid",
    "anchor-sweep",
    "anchor-sweep-grid",
    "orbit-4",
    "orbit-21",
    "scene-cameras",
)
DEVICES = ("auto", "cpu", "cuda", "optix", "hip", "oneapi", "metal")
LIGHTING = ("auto", "scene", "sky", "interior", "studio")


def _option(
    default: Any,
    help: str,
    *,
    flag: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with what the command line, the window and the check need to know of it."""
    return field(
        default=default,
        metadata=MappingProxyType(
            {"help": help, "flag": flag, "at_least": at_least, "at_most": at_most, "choices": choices}
        ),
    )


@dataclass(frozen=True)
class SubjectSettings:
    """What a view may be about."""

    include: tuple[str, ...] = _option((), "labels or object names to keep, as glob patterns; empty keeps all")
    exclude: tuple[str, ...] = _option((), "labels or object names to leave out, as glob patterns")
    smallest: float = _option(0.01, "smallest subject, as a share of the scene's diagonal", at_least=0, at_most=1)
    largest: float = _option(0.6, "largest subject, as a share of the scene's diagonal", at_least=0, at_most=1)
    copies: int = _option(20, "how many subjects may share one shape", at_least=1)


@dataclass(frozen=True)
class CameraSettings:
    """Which cameras are proposed, and how many are kept."""

    preset: str = _option("blendset", "how cameras are placed", flag="--preset", choices=PRESETS)
    views: int = _option(48, "views to render per scene", flag="--views", at_least=1)
    candidates: int = _option(256, "cameras proposed per subject", at_least=1)
    fill: tuple[float, ...] = _option((0.4, 0.55, 0.7), "share of the frame that the subject spans", at_least=0.05)
    focal_length_mm: tuple[float, ...] = _option((50.0, 35.0, 24.0), "lenses, longest first", at_least=1)
    elevation_deg: tuple[float, float] = _option((2.0, 50.0), "lowest and highest elevation", at_least=-90, at_most=90)
    separation_deg: float = _option(20.0, "least angle between two views of one subject", at_least=0, at_most=180)
    per_subject: int = _option(6, "most views of one subject", at_least=1)
    scene_views: float = _option(0.15, "share of the views that show the room itself", at_least=0, at_most=1)


@dataclass(frozen=True)
class GateSettings:
    """Thresholds of the geometric gates; shares are of the image or of the subject's sampled surface."""

    clearance: float = _option(0.01, "least distance to any surface, as a share of the scene's diagonal", at_least=0)
    clearance_metres: float = _option(0.15, "the same in metres; the smaller of the two holds", at_least=0)
    visible_fraction: float = _option(0.62, "least share of the subject's surface in sight", at_least=0, at_most=1)
    subject_share_min: float = _option(0.055, "least share of the image the subject covers", at_least=0, at_most=1)
    subject_share_max: float = _option(0.62, "most share of the image the subject covers", at_least=0, at_most=1)
    truncation: float = _option(0.1, "most share of the subject outside the frame", at_least=0, at_most=1)
    near_occluder: float = _option(0.3, "most share of the image nearer than half way", at_least=0, at_most=1)
    one_surface: float = _option(0.8, "most share of the image on one flat surface", at_least=0, at_most=1)
    back_faces: float = _option(0.15, "most share of rays that meet a back face first", at_least=0, at_most=1)


@dataclass(frozen=True)
class PreviewSettings:
    """The small render that decides on light and on what rays cannot see."""

    resolution: int = _option(80, "pixels on the longer side", at_least=16, at_most=512)
    samples: int = _option(8, "samples per pixel", at_least=1)
    per_view: float = _option(4.0, "most previews per wanted view", at_least=1)


@dataclass(frozen=True)
class RenderSettings:
    """How a view is path traced."""

    resolution: int = _option(512, "pixels on the longer side", flag="--resolution", at_least=16, at_most=16384)
    samples: int = _option(64, "most samples per pixel", flag="--samples", at_least=1)
    denoise: bool = _option(True, "denoise where the Blender in use can")
    device: str = _option("auto", "what renders", flag="--device", choices=DEVICES)
    lighting: str = _option("auto", "whether light is added to the scene's own", flag="--lighting", choices=LIGHTING)
    exposure_ev: float = _option(4.0, "furthest that exposure may move, in stops", at_least=0, at_most=16)


@dataclass(frozen=True)
class JobSettings:
    """How the rendering processes are run; nothing here changes a pixel."""

    workers: int = _option(1, "rendering processes at once", flag="--workers", at_least=1)
    views_per_child: int = _option(200, "views after which a fresh process takes over", at_least=1)
    timeout_s: float = _option(900.0, "seconds without a sign of life before a process is ended", at_least=1)
    retries: int = _option(2, "fresh starts after a process died", at_least=0)


@dataclass(frozen=True)
class DatasetSettings:
    """What the dataset says about itself."""

    name: str = _option("", "the dataset's name; empty takes the folder's")
    licence: str = _option("", "licence of the scenes and so of the images")
    creator: str = _option("", "who made it")


@dataclass(frozen=True)
class Config:
    """All of it. `seed` and the camera decide a picture; `frame` and `scene` pick a moment of the file."""

    seed: int = _option(0, "everything random follows from it", flag="--seed", at_least=0, at_most=2**31 - 1)
    frame: int | None = _option(None, "frame to render; the file's own if not given", flag="--frame")
    scene: str = _option("", "Blender scene to render; the file's active one if not given", flag="--scene")
    subjects: SubjectSettings = field(default_factory=SubjectSettings)
    cameras: CameraSettings = field(default_factory=CameraSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    preview: PreviewSettings = field(default_factory=PreviewSettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    jobs: JobSettings = field(default_factory=JobSettings)
    dataset: DatasetSettings = field(default_factory=DatasetSettings)

    def render_identity(self) -> dict[str, Any]:
        """The settings that decide which pictures a scene gives: not the device, not the process count."""
        values: dict[str, Any] = {"made_by": __version__, **dataclasses.asdict(self)}
        del values["jobs"], values["dataset"], values["render"]["device"]
        return values

    def render_settings(self) -> dict[str, Any]:
        """What all views of one dataset have in common."""
        settings = dataclasses.asdict(self.render)
        return {name: settings[name] for name in ("resolution", "samples", "denoise")}

    def digest(self) -> str:
        """Eight hex digits that name `render_identity`."""
        text = json.dumps(self.render_identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def _strictly(kind: type) -> Any:
    """A cattrs hook that takes a value of this very type; a whole number will do for a float."""

    def structure(value: Any, _: Any) -> Any:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind or (type(value) is float and not math.isfinite(value)):
            raise TypeError(f"{value!r} is not a {kind.__name__}")
        return value

    return structure


_converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)
for _kind in (bool, int, float, str):
    _converter.register_structure_hook(_kind, _strictly(_kind))


def _is_section(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind)


def _spelled(kind: Any) -> str:
    """A type as a person would say it."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if get_origin(kind) is tuple:
        return f"a list, each {words.get(get_args(kind)[0], 'a value')}"
    if get_origin(kind) in (Union, UnionType):
        return _spelled(get_args(kind)[0])
    return words.get(kind, str(kind))


def _unknown(key: str, known: list[str], where: str) -> BlendsetError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    cure = f"did you mean '{near[0]}'?" if near else f"it knows {', '.join(sorted(known))}."
    return BlendsetError(f"{where} has no option '{key}'; {cure}")


def _check(option: dataclasses.Field[Any], value: Any, name: str) -> None:
    """Hold one value against its field's limits."""
    limits = option.metadata
    for each in value if isinstance(value, tuple) else (value,):
        if each is None:
            continue
        if limits["choices"] and each not in limits["choices"]:
            near = difflib.get_close_matches(str(each), limits["choices"], n=1)
            cure = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(limits['choices'])}."
            raise BlendsetError(f"{name} is '{each}'; {cure}")
        if limits["at_least"] is not None and each < limits["at_least"]:
            raise BlendsetError(f"{name} is {each}; it must be at least {limits['at_least']:g}.")
        if limits["at_most"] is not None and each > limits["at_most"]:
            raise BlendsetError(f"{name} is {each}; it must be at most {limits['at_most']:g}.")
    if value == () and option.default != ():
        raise BlendsetError(f"{name} is empty; give at least one value.")


def _structure(kind: type, values: Any, where: str, prefix: str) -> Any:
    """Build one dataclass from a table, naming whatever does not fit."""
    if not isinstance(values, Mapping):
        raise BlendsetError(f"{where}: '{prefix.rstrip('.')}' must be a table of options.")
    hints = get_type_hints(kind)
    options = {option.name: option for option in dataclasses.fields(kind)}
    ready: dict[str, Any] = {}
    for key, value in values.items():
        if key not in options:
            section = f"{where}, section [{prefix.rstrip('.')}]" if prefix else where
            raise _unknown(key, list(options), section)
        name = f"{where}: {prefix}{key}"
        if _is_section(hints[key]):
            ready[key] = _structure(hints[key], value, where, f"{key}.")
            continue
        try:
            if get_origin(hints[key]) is tuple and not isinstance(value, (list, tuple)):
                raise TypeError(f"{value!r} is not a list")
            ready[key] = _converter.structure(value, hints[key])
        except (TypeError, ValueError) as error:
            raise BlendsetError(f"{name} is {value!r}; it must be {_spelled(hints[key])}.") from error
        _check(options[key], ready[key], name)
    return kind(**ready)


def config_from_dict(values: Mapping[str, Any], where: str = "configuration") -> Config:
    """Build a Config from nested tables; raises BlendsetError that names the key, its section and the nearest valid
    key."""
    config: Config = _structure(Config, values, where, "")
    subjects, gates = config.subjects, config.gates
    for name, low, high in (
        ("cameras.elevation_deg", *config.cameras.elevation_deg),
        ("subjects.smallest and largest", subjects.smallest, subjects.largest),
        ("gates.subject_share_min and max", gates.subject_share_min, gates.subject_share_max),
    ):
        if low > high:
            raise BlendsetError(f"{where}: {name} run from {low:g} to {high:g}; give the lower one first.")
    return config


def config_to_dict(config: Config) -> dict[str, Any]:
    """Nested tables of plain values, as TOML and JSON take them; options that are None are left out."""
    tables: dict[str, Any] = _converter.unstructure(config)
    return {key: value for key, value in tables.items() if value is not None}


def load_config(path: Path) -> Config:
    """Read a TOML file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BlendsetError(f"{path} cannot be read ({error}); give the path of a TOML file.") from error
    try:
        return config_from_dict(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise BlendsetError(f"{path} is not valid TOML: {error}.") from error


def config_to_toml(config: Config) -> str:
    """The whole configuration as TOML text; `load_config` gives the same Config back."""
    return tomli_w.dumps(config_to_dict(config))


def command_line_options() -> Iterator[tuple[str, str, dataclasses.Field[Any], Any]]:
    """Section (empty at the top), name, field and type of every option that has a flag."""
    for option in dataclasses.fields(Config):
        kind = get_type_hints(Config)[option.name]
        if not _is_section(kind):
            yield "", option.name, option, kind
            continue
        for inner in dataclasses.fields(kind):
            if inner.metadata["flag"]:
                yield option.name, inner.name, inner, get_type_hints(kind)[inner.name]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser `--config` and every option that has a flag; `config_from_arguments` reads them back."""
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="options from a TOML file")
    for section, name, option, kind in command_line_options():
        number = int if kind in (int, int | None) else str
        shown = "" if option.default in (None, "") else f" (default {option.default})"
        parser.add_argument(
            option.metadata["flag"],
            dest=f"config:{section}:{name}",
            type=number,
            choices=option.metadata["choices"] or None,
            metavar=None if option.metadata["choices"] else ("N" if number is int else "NAME"),
            help=option.metadata["help"] + shown,
        )


def config_from_arguments(arguments: argparse.Namespace, default: Config | None = None) -> Config:
    """The file's options (or the default), with what the command line says on top."""
    config = load_config(arguments.config) if arguments.config else default or Config()
    for dest, value in vars(arguments).items():
        if not dest.startswith("config:") or value is None:
            continue
        _, section, name = dest.split(":")
        config = _with_option(config, section, name, value)
    return config


def _with_option(config: Config, section: str, name: str, value: Any) -> Config:
    owner = getattr(config, section) if section else config
    option = next(each for each in dataclasses.fields(owner) if each.name == name)
    _check(option, value, option.metadata["flag"])
    changed = dataclasses.replace(owner, **{name: value})
    nested: dict[str, Any] = {section: changed}
    return dataclasses.replace(config, **nested) if section else changed
