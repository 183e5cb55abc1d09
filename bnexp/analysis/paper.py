"""The paper's own curves: data points read from its vector graphics, kept beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

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
_FOLDER = Path(__file__).parent / "paper_curves"


@dataclass(frozen=True)
class Curve:
    """One curve of the paper over steps (Fig 11: eta): a line where lo equals hi, or a band."""

    x: Array
    lo: Array
    hi: Array

    def until(self, x_max: float, log: bool) -> Curve:
        """The part with x <= x_max, its end interpolated in plotted space (`log`: on log y)."""
        inside = self.x <= x_max
        if inside.all() or not inside.any():
            return self if inside.all() else Curve(*(np.empty(0),) * 3)
        x = np.append(self.x[inside], x_max)
        ends = [float(_interpolate(x_max, self.x, y, log)) for y in (self.lo, self.hi)]
        lo, hi = (
            np.append(y[inside], end) for y, end in zip((self.lo, self.hi), ends, strict=True)
        )
        return Curve(x, lo, hi)


def curve(
    figure: int, panel: str, quantity: str, norm: str, lr: float, layer: int | None = None
) -> Curve | None:
    """The paper's curve of one series of one panel, or None where it printed none."""
    found = _rows(figure, panel, quantity, norm, lr, layer)
    return _curve(figure, found["curve"].iloc[0]) if len(found) else None


def anywhere(
    family: str, quantity: str, norm: str, lr: float, layer: int | None = None
) -> Curve | None:
    """The paper's curve of a series in the first figure that shows it with a labelled axis."""
    index = _index()
    index = index[(index["model"] == family) & (index["quantity"] == quantity)]
    if layer is not None:
        index = index[(index["layer"] == layer) & np.isclose(index["lr"], lr)]
    index = index[index["inferred_axis"] == 0]
    for figure, panel in dict.fromkeys(zip(index["figure"], index["panel"], strict=True)):
        found = curve(int(figure), str(panel), quantity, norm, lr, layer)
        if found is not None:
            return found
    return None


def curves_by_step(
    figure: int, panel: str, quantity: str, norm: str, lr: float
) -> Sequence[tuple[int, Curve]]:
    """The paper's curves of Fig 11, one per recorded step, in order of step."""
    found = _rows(figure, panel, quantity, norm, lr, None).sort_values("time_step")
    return [
        (int(step), _curve(figure, key))
        for step, key in zip(found["time_step"], found["curve"], strict=True)
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


def _curve(figure: int, key: int) -> Curve:
    rows = _points(figure)[int(key)]
    x, lo, hi = (rows[name].to_numpy(dtype=np.float64) for name in ("x", "lo", "hi"))
    return Curve(x, lo, np.where(np.isnan(hi), lo, hi))


def _interpolate(at: float, x: Array, y: Array, log: bool) -> float:
    if log and np.all(y > 0):
        return float(10.0 ** np.interp(at, x, np.log10(y)))
    return float(np.interp(at, x, y))
