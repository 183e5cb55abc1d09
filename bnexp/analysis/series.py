"""The numbers behind lines and bands: over seeds, thinned, limits that outliers do not move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
MAX_POINTS = 600  # points of a line; with more, noise fills the panel
BINS = 200  # about as many points as the paper's curves have


@dataclass(frozen=True)
class Trace:
    """A line (hi is lo) or a band over x, of a run or of the paper.

    ``diverged``: whether the run's training ended that way; ``of``: its norm, learning rate and
    seed.
    """

    x: Array
    lo: Array
    hi: Array
    diverged: bool = False
    of: tuple[str, float, int] | None = None

    def until_diverged(self) -> Trace:
        """A diverged run's trace up to its last finite values; any other as it is."""
        if not self.diverged:
            return self
        finite = np.flatnonzero(np.isfinite(self.lo) & np.isfinite(self.hi))
        end = finite[-1] + 1 if len(finite) else 0
        return replace(self, x=self.x[:end], lo=self.lo[:end], hi=self.hi[:end])

    def at(self, x: Array, log: bool) -> tuple[Array, Array]:
        """lo and hi at x, interpolated in plotted space (`log`: on log y); NaN outside."""

        def edge(y: Array) -> Array:
            log_y = log and bool(np.all(y > 0))
            values = np.interp(x, self.x, np.log10(y) if log_y else y, np.nan, np.nan)
            return np.asarray(10.0**values if log_y else values)

        return edge(self.lo), edge(self.hi)

    def until(self, x_max: float, log: bool) -> Trace:
        """The part with x <= x_max, its end interpolated in plotted space (`log`: on log y)."""
        inside = self.x <= x_max
        if inside.all():
            return self
        x = np.append(self.x[inside], x_max) if inside.any() else np.empty(0)
        lo, hi = self.at(x, log)
        lo[:-1], hi[:-1] = self.lo[inside], self.hi[inside]
        return Trace(x, lo, hi)


@dataclass(frozen=True)
class Summary:
    """Several seeds at every x that any of them has: medians of both edges, and the extremes."""

    x: Array
    lo: Array
    hi: Array
    least: Array
    most: Array
    seeds: int = 1


def over_seeds(traces: Sequence[Trace]) -> Summary:
    """Median, min and max over the traces, each over those that have a number at that x."""
    if len(traces) == 1:
        t = traces[0]
        return Summary(t.x, t.lo, t.hi, t.lo, t.hi)
    lo, hi = (
        pd.concat([pd.Series(getattr(t, edge), t.x) for t in traces], axis=1).sort_index()
        for edge in ("lo", "hi")
    )
    known = lo.notna().any(axis=1) & hi.notna().any(axis=1)
    lo, hi = lo[known], hi[known]
    rows = [lo.median(axis=1), hi.median(axis=1), lo.min(axis=1), hi.max(axis=1)]
    x, low, high, least, most = (row.to_numpy(np.float64) for row in (lo.index, *rows))
    return Summary(x, low, high, least, most, len(traces))


def thinned(whole: Summary) -> Summary:
    """A summary of more than `MAX_POINTS` points by bins of x: medians, and the hull of the rest.

    Every point is in a bin, so no extreme is lost; the first point is one of its own, because
    training starts at a value that stands out. x is the median of the bin.
    """
    if len(whole.x) <= MAX_POINTS:
        return whole
    size = -(-(len(whole.x) - 1) // BINS)
    columns = {name: getattr(whole, name) for name in ("x", "lo", "hi", "least", "most")}
    bins = pd.DataFrame(columns).groupby(np.append(0, 1 + np.arange(len(whole.x) - 1) // size))
    edges = dict.fromkeys(("x", "lo", "hi"), "median") | {"least": "min", "most": "max"}
    x, lo, hi, least, most = bins.agg(edges).to_numpy(np.float64).T
    return Summary(x, lo, hi, least, most, whole.seeds)


def limits(values: Sequence[Array], log: bool, always: Sequence[float] = ()) -> tuple[float, float]:
    """Axis limits around the values, with a margin; rare values that dwarf all others are left out.

    On a log axis only positive values count. The axis reaches beyond the inner 90 % of the values
    by at most three fifths of their range; `always` must be inside.
    """
    inside = np.array(always, dtype=np.float64)
    flat = np.concatenate([np.empty(0), *map(np.ravel, values)])
    flat = flat[np.isfinite(flat)]
    if log:
        inside, flat = (np.log10(part[part > 0]) for part in (inside, flat))
    if not len(flat):
        flat = inside if len(inside) else np.array([0.0, 1.0])
    bottom = np.quantile(flat, 0.05, method="higher")
    top = np.quantile(flat, 0.95, method="lower")
    reach = max(0.6 * (top - bottom), 0.5 if log else 0.5 * max(abs(top), abs(bottom)))
    lo = min([max(flat.min(), bottom - reach), *inside])
    hi = max([min(flat.max(), top + reach), *inside])
    margin = 0.05 * (hi - lo) if hi > lo else (0.5 if log else 0.5 * abs(hi) or 0.5)
    lo, hi = lo - margin, hi + margin
    ends = float(10.0 ** max(lo, -150.0)), float(10.0 ** min(hi, 150.0))  # what can be drawn
    return ends if log else (float(lo), float(hi))


def clipped(y: Array, lo: float, hi: float, log: bool) -> Array:
    """y with what lies far outside the limits, inf included, brought just outside of them.

    Values inside the limits are untouched, NaN stays a gap. Drawing libraries overflow at 1e300.
    """
    return np.clip(y, lo / 10, hi * hi / lo) if log else np.clip(y, 2 * lo - hi, 2 * hi - lo)
