"""Figure E6, ours: the deep linear network over learning rate, depth and width (phase diagram)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize

from bnexp.analysis import quantities as q
from bnexp.analysis import read
from bnexp.analysis.scales import BOTH, DLN
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import median_of
from bnexp.figures.fige1 import EDGE, by_edge
from bnexp.figures.page import Page, figure, plateau
from bnexp.figures.style import SMALL, short
from bnexp.runs import Run

_LRS = (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4)
_VARIES = ("model.k", "model.d", "data.d")
_TABLES = {"train": "all", "smoothness": "all", "gradient_shift": "all"}
_SAME_LOSS = 0.05
"""Decades within which two final losses count as equal."""


def final_loss(run: Run) -> float:
    """The last loss over the first; infinite where the run diverged."""
    loss = q.TRAIN_LOSS.trace(run, None).lo
    return math.inf if run.state == "diverged" else float(loss[-1] / loss[0])


def ics(run: Run) -> float:
    """The cosine of Definition 2.1, median over the last half of the run and layers 2 to k."""
    frame = read.rows(run, "gradient_shift", ["step", "layer", "cos"])
    late = (frame["layer"] > 1) & (frame["step"] >= run.steps / 2)
    return median_of(read.floats(frame["cos"][late]))


_MAPS: dict[str, tuple[str, Normalize, Callable[[Run], float]]] = {
    "final loss / first": ("viridis", LogNorm(1e-3, 1.0), final_loss),
    "effective β / (2/lr)": (
        "coolwarm", LogNorm(0.01, 100.0), lambda run: plateau([run], by_edge(q.BETA)),
    ),
    "ICS: cos(G, G′)": ("PuOr", Normalize(-1.0, 1.0), ics),
}  # fmt: skip
"""Per quantity its colours, their range and its value of a run."""


@figure(
    "E6",
    "The deep linear network over learning rate, depth and width",
    needs("figE6", DLN.family, BOTH, _LRS, _TABLES, varies=_VARIES),
)
def fig_e6(page: Page) -> None:
    """A block of maps (depth over learning rate) per quantity and norm, a column per width."""
    values = measured(page.selection)
    norms, widths = page.selection.norms(DLN.family), sorted(set(values.index.get_level_values(3)))
    lrs, depths = (sorted(set(values.index.get_level_values(level))) for level in (1, 2))
    page.height = 7.4
    grid = page.figure.subplots(
        len(_MAPS) * len(norms), len(widths), squeeze=False, sharex=True, sharey=True
    )
    for block, (title, (colours, scale, _)) in enumerate(_MAPS.items()):
        rows = grid[block * len(norms) : (block + 1) * len(norms)]
        for row, norm in zip(rows, norms, strict=True):
            row[0].set_ylabel(f"{short(norm)}\ndepth k", fontsize=SMALL)
            for axes, width in zip(row, widths, strict=True):
                axes.set_label(f"{title}:{norm}:{width}")
                cells = pd.MultiIndex.from_product([[norm], lrs, depths, [width]])
                mine = values.reindex(cells)
                shape = len(lrs), len(depths)
                lost = np.isinf(mine[_LOSS].to_numpy()).reshape(shape).T
                shades = mine[title].clip(scale.vmin, scale.vmax).to_numpy().reshape(shape).T
                axes.imshow(
                    np.where(lost, np.nan, shades), cmap=colours, norm=scale, origin="lower",
                    aspect="auto", interpolation="nearest", gid=f"map:{norm}:{width}",
                )  # fmt: skip
                y, x = np.nonzero(lost)
                axes.plot(x, y, "kx", markersize=3, gid=f"diverged:{norm}:{width}")
                axes.set_xticks(range(len(lrs)), [f"{lr:g}" for lr in lrs], rotation=90, fontsize=5)
                axes.set_yticks(range(len(depths)), depths, fontsize=5)
        bar = ScalarMappable(scale, colours)
        page.figure.colorbar(bar, ax=list(rows.ravel()), label=title, aspect=14, pad=0.02)
    for top, bottom, width in zip(grid[0], grid[-1], widths, strict=True):
        top.set_title(f"width d = {width}")
        bottom.set_xlabel("learning rate")
    page.remarks += [
        *sentences(values),
        "Medians over seeds; β and cos over the last half of the run, cos over layers 2 to k. "
        "Crosses: diverged.",
    ]


_LOSS, _BETA, _ = _MAPS


def measured(selection: Selection) -> pd.DataFrame:
    """By norm, lr, depth and width: the median over seeds of each of the maps' quantities."""
    runs = selection.of(DLN.family)
    index = pd.MultiIndex.from_tuples(
        [(run.norm, run.lr, int(run.option("model.k")), int(run.option("model.d"))) for run in runs]
    )
    rows = [{title: value(run) for title, (_, _, value) in _MAPS.items()} for run in runs]
    return pd.DataFrame(rows, index).groupby(level=[0, 1, 2, 3]).median()


def sentences(values: pd.DataFrame) -> list[str]:
    """What the runs show, made from the numbers."""
    parts = []
    for norm, mine in values.groupby(level=0):
        lost = np.isinf(mine[_LOSS])
        betas = mine[_BETA][~lost].dropna()
        edge = np.abs(np.log10(betas)) < EDGE
        parts.append(
            f"{short(str(norm))}: {lost.sum()} of {len(mine)} settings diverge, β lies within "
            f"{10**EDGE - 1:.0%} of 2/lr in {edge.sum()} of {len(betas)} others"
        )
    words = [f"{'; '.join(parts)}."]
    if {"none", "bn"} <= set(values.index.get_level_values(0)):
        none, bn = values[_LOSS]["none"].align(values[_LOSS]["bn"], join="inner")
        lower, higher = bn < none * 10**-_SAME_LOSS, bn > none * 10**_SAME_LOSS
        words.append(
            f"The final loss is lower with BatchNorm in {lower.sum()} of {len(bn)} settings and "
            f"higher in {higher.sum()}, each by over {10**_SAME_LOSS - 1:.0%} of the loss."
        )
    return words
