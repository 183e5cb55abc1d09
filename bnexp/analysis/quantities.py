"""What the panels plot: where each quantity lies in the tables, and how its axis looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
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
    """One quantity over steps: its ``name`` in the paper's curves, the table it is read from.

    Attributes:
        trace: reads it from a run, for a layer (None where there are no layers).
        label, log: of the y axis in the paper.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "trace", read.once(self.trace))

    def times(self, factor: Callable[[Run], float], label: str) -> Quantity:
        """The quantity times a factor that depends on the run."""

        def trace(run: Run, layer: int | None) -> Trace:
            line, by = self.trace(run, layer), factor(run)
            return replace(line, lo=by * line.lo, hi=by * line.hi)

        return replace(self, label=label, trace=trace)


def column(
    name: str, table: str, column: str, label: str, factor: float = 1.0,
    where: Mapping[str, str] = {}, **axis: Any,
) -> Quantity:  # fmt: skip
    """A column of a table that has one row per step (and layer), times a factor."""

    def trace(run: Run, layer: int | None) -> Trace:
        of_layer = {} if layer is None else {"layer": layer}
        line = read.line(run, table, column, **where, **of_layer)
        return replace(line, lo=factor * line.lo, hi=factor * line.hi)

    return Quantity(name, table, label, trace, **axis)


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


_PERCENT: dict[str, Any] = {"factor": 100.0, "limits": (0.0, 105.0), "ratio": False}
TRAIN_ACCURACY = column("train_accuracy", "train", "accuracy", "train accuracy (%)", **_PERCENT)
TEST_ACCURACY = column(
    "test_accuracy", "eval", "accuracy", "test accuracy (%)", where={"split": "test"}, **_PERCENT
)
TRAIN_LOSS = column("train_loss", "train", "loss", "train loss", log=True)
ICS_L2 = column("l2_difference", "gradient_shift", "l2", "ℓ₂ difference", log=True, small=True)
ICS_COSINE = column(
    "cos_angle", "gradient_shift", "cos", "cos angle", limits=(-1.1, 1.1), small=True, ratio=False
)
LOSS_BAND = _band("loss_landscape", "loss")
"""The loss along the gradient, min to max over eta (sec. 4.1)."""
BETA = Quantity(
    "beta_smoothness", "smoothness", "effective β-smoothness", lambda run, _: read.beta(run), True
)
"""Effective beta-smoothness: the max over eta (sec. 4.1)."""
BETA_ETA = replace(
    BETA, name="beta_eta", label="η of max", trace=lambda run, _: read.beta(run, where=True),
    small=True,
)  # fmt: skip
BETA_0 = column("beta_0", "curvature", "beta_0", "‖Hg‖/‖g‖", log=True)
BETA_0_SCALED = column("beta_0_scaled", "curvature", "beta_0_scaled", "‖w‖²‖Hg‖/‖g‖", log=True)
SHARPNESS = column("sharpness", "sharpness", "sharpness", "sharpness", log=True)
BATCH_SHARPNESS = column(
    "batch_sharpness", "batch_sharpness", "batch_sharpness", "batch sharpness", log=True
)
TEST_LOSS = column("test_loss", "eval", "loss", "test loss", where={"split": "test"}, log=True)
SPLIT_LOSS = column("split_loss", "eval", "loss", "train loss", where={"split": "train"}, log=True)
"""Of the whole training split in evaluation mode."""
DATA_LOSS = column("data_loss", "train", "data_loss", "data loss", log=True)
RELATIVE_UPDATE = column("relative_update", "updates", "relative_update", "‖Δw‖/‖w‖", log=True)
ROTATION = replace(
    RELATIVE_UPDATE.times(
        lambda run: (2 * run.lr * run.option("optim.weight_decay")) ** -0.5, "‖Δw‖/‖w‖ / √(2ηλ)"
    ),
    name="rotation",
)
"""The relative update in units of that of rotational equilibrium under SGD without momentum."""
UNIT_SHIFTS = (
    _unit_shift("abs_mean_step_change", "|μₜ₊₁ − μₜ|", "mean", True),
    _unit_shift("abs_var_step_change", "|σ²ₜ₊₁ − σ²ₜ|", "var", True),
    _unit_shift("mean_minus_initial", "μₜ − μ₀", "mean", False),
    _unit_shift("var_minus_initial", "σ²ₜ − σ²₀", "var", False),
)


def _update_spread(run: Run, _: int | None) -> Trace:
    rows = read.rows(run, "updates", ["step", "layer", "relative_update"])
    values = rows.pivot(index="step", columns="layer", values="relative_update").iloc[:, :-1]
    return read.trace(run, values.index, values.max(axis=1) / values.min(axis=1))


def _mode_gap(run: Run, _: int | None) -> Trace:
    rows = read.rows(run, "mode_gap", ["step", "train_mode", "test_mode"])
    return read.trace(run, rows["step"], rows["test_mode"] / rows["train_mode"])


MODE_GAP = Quantity("mode_gap", "mode_gap", "loss, test mode / training mode", _mode_gap, log=True)


def _gradient_spread(run: Run, _: int | None) -> Trace:
    rows = read.rows(run, "gradient_shift", ["step", "layer", "grad_norm"])
    norms = rows.groupby("step")["grad_norm"]
    return read.trace(run, norms.max().index, norms.max() / norms.min())


GRADIENT_SPREAD = Quantity(
    "gradient_spread", "gradient_shift", "largest / smallest ‖G‖", _gradient_spread, log=True
)
"""Of the gradients by the weights of all layers measured."""


def _least_rank(run: Run, _: int | None) -> Trace:
    rows = read.rows(run, "stable_rank", ["step", "layer", "stable_rank"])
    hidden = rows[rows["layer"] < rows["layer"].max()]
    ranks = hidden.groupby("step")["stable_rank"].min()
    return read.trace(run, ranks.index, ranks)


LEAST_RANK = Quantity("least_rank", "stable_rank", "least stable rank", _least_rank, log=True)
"""Of the pre-activations of all layers but the last."""

UPDATE_SPREAD = Quantity(
    "update_spread", "updates", "largest / smallest ‖Δw‖/‖w‖", _update_spread, log=True
)
"""Of the layers' relative updates, less that of the last layer, the head."""


@cache
def predictiveness_band(column: str = "predictiveness") -> Quantity:
    """Gradient predictiveness, min to max over eta (sec. 4.1).

    ``column``: of table ``landscape``, see `read.predictiveness_column`.
    """
    return _band("gradient_predictiveness", column)


@cache
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
