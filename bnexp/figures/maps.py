"""Figs E6 and E9, ours: maps over the learning rate and what else decides whether a net trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize

from bnexp.analysis import quantities as q
from bnexp.analysis import read
from bnexp.analysis.scales import BOTH
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import median_of
from bnexp.figures.edges import by_edge, late
from bnexp.figures.page import Page, figure
from bnexp.figures.style import SMALL, short
from bnexp.runs import NEUTRAL, Run


def values(
    runs: Sequence[Run], keys: Sequence[str], of: Mapping[str, Callable[[Run], float]]
) -> pd.DataFrame:
    """A row per run: norm, lr, seed, its settings at ``keys``, and the values ``of`` it."""
    rows = [
        {"norm": run.norm, "lr": run.lr, "seed": run.seed}
        | {key: run.settings.get(key, NEUTRAL.get(key)) for key in keys}
        | {name: value(run) for name, value in of.items()}
        for run in runs
    ]
    return pd.DataFrame(rows, columns=["norm", "lr", "seed", *keys, *of])


def shade(axes: Axes, cells: pd.DataFrame, mark: float, **colours: Any) -> None:
    """A map of ``cells``, the learning rate to the right; crosses where they are infinite."""
    shades = cells.to_numpy(float)
    y, x = np.nonzero(np.isinf(shades))
    if shades.size:
        shades = np.where(np.isinf(shades), np.nan, shades)
        axes.imshow(shades, origin="lower", aspect="auto", **colours)
    axes.plot(x, y, "kx", markersize=mark)
    axes.set_xticks(range(len(cells.columns)), [f"{lr:g}" for lr in cells.columns])
    axes.set_yticks(range(len(cells)), [f"{key:g}" for key in cells.index])


def final_loss(run: Run) -> float:
    """The last loss over the first; infinite where the run diverged."""
    loss = q.TRAIN_LOSS.trace(run, None).lo
    return math.inf if run.state == "diverged" else float(loss[-1] / loss[0])


def ics(run: Run) -> float:
    """The cosine of Definition 2.1, median over the last half of the run and layers 2 to k."""
    frame = read.rows(run, "gradient_shift", ["step", "layer", "cos"])
    late = (frame["layer"] > 1) & (frame["step"] >= run.steps / 2)
    return median_of(read.floats(frame["cos"][late]))


_LOSS, _BETA = "final loss / first", "effective β / (2/lr)"
_MAPS: dict[str, tuple[str, Normalize, Callable[[Run], float]]] = {
    _LOSS: ("viridis", LogNorm(1e-3, 1.0, clip=True), final_loss),
    _BETA: ("coolwarm", LogNorm(0.01, 100.0, clip=True), late(by_edge(q.BETA))),
    "ICS: cos(G, G′)": ("PuOr", Normalize(-1.0, 1.0), ics),
}
"""Per quantity its colours, their range and its value of a run."""


@figure(
    "E6",
    "The deep linear network over learning rate, depth and width",
    needs(
        "figE6", "dln", BOTH, (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4),
        ["train", "smoothness", "gradient_shift"], varies=("model.k", "model.d", "data.d"),
    ),
)  # fmt: skip
def fig_e6(page: Page) -> None:
    """A block of maps (depth over learning rate) per quantity and norm, a column per width."""
    medians, norms = measured(page.selection), page.selection.norms("dln")
    lrs, depths, widths = (sorted(medians[key].unique()) for key in ("lr", "model.k", "model.d"))
    rows = [(title, norm) for title in _MAPS for norm in norms]
    grid = page.grid(len(rows), len(widths), 7.4 / len(rows), sharex=True, sharey=True)
    for row, (title, norm) in zip(grid, rows, strict=True):
        cmap, scale, _ = _MAPS[title]
        row[0].set_ylabel(f"{short(norm)}\ndepth k", fontsize=SMALL)
        for axes, width in zip(row, widths, strict=True):
            mine = medians[(medians["norm"] == norm) & (medians["model.d"] == width)]
            cells = mine.pivot_table(title, "model.k", "lr")
            shade(axes, cells.reindex(index=depths, columns=lrs), 3, cmap=cmap, norm=scale)
            axes.set_label(f"{title}:{norm}:{width}")
            axes.tick_params(labelsize=5)
            axes.tick_params(axis="x", rotation=90)
            page.shows[axes] = [run for run in page.selection.of("dln") if run.norm == norm]
        if norm == norms[-1]:
            block = grid[[t == title for t, _ in rows]]
            bar = ScalarMappable(scale, cmap)
            page.figure.colorbar(bar, ax=list(block.ravel()), label=title, aspect=14, pad=0.02)
    for top, bottom, width in zip(grid[0], grid[-1], widths, strict=True):
        top.set_title(f"width d = {width}")
        bottom.set_xlabel("learning rate")
    page.remarks += [
        phases(medians),
        "Medians over seeds; β and cos over the last half of the run, cos over layers 2 to k. "
        "Crosses: diverged.",
    ]


def measured(selection: Selection) -> pd.DataFrame:
    """A row per norm, depth k, width d and lr: the median over seeds of each map's quantity.

    All are infinite where the run diverges.
    """
    keys = ["model.k", "model.d"]
    frame = values(selection.of("dln"), keys, {title: of for title, (_, _, of) in _MAPS.items()})
    medians = frame.groupby(["norm", *keys, "lr"])[list(_MAPS)].median()
    return medians.mask(np.isinf(medians[_LOSS]), math.inf).reset_index()


def phases(values: pd.DataFrame) -> str:
    """The sentences of E6."""
    words = []
    for norm, mine in values.groupby("norm"):
        kept = mine[~np.isinf(mine[_LOSS])]
        near = kept[_BETA].between(0.8, 1.25).sum()
        words.append(
            f"{short(str(norm))}: {len(mine) - len(kept)} of {len(mine)} settings diverge, β lies "
            f"within a quarter of 2/lr in {near} of {len(kept)} others."
        )
    both = values.pivot_table(_LOSS, ["model.k", "model.d", "lr"], "norm")
    both = both.reindex(columns=list(BOTH)).dropna()
    lower, higher = ((both[a] < 0.9 * both[b]).sum() for a, b in (("bn", "none"), ("none", "bn")))
    words.append(
        f"The final loss is lower with BatchNorm by over a tenth in {lower} of {len(both)} "
        f"settings, and higher in {higher}."
    )
    return " ".join(words)


TARGET = 80.0
"""Percent of train accuracy, of the mean over five recorded steps, that speed is measured to."""


def steps_to_target(run: Run) -> float:
    """The first step at which train accuracy is at `TARGET`; inf where it never is."""
    trace = q.TRAIN_ACCURACY.trace(run, None)
    smooth = pd.Series(trace.lo, trace.x).rolling(5, min_periods=1).mean()
    return float(min(smooth.index[smooth >= TARGET], default=math.inf))


_SCALES, _RATES = (0.25, 0.5, 1.0, 2.0, 4.0), (0.01, 0.03, 0.1, 0.3, 1.0)


@figure(
    "E9",
    "Initialisation and learning rate: steps to 80 % train accuracy (VGG)",
    needs("figE9", "vgg", BOTH, _RATES, ["train"], varies=("model.init_scale",)),
)
def fig_e9(page: Page) -> None:
    """A map per norm: scale of the initial weights over the learning rate."""
    runs, key = page.selection.of("vgg"), "model.init_scale"
    frame = values(runs, [key], {"steps": steps_to_target})
    steps = page.selection.steps("vgg") or 1
    scale = LogNorm(max(1, steps / 30), steps)
    both = page.grid(1, 2, 2.6, sharey=True)[0]
    for axes, norm in zip(both, BOTH, strict=True):
        mine = frame[frame["norm"] == norm]
        cells = mine.pivot_table("steps", key, "lr", "median", dropna=False)
        shade(axes, cells, 4, cmap="viridis_r", norm=scale)
        axes.set(title=short(norm), xlabel="learning rate", label=f"steps:{norm}")
        page.shows[axes] = [run for run in runs if run.norm == norm]
        if cells.size:
            reached = np.isfinite(cells)
            most = max((float(lr) for lr in cells.columns if reached[lr].any()), default=0.0)
            largest = f"; the largest learning rate that does is {most:g}" * bool(most > 0)
            page.remarks.append(
                f"{short(norm)}: {reached.sum(axis=None)} of {cells.count().sum()} settings reach "
                f"{TARGET:.0f} % in {steps} steps{largest}."
            )
    both[0].set_ylabel("scale of the initial weights")
    page.figure.colorbar(ScalarMappable(scale, "viridis_r"), ax=list(both), label="steps to 80 %")
    page.remarks.append("Medians over seeds. Crosses: not reached, or diverged.")
