"""A run is named by what it computes: config, data and the code that makes the numbers."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from bnexp.runs.files import plain

EXCLUDED = frozenset({
    "out", "deterministic", "threads", "progress", "resume", "fail_fast", "checkpoint_minutes",
    "checkpoint_steps", "measure", "preset", "sizes", "experiment", "plugins", "stale", "data.path",
    "data.cache", "data.label", "data.download", "logger", "share", "hydra",
})  # fmt: skip
"""Dotted keys of a run's config that cannot change its numbers. The data are named by their
content (the fingerprint), not by where they lie or what they are called; plug-ins by their code."""

NEUTRAL = {
    "optim.schedule": "constant", "optim.warmup": 0.1, "optim.milestones": [0.5, 0.75],
    "optim.gamma": 0.1, "optim.final": 0, "optim.nesterov": False,
    "model.dropout": 0, "model.init_scale": 1, "model.label_smoothing": 0,
    "data.size": None, "data.test_share": 0.2, "optim.frozen": [], "probes.eval.splits": ["test"],
    "data.smallest": 0.6, "data.turn": 25, "data.shift": 4, "data.noise": 85,
}  # fmt: skip
"""Options that came later, at what runs did before: with these values a run is the same run."""


def run_id(config: Mapping[str, Any], fingerprint: str, code: str) -> str:
    """The name of the run of ``config`` on the data with this ``fingerprint`` by this ``code``.

    Such as ``vgg16-bn-1f2e3d4c5b6a-07c1``: a hash of config and data, and one of the code. The
    order of keys, the spelling of a number (1 or 1.0), the `EXCLUDED` keys and the number of the
    device do not matter; everything else does.
    """
    content = {"config": canonical(config), "data": fingerprint}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    names = (model_name(config), _name(config, "norm"))
    # The id becomes the name of a folder.
    readable = [re.sub(r"[^a-z0-9_]+", "", name.lower())[:40] or "run" for name in names]
    return "-".join([*readable, digest, code[:4]])


def siblings(runs_dir: Path, name: str) -> list[Path]:
    """The directories in ``runs_dir`` of the run called ``name`` as other code made it."""
    same_config = sorted(runs_dir.glob(f"{name.rpartition('-')[0]}-????/config.yaml"))
    return [file.parent for file in same_config if file.parent.name != name]


def model_name(config: Mapping[str, Any]) -> str:
    """The model's name with its depth where it has one, such as ``vgg16``."""
    options = config.get("model")
    depth = options.get("depth") if isinstance(options, Mapping) else None
    return _name(config, "model") + ("" if depth is None else str(depth))


def _name(config: Mapping[str, Any], group: str) -> str:
    options = config.get(group)
    return str(options.get("name", group)) if isinstance(options, Mapping) else group


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``config`` decides the numbers, each number in one spelling."""
    deciding: dict[str, Any] = _uniform(plain(config))
    if isinstance(device := deciding.get("device"), str):
        deciding["device"] = device.partition(":")[0]
    return deciding


def _uniform(value: Any, prefix: str = "") -> Any:
    if isinstance(value, dict):
        return {
            key: _uniform(item, f"{name}.")
            for key, item in value.items()
            if (name := prefix + key) not in EXCLUDED and NEUTRAL.get(name, ...) != item
        }
    if isinstance(value, list):
        return [_uniform(item, f"{prefix}[].") for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


# The code

PACKAGE = __name__.partition(".")[0]

PASSIVE = ("commands", "loggers", "figures", "claims", "analysis", "report", "runs", "cli")
"""Rooms of bnexp that only start runs, keep them or look at them."""


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
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            imported |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    digest = hashlib.sha256("\n".join(_tokens(tree)).encode()).hexdigest()
    return digest, frozenset(imported)


def _tokens(node: object) -> Iterator[str]:
    # By hand: what ast.dump writes differs between versions of Python.
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            unused = name in ("ctx", "kind", "type_comment", "returns")
            unused |= name == "annotation" and isinstance(node, ast.arg)
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


def versions(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """How many versions of the code made ``runs``, given by id and config: the most of any kind.

    Runs of one model with the same probes are of one kind: the same files make their numbers. Ids
    from before they named the code count as one version.
    """
    codes: dict[str, set[str]] = {}
    for name, config in runs:
        kind = f"{model_name(config)} {sorted(config.get('probes') or ())}"
        codes.setdefault(kind, set()).add(name[-4:] if name[-5:-4] == "-" else "")
    return max(map(len, codes.values()), default=0)
