# SPDX-License-Identifier: Apache-2.0
"""The project's own source files as syntax trees: which modules import which, and what their functions are called."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "shared/blendset": "blendset",
    "trainer/blendset_trainer": "blendset_trainer",
    "blender_addon": "blender_addon",
}
"""The folder of each distribution, and the package that it is."""
REFERENCE = re.compile(r"blendset(_trainer)?(\.\w+)+(?=:\w+$|$)")
"""A module in a string, alone or before ":name", as tables of what is imported late have them."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A source file: its path from the root of the checkout, its dotted name, and its syntax tree."""

    path: str
    name: str
    tree: ast.Module


@dataclass(frozen=True)
class Function:
    """A function or method: where it is, its class (or "") and the bases of that, and whether it is public."""

    path: str
    owner: str
    bases: tuple[str, ...]
    node: Definition
    public: bool

    @property
    def title(self) -> str:
        """Path, line and name, for messages."""
        return f"{self.path}:{self.node.lineno} {self.owner}{'.' * bool(self.owner)}{self.node.name}"

    @property
    def decorators(self) -> set[str]:
        """The last words of its decorators: {"property"}, {"contextmanager"}, {"setter"}."""
        return {ast.unparse(each).split("(")[0].split(".")[-1] for each in self.node.decorator_list}

    @property
    def lines(self) -> int:
        """From `def` to the last line of the body."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1


def list_files(*patterns: str) -> list[Path]:
    """Return the project's own files, committed or about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [ROOT / name for name in sorted(set(names)) if (ROOT / name).is_file()]


@cache
def read_modules(distribution: str) -> tuple[Module, ...]:
    """Return all modules of a distribution, a key of PACKAGES."""
    return tuple(_read_module(distribution, path) for path in list_files(f"{distribution}/*.py"))


def _read_module(distribution: str, path: Path) -> Module:
    parts = path.relative_to(ROOT / distribution).with_suffix("").parts
    name = ".".join((PACKAGES[distribution], *parts)).removesuffix(".__init__")
    return Module(path.relative_to(ROOT).as_posix(), name, ast.parse(path.read_text(encoding="utf-8")))


def find_imports(module: Module, known: frozenset[str]) -> set[str]:
    """Return which of the known modules a module imports, at its top, inside functions, or by a name in a string."""
    package = module.name if module.path.endswith("__init__.py") else module.name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in known else origin for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and REFERENCE.match(node.value):
            found.add(node.value.partition(":")[0])
    return (found & known) - {module.name}


@cache
def map_imports(distribution: str) -> dict[str, frozenset[str]]:
    """Return for each module of a distribution the modules of the same distribution that it imports."""
    modules = read_modules(distribution)
    known = frozenset(module.name for module in modules)
    return {module.name: frozenset(find_imports(module, known)) for module in modules}


def find_cycle(imports: dict[str, frozenset[str]]) -> list[str]:
    """Return the modules of one circle of imports, in their order; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        circle = next(filter(None, (visit(other, [*path, name]) for other in sorted(imports[name]))), [])
        done.add(name)
        return circle

    return next(filter(None, (visit(name, []) for name in sorted(imports))), [])


def find_functions(module: Module) -> Iterator[Function]:
    """Yield the functions of a module, those inside classes and functions too."""

    def visit(node: ast.AST, owner: str, bases: tuple[str, ...], public: bool) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Definition):
                yield Function(module.path, owner, bases, child, public and not child.name.startswith("_"))
                yield from visit(child, "", (), False)
            elif isinstance(child, ast.ClassDef):
                names = tuple(ast.unparse(base).split("[")[0].split(".")[-1] for base in child.bases)
                yield from visit(child, child.name, names, public and not child.name.startswith("_"))
            else:
                yield from visit(child, owner, bases, public)

    yield from visit(module.tree, "", (), True)


def find_classes(module: Module) -> list[str]:
    """Return the names of the public classes that a module defines at its top."""
    return [node.name for node in module.tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def find_names(module: Module) -> Iterator[tuple[str, int]]:
    """Yield every name that a module defines, with its line: functions, arguments, variables and attributes."""
    for node in ast.walk(module.tree):
        if isinstance(node, Definition):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
