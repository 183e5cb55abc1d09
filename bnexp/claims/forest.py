"""The figure of all effects: intervals over seeds beside the paper's values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.analysis.series import limits
from bnexp.claims.judge import Judgement
from bnexp.claims.statistics import DEAD, FAILS, HOLDS, MIXED, OPEN

COLOURS = {
    HOLDS: "#117733", FAILS: "#CC3311", MIXED: "#E0A100", DEAD: "#7A4FA3", OPEN: "#8A8A8A",
}  # fmt: skip
PAGE = (8.27, 11.69)
"""A4 in inches."""
UNITS = {
    "decades": "log10 ratio (0.3 is twice as much)",
    "points": "percent, or percentage points",
    "cosine": "cosine, or difference of cosines",
    "octaves": "log2 ratio",
}


def forest(judgements: Sequence[Judgement]) -> Figure:
    """One row per part of a claim, in panels by unit, in two columns on one page.

    What is claimed is shaded; the colour says the verdict on the part. Claims without runs are left
    out where any has runs.
    """
    shown = [j for j in judgements if j.numbers] or judgements
    rows = pd.DataFrame(
        {
            "label": f"{j.claim.id} {j.claim.short}, {p.name}".rstrip(", ") if first else p.name,
            "unit": j.claim.unit,
            "colour": COLOURS[p.verdict],
            "paper": p.paper,
            "value": p.estimate.value,
            "low": p.estimate.low,
            "high": p.estimate.high,
            "from": j.claim.region.low,
            "to": j.claim.region.high,
        }
        for j in shown
        for p, first in zip(j.parts, [True] + [False] * len(j.parts), strict=False)
    )
    figure = Figure(figsize=PAGE, layout="constrained")
    FigureCanvasAgg(figure)
    rows = rows.sort_values("unit", kind="stable")
    half = -(-len(rows) // 2) if len(rows) > 30 else len(rows)
    columns = [rows[start : start + half] for start in range(0, len(rows), half)]
    subfigures = figure.subfigures(1, len(columns), squeeze=False)[0]
    for subfigure, column in zip(subfigures, columns, strict=True):
        panels = list(column.groupby("unit", sort=False))
        shares = [len(panel) + 2 for _, panel in panels]
        axes = subfigure.subplots(len(panels), 1, squeeze=False, height_ratios=shares)[:, 0]
        for ax, (unit, panel) in zip(axes, panels, strict=True):
            _panel(ax, panel)
            ax.set_xlabel(UNITS.get(str(unit), str(unit)), fontsize=6)
    handles = [
        *(Line2D([], [], color=c, marker="o", markersize=3, label=v) for v, c in COLOURS.items()),
        Line2D([], [], color="black", marker="D", markersize=3, linestyle="", label="the paper"),
        Patch(facecolor=(COLOURS[HOLDS], 0.12), label="what is claimed"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=6)
    return figure


def _panel(ax: Axes, rows: pd.DataFrame) -> None:
    """Values beyond the axis are drawn at its edge; NaN, where there is no number, is not drawn."""
    low, high = limits([rows[["paper", "value", "low", "high"]].to_numpy()], log=False)
    at = rows.select_dtypes("number").clip(low, high)
    y = np.arange(len(rows))
    claimed = at["to"] - at["from"]
    ax.barh(y, claimed, 0.8, left=at["from"], color=COLOURS[HOLDS], alpha=0.12, linewidth=0)
    ax.hlines(y, at["low"], at["high"], colors=list(rows["colour"]), linewidth=1.1)
    ax.scatter(at["value"], y, c=rows["colour"], s=7, zorder=3)
    ax.scatter(at["paper"], y, marker="D", s=7, facecolors="none", edgecolors="black", zorder=3)
    ax.axvline(0.0, color=COLOURS[OPEN], linewidth=0.4)
    ax.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.6))
    ax.set_yticks(y, rows["label"], fontsize=5)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=6)
    ax.spines[["top", "right"]].set_visible(False)
