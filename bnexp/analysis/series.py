"""The numbers behind lines and bands: over seeds, thinned, limits that outliers do not move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MAX_POINTS = 600  # points of a line; with more, noise fills the panel
BINS = 200  # about as many points as the paper's curves have


@dataclass(frozen=True)
class Trace:
    """One run's line (hi is lo) or band over x; `diverged` when its training ended that way."""

    x: Array
    lo: Array
    hi: Array
    diverged: bool = False

    def until_diverged(self) -> Trace:
        """A diverged run's trace up to its last finite values; any other as it is."""
        if not self.diverged:
            return self
        finite = np.flatnonzero(np.isfinite(self.lo) & np.isfinite(self.hi))
        end = finite[-1] + 1 if len(finite) else 0
        return Trace(self.x[:end], self.lo[:end], self.hi[:end], True)


@dataclass(frozen=True)
class Summary:
    """Several seeds at every x that any of them has: medians of both edges, and the extremes."""

    x: Array
    lo: Array
    hi: Array
    least: Array
    most: Array
    seeds: int


def over_seeds(traces: Sequence[Trace]) -> Summary:
    """Median, min and max over the traces, each over those that have a number at that x."""
    x = np.unique(np.concatenate([trace.x for trace in traces]))
    lo, hi = np.full((2, len(traces), len(x)), np.nan)
    for row, trace in enumerate(traces):
        at = np.searchsorted(x, trace.x)
        lo[row, at], hi[row, at] = trace.lo, trace.hi
    if len(traces) == 1:
        return Summary(x, lo[0], hi[0], lo[0], hi[0], 1)
    keep = ~np.isnan(lo).all(axis=0) & ~np.isnan(hi).all(axis=0)
    x, lo, hi = x[keep], lo[:, keep], hi[:, keep]
    medians = _nan_median(lo.T), _nan_median(hi.T)
    return Summary(x, *medians, np.fmin.reduce(lo), np.fmax.reduce(hi), len(traces))


def thinned(whole: Summary) -> Summary:
    """A summary of more than `MAX_POINTS` points by bins of x: medians, and the hull of the rest.

    Every point is in a bin, so no extreme is lost; the first point is one of its own, because
    training starts at a value that stands out. x is the middle of the bin.
    """
    if len(whole.x) <= MAX_POINTS:
        return whole
    size = -(-(len(whole.x) - 1) // BINS)

    def binned(y: Array) -> Array:
        rest = np.pad(y[1:], (0, -(len(y) - 1) % size), constant_values=np.nan)
        return rest.reshape(-1, size)

    def medians(y: Array) -> Array:
        return np.append(y[:1], _nan_median(binned(y)))

    return Summary(
        medians(whole.x),
        medians(whole.lo),
        medians(whole.hi),
        np.append(whole.least[:1], np.fmin.reduce(binned(whole.least), axis=1)),
        np.append(whole.most[:1], np.fmax.reduce(binned(whole.most), axis=1)),
        whole.seeds,
    )


def _nan_median(rows: Array) -> Array:
    """The median of each row less its NaN; NaN where a row has nothing else. No warnings."""
    some = ~np.isnan(rows).all(axis=1)
    medians = np.full(len(rows), np.nan)
    with np.errstate(invalid="ignore"):  # the mean of two infinite middle values
        medians[some] = np.nanmedian(rows[some], axis=1)
    return medians


def limits(values: Sequence[Array], log: bool, always: Sequence[float] = ()) -> tuple[float, float]:
    """Axis limits around the values, with a margin; rare values that dwarf all others are left out.

    On a log axis only positive values count. The axis reaches beyond the inner 90 % of the values
    by at most three fifths of their range; `always` must be inside.
    """
    flat = np.concatenate([np.empty(0), *(np.asarray(v, dtype=np.float64).ravel() for v in values)])
    flat = flat[np.isfinite(flat) & ((flat > 0) | (not log))]
    if log:
        flat = np.log10(flat)
    inside = np.array([np.log10(v) if log else v for v in always if v > 0 or not log])
    if not len(flat):
        flat = inside if len(inside) else np.array([0.0, 1.0])
    bottom = np.quantile(flat, 0.05, method="higher")
    top = np.quantile(flat, 0.95, method="lower")
    least = 0.5 if log else 0.5 * max(abs(top), abs(bottom))
    reach = max(0.6 * (top - bottom), least)
    lo = min([max(flat.min(), bottom - reach), *inside])
    hi = max([min(flat.max(), top + reach), *inside])
    margin = 0.05 * (hi - lo) if hi > lo else (0.5 if log else 0.5 * abs(hi) or 0.5)
    lo, hi = lo - margin, hi + margin
    return (float(10.0**lo), float(10.0**hi)) if log else (float(lo), float(hi))


def clipped(y: Array, lo: float, hi: float, log: bool) -> Array:
    """y with what lies far outside the limits, inf included, brought just outside of them.

    Values inside the limits are untouched, NaN stays a gap. Drawing libraries overflow at 1e300.
    """
    if log:
        below, above = lo / 10.0, hi * (hi / lo)
        return np.where(np.isnan(y), np.nan, np.clip(y, below, above))
    return np.clip(y, lo - (hi - lo), hi + (hi - lo))
