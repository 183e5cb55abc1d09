"""Ridgelines: a distribution over training, one filled density per step, later ones behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator

from bnexp.figures import read
from bnexp.figures.panel import say
from bnexp.figures.series import Array
from bnexp.figures.sheet import Sheet
from bnexp.figures.style import HALO, SMALL, look, mixed, short
from bnexp.runs import Run

RIDGES = 20
_BINS = 160
_HEIGHT = 2.6  # of a usual ridge, in distances between two
_TALLEST = 4.5


@dataclass(frozen=True)
class History:
    """A unit's values at some recorded steps of one run."""

    steps: Array
    values: tuple[Array, ...]


def history(run: Run, layer: int) -> History:
    """The distribution of the layer's fixed unit at about `RIDGES` steps spread over the run."""
    recorded = read.steps(run, "activations")
    wanted = np.linspace(0, run.steps, RIDGES + 1)
    wanted = wanted[wanted <= recorded[-1]]
    nearest = np.abs(recorded[:, None] - wanted[None, :]).argmin(axis=0)
    chosen = [int(step) for step in recorded[np.unique(nearest)]]
    frame = read.rows(run, "activations", ["step", "values"], layer=layer, step=chosen)
    values = tuple(np.asarray(v, dtype=np.float64) for v in frame["values"])
    return History(frame["step"].to_numpy(dtype=np.float64), values)


def density(values: Array, edges: Array) -> Array:
    """A smoothed histogram on equal bins, area one: Gaussian kernel, Silverman's width, at most a
    twentieth of the range and at least one bin."""
    counts, _ = np.histogram(values[np.isfinite(values)], edges)
    width = edges[1] - edges[0]
    spread = np.subtract(*np.nanquantile(values, [0.75, 0.25])) / 1.349
    bandwidth = np.clip(0.9 * spread * len(values) ** -0.2 / width, 1.0, _BINS / 20)
    reach = _BINS // 4
    at = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (at / bandwidth) ** 2)
    smooth = np.convolve(counts, kernel / kernel.sum(), mode="full")[reach:-reach]
    return np.asarray(smooth / max(counts.sum(), 1) / width, dtype=np.float64)


def shared_range(histories: Sequence[History]) -> tuple[float, float] | None:
    """The x range of one layer's ridges: all but the outermost 0.5 % of the values of each net."""
    ends = []
    for past in histories:
        flat = np.concatenate([np.empty(0), *past.values])
        flat = flat[np.isfinite(flat)]
        if len(flat):
            ends.append(np.quantile(flat, [0.005, 0.995]))
    if not ends:
        return None
    lo, hi = min(e[0] for e in ends), max(e[1] for e in ends)
    margin = 0.08 * (hi - lo) or 0.5
    return float(lo - margin), float(hi + margin)


def draw_grid(
    sheet: Sheet,
    grid: GridSpec,
    column: int,
    letter: str,
    family: str,
    norms: Sequence[str],
    lr: float,
    layers: Sequence[int],
) -> None:
    """Ridges in a row per norm and, from `column` of the grid on, a column per layer."""
    for at, layer in enumerate(layers, start=column):
        rows = [sheet.body.add_subplot(grid[row, at]) for row in range(len(norms))]
        draw_layer(sheet, rows, letter, family, norms, lr, layer)
        rows[0].set_title(f"Layer #{layer}")
        if letter and at == column:
            rows[0].set_title(f"({letter})", loc="left")
        rows[-1].set_xlabel("activation")
        for ax, norm in zip(rows, norms, strict=True):
            if at == column:
                ax.set_ylabel(f"{short(norm)}: step", color=look(norm).colour, fontsize=6.5)
            else:
                ax.tick_params(labelleft=False)


def draw_layer(
    sheet: Sheet,
    axes: Sequence[Axes],
    letter: str,
    family: str,
    norms: Sequence[str],
    lr: float,
    layer: int,
) -> None:
    """One layer's ridges, a pair of axes per norm, all with the same x range.

    The run with the lowest seed is drawn.
    """
    runs = [sheet.selection.runs(family, norm, lr, "activations")[:1] for norm in norms]
    pasts = [history(run[0], layer) if run else History(np.empty(0), ()) for run in runs]
    extent = shared_range(pasts)
    for ax, norm, run, past in zip(axes, norms, runs, pasts, strict=True):
        ax.set_label(f"{letter}:activations:layer{layer}:{norm}")
        if extent is None or not len(past.steps):
            ax.set_xticks([])
            ax.set_yticks([])
            say(ax, f"no layer {layer} here" if run else "no runs")
        else:
            _draw(ax, past, extent, run[0], look(norm).colour)


def _draw(ax: Axes, past: History, extent: tuple[float, float], run: Run, colour: str) -> None:
    edges = np.linspace(*extent, _BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    heights = np.array([density(values, edges) for values in past.values])
    peaks = heights.max(axis=1)
    gap = run.steps / RIDGES
    unit = _HEIGHT * gap / (float(np.median(peaks)) or 1.0)
    heights = np.minimum(heights * unit, _TALLEST * gap)
    for row in range(len(past.steps) - 1, -1, -1):  # from the back
        base = past.steps[row]
        fraction = base / run.steps
        ax.fill_between(
            middles, base, base + heights[row], facecolor=_shade(colour, fraction),
            edgecolor="white", linewidth=0.45, zorder=2 - row / 100, gid=f"ridge:{int(base)}",
        )  # fmt: skip
    ax.set_xlim(*extent)
    ax.set_ylim(-0.4 * gap, run.steps + (_HEIGHT + 0.6) * gap)
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    ax.set_yticks([t for t in MaxNLocator(4, integer=True).tick_values(0, run.steps)
                   if 0 <= t <= run.steps])  # fmt: skip
    if run.state == "diverged":
        top = past.steps[-1]
        ax.plot(
            np.mean(extent), top, "x", color="black", markersize=5, markeredgewidth=1.4, zorder=5,
            gid="diverged",
        )  # fmt: skip
        ax.annotate(
            "diverged", (float(np.mean(extent)), top), xytext=(0, 6), textcoords="offset points",
            ha="center", fontsize=SMALL, color="black", zorder=5, bbox=HALO,
        )  # fmt: skip


def _shade(colour: str, fraction: float) -> str:
    """Darker early, lighter late, so that ridges far back recede."""
    return mixed(colour, "white", 0.1 + 0.55 * fraction)
