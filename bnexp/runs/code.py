"""A hash of the code that makes a run's numbers, without importing or running any of it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = __name__.partition(".")[0]

PASSIVE = ("commands", "figures", "claims", "analysis", "report", "runs", "cli")
"""Rooms of bnexp that only start runs, keep them or look at them."""

_UNUSED = frozenset({"ctx", "kind", "type_comment", "returns"})
"""Fields of a syntax tree that change nothing of what the code does."""


def code_hash(modules: Iterable[str]) -> str:
    """A hash of ``modules`` and of all that they import, directly or not, of bnexp or beside them.

    Comments, docstrings, the annotations of functions and the layout do not count, nor do bnexp's
    `PASSIVE` rooms and installed libraries, whose versions are in ``env.json``.

    Args:
        modules: dotted names, such as ``bnexp.training.run`` and a plug-in's.

    Returns:
        64 hex digits, equal on all machines and versions of Python.
    """
    names = {name for name in modules if _is_active(name)}
    roots = {PACKAGE, *(name.partition(".")[0] for name in names)}
    digests: dict[str, str] = {}
    while names:
        name = names.pop()
        file = _file(name)
        if name in digests or file is None:
            continue
        digests[name], imported = _parse(name, file)
        for other in imported:
            if other not in digests and _is_active(other) and _is_own(other, roots):
                names.add(other)
    text = "\n".join(f"{name} {digests[name]}" for name in sorted(digests))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_active(name: str) -> bool:
    package, _, rest = name.partition(".")
    return package != PACKAGE or rest.partition(".")[0] not in PASSIVE


@cache
def _is_library(package: str) -> bool:
    if package in sys.stdlib_module_names:
        return True
    file = _file(package)
    places = {Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "purelib", "platlib")}
    return file is None or any(place in file.resolve().parents for place in places)


def _is_own(name: str, roots: set[str]) -> bool:
    package = name.partition(".")[0]
    return package in roots or not _is_library(package)


@cache
def _file(name: str) -> Path | None:
    """The source file of module ``name``, found without importing its packages."""
    package, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for place in spec.submodule_search_locations or ():
        path = Path(place).joinpath(*rest)
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


@cache
def _parse(name: str, file: Path) -> tuple[str, frozenset[str]]:
    """The hash of one file and the names it imports, some of which may be no modules."""
    tree = ast.parse(file.read_bytes(), str(file))
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    # Importing a module runs the packages it is in.
    parts = name.split(".")
    imported = {".".join(parts[:end]) for end in range(1, len(parts))}
    for node in _run(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else ()), *filter(None, [node.module])])
            imported |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    digest = hashlib.sha256("\n".join(_tokens(tree)).encode()).hexdigest()
    return digest, frozenset(imported)


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """``node`` and what is below it, less what only a type checker reads."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield from _run(child)


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
