"""The figure of all effects: intervals over seeds beside the paper's values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.claims.claim import Judgement, Part
from bnexp.claims.statistics import FAILS, HOLDS, MIXED, OPEN
from bnexp.analysis.series import limits
from bnexp.figures.style import GREY, SMALL, WIDTH

COLOURS = {HOLDS: "#117733", FAILS: "#CC3311", MIXED: "#E0A100", OPEN: GREY}
_ROW = 0.155
UNITS = {
    "decades": "log10 ratio (0.3 is twice as much)",
    "points": "percent, or percentage points",
    "cosine": "cosine, or difference of cosines",
    "octaves": "log2 ratio",
}


@dataclass(frozen=True)
class _Row:
    judgement: Judgement
    part: Part

    @property
    def label(self) -> str:
        return " ".join(filter(None, [self.judgement.claim.id, self.part.name]))


def forest(judgements: Sequence[Judgement]) -> Figure:
    """One row per part of a claim, a panel per unit: estimate, interval, the paper's value.

    What is claimed is shaded; the colour says the verdict on the part.
    """
    rows: dict[str, list[_Row]] = {}
    for one in judgements:
        for part in one.parts:
            rows.setdefault(one.claim.unit, []).append(_Row(one, part))
    heights = [len(panel) + 2.5 for panel in rows.values()]
    figure = Figure(figsize=(WIDTH, 0.9 + _ROW * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (unit, panel) in zip(axes, rows.items(), strict=True):
        _panel(ax, unit, panel)
    handles = [
        *(Line2D([], [], color=c, marker="o", markersize=3, label=v) for v, c in COLOURS.items()),
        Line2D([], [], color="black", marker="D", markersize=3, linestyle="", label="the paper"),
        Patch(facecolor=(COLOURS[HOLDS], 0.12), label="what is claimed"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7)
    return figure


def _panel(ax: Axes, unit: str, rows: Sequence[_Row]) -> None:
    found = [
        value
        for row in rows
        for value in (row.part.paper, row.part.found.value, row.part.found.low, row.part.found.high)
    ]
    edges = [edge for row in rows for edge in _edges(row)]
    low, high = limits([np.array(_finite([*found, *edges]))], log=False)
    for y, row in enumerate(rows):
        region = row.judgement.claim.region
        left, right = max(low, region.low), min(high, region.high)
        ax.barh(y, right - left, 0.8, left=left, color=COLOURS[HOLDS], alpha=0.12, linewidth=0)
        colour = COLOURS[row.part.verdict]
        one = row.part.found
        if not math.isnan(one.low):
            ax.plot([max(one.low, low), min(one.high, high)], [y, y], color=colour, linewidth=1.2)
        if not math.isnan(one.value):
            ax.plot(min(max(one.value, low), high), y, "o", color=colour, markersize=3)
        if not math.isnan(row.part.paper):
            at = min(max(row.part.paper, low), high)
            ax.plot(at, y, "D", color="black", markersize=3, markerfacecolor="none")
    ax.axvline(0.0, color=GREY, linewidth=0.4)
    ax.set_xlim(low, high)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=SMALL)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(UNITS[unit])


def _edges(row: _Row) -> list[float]:
    region = row.judgement.claim.region
    return [edge for edge in (region.low, region.high) if math.isfinite(edge)]


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
