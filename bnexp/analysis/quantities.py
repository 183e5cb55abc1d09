"""What the panels plot: where each quantity lies in the tables, and how its axis looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bnexp.analysis import read
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
    """

    name: str
    table: str
    label: str
    trace: Callable[[Run, int | None], Trace]
    log: bool = False
    limits: tuple[float, float] | None = None
    filled: bool = False
    small: bool = False


def _accuracy(run: Run) -> Trace:
    return _percent(read.line(run, "train", "accuracy"))


def _test_accuracy(run: Run) -> Trace:
    return _percent(read.line(run, "eval", "accuracy", split="test"))


def _percent(trace: Trace) -> Trace:
    return Trace(trace.x, 100 * trace.lo, 100 * trace.hi, trace.diverged)


def _shift(column: str) -> Callable[[Run, int | None], Trace]:
    def trace(run: Run, layer: int | None) -> Trace:
        assert layer is not None
        return read.line(run, "gradient_shift", column, layer=layer)

    return trace


TRAIN_ACCURACY = Quantity(
    "train_accuracy",
    "train",
    "train accuracy (%)",
    lambda run, _: _accuracy(run),
    limits=(0.0, 105.0),
)
TEST_ACCURACY = Quantity(
    "test_accuracy",
    "eval",
    "test accuracy (%)",
    lambda run, _: _test_accuracy(run),
    limits=(0.0, 105.0),
)
TRAIN_LOSS = Quantity(
    "train_loss", "train", "train loss", lambda run, _: read.line(run, "train", "loss"), log=True
)
ICS_L2 = Quantity(
    "l2_difference", "gradient_shift", "ℓ₂ difference", _shift("l2"), log=True, small=True
)


def ics_cosine(lowest: float) -> Quantity:
    """cos(G, G'), the axis from `lowest`."""
    return Quantity(
        "cos_angle", "gradient_shift", "cos angle", _shift("cos"), limits=(lowest, 1.1), small=True
    )  # fmt: skip


def loss_band() -> Quantity:
    """The loss along the gradient, min to max over eta (sec. 4.1)."""
    return Quantity(
        "loss_landscape",
        "smoothness",
        "loss landscape",
        lambda run, _: read.band(run, "smoothness", "loss_min", "loss_max"),
        log=True,
        filled=True,
    )


def predictiveness_band(log: bool) -> Quantity:
    """Gradient predictiveness, min to max over eta (sec. 4.1)."""
    return Quantity(
        "gradient_predictiveness",
        "smoothness",
        "gradient predictiveness",
        lambda run, _: read.band(run, "smoothness", "predictiveness_min", "predictiveness_max"),
        log=log,
        filled=True,
    )


def beta(log: bool) -> Quantity:
    """Effective beta-smoothness: the max over eta (sec. 4.1)."""
    return Quantity(
        "beta_smoothness",
        "smoothness",
        "effective β-smoothness",
        lambda run, _: read.line(run, "smoothness", "beta"),
        log=log,
    )


BETA_ETA = Quantity(
    "beta_eta",
    "smoothness",
    "η of max",
    lambda run, _: read.line(run, "smoothness", "beta_eta"),
    log=True,
    small=True,
)


def column(name: str, table: str, label: str) -> Quantity:
    """A column of a table with one row per step, on a log axis."""
    return Quantity(name, table, label, lambda run, _: read.line(run, table, name), log=True)


BETA_0 = column("beta_0", "curvature", "‖Hg‖/‖g‖")
BETA_0_SCALED = column("beta_0_scaled", "curvature", "‖w‖²‖Hg‖/‖g‖")
SHARPNESS = column("sharpness", "sharpness", "sharpness")


def beta_from(multiple: float) -> Quantity:
    """Effective beta-smoothness had the grid begun at ``multiple`` times lr."""

    def trace(run: Run, layer: int | None) -> Trace:  # noqa: ARG001
        frame = read.rows(run, "landscape", ["step", "eta", "beta"])
        frame = frame[frame["eta"] >= multiple * run.lr * (1 - 1e-9)]
        most = frame.groupby("step")["beta"].max()
        x, y = most.index.to_numpy(dtype=np.float64), most.to_numpy(dtype=np.float64)
        return Trace(x, y, y, run.state == "diverged")

    return Quantity(f"beta_from_{multiple:g}", "landscape", "effective β-smoothness", trace, True)
