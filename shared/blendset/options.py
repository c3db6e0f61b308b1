# SPDX-License-Identifier: Apache-2.0
"""Options as frozen dataclasses: a field says what it means and what it allows, and a table is held against that.

Whatever does not fit is named in one sentence, with the nearest thing that would.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, field
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import cattrs

from blendset.converter import strict_converter
from blendset.errors import BlendsetError, SettingsError, describe_error, describe_value
from blendset.files import explain_read_errors

Section = TypeVar("Section")
REQUIRED: Any = MISSING
"""The default of an option that has none."""


def option(
    default: Any,
    help: str | Callable[[], str],
    *,
    flag: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    choices: Collection[str] = (),
    metavar: str = "",
    separator: str = "",
    several: bool = False,
) -> Any:
    """Return a dataclass field with what the command line, the window and the check need to know about the option.

    `help` may be a function that returns the text, and `choices` any collection: where they depend on what is
    installed, they are read only when somebody asks for them. `separator` stands between the values of a tuple of texts
    where all are in one word: "," in "image-stats,phash". `several` texts may follow one flag.
    """
    return field(
        default=default,
        metadata=MappingProxyType(
            {
                "help": help,
                "flag": flag,
                "at_least": at_least,
                "at_most": at_most,
                "choices": choices,
                "metavar": metavar,
                "separator": separator,
                "several": several,
            }
        ),
    )


def get_help(option: dataclasses.Field[Any]) -> str:
    """Return the help text of an option."""
    text: str | Callable[[], str] = option.metadata["help"]
    return text if isinstance(text, str) else text()


@contextmanager
def refuse_settings() -> Iterator[None]:
    """Turn a BlendsetError of the block into a SettingsError: what went wrong is what was asked for."""
    try:
        yield
    except SettingsError:
        raise
    except BlendsetError as error:
        raise SettingsError(str(error)) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """A base of settings: a frozen dataclass of `option` fields. A path may be given as a text, and a tuple as a list
    or as one value. Creating one raises SettingsError for a value of another type or outside its limits."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        with refuse_settings():
            for described in dataclasses.fields(self):
                name = described.name
                value = _coerce_option(hints[name], split_values(described, getattr(self, name)), name)
                object.__setattr__(self, name, value)
                check_option(described, value, name)


Chosen = TypeVar("Chosen", bound=Settings)


def resolve_settings(kind: type[Chosen], settings: Chosen | None, options: Mapping[str, Any]) -> Chosen:
    """Return the settings of a call `function(settings, **options)`: the options replace those of `settings`.

    Raises SettingsError for an option that there is not, with the nearest one that there is, for one that is required
    and missing, and for a value that it does not take.
    """
    described = {field_.name: field_ for field_ in dataclasses.fields(kind)}
    if settings is not None and not isinstance(settings, kind):
        raise SettingsError(f"The settings are {settings!r}; give {kind.__name__}(...).")
    values = {} if settings is None else {name: getattr(settings, name) for name in described}
    with refuse_settings():
        for name in options:
            if name not in described:
                raise make_unknown_key_error(name, list(described), kind.__name__)
        values |= options
        for name, field_ in described.items():
            if name not in values and field_.default is MISSING:
                raise SettingsError(f"{kind.__name__} lacks the option '{name}': {get_help(field_)}.")
        return kind(**values)


def is_section(kind: Any) -> bool:
    """Tell whether a type is a table of options of its own."""
    return dataclasses.is_dataclass(kind)


def structure(kind: type[Section], values: Any, where: str) -> Section:
    """Build a dataclass, and those inside it, from a table.

    Raises BlendsetError that names the key, its section and the nearest valid key.
    """
    return _structure_table(kind, values, where, "")  # type: ignore[no-any-return]


def unstructure(value: Any) -> dict[str, Any]:
    """Return nested tables of plain values, as TOML and JSON take them; options that are None are left out."""
    tables: dict[str, Any] = _drop_none(strict_converter.unstructure(value))
    return tables


def flatten_settings(settings: Any, prefix: str = "", lists: bool = False) -> dict[str, Any]:
    """Return the leaves of nested tables by their dotted names; with `lists`, those of lists too, by their numbers."""
    if isinstance(settings, Mapping):
        items = list(settings.items())
    elif lists and isinstance(settings, list | tuple):
        items = list(enumerate(settings))
    else:
        return {prefix: settings}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= flatten_settings(value, f"{prefix}.{key}" if prefix else str(key), lists)
    return flat


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds; BlendsetError where it is missing or no TOML."""
    with explain_read_errors(path, "give the path of a TOML file"):
        text = path.read_text(encoding="utf-8-sig")
    return parse_toml(text, str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Return what a TOML text holds; BlendsetError, which begins with `where`, for what is no TOML."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of too many digits is a ValueError
        raise BlendsetError(f"{where} is not valid TOML: {describe_error(error)}.") from error


def check_option(option: dataclasses.Field[Any], value: Any, name: str) -> None:
    """Check one value against the limits of its option; BlendsetError says which `name` breaks which limit."""
    limits = option.metadata
    for item in value if isinstance(value, tuple) else (value,):
        if item is None:
            continue
        if limits["choices"] and item not in limits["choices"]:
            near = find_nearest(str(item), limits["choices"])
            cure = f"did you mean '{near}'?" if near else f"it takes {', '.join(limits['choices'])}."
            raise BlendsetError(f"{name} is {describe_value(item)}; {cure}")
        if limits["at_least"] is not None and item < limits["at_least"]:
            raise BlendsetError(f"{name} is {describe_value(item)}; it must be at least {limits['at_least']:g}.")
        if limits["at_most"] is not None and item > limits["at_most"]:
            raise BlendsetError(f"{name} is {describe_value(item)}; it must be at most {limits['at_most']:g}.")
    if value == () and option.default != ():
        raise BlendsetError(f"{name} is empty; give at least one value.")


def find_nearest(word: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """Return the known word that is most like this one; empty where none is."""
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=cutoff)), "")


def _drop_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _drop_none(item) for key, item in value.items() if item is not None}
    return type(value)(map(_drop_none, value)) if isinstance(value, list | tuple) else value


def _structure_table(kind: Any, values: Any, where: str, prefix: str) -> Any:
    """Build one dataclass from a table."""
    if not isinstance(values, Mapping):
        raise BlendsetError(f"{where}: '{prefix.rstrip('.')}' must be a table of options.")
    hints = get_type_hints(kind)
    options = {field_.name: field_ for field_ in dataclasses.fields(kind)}
    section = f"{where}, section [{prefix.rstrip('.')}]" if prefix else where
    ready: dict[str, Any] = {}
    for key, value in values.items():
        if key not in options:
            raise make_unknown_key_error(key, list(options), section)
        ready[key] = _structure_value(options[key], _strip_optional(hints[key]), value, where, f"{prefix}{key}")
    for name, field_ in options.items():
        if name not in ready and _is_required(field_):
            raise BlendsetError(f"{section} lacks {_describe_lack(field_, hints[name], prefix)}.")
    return kind(**ready)


def _is_required(field_: dataclasses.Field[Any]) -> bool:
    return field_.default is MISSING and field_.default_factory is MISSING


def _describe_lack(field_: dataclasses.Field[Any], kind: Any, prefix: str) -> str:
    """What a table lacks, and how to write it: an option, or a section with the options that it must have."""
    if not is_section(kind):
        return f"the option '{field_.name}': {get_help(field_)}"
    needed = " and ".join(inner.name for inner in dataclasses.fields(kind) if _is_required(inner))
    return f"the section [{prefix}{field_.name}]; write it, with {needed}"


def _structure_value(option: dataclasses.Field[Any], kind: Any, value: Any, where: str, name: str) -> Any:
    """One option's value: a section, several of them in a list or under names, or plain data within its limits."""
    inner = get_args(kind)
    if is_section(kind):
        return _structure_table(kind, value, where, f"{name}.")
    if get_origin(kind) is tuple and is_section(inner[0]):
        if not isinstance(value, list | tuple):
            raise BlendsetError(f"{where}: '{name}' must be a list of tables; write [[{name}]] above each.")
        return tuple(_structure_table(inner[0], table, where, f"{name}.") for table in value)
    if get_origin(kind) is dict and is_section(inner[1]):
        if not isinstance(value, Mapping):
            raise BlendsetError(f"{where}: '{name}' must be a table of tables; write [{name}.NAME] above each.")
        return {key: _structure_table(inner[1], table, where, f"{name}.{key}.") for key, table in value.items()}
    try:
        if get_origin(kind) is tuple and not isinstance(value, list | tuple):
            raise TypeError(f"{value!r} is not a list")
        ready = strict_converter.structure(value, kind)
    except (TypeError, ValueError, cattrs.BaseValidationError) as error:
        raise BlendsetError(
            f"{where}: {name} is {describe_value(value)}; it must be {_describe_type(kind)}."
        ) from error
    check_option(option, ready, f"{where}: {name}")
    return ready


def split_values(option: dataclasses.Field[Any], value: Any) -> Any:
    """Return the values of one word, where the option has a separator; any other value as it is."""
    separator = option.metadata["separator"]
    return tuple(word.strip() for word in value.split(separator)) if separator and isinstance(value, str) else value


def _coerce_option(kind: Any, value: Any, name: str) -> Any:
    """One option of a call as its field holds it; what is no plain data is taken as it is."""
    plain = _strip_optional(kind)
    if value is None and plain is not kind:
        return None
    if get_origin(plain) is tuple:
        values, kinds = value if isinstance(value, list | tuple) else (value,), get_args(plain)
        if kinds[-1] is not Ellipsis and len(values) != len(kinds):
            raise SettingsError(f"{name} is {describe_value(value)}; it must be {len(kinds)} values.")
        return tuple(_coerce_option(kinds[0], item, name) for item in values)
    if plain is Path and isinstance(value, str | Path):
        return Path(value)
    if plain is str and isinstance(value, Path):
        return str(value)
    if plain not in (int, float, str, bool, Path):
        return value
    try:
        return strict_converter.structure(value, plain)
    except (TypeError, ValueError, cattrs.BaseValidationError) as error:
        raise SettingsError(f"{name} is {describe_value(value)}; it must be {_describe_type(plain)}.") from error


def _strip_optional(kind: Any) -> Any:
    """What an optional type is when it is given."""
    if get_origin(kind) in (Union, UnionType):
        return next(member for member in get_args(kind) if member is not NoneType)
    return kind


def _describe_type(kind: Any) -> str:
    """A type as a person would say it."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", Path: "a path"}
    if get_origin(kind) is tuple:
        return f"a list, each {words.get(get_args(kind)[0], 'a value')}"
    return words.get(kind, str(kind))


def make_unknown_key_error(key: str, known: list[str], where: str) -> BlendsetError:
    """Return the error for a key that is not `known`; it names the nearest one that is, or all of them."""
    near = find_nearest(key, known, cutoff=0.5)
    cure = f"did you mean '{near}'?" if near else f"it knows {', '.join(sorted(known))}."
    return BlendsetError(f"{where} has no option '{key}'; {cure}")
