# SPDX-License-Identifier: Apache-2.0
"""Every option of planning and rendering, defined once as frozen dataclasses.

TOML files, the command lines on both sides and the add-on's properties are all derived from these fields.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import tomli_w

from blendset import __version__
from blendset.errors import BlendsetError
from blendset.options import check_option, is_section, option, read_toml, structure, unstructure
from blendset.placement.presets import PRESETS

if TYPE_CHECKING:
    import argparse

DEVICES = ("auto", "cpu", "cuda", "optix", "hip", "oneapi", "metal")
LIGHTING = ("auto", "scene", "sky", "interior", "studio")
MISSING = ("refuse", "neutral")
ADDED_LATER = ("view_layer", "render.missing")
"""Options that the first runs did not have: a run that leaves them at their default is named as it always was."""


@dataclass(frozen=True)
class SubjectSettings:
    """What a view may be about."""

    include: tuple[str, ...] = option((), "labels or object names to keep, as glob patterns; empty keeps all")
    exclude: tuple[str, ...] = option((), "labels or object names to leave out, as glob patterns")
    smallest: float = option(0.01, "smallest subject, as a share of the scene's diagonal", at_least=0, at_most=1)
    largest: float = option(0.6, "largest subject, as a share of the scene's diagonal", at_least=0, at_most=1)
    copies: int = option(20, "how many subjects may share one shape", at_least=1)


@dataclass(frozen=True)
class CameraSettings:
    """Which cameras are proposed, and how many are kept."""

    preset: str = option("blendset", "how cameras are placed", flag="--preset", choices=PRESETS)
    views: int = option(48, "views to render per scene", flag="--views", at_least=1)
    candidates: int = option(256, "cameras proposed per subject", at_least=1)
    fill: tuple[float, ...] = option((0.4, 0.55, 0.7), "share of the frame that the subject spans", at_least=0.05)
    focal_length_mm: tuple[float, ...] = option((50.0, 35.0, 24.0), "lenses, longest first", at_least=1)
    elevation_deg: tuple[float, float] = option((2.0, 50.0), "lowest and highest elevation", at_least=-90, at_most=90)
    separation_deg: float = option(20.0, "least angle between two views of one subject", at_least=0, at_most=180)
    per_subject: int = option(6, "most views of one subject", at_least=1)
    scene_views: float = option(0.15, "share of the views that show the room itself", at_least=0, at_most=1)


@dataclass(frozen=True)
class GateSettings:
    """Thresholds of the geometric gates; shares are of the image or of the subject's sampled surface."""

    clearance: float = option(0.01, "least distance to any surface, as a share of the scene's diagonal", at_least=0)
    clearance_metres: float = option(0.15, "the same in metres; the smaller of the two holds", at_least=0)
    visible_fraction: float = option(0.62, "least share of the subject's surface in sight", at_least=0, at_most=1)
    subject_share_min: float = option(0.055, "least share of the image the subject covers", at_least=0, at_most=1)
    subject_share_max: float = option(0.62, "most share of the image the subject covers", at_least=0, at_most=1)
    truncation: float = option(0.1, "most share of the subject outside the frame", at_least=0, at_most=1)
    near_occluder: float = option(0.3, "most share of the image nearer than half way", at_least=0, at_most=1)
    one_surface: float = option(0.8, "most share of the image on one flat surface", at_least=0, at_most=1)
    back_faces: float = option(0.15, "most share of rays that meet a back face first", at_least=0, at_most=1)


@dataclass(frozen=True)
class PreviewSettings:
    """The small render that decides on light and on what rays cannot see."""

    resolution: int = option(80, "pixels on the longer side", at_least=16, at_most=512)
    samples: int = option(8, "samples per pixel", at_least=1)
    per_view: float = option(4.0, "most previews per wanted view", at_least=1)


@dataclass(frozen=True)
class RenderSettings:
    """How a view is path traced."""

    resolution: int = option(512, "pixels on the longer side", flag="--resolution", at_least=16, at_most=16384)
    samples: int = option(64, "most samples per pixel", flag="--samples", at_least=1)
    denoise: bool = option(True, "denoise where the Blender in use can")
    device: str = option("auto", "what renders", flag="--device", choices=DEVICES)
    lighting: str = option("auto", "whether light is added to the scene's own", flag="--lighting", choices=LIGHTING)
    exposure_ev: float = option(4.0, "furthest that exposure may move, in stops", at_least=0, at_most=16)
    missing: str = option("refuse", "what becomes of things that lack a texture", flag="--missing", choices=MISSING)


@dataclass(frozen=True)
class JobSettings:
    """How the rendering processes are run; nothing here changes a pixel."""

    workers: int = option(1, "rendering processes at once", flag="--workers", at_least=1)
    views_per_child: int = option(200, "views after which a fresh process takes over", at_least=1)
    timeout_s: float = option(900.0, "seconds without a sign of life before a process is ended", at_least=1)
    retries: int = option(2, "fresh starts after a process died", at_least=0)


@dataclass(frozen=True)
class DatasetSettings:
    """What the dataset says about itself."""

    name: str = option("", "the dataset's name; empty takes the folder's")
    licence: str = option("", "licence of the scenes and so of the images")
    creator: str = option("", "who made it")


@dataclass(frozen=True)
class Config:
    """All of it. `seed` and the camera decide a picture; `frame`, `scene` and `view_layer` say what of the
    file."""

    seed: int = option(0, "everything random follows from it", flag="--seed", at_least=0, at_most=2**31 - 1)
    frame: int | None = option(None, "frame to render; the file's own if not given", flag="--frame")
    scene: str = option("", "Blender scene to render; the file's active one if not given", flag="--scene")
    view_layer: str = option(
        "", "view layer to render; the first one that is switched on if not given", flag="--view-layer"
    )
    subjects: SubjectSettings = field(default_factory=SubjectSettings)
    cameras: CameraSettings = field(default_factory=CameraSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    preview: PreviewSettings = field(default_factory=PreviewSettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    jobs: JobSettings = field(default_factory=JobSettings)
    dataset: DatasetSettings = field(default_factory=DatasetSettings)

    @property
    def renders_all(self) -> bool:
        """Whether the preset renders every camera as it was proposed: no preview rejects one or moves its exposure."""
        return PRESETS[self.cameras.preset].render_all

    @property
    def starting_exposure_ev(self) -> float | None:
        """The exposure of a view that no preview has judged; None where a preview has yet to decide it."""
        return 0.0 if self.renders_all else None

    @property
    def starting_lighting(self) -> str:
        """The light of a plan that no preview has judged: the scene's own, or the configured one with `renders_all`."""
        return self.render.lighting if self.renders_all and self.render.lighting != "auto" else "scene"

    def make_render_identity(self) -> dict[str, Any]:
        """Return the settings that decide which pictures a scene gives: not the device, not the number of processes."""
        values: dict[str, Any] = {"made_by": __version__, **dataclasses.asdict(self)}
        del values["jobs"], values["dataset"], values["render"]["device"]
        for path in ADDED_LATER:
            section, _, name = path.rpartition(".")
            options, defaults = (values[section], getattr(Config(), section)) if section else (values, Config())
            if options[name] == getattr(defaults, name):
                del options[name]
        return values

    def select_render_settings(self) -> dict[str, Any]:
        """Return the settings that all views of one dataset have in common."""
        settings = dataclasses.asdict(self.render)
        return {name: settings[name] for name in ("resolution", "samples", "denoise")}

    def compute_digest(self) -> str:
        """Return eight hex digits that stand for the settings of `make_render_identity`."""
        text = json.dumps(self.make_render_identity(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def config_from_dict(values: Mapping[str, Any], where: str = "configuration") -> Config:
    """Build a Config from nested tables.

    Raises BlendsetError that names the key, its section and the nearest valid key.
    """
    config = structure(Config, values, where)
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
    """Return nested tables of plain values, as TOML and JSON take them; options that are None are left out."""
    return unstructure(config)


def load_config(path: Path) -> Config:
    """Read a configuration from a TOML file; BlendsetError where it is missing, no TOML or not valid."""
    return config_from_dict(read_toml(path), str(path))


def config_to_toml(config: Config) -> str:
    """Return the configuration as TOML text; `load_config` gives the same Config back."""
    return tomli_w.dumps(config_to_dict(config))


def list_command_line_options() -> Iterator[tuple[str, str, dataclasses.Field[Any], Any]]:
    """Yield section (empty at the top), name, field and type of every option that has a flag."""
    for described in dataclasses.fields(Config):
        kind = get_type_hints(Config)[described.name]
        if not is_section(kind):
            yield "", described.name, described, kind
            continue
        for inner in dataclasses.fields(kind):
            if inner.metadata["flag"]:
                yield described.name, inner.name, inner, get_type_hints(kind)[inner.name]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and every option that has a flag to a parser; `config_from_arguments` reads them back."""
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="options from a TOML file")
    for section, name, described, kind in list_command_line_options():
        number = int if kind in (int, int | None) else str
        default = "" if described.default in (None, "") else f" (default {described.default})"
        parser.add_argument(
            described.metadata["flag"],
            dest=f"config:{section}:{name}",
            type=number,
            choices=described.metadata["choices"] or None,
            metavar=None if described.metadata["choices"] else ("N" if number is int else "NAME"),
            help=described.metadata["help"] + default,
        )


def config_from_arguments(arguments: argparse.Namespace, default: Config | None = None) -> Config:
    """Return the options of the file (or the default), overridden by those of the command line."""
    config = load_config(arguments.config) if arguments.config else default or Config()
    for dest, value in vars(arguments).items():
        if not dest.startswith("config:") or value is None:
            continue
        _, section, name = dest.split(":")
        config = _with_option(config, section, name, value)
    return config


def override_config(config: Config, options: Mapping[str, Any]) -> Config:
    """Return the configuration with some of the options that have a flag, by their names, such as {"views": 24}.

    Raises BlendsetError for a value that an option does not take.
    """
    sections = {name: section for section, name, _, _ in list_command_line_options()}
    values = config_to_dict(config)
    for name, value in options.items():
        section = values.setdefault(sections[name], {}) if sections[name] else values
        section[name] = value
    return config_from_dict(unstructure(values), "options") if options else config


def _with_option(config: Config, section: str, name: str, value: Any) -> Config:
    owner = getattr(config, section) if section else config
    described = next(described for described in dataclasses.fields(owner) if described.name == name)
    check_option(described, value, described.metadata["flag"])
    changed = dataclasses.replace(owner, **{name: value})
    nested: dict[str, Any] = {section: changed}
    return dataclasses.replace(config, **nested) if section else changed
