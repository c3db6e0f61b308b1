# SPDX-License-Identifier: Apache-2.0
"""The options of a run of Blender: settings of the command, over a configuration of planning and rendering."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from blendset.config import Config, list_command_line_options, load_config, override_config
from blendset.options import Settings, make_unknown_key_error, refuse_settings, resolve_settings

BLENDER_HELP = "a Blender executable, or a Python that has bpy"
Kind = TypeVar("Kind", bound=Settings)


def resolve_run_options(
    kind: type[Kind],
    settings: Kind | None,
    config: Config | Path | str | None,
    options: Mapping[str, Any],
    read_default: Callable[[Kind], Config] = lambda settings: Config(),
) -> tuple[Kind, Config]:
    """Return the settings and the configuration of a run, with `options` over both.

    `config` is a configuration or its TOML file; without one, `read_default` gives it for the settings. Raises
    SettingsError for an option that neither knows, and for a value that one does not take; what `read_default` raises.
    """
    of_settings = [each.name for each in dataclasses.fields(kind)]
    of_config = [name for _, name, _, _ in list_command_line_options() if name not in of_settings]
    with refuse_settings():
        for name in options:
            if name not in (*of_settings, *of_config):
                raise make_unknown_key_error(name, [*of_settings, *of_config], kind.__name__)
        resolved = resolve_settings(kind, settings, _select(options, of_settings))
        named = load_config(Path(config)) if isinstance(config, str | Path) else config
    base = read_default(resolved) if named is None else named
    with refuse_settings():
        return resolved, override_config(base, _select(options, of_config))


def _select(options: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in names}
