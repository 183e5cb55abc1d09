"""A run is named by what it computes: config, data and the code that makes the numbers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bnexp.runs.files import plain

EXCLUDED = frozenset({
    "out", "deterministic", "threads", "progress", "resume", "fail_fast", "checkpoint_minutes",
    "checkpoint_steps", "measure", "preset", "sizes", "experiment", "plugins", "stale", "data.path",
    "data.cache", "data.label", "hydra",
})  # fmt: skip
"""Dotted keys of a run's config that cannot change its numbers. The data are named by their
content (the fingerprint), not by where they lie or what they are called; plug-ins by their code."""

_ID = re.compile(r"(.+-[0-9a-f]{12})-([0-9a-f]{4})")


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
    match = _ID.fullmatch(name)
    if match is None or not runs_dir.is_dir():
        return []
    names = _by_config(runs_dir, runs_dir.stat().st_mtime_ns).get(match[1], ())
    others = (runs_dir / other for other in names if other != name)
    return [path for path in others if (path / "config.yaml").is_file()]


@lru_cache(maxsize=4)
def _by_config(runs_dir: Path, changed: int) -> dict[str, list[str]]:  # noqa: ARG001
    """The names in ``runs_dir`` by what they say before the code; listed once per change of it."""
    names: dict[str, list[str]] = {}
    for name in sorted(path.name for path in runs_dir.iterdir()):
        if match := _ID.fullmatch(name):
            names.setdefault(match[1], []).append(name)
    return names


def model_name(config: Mapping[str, Any]) -> str:
    """The model's name with its depth where it has one, such as ``vgg16``."""
    options = config.get("model")
    depth = options.get("depth") if isinstance(options, Mapping) else None
    return _name(config, "model") + ("" if depth is None else str(depth))


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``config`` decides the numbers, each number in one spelling."""
    deciding: dict[str, Any] = _uniform(plain(config))
    if isinstance(device := deciding.get("device"), str):
        deciding["device"] = device.partition(":")[0]
    return deciding


def _uniform(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        dot = f"{key}." if key else ""
        below = {name: f"{dot}{name}" for name in value if f"{dot}{name}" not in EXCLUDED}
        return {name: _uniform(value[name], path) for name, path in below.items()}
    if isinstance(value, list):
        return [_uniform(item, f"{key}[]") for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _name(config: Mapping[str, Any], group: str) -> str:
    options = config.get(group)
    return str(options.get("name", group)) if isinstance(options, Mapping) else group
