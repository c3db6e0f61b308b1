# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user sets, on the Scene and saved with the file: one group per section of the configuration.

The groups are made from the configuration's own fields, so a new option appears in the window by itself; only lists
are spelled as text ("50, 35, 24"), and what is excluded by hand is kept as pointers, which survive renames.
"""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import bpy

from blendset.config import Config, config_from_dict, config_to_dict
from blendset.errors import BlendsetError

from .preferences import get_preferences

UNITS = {"deg": "°", "mm": "mm", "ev": "EV", "s": "s", "metres": "m"}
FROM_CONTEXT = ("scene",)
"""Options that the window takes from where it is."""


def _get_list_member_type(kind: Any) -> Any:
    """The type of the members of a list of any length; None for everything else."""
    members: tuple[Any, ...] = get_args(kind)
    return members[0] if get_origin(kind) is tuple and members[-1] is Ellipsis else None


def _format_title(name: str) -> str:
    """A field's name as the text of its button."""
    words, _, unit = name.rpartition("_")
    if unit in UNITS:
        return f"{words.replace('_', ' ').capitalize()} {UNITS[unit]}"
    return name.replace("_", " ").capitalize()


def _make_property(option: dataclasses.Field[Any], kind: Any) -> Any:
    """The Blender property that an option of the configuration is set by."""
    about = option.metadata
    default: Any = option.default
    texts = {"name": _format_title(option.name), "description": about["help"][:1].upper() + about["help"][1:]}
    limits = {key: about[name] for key, name in (("min", "at_least"), ("max", "at_most")) if about[name] is not None}
    if about["choices"]:
        items = [(choice, choice, "") for choice in about["choices"]]
        return bpy.props.EnumProperty(items=items, default=default, **texts)
    if _get_list_member_type(kind):
        return bpy.props.StringProperty(default=_join_values(default), **texts)
    if get_origin(kind) is tuple:
        return bpy.props.FloatVectorProperty(size=len(get_args(kind)), default=default, **limits, **texts)
    if kind is bool:
        return bpy.props.BoolProperty(default=default, **texts)
    if kind is float:
        return bpy.props.FloatProperty(default=default, precision=3, **limits, **texts)
    if kind is int:
        return bpy.props.IntProperty(default=default, **limits, **texts)
    if kind is str:
        return bpy.props.StringProperty(default=default, **texts)
    return bpy.props.IntProperty(default=1, **texts)  # a number or nothing: `use_<name>` says which


def _join_values(values: tuple[Any, ...]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else value for value in values)


def _iterate_options(kind: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(kind)
    for option in dataclasses.fields(kind):
        if option.name not in FROM_CONTEXT:
            yield option, hints[option.name]


def _is_optional(kind: Any) -> bool:
    return type(None) in get_args(kind)


def _make_group(name: str, kind: Any, /, **more: Any) -> type:
    """A PropertyGroup with a property for every option of a configuration dataclass."""
    properties: dict[str, Any] = more
    for option, hint in _iterate_options(kind):
        if dataclasses.is_dataclass(hint):
            continue
        properties[option.name] = _make_property(option, hint)
        if _is_optional(hint):
            properties[f"use_{option.name}"] = bpy.props.BoolProperty(
                name=f"Set {option.name}", description=f"Say here which {option.metadata['help']}"
            )
    return make_property_group(name, kind.__doc__, **properties)


def make_property_group(name: str, about: str, /, **properties: Any) -> type:
    """A PropertyGroup; Blender does not read annotations that are text, which these would be in a class statement."""
    return type(name, (bpy.types.PropertyGroup,), {"__annotations__": properties, "__doc__": about})


BLENDSET_PG_object = make_property_group(
    "BLENDSET_PG_object",
    "A pointer at one object; it follows renames.",
    object=bpy.props.PointerProperty(type=bpy.types.Object),
)


SECTIONS: dict[str, type] = {
    option.name: _make_group(f"BLENDSET_PG_{option.name}", hint)
    for option, hint in _iterate_options(Config)
    if dataclasses.is_dataclass(hint)
}

BLENDSET_PG_settings = _make_group(
    "BLENDSET_PG_settings",
    Config,
    **{name: bpy.props.PointerProperty(type=group) for name, group in SECTIONS.items()},
    left_out=bpy.props.CollectionProperty(type=BLENDSET_PG_object),
    out=bpy.props.StringProperty(
        name="Dataset",
        description="Folder that the dataset is written to; empty takes the one of the preferences",
        subtype="DIR_PATH",
    ),
)

CLASSES = (BLENDSET_PG_object, *SECTIONS.values(), BLENDSET_PG_settings)


def get_settings(scene: bpy.types.Scene) -> Any:
    """The window's settings of a scene: a BLENDSET_PG_settings."""
    return scene.blendset


def list_option_paths() -> Iterator[str]:
    """Where each option is found in the settings: "seed", "cameras.views"."""
    for option, kind in _iterate_options(Config):
        if not dataclasses.is_dataclass(kind):
            yield option.name
    for name, group in SECTIONS.items():
        for option in group.__annotations__:
            yield f"{name}.{option}"


def get_dataset_folder(scene: bpy.types.Scene) -> Path:
    """The dataset's folder; raises BlendsetError where "//" has no file to be beside."""
    chosen = get_preferences()
    out = get_settings(scene).out or (chosen.out if chosen else "//dataset")
    if not out or (out.startswith("//") and not bpy.data.filepath):
        raise BlendsetError("The dataset has no folder; save the file, or choose a folder for it.")
    return Path(bpy.path.abspath(out))


# ---- to and from the configuration -----------------------------------------------------------------------------------


def to_config(scene: bpy.types.Scene) -> Config:
    """The configuration that the window shows; raises BlendsetError that names what cannot be read."""
    settings = get_settings(scene)
    values: dict[str, Any] = _read_values(settings, Config)
    for name in SECTIONS:
        kind = get_type_hints(Config)[name]
        values[name] = _read_values(getattr(settings, name), kind)
    names = [glob.escape(pointer.object.name_full) for pointer in settings.left_out if pointer.object]
    values["subjects"]["exclude"] += [pattern for name in names for pattern in (name, f"{name}#*")]  # what it scatters
    if len(bpy.data.scenes) > 1:
        values["scene"] = scene.name
    return config_from_dict(values, "the settings")


def _read_values(group: Any, kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, hint in _iterate_options(kind):
        if dataclasses.is_dataclass(hint) or (_is_optional(hint) and not getattr(group, f"use_{option.name}")):
            continue
        found[option.name] = _parse_value(getattr(group, option.name), option.name, hint)
    return found


def _parse_value(value: Any, name: str, kind: Any) -> Any:
    """A property's value as the configuration reads it; Blender keeps numbers in single precision."""
    member = _get_list_member_type(kind)
    if member is not None:
        words = [word.strip() for word in value.split(",") if word.strip()]
        try:
            return [member(word) for word in words]
        except ValueError as error:
            raise BlendsetError(
                f"{_format_title(name)} is '{value}'; give numbers with commas between them."
            ) from error
    if get_origin(kind) is tuple:
        return [_round_as_typed(number) for number in value]
    return _round_as_typed(value) if isinstance(value, float) else value


def _round_as_typed(value: float) -> float:
    """The number that a person typed: 0.055, not 0.05499999970197678."""
    return float(f"{value:.6g}")


def from_config(scene: bpy.types.Scene, config: Config) -> None:
    """Show a configuration in the window. What was excluded by hand is forgotten: the configuration is complete."""
    settings = get_settings(scene)
    settings.left_out.clear()
    tables = config_to_dict(config)
    _write_values(settings, Config, tables)
    for name in SECTIONS:
        _write_values(getattr(settings, name), get_type_hints(Config)[name], tables[name])


def _write_values(group: Any, kind: type, values: Mapping[str, Any]) -> None:
    for option, hint in _iterate_options(kind):
        if dataclasses.is_dataclass(hint):
            continue
        if _is_optional(hint):
            setattr(group, f"use_{option.name}", option.name in values)
        if option.name in values:
            value = values[option.name]
            setattr(group, option.name, _join_values(tuple(value)) if _get_list_member_type(hint) else value)


def register() -> None:
    """Give every scene its settings."""
    bpy.types.Scene.blendset = bpy.props.PointerProperty(type=BLENDSET_PG_settings)


def unregister() -> None:
    """Take them back."""
    del bpy.types.Scene.blendset
