"""Figure E6, ours: the deep linear network over learning rate, depth and width (phase diagram)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from bnexp.analysis import read
from bnexp.analysis.quantities import TRAIN_LOSS
from bnexp.analysis.scales import BOTH, DLN
from bnexp.analysis.select import Selection, config_value, needs
from bnexp.analysis.series import Array
from bnexp.analysis.summaries import median_of
from bnexp.figures.fige1 import EDGE, plateau
from bnexp.figures.sheet import sheet
from bnexp.figures.style import SMALL, short
from bnexp.registry import FIGURES
from bnexp.runs import Run

TITLE = "The deep linear network over learning rate, depth and width"
_LRS = (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4)
_VARIES = ("model.k", "model.d", "data.d")
_TABLES = {"train": "all", "smoothness": "all", "gradient_shift": "all"}
NEEDS = needs("figE6", DLN.family, BOTH, _LRS, _TABLES, varies=_VARIES)
_SAME_LOSS = 0.05
"""Decades within which two final losses count as equal."""


@dataclass(frozen=True)
class _Map:
    """One quantity of a run: its column's title, its colours, and its value."""

    title: str
    colours: str
    norm: Normalize
    value: Callable[[Run], float]


def final_loss(run: Run) -> float:
    """The last loss over the first; infinite where the run diverged."""
    if run.state == "diverged":
        return math.inf
    loss = TRAIN_LOSS.trace(run, None).lo
    return float(loss[-1] / loss[0]) if len(loss) else math.nan


def ics(run: Run) -> float:
    """The cosine of Definition 2.1, median over the last half of the run and layers 2 to k."""
    frame = read.rows(run, "gradient_shift", ["step", "layer", "cos"])
    frame = frame[(frame["layer"] > 1) & (frame["step"] >= run.steps / 2)]
    return median_of(frame["cos"].to_numpy(dtype=np.float64).tolist())


_MAPS = (
    _Map("final loss / first", "viridis", LogNorm(1e-3, 1.0), final_loss),
    _Map("effective β / (2/lr)", "coolwarm", LogNorm(0.01, 100.0), lambda run: plateau([run])),
    _Map("ICS: cos(G, G′)", "PuOr", Normalize(-1.0, 1.0), ics),
)


@FIGURES.register("E6", title=TITLE, recipes=("figE6",), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  the paper has no such figure
    """A block of maps (depth over learning rate) per quantity and norm, a column per width."""
    values = measured(selection)
    widths = sorted({d for _, _, _, d in values})
    norms = selection.norms(DLN.family)
    page = sheet("E6", TITLE, 7.4, selection, False, [], [*sentences(values), _REMARK], True)
    grid = page.body.subplots(
        len(_MAPS) * len(norms), len(widths), squeeze=False, sharex=True, sharey=True
    )
    for index, shown in enumerate(_MAPS):
        rows = grid[index * len(norms) : (index + 1) * len(norms)]
        for row, norm in zip(rows, norms, strict=True):
            for axes, width in zip(row, widths, strict=True):
                axes.set_label(f"{shown.title}:{norm}:{width}")
                _draw_map(axes, shown, index, values, norm, width)
            row[0].set_ylabel(f"{short(norm)}\ndepth k", fontsize=SMALL)
        scale = ScalarMappable(shown.norm, shown.colours)
        page.body.colorbar(scale, ax=list(rows.ravel()), label=shown.title, aspect=14, pad=0.02)
    for axes, width in zip(grid[0], widths, strict=True):
        axes.set_title(f"width d = {width}", loc="left")
    for axes in grid[-1]:
        axes.set_xlabel("learning rate")
    return page.finish()


_REMARK = (
    "Medians over seeds; β and cos over the last half of the run, cos over layers 2 to k. "
    "Crosses: diverged."
)
Values = dict[tuple[str, float, int, int], tuple[float, ...]]


def measured(selection: Selection) -> Values:
    """By norm, lr, depth and width: the median over seeds of each of the maps' quantities."""
    runs: dict[tuple[str, float, int, int], list[Run]] = {}
    for run in selection.of(DLN.family):
        size = (int(config_value(run, "model.k")), int(config_value(run, "model.d")))
        runs.setdefault((run.norm, run.lr, *size), []).append(run)
    return {
        key: tuple(median_of([shown.value(run) for run in group]) for shown in _MAPS)
        for key, group in sorted(runs.items())
    }


def sentences(values: Values) -> list[str]:
    """What the runs show, made from the numbers."""
    norms = sorted({norm for norm, *_ in values})
    parts = []
    for norm in norms:
        mine = [value for (n, *_), value in values.items() if n == norm]
        lost = sum(math.isinf(loss) for loss, _, _ in mine)
        betas = [beta for loss, beta, _ in mine if math.isfinite(loss) and not math.isnan(beta)]
        edge = sum(abs(math.log10(beta or math.nan)) < EDGE for beta in betas)
        parts.append(
            f"{short(norm)}: {lost} of {len(mine)} settings diverge, β lies within "
            f"{10**EDGE - 1:.0%} of 2/lr in {edge} of {len(betas)} others"
        )
    words = [f"{'; '.join(parts)}."] if parts else []
    shared = [
        (none[0], values["bn", lr, k, d][0])
        for (norm, lr, k, d), none in values.items()
        if norm == "none" and ("bn", lr, k, d) in values
    ]
    if shared:
        lower = sum(bn < none * 10**-_SAME_LOSS for none, bn in shared)
        higher = sum(bn > none * 10**_SAME_LOSS for none, bn in shared)
        words.append(
            f"The final loss is lower with BatchNorm in {lower} of {len(shared)} settings and "
            f"higher in {higher}, each by over {10**_SAME_LOSS - 1:.0%} of the loss."
        )
    return words


def _draw_map(axes: Axes, shown: _Map, index: int, values: Values, norm: str, width: int) -> None:
    lrs = sorted({lr for _, lr, _, _ in values})
    depths = sorted({k for _, _, k, _ in values})
    cells = np.full((len(depths), len(lrs)), np.nan)
    for (n, lr, k, d), value in values.items():
        if (n, d) == (norm, width):
            cells[depths.index(k), lrs.index(lr)] = value[index]
    diverged = np.isinf(_losses(values, norm, width, lrs, depths))
    shaded = np.where(np.isfinite(cells) & ~diverged, cells, np.nan)
    axes.imshow(
        np.clip(shaded, shown.norm.vmin, shown.norm.vmax), cmap=shown.colours, norm=shown.norm,
        origin="lower", aspect="auto", interpolation="nearest", gid=f"map:{norm}:{width}",
    )  # fmt: skip
    y, x = np.nonzero(diverged)
    axes.plot(x, y, "x", color="black", markersize=3, gid=f"diverged:{norm}:{width}")
    axes.set_xticks(range(len(lrs)), [f"{lr:g}" for lr in lrs], rotation=90, fontsize=5)
    axes.set_yticks(range(len(depths)), [str(k) for k in depths], fontsize=5)


def _losses(
    values: Values, norm: str, width: int, lrs: Sequence[float], depths: Sequence[int]
) -> Array:
    nothing = (math.nan,)
    return np.array([[values.get((norm, lr, k, width), nothing)[0] for lr in lrs] for k in depths])
