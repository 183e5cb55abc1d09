"""The paper's own curves: data points read from its vector graphics, kept beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.series import Array

SERIES = {
    "none": "standard",
    "bn": "batchnorm",
    "noisy_bn": "noisy_batchnorm",
    "l1": "l1",
    "l2": "l2",
    "linf": "linf",
}
_AFTER_UPDATE = (5, 10, 11, 13)
"""Figures whose DLN curves show at step t the state after update t+1: our step t+1. (Their losses
start below Fig 3b's, which are those before the update; Fig 11b has the points of Fig 10b.)"""
_FOLDER = Path(__file__).parent / "paper_curves"


@dataclass(frozen=True)
class Curve:
    """One curve of the paper over our steps (Fig 11: eta): a line where lo equals hi, or a band.

    A run's step t is the state before update t; the paper's x is moved to it where it differs.
    """

    x: Array
    lo: Array
    hi: Array

    def at(self, x: Array, log: bool) -> tuple[Array, Array]:
        """lo and hi at x, interpolated in plotted space (`log`: on log y); NaN outside."""
        inside = (x >= self.x[0]) & (x <= self.x[-1])
        lo = np.where(inside, _interpolate(x, self.x, self.lo, log), np.nan)
        hi = np.where(inside, _interpolate(x, self.x, self.hi, log), np.nan)
        return lo, hi

    def until(self, x_max: float, log: bool) -> Curve:
        """The part with x <= x_max, its end interpolated in plotted space (`log`: on log y)."""
        inside = self.x <= x_max
        if inside.all() or not inside.any():
            return self if inside.all() else Curve(*(np.empty(0),) * 3)
        x = np.append(self.x[inside], x_max)
        ends = self.at(np.array([x_max]), log)
        lo, hi = (
            np.append(y[inside], end) for y, end in zip((self.lo, self.hi), ends, strict=True)
        )
        return Curve(x, lo, hi)


def curve(
    figure: int, panel: str, quantity: str, norm: str, lr: float, layer: int | None = None
) -> Curve | None:
    """The paper's curve of one series of one panel, or None where it printed none."""
    rows = _rows(figure, panel, quantity, norm, lr, layer)
    return _curve(rows.iloc[0]) if len(rows) else None


def first_curve(
    family: str, quantity: str, norm: str, lr: float, layer: int | None = None
) -> Curve | None:
    """The paper's curve of a series in the first figure that shows it with a labelled axis."""
    index = _index()
    index = index[(index["model"] == family) & (index["quantity"] == quantity)]
    if layer is not None:
        index = index[(index["layer"] == layer) & np.isclose(index["lr"], lr)]
    index = index[index["inferred_axis"] == 0]
    for figure, panel in dict.fromkeys(zip(index["figure"], index["panel"], strict=True)):
        shown = curve(int(figure), str(panel), quantity, norm, lr, layer)
        if shown is not None:
            return shown
    return None


def curves_by_step(
    figure: int, panel: str, quantity: str, norm: str, lr: float
) -> Sequence[tuple[int, Curve]]:
    """The paper's curves of Fig 11, one per recorded step (ours), in order of step."""
    rows = _rows(figure, panel, quantity, norm, lr, None).sort_values("time_step")
    return [(int(row["time_step"]) + _offset(row), _curve(row)) for _, row in rows.iterrows()]


def series_of(figure: int) -> list[dict[str, Any]]:
    """What the figure's curves show, one entry each: panel, quantity, model, norm, lr, layer.

    ``inferred`` says that the paper prints no y labels there: only the shape counts.
    """
    norms = {series: norm for norm, series in SERIES.items()}
    rows = _index()[_index()["figure"] == figure].drop_duplicates(
        ["panel", "quantity", "lr", "layer", "series"]
    )
    return [
        {
            **{name: row[name] for name in ("panel", "quantity", "model", "lr")},
            "norm": norms[row["series"]],
            "layer": None if np.isnan(row["layer"]) else int(row["layer"]),
            "inferred": bool(row["inferred_axis"]),
        }
        for _, row in rows.iterrows()
    ]


@lru_cache(maxsize=1)
def _index() -> pd.DataFrame:
    return pd.read_csv(_FOLDER / "curves.csv")


@lru_cache(maxsize=16)
def _points(figure: int) -> dict[int, pd.DataFrame]:
    frame = pd.read_csv(_FOLDER / f"fig{figure:02d}.csv")
    return {int(str(key)): rows for key, rows in frame.groupby("curve")}


def _rows(
    figure: int, panel: str, quantity: str, norm: str, lr: float, layer: int | None
) -> pd.DataFrame:
    index = _index()
    keep = (
        (index["figure"] == figure)
        & (index["panel"] == panel)
        & (index["quantity"] == quantity)
        & (index["series"] == SERIES.get(norm, ""))
        & np.isclose(index["lr"], lr)
    )
    if layer is not None:
        keep &= index["layer"] == layer
    return index[keep]


def _curve(row: pd.Series[Any]) -> Curve:
    points = _points(int(row["figure"]))[int(row["curve"])]
    x, lo, hi = (points[name].to_numpy(dtype=np.float64) for name in ("x", "lo", "hi"))
    moved = 0 if row["figure"] == 11 else _offset(row)  # there x is the step size
    return Curve(x + moved, lo, np.where(np.isnan(hi), lo, hi))


def _offset(row: pd.Series[Any]) -> int:
    """What to add to the paper's step to have ours."""
    return int(row["model"] == "dln" and row["figure"] in _AFTER_UPDATE)


def _interpolate(at: Array, x: Array, y: Array, log: bool) -> Array:
    if log and np.all(y > 0):
        return np.asarray(10.0 ** np.interp(at, x, np.log10(y)))
    return np.asarray(np.interp(at, x, y))
