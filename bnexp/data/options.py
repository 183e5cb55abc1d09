"""Reading the keys of the `data` config: what is missing or wrong is told by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnexp.errors import UserError


def positive_int(cfg: Mapping[str, Any], key: str) -> int:
    """``cfg[key]`` as an int >= 1. Raises UserError naming ``data.key`` otherwise."""
    value = cfg.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"data.{key}: got {value!r}; expected a whole number of at least 1")
    return value


def positive_float(cfg: Mapping[str, Any], key: str) -> float:
    """``cfg[key]`` as a finite float > 0. Raises UserError naming ``data.key`` otherwise."""
    value = cfg.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise UserError(f"data.{key}: got {value!r}; expected a finite number above 0")


def label(cfg: Mapping[str, Any], otherwise: str) -> str:
    """The name of the data shown to people: ``data.label``, or ``otherwise`` where it is null."""
    return str(cfg.get("label") or otherwise)


def cache_folder(cfg: Mapping[str, Any]) -> Path:
    """``data.cache``, or where it is null the platform's cache folder for bnexp."""
    import platformdirs

    return Path(cfg.get("cache") or platformdirs.user_cache_dir("bnexp")).expanduser()
