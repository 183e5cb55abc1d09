"""What the panels plot: where each quantity lies in the tables, and how its axis looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from bnexp.analysis import read
from bnexp.analysis.scales import VGG
from bnexp.analysis.series import Trace
from bnexp.runs import Run


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


def column(name: str, table: str, label: str) -> Quantity:
    """A column of a table with one row per step, on a log axis."""
    return Quantity(name, table, label, lambda run, _: read.line(run, table, name), log=True)


def scaled(quantity: Quantity, factor: Callable[[Run], float], label: str) -> Quantity:
    """The quantity times a factor that depends on the run."""

    def trace(run: Run, layer: int | None) -> Trace:
        line, by = quantity.trace(run, layer), factor(run)
        return Trace(line.x, by * line.lo, by * line.hi, line.diverged)

    return replace(quantity, label=label, trace=trace)


def _accuracy(name: str, table: str, label: str, **where: str) -> Quantity:
    def trace(run: Run, _: int | None) -> Trace:
        line = read.line(run, table, "accuracy", **where)
        return replace(line, lo=100 * line.lo, hi=100 * line.hi)

    return Quantity(name, table, label, trace, limits=(0.0, 105.0), ratio=False)


def _shift(name: str, column: str, label: str) -> Quantity:
    def trace(run: Run, layer: int | None) -> Trace:
        return read.line(run, "gradient_shift", column, layer=layer or 0)

    return Quantity(name, "gradient_shift", label, trace, small=True)


def _band(name: str, column: str, log: bool) -> Quantity:
    def trace(run: Run, _: int | None) -> Trace:
        return read.eta_band(run, column)

    return Quantity(name, "smoothness", name.replace("_", " "), trace, log=log, filled=True)


TRAIN_ACCURACY = _accuracy("train_accuracy", "train", "train accuracy (%)")
TEST_ACCURACY = _accuracy("test_accuracy", "eval", "test accuracy (%)", split="test")
TRAIN_LOSS = replace(column("loss", "train", "train loss"), name="train_loss")
ICS_L2 = replace(_shift("l2_difference", "l2", "ℓ₂ difference"), log=True)
ICS_COSINE = replace(_shift("cos_angle", "cos", "cos angle"), limits=(-1.1, 1.1), ratio=False)
LOSS_BAND = _band("loss_landscape", "loss", log=True)
"""The loss along the gradient, min to max over eta (sec. 4.1)."""


def predictiveness_band(log: bool, column: str = "predictiveness") -> Quantity:
    """Gradient predictiveness, min to max over eta (sec. 4.1).

    ``column``: of table ``landscape``, see `read.predictiveness_column`.
    """
    return _band("gradient_predictiveness", column, log)


BETA = replace(column("beta", "smoothness", "effective β-smoothness"), name="beta_smoothness",
               trace=lambda run, _: read.beta(run))  # fmt: skip
"""Effective beta-smoothness: the max over eta (sec. 4.1)."""
BETA_ETA = replace(BETA, name="beta_eta", label="η of max", small=True,
                   trace=lambda run, _: read.beta(run, where=True))  # fmt: skip
BETA_0 = column("beta_0", "curvature", "‖Hg‖/‖g‖")
BETA_0_SCALED = column("beta_0_scaled", "curvature", "‖w‖²‖Hg‖/‖g‖")
SHARPNESS = column("sharpness", "sharpness", "sharpness")


def beta_from(least: float) -> Quantity:
    """Effective beta-smoothness had the grid begun at ``least`` times lr."""
    name, table = f"beta_from_{least:g}", "landscape"
    return replace(BETA, name=name, table=table, trace=lambda run, _: read.beta(run, least))


def unit_shifts(layers: tuple[int, ...]) -> dict[str, Quantity]:
    """How the moments of the layers' followed units change (Fig 8), by the paper's names.

    The quantities share one reading of a run's tables.
    """
    moments = lru_cache(maxsize=None)(lambda run: read.moments(run, layers))

    def quantity(name: str, label: str, moment: str, successive: bool) -> Quantity:
        def trace(run: Run, layer: int | None) -> Trace:
            return read.shift(run, moments(run).get(layer or 0), moment, successive)

        return Quantity(name, "moments", label, trace, small=True, ratio=successive)

    shifts = (
        quantity("abs_mean_step_change", "|μₜ₊₁ − μₜ|", "mean", True),
        quantity("abs_var_step_change", "|σ²ₜ₊₁ − σ²ₜ|", "var", True),
        quantity("mean_minus_initial", "μₜ − μ₀", "mean", False),
        quantity("var_minus_initial", "σ²ₜ − σ²₀", "var", False),
    )
    return {shift.name: shift for shift in shifts}


def paper_quantities() -> dict[str, Quantity]:
    """The quantities that the paper plots over steps, by its curves' names."""
    lines = (
        TRAIN_ACCURACY, TEST_ACCURACY, TRAIN_LOSS, ICS_L2, ICS_COSINE, LOSS_BAND,
        predictiveness_band(log=True), BETA,
    )  # fmt: skip
    return {line.name: line for line in lines} | unit_shifts(VGG.unit_layers)
