"""A run is named by what it computes: config, data and the code that makes the numbers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
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
        deciding = {key: item for key, item in value.items() if prefix + key not in EXCLUDED}
        return {key: _uniform(item, f"{prefix}{key}.") for key, item in deciding.items()}
    if isinstance(value, list):
        return [_uniform(item, f"{prefix}[].") for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
