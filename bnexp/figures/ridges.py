"""Ridgelines: a distribution over training, one filled density per step, later ones behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator

from bnexp.analysis.series import Array
from bnexp.analysis.units import History, histories
from bnexp.figures.panel import say
from bnexp.figures.sheet import Sheet
from bnexp.figures.style import HALO, SMALL, look, mixed, short
from bnexp.runs import Run

RIDGES = 20
REMARK = (
    "Ridges: densities over the batch (and positions) of one fixed unit per layer, pre-activation; "
    "the lowest seed; the tallest are drawn lower."
)
_BINS = 160
_HEIGHT = 2.6  # of a usual ridge, in distances between two
_TALLEST = 4.5  # a ridge that would hide many others is drawn lower, in its own shape


def density(values: Array, edges: Array) -> Array:
    """A smoothed histogram on equal bins, its area one.

    The kernel is a Gaussian of Silverman's width, but at least one bin and at most eight.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return np.zeros(len(edges) - 1)
    counts, _ = np.histogram(values, edges)
    width = edges[1] - edges[0]
    spread = np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.349
    bandwidth = np.clip(0.9 * spread * len(values) ** -0.2 / width, 1.0, 8.0)
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
    sheet: Sheet, grid: GridSpec, column: int, letter: str, family: str, layers: Sequence[int]
) -> None:
    """Ridges in a row per norm and, from `column` of the grid on, a column per layer."""
    pasts = pasts_of(sheet, family, layers)
    for at, layer in enumerate(layers, start=column):
        rows = [sheet.body.add_subplot(grid[row, at]) for row in range(len(pasts))]
        draw_layer(rows, pasts, letter, layer)
        named = f"({letter}) " if letter and at == column else ""
        rows[0].set_title(f"{named}Layer #{layer}", loc="left")
        if at == column + len(layers) - 1:
            sheet.remark_scale(rows[0], family)
        rows[-1].set_xlabel("activation")
        for ax, past in zip(rows, pasts, strict=True):
            if at == column:
                colour = look(past.norm).colour
                ax.set_ylabel(f"{short(past.norm)}: step", color=colour, fontsize=6.5)
            else:
                ax.tick_params(labelleft=False)


@dataclass(frozen=True)
class Past:
    """The run that is drawn for a norm, if there is one, and its history per layer."""

    norm: str
    run: Run | None
    layers: dict[int, History]


def pasts_of(sheet: Sheet, family: str, layers: Sequence[int]) -> list[Past]:
    """Per norm the history of the run with the lowest seed, at the first learning rate."""
    pasts = []
    for norm in sheet.selection.norms(family):
        lr = sheet.selection.lrs(family, "activations")[0]
        runs = sheet.selection.runs(family, norm, lr, "activations")
        recorded = histories(runs[0], layers, RIDGES) if runs else {}
        pasts.append(Past(norm, runs[0] if runs else None, recorded))
    return pasts


def draw_layer(axes: Sequence[Axes], pasts: Sequence[Past], letter: str, layer: int) -> None:
    """One layer's ridges, a pair of axes per norm, all with the same x range."""
    extent = shared_range([past.layers[layer] for past in pasts if layer in past.layers])
    for ax, past in zip(axes, pasts, strict=True):
        ax.set_label(f"{letter}:activations:layer{layer}:{past.norm}")
        ax.tick_params(length=2)
        if extent is not None and past.run is not None and layer in past.layers:
            _draw(ax, past.layers[layer], extent, past.run, look(past.norm).colour)
        else:
            ax.set_xticks([])
            ax.set_yticks([])
            say(ax, f"no layer {layer} here" if past.run else "no runs")


def _draw(ax: Axes, past: History, extent: tuple[float, float], run: Run, colour: str) -> None:
    edges = np.linspace(*extent, _BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    heights = np.array([density(values, edges) for values in past.values])
    peaks = heights.max(axis=1)
    gap = run.steps / RIDGES
    unit = _HEIGHT * gap / (float(np.median(peaks)) or 1.0)
    heights *= np.minimum(unit, _TALLEST * gap / np.maximum(peaks, 1e-300))[:, None]
    for row in range(len(past.steps) - 1, -1, -1):  # from the back
        base = past.steps[row]
        height = heights[row]
        ax.fill_between(
            middles, base, base + height, where=height > 0.02 * gap, linewidth=0.4,
            facecolor=_shade(colour, base / run.steps), edgecolor=mixed(colour, "black", 0.3),
            zorder=2 - row / 100, gid=f"ridge:{int(base)}",
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
