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

from bnexp.analysis.series import limits
from bnexp.claims.judge import Judgement, Part
from bnexp.claims.statistics import DEAD, FAILS, HOLDS, MIXED, OPEN, Region

COLOURS = {
    HOLDS: "#117733", FAILS: "#CC3311", MIXED: "#E0A100", DEAD: "#7A4FA3", OPEN: "#8A8A8A",
}  # fmt: skip
PAGE = (8.27, 11.69)
"""A4 in inches."""
ROW, TITLE, FONT = 0.128, 0.62, 5.0
UNITS = {
    "decades": "log10 ratio (0.3 is twice as much)",
    "points": "percent, or percentage points",
    "cosine": "cosine, or difference of cosines",
    "octaves": "log2 ratio",
}


@dataclass(frozen=True)
class Row:
    """One part of a claim: its label, unit and range, and what came of it."""

    label: str
    unit: str
    region: Region
    part: Part


def forest(judgements: Sequence[Judgement]) -> Figure:
    """One row per part of a claim, in panels by unit, in two columns on one page.

    What is claimed is shaded; the colour says the verdict on the part. Claims without runs are left
    out where any has runs.
    """
    rows = _rows([j for j in judgements if any(p.estimate.seeds for p in j.parts)] or judgements)
    units = list(dict.fromkeys([*UNITS, *(row.unit for row in rows)]))
    panels = [[row for row in rows if row.unit == unit] for unit in units]
    columns = _columns([panel for panel in panels if panel])
    heights = [sum(len(panel) * ROW + TITLE for panel in column) for column in columns]
    figure = Figure(figsize=(PAGE[0], min(PAGE[1], max(heights) + 0.5)), layout="constrained")
    FigureCanvasAgg(figure)
    subfigures = figure.subfigures(1, len(columns), squeeze=False)[0]
    for subfigure, column in zip(subfigures, columns, strict=True):
        shares = [len(panel) for panel in column]
        axes = subfigure.subplots(len(column), 1, squeeze=False, height_ratios=shares)[:, 0]
        for ax, panel in zip(axes, column, strict=True):
            _panel(ax, panel)
    handles = [
        *(Line2D([], [], color=c, marker="o", markersize=3, label=v) for v, c in COLOURS.items()),
        Line2D([], [], color="black", marker="D", markersize=3, linestyle="", label="the paper"),
        Patch(facecolor=(COLOURS[HOLDS], 0.12), label="what is claimed"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=6)
    return figure


def _rows(judgements: Sequence[Judgement]) -> list[Row]:
    """The first part of a claim carries its words, the others only what is theirs."""
    rows = []
    for judgement in judgements:
        claim = judgement.claim
        for index, part in enumerate(judgement.parts):
            words = [f"{claim.id} {claim.short}"] if index == 0 else []
            label = ", ".join([*words, *filter(None, [part.name])])
            rows.append(Row(label, claim.unit, claim.region, part))
    return rows


def _columns(panels: Sequence[Sequence[Row]]) -> list[list[Sequence[Row]]]:
    """The panels in two columns of about the same height; one of them may be cut in two."""
    total = sum(len(panel) for panel in panels)
    if total < 30:
        return [list(panels)]
    half = math.ceil(total / 2)
    left: list[Sequence[Row]] = []
    right: list[Sequence[Row]] = []
    for panel in panels:
        room = half - sum(len(part) for part in left)
        if room > 0:
            left.append(panel[:room])
        if len(panel) > room:
            right.append(panel[max(room, 0) :])
    return [left, right]


def _panel(ax: Axes, rows: Sequence[Row]) -> None:
    values = [
        value
        for row in rows
        for value in (
            row.part.paper, row.part.estimate.value, row.part.estimate.low, row.part.estimate.high,
            row.region.low, row.region.high,
        )
        if math.isfinite(value)
    ]  # fmt: skip
    low, high = limits([np.array(values)], log=False)
    for y, row in enumerate(rows):
        left, right = max(low, row.region.low), min(high, row.region.high)
        ax.barh(y, right - left, 0.8, left=left, color=COLOURS[HOLDS], alpha=0.12, linewidth=0)
        colour, estimate = COLOURS[row.part.verdict], row.part.estimate
        if not math.isnan(estimate.low):
            ends = [max(estimate.low, low), min(estimate.high, high)]
            ax.plot(ends, [y, y], color=colour, linewidth=1.1)
        if not math.isnan(estimate.value):
            ax.plot(np.clip(estimate.value, low, high), y, "o", color=colour, markersize=2.5)
        if not math.isnan(row.part.paper):
            at = np.clip(row.part.paper, low, high)
            ax.plot(at, y, "D", color="black", markersize=2.5, markerfacecolor="none")
    ax.axvline(0.0, color=COLOURS[OPEN], linewidth=0.4)
    ax.set_xlim(low, high)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=FONT + 1)
    ax.set_xlabel(UNITS.get(rows[0].unit, rows[0].unit), fontsize=FONT + 1)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
