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

SERIES = {norm: norm for norm in ("l1", "l2", "linf")}
SERIES |= {"none": "standard", "bn": "batchnorm", "noisy_bn": "noisy_batchnorm"}
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

        def edge(y: Array) -> Array:
            log_y = log and bool(np.all(y > 0))
            values = np.interp(x, self.x, np.log10(y) if log_y else y, np.nan, np.nan)
            return np.asarray(10.0**values if log_y else values)

        return edge(self.lo), edge(self.hi)

    def until(self, x_max: float, log: bool) -> Curve:
        """The part with x <= x_max, its end interpolated in plotted space (`log`: on log y)."""
        inside = self.x <= x_max
        if inside.all():
            return self
        x = np.append(self.x[inside], x_max) if inside.any() else np.empty(0)
        lo, hi = self.at(x, log)
        lo[:-1], hi[:-1] = self.lo[inside], self.hi[inside]
        return Curve(x, lo, hi)


def curve(
    figure: int, panel: str, quantity: str, norm: str, lr: float, layer: int | None = None
) -> Curve | None:
    """The paper's curve of one series of one panel, or None where it printed none."""
    rows = _rows(quantity, norm, lr, layer, figure=figure, panel=panel)
    return _curve(rows.iloc[0]) if len(rows) else None


def first_curve(
    family: str, quantity: str, norm: str, lr: float, layer: int | None = None
) -> Curve | None:
    """The paper's curve of a series in the first figure that shows it with a labelled axis."""
    rows = _rows(quantity, norm, lr, layer, model=family, inferred_axis=0)
    return _curve(rows.iloc[0]) if len(rows) else None


def curves_by_step(
    figure: int, panel: str, quantity: str, norm: str, lr: float
) -> Sequence[tuple[int, Curve]]:
    """The paper's curves of Fig 11, one per recorded step (ours), in order of step."""
    rows = _rows(quantity, norm, lr, figure=figure, panel=panel).sort_values("time_step")
    return [(int(row["time_step"]) + _offset(row), _curve(row)) for _, row in rows.iterrows()]


def series_of(figure: int) -> list[dict[str, Any]]:
    """What the figure's curves show, one entry each: panel, quantity, model, norm, lr, layer.

    ``inferred`` says that the paper prints no y labels there: only the shape counts.
    """
    norms = {series: norm for norm, series in SERIES.items()}
    names = ["panel", "quantity", "model", "lr", "layer", "series"]
    rows = _index()[_index()["figure"] == figure].drop_duplicates(names)
    return [
        {
            **{name: row[name] for name in names[:4]},
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
    quantity: str, norm: str, lr: float, layer: int | None = None, **where: object
) -> pd.DataFrame:
    index = _index()
    where |= {"quantity": quantity, "series": SERIES.get(norm, "")}
    where |= {} if layer is None else {"layer": layer}
    keep = np.isclose(index["lr"], lr)
    for name, value in where.items():
        keep &= index[name] == value
    return index[keep]


def _curve(row: pd.Series[Any]) -> Curve:
    points = _points(int(row["figure"]))[int(row["curve"])]
    x, lo, hi = (points[name].to_numpy(dtype=np.float64) for name in ("x", "lo", "hi"))
    moved = 0 if row["figure"] == 11 else _offset(row)  # there x is the step size
    return Curve(x + moved, lo, np.where(np.isnan(hi), lo, hi))


def _offset(row: pd.Series[Any]) -> int:
    """What to add to the paper's step to have ours."""
    return int(row["model"] == "dln" and row["figure"] in _AFTER_UPDATE)
