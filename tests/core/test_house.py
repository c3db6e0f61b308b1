# SPDX-License-Identifier: Apache-2.0
"""The house rules that no tool checks: who may import whom, what things may be called, how long they may be, whose
licence stands on top, and what no file may name.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections import Counter
from pathlib import PurePosixPath

import pytest

from tests.core.sources import (
    PACKAGES,
    ROOT,
    Function,
    find_classes,
    find_cycle,
    find_functions,
    find_imports,
    find_names,
    list_files,
    map_imports,
    read_modules,
)

BLENDER = {
    "addon_utils",
    "aud",
    "bl_ext",
    "bl_operators",
    "bl_ui",
    "blf",
    "bmesh",
    "bpy",
    "bpy_extras",
    "gpu",
    "gpu_extras",
    "imbuf",
    "mathutils",
}
STANDARD = set(sys.stdlib_module_names)
MAY_IMPORT = {
    "shared/blendset": STANDARD | {"blendset", "numpy", "cattrs", "tomli_w"},
    "blender_addon": STANDARD | BLENDER | {"blendset", "numpy"},
}
HOLDS_BLENDER = ("blender_addon/", "demo/", "tests/addon/", "tests/ui/", "benchmarks/")


def imported(source: str) -> set[str]:
    """Top-level names of all absolute imports, wherever in the source they stand."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    origins = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module}
    return {name.split(".")[0] for name in plain | origins}


def importers(modules: set[str]) -> list[str]:
    """The files that import any of these modules."""
    found = [path for path in list_files("*.py") if imported(path.read_text(encoding="utf-8")) & modules]
    return [path.relative_to(ROOT).as_posix() for path in found]


def test_imports_are_seen_wherever_they_stand() -> None:
    source = "import numpy.linalg as la\nfrom . import bpy\ndef late():\n    from mathutils.bvhtree import BVHTree\n"
    assert imported(source) == {"numpy", "mathutils"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    strangers = {
        path.relative_to(ROOT).as_posix(): names
        for path in list_files(f"{room}/*.py")
        if (names := imported(path.read_text(encoding="utf-8")) - MAY_IMPORT[room])
    }
    assert not strangers


def test_nobody_imports_the_addon_by_name() -> None:
    assert importers({"blender_addon"}) == []


def test_neither_the_core_nor_the_addon_imports_the_trainer() -> None:
    may = "trainer/", "tests/", "benchmarks/", "demo/"
    assert [name for name in importers({"blendset_trainer"}) if not name.startswith(may)] == []


def test_blender_is_imported_only_where_it_runs() -> None:
    assert [name for name in importers(BLENDER) if not name.startswith(HOLDS_BLENDER)] == []


def test_every_source_file_says_its_licence_first() -> None:
    wrong = []
    for path in list_files("*.py", "*.toml", "Makefile", ".ci/*"):
        name = path.relative_to(ROOT).as_posix()
        licence = "GPL-3.0-or-later" if name.startswith("blender_addon/") else "Apache-2.0"
        top = [line for line in path.read_text(encoding="utf-8").splitlines()[:2] if not line.startswith("#!")]
        if top[:1] != [f"# SPDX-License-Identifier: {licence}"]:
            wrong.append(name)
    assert not wrong


def test_each_distribution_carries_the_licence_text() -> None:
    text = (ROOT / "LICENSES/Apache-2.0.txt").read_bytes()
    assert [(ROOT / folder / "LICENSE").read_bytes() == text for folder in ("shared", "trainer")] == [True, True]


def test_no_file_names_a_package_index() -> None:
    organisations = ("pypi", "pythonhosted", "download.pytorch", "npmjs", "anaconda", "debian")
    hosts = [f"{name}.{domain}".encode() for name in organisations for domain in ("org", "com")]
    named = {
        path.relative_to(ROOT).as_posix(): host.decode()
        for path in list_files()
        for host in hosts
        if host in path.read_bytes()
    }
    assert not named


# --- the trainer's rooms ----------------------------------------------------------------------------------------------

LOOSE = {"adopted_views", "contact_sheet", "style", "synthetic_views", "things", "training_runs"}
"""Modules of the trainer that lie in no room, because several rooms need them or a documented command names them."""
ROOMS = {
    "adopted_views": {"stages"},
    "adoption": {"adopted_views", "stages", "synthetic_views"},
    "api": set(),
    "readers": set(),
    "style": set(),
    "synthetic_views": {"stages"},
    "things": set(),
    "training_runs": set(),
    "language": set(),
    "models": set(),
    "rendering": set(),
    "stages": {"captioning", "models", "scoring"},  # the catalogue names every captioner and scorer, in strings
    "captioning": {"language", "models", "stages", "synthetic_views", "things"},
    "scoring": {"captioning", "models", "stages"},
    "selection": {"stages"},
    "diffusion": {"models"},
    "evaluation": {
        *("adopted_views", "adoption", "captioning", "diffusion", "models", "rendering", "scoring", "selection"),
        *("stages", "style", "synthesis", "synthetic_views", "things", "training", "training_runs"),
    },
    "evolution": {"evaluation", "scoring", "selection", "stages", "synthesis", "training"},
    "exporting": {"adopted_views", "selection", "stages", "synthetic_views", "things"},
    "reporting": {
        "adopted_views",
        "evaluation",
        "selection",
        "stages",
        "style",
        "synthetic_views",
        "things",
        "training_runs",
    },
    "contact_sheet": {"reporting"},
    "synthesis": {"diffusion", "language", "models", "selection", "stages", "synthetic_views"},
    "training": {"adopted_views", "diffusion", "language", "models", "selection", "stages", "style", "training_runs"},
}
"""Each room of the trainer, and the rooms that it may import. They meet in the dataset. All may import `BELOW_ALL`."""
BELOW_ALL = {"api", "readers"}
"""What all rooms share: the registry and progress; how a picture and a table that people bring are read."""
ABOVE_ALL = {"", "cli"}
"""The package itself, which names the functions of the library, and the command line: they import any room, and no
room imports them."""
TAKEN_OF_SELECTION = {"blendset_trainer.selection.files", "blendset_trainer.selection.duplicates"}
"""What other rooms may import of the one that makes selections: how to read one, and what counts as a duplicate. The
judge reads rules too, and rounds write them."""
JUDGES = {"evaluation", "evolution"}

TAKEN_OF_CAPTIONING = {"blendset_trainer.captioning.questions"}
"""What scorers may import of the room that writes captions: the questions that a record answers."""


def name_room(module: str) -> str:
    """Return the room of the trainer that a module is in, or the loose module that it is."""
    return module.split(".")[1] if "." in module else ""


def may_import(module: str, other: str) -> bool:
    """Tell whether one module of the trainer may import another."""
    room, target = name_room(module), name_room(other)
    if room in ABOVE_ALL or target in {room, *BELOW_ALL}:
        return True
    if (room, target) == ("scoring", "captioning"):
        return other in TAKEN_OF_CAPTIONING
    return target in ROOMS[room] and (room in JUDGES or target != "selection" or other in TAKEN_OF_SELECTION)


def test_a_room_of_the_trainer_imports_only_rooms_below_it() -> None:
    imports = map_imports("trainer/blendset_trainer").items()
    assert [(name, other) for name, others in imports for other in sorted(others) if not may_import(name, other)] == []


@pytest.mark.parametrize("distribution", PACKAGES)
def test_no_imports_run_in_a_circle(distribution: str) -> None:
    assert find_cycle(map_imports(distribution)) == []


def test_circles_and_late_imports_are_found() -> None:
    assert find_cycle({"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("b")}) == ["b", "c", "b"]
    (registry,) = (each for each in read_modules("trainer/blendset_trainer") if each.name.endswith("stages.catalogue"))
    known = frozenset({"blendset_trainer.scoring.phash", "blendset_trainer.scoring"})
    assert find_imports(registry, known) == {"blendset_trainer.scoring.phash"}


def test_few_modules_lie_in_no_room() -> None:
    loose = {
        path.stem for path in list_files("trainer/blendset_trainer/*.py") if path.parent.name == "blendset_trainer"
    }
    assert loose - {"__init__"} <= LOOSE


@pytest.mark.parametrize("distribution", PACKAGES)
def test_a_folder_holds_at_most_twenty_files(distribution: str) -> None:
    counts = Counter(
        PurePosixPath(path.relative_to(ROOT).as_posix()).parent for path in list_files(f"{distribution}/*")
    )
    assert {str(folder): count for folder, count in counts.items() if count > 20} == {}


# --- words ------------------------------------------------------------------------------------------------------------

BANNED = {"place", "places", "told", "said", "wanted", "given", "shown", "seen"}
"""Names that mean too much to be found, or nothing without their neighbours."""
EXCUSED = {"blender_addon": {"place"}, "trainer/blendset_trainer": {"place"}}
"""Names that users' files hold: a property of an operator, in key maps, and a key of the grammar of prompts."""
IRREGULAR = set(
    "begun bent bought broken brought built caught chosen dealt done drawn driven fallen felt forgotten found "
    "gone grown heard held hidden kept known laid led left lent lost made meant met paid sent shown spent stood sunk "
    "sworn taken taught thrown told understood won worn woven written".split()
)
VERBS_IN_ED = {"embed", "exceed", "feed", "need", "proceed", "seed", "speed", "succeed"}
FIELD_NAMES = {"scaled_linear_betas"}
"""Functions that bear the name that their field gives to what they compute."""
ARRAYS = re.compile(r"(?<!str, )\b(Tensor|NDArray|Array|ndarray)\b")
"""In annotations; tensors under names, as in a state dict, have a shape each."""
SHAPE = re.compile(r"\([\w.]+(?:,| [·+-])[^)]*\)|\b(shape|scalar)", re.IGNORECASE)
"""How a docstring says a shape: "(height, width, 3)", "(B,)", "shape", "scalar"."""


CALLBACKS = {
    *("cancel", "check", "draw", "draw_header", "draw_header_preset", "draw_item", "execute", "filter_items", "invoke"),
    *("modal", "poll"),
}
"""Of Blender's operators, panels and lists."""
MOST_BASES = 3
"""How many classes above its own a method's docstring is looked for."""


def list_functions(distribution: str) -> list[Function]:
    """Return all functions of a distribution."""
    return [function for module in read_modules(distribution) for function in find_functions(module)]


@pytest.mark.parametrize("distribution", PACKAGES)
def test_no_banned_word_is_a_name(distribution: str) -> None:
    found = {
        f"{module.path}:{line} {name}"
        for module in read_modules(distribution)
        for name, line in find_names(module)
        if name.strip("_") in BANNED - EXCUSED.get(distribution, set())
    }
    assert not found


@pytest.mark.parametrize("distribution", PACKAGES)
def test_no_public_class_name_stands_twice(distribution: str) -> None:
    counts = Counter(name for module in read_modules(distribution) for name in find_classes(module))
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("distribution", PACKAGES)
def test_functions_are_not_named_by_participles(distribution: str) -> None:
    def is_participle(name: str) -> bool:
        first = name.strip("_").split("_")[0]
        return first in IRREGULAR or (first.endswith("ed") and first not in VERBS_IN_ED and name not in FIELD_NAMES)

    named = [
        each.title for each in list_functions(distribution) if is_participle(each.node.name) and not is_value(each)
    ]
    assert not named


def is_value(function: Function) -> bool:
    """Tell a property, which is named as values are."""
    return bool(function.decorators & {"property", "cached_property", "setter"})


@pytest.mark.parametrize("distribution", PACKAGES)
def test_public_functions_have_docstrings(distribution: str) -> None:
    functions = list_functions(distribution)
    documented = list_documented(functions)
    silent = [each for each in functions if each.public and not ast.get_docstring(each.node)]
    assert [each.title for each in silent if not is_override(each, documented)] == []


@pytest.mark.parametrize("distribution", ["shared/blendset", "trainer/blendset_trainer"])
def test_docstrings_of_functions_over_arrays_name_shapes(distribution: str) -> None:
    functions = [each for each in list_functions(distribution) if each.public and not is_value(each)]
    documented = list_documented(functions)
    silent = [each for each in functions if takes_arrays(each) and not SHAPE.search(ast.get_docstring(each.node) or "")]
    assert [each.title for each in silent if not is_override(each, documented)] == []


def takes_arrays(function: Function) -> bool:
    """Tell whether arrays or tensors pass into a function or out of it."""
    arguments = function.node.args
    each = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    hints = [ast.unparse(one.annotation) for one in each if one.annotation]
    hints += [ast.unparse(function.node.returns)] if function.node.returns else []
    return any(ARRAYS.search(hint) for hint in hints)


def is_override(function: Function, documented: set[tuple[str, str]]) -> bool:
    """Tell a method whose docstring stands in a base class, or that Blender or Python calls."""
    name = function.node.name
    return name.startswith("__") or name in CALLBACKS or any((base, name) in documented for base in function.bases)


def list_documented(functions: list[Function]) -> set[tuple[str, str]]:
    """Return class and name of every method with a docstring, its own or that of a base class."""
    bases = {each.owner: each.bases for each in functions if each.owner}
    documented = {(each.owner, each.node.name) for each in functions if ast.get_docstring(each.node)}
    for _ in range(MOST_BASES):
        documented |= {
            (owner, name) for owner, above in bases.items() for base, name in documented.copy() if base in above
        }
    return documented


def test_functions_are_short() -> None:
    lengths = sorted(each.lines for distribution in PACKAGES for each in list_functions(distribution))
    assert lengths[-1] <= 55
    assert statistics.median(lengths) <= 7


def test_the_glossary_names_files_that_there_are() -> None:
    roots = {"core": "shared/blendset", "add-on": "blender_addon", "trainer": "trainer/blendset_trainer"}
    rows = re.findall(
        r"\| (core|add-on|trainer) (.*) \|$", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE
    )
    missing = []
    for root, cell in rows:
        files = [ROOT / roots[root] / name for name in re.findall(r"`([\w/]+\.py)`", cell)]
        text = "".join(path.read_text("utf-8") for path in files if path.is_file())
        names = [name.split(".")[-1] for name in re.findall(r"`(\w[\w.]*)`", cell) if not name.endswith(".py")]
        missing += [str(path) for path in files if not path.is_file()] + [name for name in names if name not in text]
    assert rows
    assert missing == []
