"""What runs must have in common to be drawn together, and how to call that."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from bnexp.runs.identity import canonical
from bnexp.runs.load import Run

LATER = ("compile", "tf32")
"""Switches that came later: off is what runs did before."""


def scale(run: Run) -> dict[str, Any]:
    """What two runs must share to be drawn together.

    It is what decides a run's numbers less what figures vary (norm, lr, seeds) and less keys that
    only some versions write. The data count by their label: where they lie does not matter.
    """
    shared = {
        key: value
        for key, value in canonical(run.config).items()
        if key not in ("norm", "seed") and not key.startswith("seed_")
    }
    for key in LATER:
        if not shared.get(key):
            shared.pop(key, None)
    shared["optim"] = {k: v for k, v in shared.get("optim", {}).items() if k != "lr"}
    data = {**shared.get("data", {}), "label": run.data}
    unused = {"normal": ("A_low", "A_high"), "uniform": ("A_std",)}.get(str(data.get("A")), ())
    shared["data"] = {key: value for key, value in data.items() if key not in unused}
    return shared


def describe(run: Run) -> str:
    """A run's `scale` for people, such as ``VGG-16 ×1/8, digits, batch 128, 400 steps``."""
    size = run.option("batch_size")
    batch = "full batch" if size is None else f"batch {size:,}"
    return f"{_describe_model(run)}, {run.data}, {batch}, {run.steps:,} steps"


def _describe_model(run: Run) -> str:
    if run.family == "dln":
        return f"DLN {run.option('model.k')}×{run.option('model.d')}"
    name = f"VGG-{run.option('model.depth')}" if run.family == "vgg" else run.model
    # No width (NaN) and the paper's own need no words.
    return name if math.isnan(run.width) or run.width == 1 else f"{name} ×{_ratio(run.width)}"


def _ratio(value: float) -> str:
    fraction = Fraction(value).limit_denominator(64)
    return str(fraction) if float(fraction) == value else f"{value:g}"
