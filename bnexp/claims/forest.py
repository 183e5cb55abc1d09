"""The figure of all effects: intervals over seeds beside the paper's values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.analysis.series import limits
from bnexp.claims.claim import Claim
from bnexp.claims.judge import Judgement, Part
from bnexp.claims.statistics import DEAD, FAILS, HOLDS, MIXED, OPEN

COLOURS = {
    HOLDS: "#117733", FAILS: "#CC3311", MIXED: "#E0A100", DEAD: "#7A4FA3", OPEN: "#8A8A8A",
}  # fmt: skip
WIDTH, ROW, TITLE, FONT = 8.27, 0.128, 0.62, 5.0
"""In inches; the font in points."""
UNITS = {
    "decades": "log10 ratio (0.3 is twice as much)",
    "points": "percent, or percentage points",
    "cosine": "cosine, or difference of cosines",
    "octaves": "log2 ratio",
}

Row = tuple[str, Claim, Part]
"""One part of a claim with its label: the first carries the claim's words."""


def forest(judgements: Sequence[Judgement]) -> Figure:
    """One row per part of a claim, in panels by unit.

    What is claimed is shaded; the colour says the verdict on the part. Claims without runs are left
    out where any has runs.
    """
    shown = [j for j in judgements if any(p.estimate.seeds for p in j.parts)] or judgements
    panels: dict[str, list[Row]] = {unit: [] for unit in UNITS}
    for claim, parts in ((j.claim, j.parts) for j in shown):
        for part in parts:
            words = f"{claim.id} {claim.short}" if part is parts[0] else ""
            label = ", ".join(filter(None, [words, part.name]))
            panels.setdefault(claim.unit, []).append((label, claim, part))
    panels = {unit: rows for unit, rows in panels.items() if rows}
    shares = [len(rows) for rows in panels.values()]
    height = ROW * sum(shares) + TITLE * (len(panels) + 1)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=shares)[:, 0]
    for ax, rows in zip(axes, panels.values(), strict=True):
        _panel(ax, rows)
    handles = [
        *(Line2D([], [], color=c, marker="o", markersize=3, label=v) for v, c in COLOURS.items()),
        Line2D([], [], color="black", marker="D", markersize=3, linestyle="", label="the paper"),
        Patch(facecolor=(COLOURS[HOLDS], 0.12), label="what is claimed"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=6)
    return figure


def _panel(ax: Axes, rows: Sequence[Row]) -> None:
    values = [
        (p.paper, p.estimate.value, p.estimate.low, p.estimate.high, c.region.low, c.region.high)
        for _, c, p in rows
    ]
    low, high = limits([np.array(values)], log=False)
    for y, (_, claim, part) in enumerate(rows):
        left, right = max(low, claim.region.low), min(high, claim.region.high)
        ax.barh(y, right - left, 0.8, left=left, color=COLOURS[HOLDS], alpha=0.12, linewidth=0)
        colour, found = COLOURS[part.verdict], part.estimate
        ax.plot(np.clip([found.low, found.high], low, high), [y, y], color=colour, linewidth=1.1)
        ax.plot(np.clip(found.value, low, high), y, "o", color=colour, markersize=2.5)
        at = np.clip(part.paper, low, high)  # NaN, where there is no number, is not drawn
        ax.plot(at, y, "D", color="black", markersize=2.5, markerfacecolor="none")
    ax.axvline(0.0, color=COLOURS[OPEN], linewidth=0.4)
    ax.set_xlim(low, high)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [label for label, _, _ in rows], fontsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=FONT + 1)
    ax.set_xlabel(UNITS.get(rows[0][1].unit, rows[0][1].unit), fontsize=FONT + 1)
    ax.spines[["top", "right"]].set_visible(False)
