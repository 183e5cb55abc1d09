"""A run is named by what it computes: the same numbers asked for twice are one run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from bnexp.runs.files import plain

EXCLUDED = frozenset(
    {
        "out",
        "deterministic",
        "cuda_graphs",
        "together",
        "threads",
        "progress",
        "resume",
        "fail_fast",
        "checkpoint_minutes",
        "checkpoint_steps",
        "measure",
        "preset",
        "experiment",
        "data.path",
        "data.cache",
        "data.label",
        "hydra",
    }
)
"""Dotted keys of a run's config that cannot change its numbers. The data are named by their
content (the fingerprint), not by where they lie or what they are called."""

NEWER: dict[str, Any] = {"tf32": False}
"""Keys that came later, with the value that says what runs did before: with it, a key is left out
of the id, so that the runs made before have the ids they had."""


def run_id(config: Mapping[str, Any], fingerprint: str) -> str:
    """The name of the run that ``config`` asks for on the data with this ``fingerprint``.

    Returns:
        ``<model>-<norm>-<12 hex digits>``, such as ``vgg16-bn-1f2e3d4c5b6a``. It does not depend
        on the order of keys, on the spelling of a number (1 or 1.0) or on the `EXCLUDED` keys; of
        the device only the type counts; a `NEWER` key counts where it is not as before it was
        there. It depends on everything else.
    """
    asked = {"config": canonical(config), "data": fingerprint}
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return "-".join([*(_readable(config, group) for group in ("model", "norm")), digest])


def canonical(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``config`` decides the numbers, each number in one spelling."""
    kept = _without(plain(config), EXCLUDED)
    kept = {k: v for k, v in kept.items() if k not in NEWER or v is not NEWER[k]}
    device = kept.get("device")
    if isinstance(device, str):
        kept["device"] = device.partition(":")[0]
    spelled = _one_spelling(kept)
    assert isinstance(spelled, dict)
    return spelled


def _without(config: dict[str, Any], keys: frozenset[str], prefix: str = "") -> dict[str, Any]:
    return {
        key: _without(value, keys, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in config.items()
        if f"{prefix}{key}" not in keys
    }


def _one_spelling(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _one_spelling(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_one_spelling(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _readable(config: Mapping[str, Any], group: str) -> str:
    options = config.get(group)
    name = str(options.get("name", group)) if isinstance(options, Mapping) else group
    # The id becomes the name of a folder.
    return re.sub(r"[^a-z0-9_]+", "", name.lower()) or group
