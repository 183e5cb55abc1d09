"""What the panels plot: where each quantity lies in the tables, and how its axis looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bnexp.analysis import paper, read
from bnexp.analysis.scales import EXPERIMENTS
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import last_third, median
from bnexp.runs import Run

CHANCE = 15.0
"""Train accuracy in % below which a classifier of ten classes is at chance."""


@dataclass(frozen=True)
class Quantity:
    """One quantity over steps.

    Attributes:
        name: what the paper's curves call it.
        table: the table it is read from.
        label: of the y axis.
        trace: reads it from a run, for a layer (None where there are no layers).
        log: whether the y axis is logarithmic in the paper.
        limits: the paper's y limits where they follow from the quantity; data may widen them.
        filled: whether it is a band.
        small: whether its panel is a small one beside another.
        ratio: whether two of its values are compared by their ratio, else by their difference.
    """

    name: str
    table: str
    label: str
    trace: Callable[[Run, int | None], Trace]
    log: bool = False
    limits: tuple[float, float] | None = None
    filled: bool = False
    small: bool = False
    ratio: bool = True

    def times(self, factor: Callable[[Run], float], label: str) -> Quantity:
        """The quantity times a factor that depends on the run."""

        def trace(run: Run, layer: int | None) -> Trace:
            line, by = self.trace(run, layer), factor(run)
            return replace(line, lo=by * line.lo, hi=by * line.hi)

        return replace(self, label=label, trace=trace)


def column(
    name: str,
    table: str,
    column: str,
    label: str,
    where: Mapping[str, str] | None = None,
    layered: bool = False,
    **axis: Any,
) -> Quantity:
    """A column of a table that has one row per step (and layer, if ``layered``)."""

    def trace(run: Run, layer: int | None) -> Trace:
        of_layer = {"layer": layer or 0} if layered else {}
        return read.line(run, table, column, **(where or {}), **of_layer)

    return Quantity(name, table, label, trace, **axis)


def _accuracy(name: str, table: str, label: str, **where: str) -> Quantity:
    share = column(name, table, "accuracy", label, where, limits=(0.0, 105.0), ratio=False)
    return share.times(lambda _: 100.0, label)


def _band(name: str, column: str) -> Quantity:
    return Quantity(
        name, "smoothness", name.replace("_", " "), lambda run, _: read.eta_band(run, column),
        log=True, filled=True,
    )  # fmt: skip


def _unit_shift(name: str, label: str, moment: str, successive: bool) -> Quantity:
    """How a moment of a layer's followed unit changes (Fig 8): each step, or since the first."""

    def trace(run: Run, layer: int | None) -> Trace:
        x, y = read.unit_moment(run, layer or 0, moment)
        return read.trace(run, x[1:], np.abs(np.diff(y)) if successive else y[1:] - y[:1])

    return Quantity(name, "moments", label, trace, small=True, ratio=successive)


TRAIN_ACCURACY = _accuracy("train_accuracy", "train", "train accuracy (%)")
TEST_ACCURACY = _accuracy("test_accuracy", "eval", "test accuracy (%)", split="test")
TRAIN_LOSS = column("train_loss", "train", "loss", "train loss", log=True)
ICS_L2 = column(
    "l2_difference", "gradient_shift", "l2", "ℓ₂ difference", layered=True, small=True, log=True
)
ICS_COSINE = column(
    "cos_angle", "gradient_shift", "cos", "cos angle", layered=True, small=True,
    limits=(-1.1, 1.1), ratio=False,
)  # fmt: skip
LOSS_BAND = _band("loss_landscape", "loss")
"""The loss along the gradient, min to max over eta (sec. 4.1)."""
BETA = Quantity(
    "beta_smoothness", "smoothness", "effective β-smoothness", lambda run, _: read.beta(run),
    log=True,
)  # fmt: skip
"""Effective beta-smoothness: the max over eta (sec. 4.1)."""
BETA_ETA = Quantity(
    "beta_eta", "smoothness", "η of max", lambda run, _: read.beta(run, where=True),
    log=True, small=True,
)  # fmt: skip
BETA_0 = column("beta_0", "curvature", "beta_0", "‖Hg‖/‖g‖", log=True)
BETA_0_SCALED = column("beta_0_scaled", "curvature", "beta_0_scaled", "‖w‖²‖Hg‖/‖g‖", log=True)
SHARPNESS = column("sharpness", "sharpness", "sharpness", "sharpness", log=True)
UNIT_SHIFTS = (
    _unit_shift("abs_mean_step_change", "|μₜ₊₁ − μₜ|", "mean", True),
    _unit_shift("abs_var_step_change", "|σ²ₜ₊₁ − σ²ₜ|", "var", True),
    _unit_shift("mean_minus_initial", "μₜ − μ₀", "mean", False),
    _unit_shift("var_minus_initial", "σ²ₜ − σ²₀", "var", False),
)


def predictiveness_band(column: str = "predictiveness") -> Quantity:
    """Gradient predictiveness, min to max over eta (sec. 4.1).

    ``column``: of table ``landscape``, see `read.predictiveness_column`.
    """
    return _band("gradient_predictiveness", column)


def beta_from(least: float) -> Quantity:
    """Effective beta-smoothness had the grid begun at ``least`` times lr."""
    name, table = f"beta_from_{least:g}", "landscape"
    return replace(BETA, name=name, table=table, trace=lambda run, _: read.beta(run, least))


def paper_quantities() -> dict[str, Quantity]:
    """The quantities that the paper plots over steps, by its curves' names."""
    lines = (
        TRAIN_ACCURACY, TEST_ACCURACY, TRAIN_LOSS, ICS_L2, ICS_COSINE, LOSS_BAND,
        predictiveness_band(), BETA, *UNIT_SHIFTS,
    )  # fmt: skip
    return {line.name: line for line in lines}


def stuck_at_chance(run: Run) -> bool:
    """Whether the run stays at chance where the paper shows one of its kind that does not.

    By train accuracy: the median over its last third, and the mean over the paper's last points.
    """
    if run.family not in EXPERIMENTS:
        return False
    curve = paper.first_curve(run.family, TRAIN_ACCURACY.name, run.norm, run.lr)
    if curve is None or not curve.lo[-10:].mean() > CHANCE:
        return False
    return median(last_third(TRAIN_ACCURACY.trace(run, None), run.steps)) < CHANCE
