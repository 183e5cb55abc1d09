"""A hash of the code that makes a run's numbers, without importing or running any of it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGE = __name__.partition(".")[0]

PASSIVE = ("commands", "figures", "claims", "analysis", "report", "runs", "cli")
"""Rooms of bnexp that only start runs, keep them or look at them."""

_UNUSED = frozenset({"ctx", "kind", "type_comment", "returns"})
"""Fields of a syntax tree that change nothing of what the code does."""


def code_hash(modules: Iterable[str]) -> str:
    """A hash of ``modules`` and of all that they import, directly or not, of bnexp or beside them.

    Comments, docstrings, the annotations of functions and the layout do not count, nor do bnexp's
    `PASSIVE` rooms and installed libraries, whose versions are in ``env.json``. It is equal on all
    machines and versions of Python.
    """
    names = set(modules)
    own = {PACKAGE, *(name.partition(".")[0] for name in names)}
    digests: dict[str, str] = {}
    while names:
        name = names.pop()
        package, _, rest = name.partition(".")
        passive = package == PACKAGE and rest.partition(".")[0] in PASSIVE
        if name in digests or passive or (package not in own and _is_library(package)):
            continue
        if (file := _file(name)) is not None:
            digests[name], imported = _parse(name, file)
            names |= imported
    text = "\n".join(f"{name} {digests[name]}" for name in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _is_library(package: str) -> bool:
    if package in sys.stdlib_module_names or (file := _file(package)) is None:
        return True
    places = {Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "purelib", "platlib")}
    return bool(places & {*file.resolve().parents})


@cache
def _file(name: str) -> Path | None:
    """The source file of module ``name``, found without importing its packages."""
    package, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    for part in rest:
        places = (spec and spec.submodule_search_locations) or []
        spec = PathFinder.find_spec(f"..{part}", places)
    file = spec and spec.origin
    return Path(file) if file and file.endswith(".py") else None


@cache
def _parse(name: str, file: Path) -> tuple[str, frozenset[str]]:
    """The hash of one file and the names it imports, some of which may be no modules."""
    tree = ast.parse(file.read_bytes(), str(file))
    parts = name.split(".")
    # Importing a module runs the packages it is in.
    imported = {".".join(parts[:end]) for end in range(1, len(parts))}
    package = parts if file.name == "__init__.py" else parts[:-1]
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            imported |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    digest = hashlib.sha256("\n".join(_tokens(tree)).encode()).hexdigest()
    return digest, frozenset(imported)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """``node`` and what is below it, less what only a type checker reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield from _executed(child)


def _tokens(node: object) -> Iterator[str]:
    # By hand: what ast.dump writes differs between versions of Python.
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            unused = name in _UNUSED or (name == "annotation" and isinstance(node, ast.arg))
            if not unused and value is not None and value != []:
                yield name
                yield from _tokens(value)
    elif isinstance(node, list):
        yield "["
        for item in node:
            if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)):
                yield from _tokens(item)
        yield "]"
    else:
        yield f"{type(node).__name__} {node!r}"
