"""Figs E6 and dln_settings, ours: the deep linear network over its settings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize

from bnexp.analysis import paper, read
from bnexp.analysis import quantities as q
from bnexp.analysis.coverage import compare
from bnexp.analysis.scales import BOTH, DLN
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import last_half, median, median_of
from bnexp.figures.edges import by_edge
from bnexp.figures.page import Page, figure
from bnexp.figures.style import GREY, SMALL, short
from bnexp.runs import Run


def final_loss(run: Run) -> float:
    """The last loss over the first; infinite where the run diverged."""
    loss = q.TRAIN_LOSS.trace(run, None).lo
    return math.inf if run.state == "diverged" else float(loss[-1] / loss[0])


def plateau(run: Run) -> float:
    """Effective beta in units of 2/lr, median over the last half of the run."""
    return median(last_half(by_edge(q.BETA).trace(run, None), run.steps))


def ics(run: Run) -> float:
    """The cosine of Definition 2.1, median over the last half of the run and layers 2 to k."""
    frame = read.rows(run, "gradient_shift", ["step", "layer", "cos"])
    late = (frame["layer"] > 1) & (frame["step"] >= run.steps / 2)
    return median_of(read.floats(frame["cos"][late]))


_LOSS, _BETA = "final loss / first", "effective β / (2/lr)"
_MAPS: dict[str, tuple[str, Normalize, Callable[[Run], float]]] = {
    _LOSS: ("viridis", LogNorm(1e-3, 1.0), final_loss),
    _BETA: ("coolwarm", LogNorm(0.01, 100.0), plateau),
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
    values, norms = measured(page.selection), page.selection.norms("dln")
    lrs, depths, widths = (sorted(values.index.unique(name)) for name in ("lr", "k", "d"))
    rows = [(title, norm) for title in _MAPS for norm in norms]
    grid = page.grid(len(rows), len(widths), 7.4 / len(rows), sharex=True, sharey=True)
    for row, (title, norm) in zip(grid, rows, strict=True):
        colours, scale, _ = _MAPS[title]
        row[0].set_ylabel(f"{short(norm)}\ndepth k", fontsize=SMALL)
        for axes, width in zip(row, widths, strict=True):
            cells = pd.MultiIndex.from_product([[norm], depths, lrs, [width]])
            loss, shades = (
                values[name].reindex(cells).to_numpy().reshape(len(depths), len(lrs))
                for name in (_LOSS, title)
            )
            shades = np.where(np.isinf(loss), np.nan, np.clip(shades, scale.vmin, scale.vmax))
            axes.imshow(shades, cmap=colours, norm=scale, origin="lower", aspect="auto")
            y, x = np.nonzero(np.isinf(loss))
            axes.plot(x, y, "kx", markersize=3)
            axes.set_label(f"{title}:{norm}:{width}")
            page.norm_of[axes] = norm
            axes.set_xticks(range(len(lrs)), [f"{lr:g}" for lr in lrs], rotation=90, fontsize=5)
            axes.set_yticks(range(len(depths)), depths, fontsize=5)
        if norm == norms[-1]:
            block = grid[[t == title for t, _ in rows]]
            bar = ScalarMappable(scale, colours)
            page.figure.colorbar(bar, ax=list(block.ravel()), label=title, aspect=14, pad=0.02)
    for top, bottom, width in zip(grid[0], grid[-1], widths, strict=True):
        top.set_title(f"width d = {width}")
        bottom.set_xlabel("learning rate")
    page.remarks += [
        phases(values),
        "Medians over seeds; β and cos over the last half of the run, cos over layers 2 to k. "
        "Crosses: diverged.",
    ]


def measured(selection: Selection) -> pd.DataFrame:
    """By norm, depth k, lr and width d: the median over seeds of each of the maps' quantities."""
    rows = [
        {title: value(run) for title, (_, _, value) in _MAPS.items()}
        | {"norm": run.norm, "k": run.option("model.k"), "lr": run.lr, "d": run.option("model.d")}
        for run in selection.of("dln")
    ]
    return pd.DataFrame(rows).groupby(["norm", "k", "lr", "d"]).median()


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
    losses = {norm: values[_LOSS].xs(norm, level="norm") for norm in values.index.unique("norm")}
    both = pd.DataFrame(losses).reindex(columns=list(BOTH)).dropna()
    lower, higher = ((both[a] < 0.9 * both[b]).sum() for a, b in (("bn", "none"), ("none", "bn")))
    words.append(
        f"The final loss is lower with BatchNorm by over a tenth in {lower} of {len(both)} "
        f"settings, and higher in {higher}."
    )
    return " ".join(words)


_KEYS = ("data.A", "data.A_low", "data.A_high", "data.A_std", "model.loss", "model.init")
_CURVES = [(3, norm, lr) for norm in BOTH for lr in DLN.lrs] + [
    (5, n, DLN.lr) for n in ("l1", "l2")
]
"""Figure (panel b), norm and learning rate of the curves that settings are compared with."""
_STEPS = (0, 500, 1000, 2000, 5000, 10_000)


@figure(
    "dln_settings",
    "Settings of the deep linear network beside the paper's six loss curves",
    [
        need
        for _, norm, lr in _CURVES
        for need in needs("dln_settings", "dln", [norm], [lr], ["train"], varies=_KEYS)
    ],
    ("dln_settings", "dln_settings_normal", "dln_settings_init"),
)
def fig_dln_settings(page: Page) -> None:
    """A row per setting, the nearest first: distance and share inside, as marks and as numbers."""
    table = scores(page.selection)
    page.height = 0.7 + 0.2 * len(table)
    words = [f"{s.inside:.2f}, {s.curves} curves, {s.seeds} seeds" for s in table.itertuples()]
    shown = {"distance": [f"{value:.2f}" for value in table["distance"]], "inside": words}
    both = page.figure.subplots(1, 2, sharey=True)
    for axes, (name, texts) in zip(both, shown.items(), strict=True):
        axes.plot(table[name], range(len(table)), "o", color="#0077BB")
        for row, text in enumerate(texts):
            axes.annotate(
                text, (table[name].iloc[row], row), xytext=(5, 0), textcoords="offset points",
                fontsize=SMALL, color=GREY, va="center",
            )  # fmt: skip
    both[0].set_yticks(range(len(table)), table.index, fontsize=SMALL)
    both[0].invert_yaxis()
    both[0].set(xlabel="distance (decades)", xlim=(0, None))
    both[1].set(xlabel="share inside", xlim=(0, 2.6), xticks=[0, 0.5, 1])
    ends = [
        f"{s.Index} ({s.distance:.2f} decades, {s.inside:.0%} of the points inside)"
        for s in table.iloc[[0, -1]].itertuples()
    ]
    page.remarks.append(
        f"Mean distance of the median to the paper's curves, and share of their points inside the "
        f"seeds' range. Nearest: {ends[0]}; farthest: {ends[1]}. Compared at steps 0 (1 "
        "for l1, l2), 500, 1000, 2000, 5000 and 10,000."
    )


def scores(selection: Selection) -> pd.DataFrame:
    """How near each setting comes to the paper's loss curves, the nearest first.

    By setting, the keys in which the runs differ: ``distance``, |log10(median of seeds / paper)|,
    the mean over points and curves; ``inside``, the share of the paper's points within the seeds'
    min to max; how many ``curves`` were compared, and the most ``seeds`` of any.
    """
    runs = selection.of("dln")
    keys = [key for key in _KEYS if len({str(run.settings.get(key)) for run in runs}) > 1]
    rows = []
    for number, norm, lr in _CURVES:
        curve = paper.curve(number, "b", q.TRAIN_LOSS.name, norm, lr)
        assert curve is not None
        groups = defaultdict[str, list[Trace]](list)
        for run in selection.runs("dln", norm, lr, "train"):
            groups[_name(run, keys)].append(q.TRAIN_LOSS.trace(run, None).until_diverged())
        for name, traces in groups.items():
            points, inside, apart = compare(curve, traces, log=True, ratio=True, steps=_STEPS)
            if points:
                rows.append((name, float(np.nanmean(apart)), inside, points, len(traces)))
    table = pd.DataFrame(rows, columns=["setting", "distance", "inside", "points", "seeds"])
    table = table.groupby("setting", sort=False).agg(
        distance=("distance", "mean"), inside=("inside", "sum"), points=("points", "sum"),
        curves=("points", "size"), seeds=("seeds", "max"),
    )  # fmt: skip
    table["inside"] /= table["points"]
    return table.sort_values("distance", kind="stable")


def _name(run: Run, keys: list[str]) -> str:
    """The setting in words, less what does not count for its law of A."""
    law = run.settings.get("data.A") or "normal"  # the only one of runs before it had a name
    unused = ("data.A_std",) if law == "uniform" else ("data.A_low", "data.A_high")
    named = {key.partition(".")[2]: run.settings.get(key) for key in keys if key not in unused}
    return ", ".join(f"{key}={value}" for key, value in named.items()) or f"A {law}"
