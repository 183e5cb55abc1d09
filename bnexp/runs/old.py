"""Configs of version 0.1, read as those of today."""

from __future__ import annotations

import re
from typing import Any

NOISE = ("n_mu", "n_sigma", "r_mu", "r_sigma")
"""Options that every norm had and that only `NOISY` ones use."""

NOISY = ("noisy_bn", "noise_only")


def present(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` in the present spelling, with which those of version 0.1 differ."""
    model, norm, data = (dict(config.get(group, {})) for group in ("model", "norm", "data"))
    model.pop("family", None)
    if match := re.fullmatch(r"vgg(\d+)", str(model.get("name"))):
        model = {**model, "name": "vgg", "depth": int(match[1])}
    if norm.get("name") not in NOISY:
        norm = {key: value for key, value in norm.items() if key not in NOISE}
    if data.get("name") == "gaussian":
        data.setdefault("A", "normal")
    gone = ("together", "cuda_graphs")
    groups = {"model": model, "norm": norm, "data": data}
    return {key: groups.get(key, value) for key, value in config.items() if key not in gone}
