"""The paper's own curves: data points read from its vector graphics, kept beside this file.

A run's step t is the state before update t; the paper's x is moved to it where it differs.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.series import Trace

_SERIES = {"standard": "none", "batchnorm": "bn", "noisy_batchnorm": "noisy_bn"}
"""What the files call the norms, where it is not our name."""
_AFTER_UPDATE = (5, 10, 11, 13)
"""Figures whose DLN curves show at step t the state after update t+1: our step t+1. (Their losses
start below Fig 3b's, which are those before the update; Fig 11b has the points of Fig 10b.)"""
_FOLDER = Path(__file__).parent / "paper_curves"


@cache
def curve(
    figure: int, panel: str, quantity: str, norm: str, lr: float, layer: int | None = None
) -> Trace | None:
    """The paper's curve of one series of one panel, or None where it printed none."""
    rows = _rows(quantity, norm, lr, layer, figure=figure, panel=panel)
    return _curve(rows.iloc[0]) if len(rows) else None


@cache
def first_curve(
    family: str, quantity: str, norm: str, lr: float, layer: int | None = None
) -> Trace | None:
    """The paper's curve of a series in the first figure that shows it with a labelled axis."""
    rows = _rows(quantity, norm, lr, layer, model=family, inferred_axis=0)
    return _curve(rows.iloc[0]) if len(rows) else None


def curves_by_step(
    figure: int, panel: str, quantity: str, norm: str, lr: float
) -> list[tuple[int, Trace]]:
    """The paper's curves of Fig 11 over eta, one per recorded step (ours), in order of step."""
    rows = _rows(quantity, norm, lr, None, figure=figure, panel=panel).sort_values("time_step")
    return [(int(row["time_step"]) + _offset(row), _curve(row)) for _, row in rows.iterrows()]


def series_of(figure: int) -> list[dict[str, Any]]:
    """What the figure's curves show, one entry each: panel, quantity, model, norm, lr, layer.

    ``inferred`` says that the paper prints no y labels there: only the shape counts.
    """
    names = ["panel", "quantity", "model", "lr", "norm", "layer"]
    rows = _index()[_index()["figure"] == figure].drop_duplicates(names)
    return [
        {
            **{name: row[name] for name in names},
            "layer": None if np.isnan(row["layer"]) else int(row["layer"]),
            "inferred": bool(row["inferred_axis"]),
        }
        for _, row in rows.iterrows()
    ]


@cache
def _index() -> pd.DataFrame:
    index = pd.read_csv(_FOLDER / "curves.csv")
    return index.assign(norm=index["series"].replace(_SERIES))


@cache
def _points(figure: int) -> dict[int, pd.DataFrame]:
    frame = pd.read_csv(_FOLDER / f"fig{figure:02d}.csv")
    return {int(str(key)): rows for key, rows in frame.groupby("curve")}


def _rows(quantity: str, norm: str, lr: float, layer: int | None, **where: object) -> pd.DataFrame:
    index = _index()
    where |= {"quantity": quantity, "norm": norm}
    where |= {} if layer is None else {"layer": layer}
    keep = np.isclose(index["lr"], lr)
    for name, value in where.items():
        keep &= index[name] == value
    return index[keep]


def _curve(row: pd.Series[Any]) -> Trace:
    points = _points(int(row["figure"]))[int(row["curve"])]
    x, lo, hi = (points[name].to_numpy(dtype=np.float64) for name in ("x", "lo", "hi"))
    moved = 0 if row["figure"] == 11 else _offset(row)  # there x is the step size
    return Trace(x + moved, lo, np.where(np.isnan(hi), lo, hi))


def _offset(row: pd.Series[Any]) -> int:
    """What to add to the paper's step to have ours."""
    return int(row["model"] == "dln" and row["figure"] in _AFTER_UPDATE)
