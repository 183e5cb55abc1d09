"""Figs E7 to E9 and lr_choice, ours: under which conditions BN helps. Batch size, depth,
initialisation, learning rate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm

from bnexp.analysis import quantities as q
from bnexp.analysis import read
from bnexp.analysis.scales import BOTH, LP
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import last_half, median
from bnexp.figures.edges import by_edge
from bnexp.figures.page import Page, figure
from bnexp.figures.style import SMALL, look, mixed, short
from bnexp.runs import Run

LR = 0.1
TARGET = 80.0
"""Percent of train accuracy, of the mean over five recorded steps, that speed is measured to."""


def late(quantity: q.Quantity, layer: int | None = None) -> Callable[[Run], float]:
    """The median over the last half of a run."""
    return lambda run: median(last_half(quantity.trace(run, layer), run.steps))


def final_accuracy(run: Run) -> float:
    """The last evaluation on the test split, in %."""
    return float(q.TEST_ACCURACY.trace(run, None).lo[-1])


def steps_to_target(run: Run) -> float:
    """The first step at which train accuracy is at `TARGET`; inf where it never is."""
    trace = q.TRAIN_ACCURACY.trace(run, None)
    smooth = pd.Series(trace.lo, trace.x).rolling(5, min_periods=1).mean()
    return float(min(smooth.index[smooth >= TARGET], default=math.inf))


def values(
    selection: Selection,
    families: Sequence[str],
    keys: Sequence[str],
    value: Callable[[Run], float],
) -> pd.DataFrame:
    """A row per selected run: norm, lr, seed, its settings at ``keys``, and ``value`` of it."""
    runs = [run for family in families for run in selection.of(family)]
    rows = [
        {"norm": run.norm, "lr": run.lr, "seed": run.seed, "value": value(run)}
        | {key: run.settings.get(key) for key in keys}
        for run in runs
    ]
    return pd.DataFrame(rows, columns=["norm", "lr", "seed", "value", *keys])


def over(axes: Axes, frame: pd.DataFrame, x: str, label: str, log: bool = False) -> pd.DataFrame:
    """A line per norm of ``value`` over ``x``: the median over seeds, with min to max.

    Returns the medians by norm and x.
    """
    for norm, mine in frame.groupby("norm", sort=False):
        style, group = look(str(norm)), mine.groupby(x)["value"]
        middle = group.median()
        axes.plot(
            middle.index, middle, color=style.colour, linestyle=style.dash, marker=".",
            label=style.label, gid=f"line:{norm}",
        )  # fmt: skip
        axes.fill_between(
            middle.index, group.min(), group.max(), color=style.colour, alpha=0.13, linewidth=0
        )
    axes.set_ylabel(label)
    if np.isfinite(frame["value"]).any():  # a logarithmic axis needs a value
        axes.set(xscale="log", yscale="log" if log else "linear")
    axes.tick_params(labelsize=SMALL)
    return frame.pivot_table("value", x, "norm", "median", sort=False).sort_index()


@figure(
    "lr_choice",
    "Test accuracy at the end over the learning rate, by normalisation",
    needs("lr_choice", "vgg", LP, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), ("train", "eval")),
)
def fig_lr_choice(page: Page) -> None:
    """A line per norm; in words the best rate of each, as the paper's were "selected by
    hyperparameter optimisation" (Appendix A.1)."""
    axes = page.grid(1, 1, 3.0)[0, 0]
    frame = values(page.selection, ["vgg"], [], final_accuracy)
    table = over(axes, frame, "lr", q.TEST_ACCURACY.label)
    axes.set(xlabel="learning rate", label="a:test_accuracy")
    axes.legend(fontsize=SMALL, ncols=2)
    best = [f"{short(str(n))} {table[n].idxmax():g} ({table[n].max():.1f} %)" for n in table]
    page.remarks.append(f"Best of the grid by test accuracy at the end: {', '.join(best)}.")


_E7 = ("none", "bn", "ghost", "group")
_OF_BATCH: dict[str, tuple[Callable[[Run], float], bool]] = {
    "test accuracy (%)": (final_accuracy, False),
    "loss, test / training mode": (late(q.MODE_GAP), True),
    "cos angle, layer 5": (late(q.ICS_COSINE, 5), False),
    "effective β / (2/lr)": (late(by_edge(q.BETA)), True),
    "|μₜ₊₁ − μₜ|, layer 5": (late(q.UNIT_SHIFTS[0], 5), True),
}


@figure(
    "E7",
    "Batch size: with batch, ghost, group and no normalisation (VGG)",
    needs(
        "figE7", "vgg", _E7, [LR], ["train", "eval", "mode_gap", "smoothness"],
        varies=("batch_size",),
    ),
)  # fmt: skip
def fig_e7(page: Page) -> None:
    """A panel per quantity over the batch size. Wu and He (2018), Hoffer et al. (2017)."""
    grid = page.grid(2, 3, 1.9).ravel()
    for axes, (label, (value, log)) in zip(grid, _OF_BATCH.items(), strict=False):
        frame = values(page.selection, ["vgg"], ["batch_size"], value)
        table = over(axes, frame, "batch_size", label, log)
        letter = page.letter(axes)
        axes.set(xlabel="batch size", title=f"({letter})", label=f"{letter}:{label}")
        if axes is grid[0]:
            ends = [
                f"{short(str(n))} {table[n].iloc[0]:.0f} to {table[n].iloc[-1]:.0f} %"
                for n in table
            ]
            few, many = table.index[0], table.index[-1]
            page.remarks.append(
                f"Test accuracy from batch {few} to batch {many}, after equally many steps: "
                f"{', '.join(ends)}."
            )
    grid[-1].axis("off")
    grid[-1].legend(*grid[0].get_legend_handles_labels(), loc="center", fontsize=SMALL)
    page.remarks.append("Panels b to e: medians over the last half of the run.")


_E8 = {
    "gradient norm, first step": ("gradient_shift", "grad_norm", True),
    "gradient norm, last step": ("gradient_shift", "grad_norm", False),
    "stable rank, first step": ("stable_rank", "stable_rank", True),
    "stable rank, last step": ("stable_rank", "stable_rank", False),
}


@figure(
    "E8",
    "Depth: gradients of the layers and stable rank of their activations, with and without BN",
    needs("figE8", "vgg", BOTH, [LR], ["gradient_shift", "stable_rank"], varies=("model.depth",))
    + needs(
        "figE8_resnet", "resnet", BOTH, [LR], ["gradient_shift", "stable_rank"],
        varies=("model.depth", "model.skip"),
    ),
)  # fmt: skip
def fig_e8(page: Page) -> None:
    """A row per quantity over the layers, a column per network and norm, a line per depth."""
    columns = [
        (f"{name}, {short(norm)}", [run for run in page.selection.of(family) if run.norm == norm])
        for family in page.families
        for norm in BOTH
        for name in [family.upper()]
    ]
    grid = page.grid(len(_E8), len(columns), 1.45, sharex=True)
    for row, (label, (table, column, first)) in zip(grid, _E8.items(), strict=True):
        row[0].set_ylabel(label, fontsize=SMALL)
        for axes, (title, runs) in zip(row, columns, strict=True):
            groups = _alike(runs)
            depths = [depth for depth, _ in groups]
            for (depth, cut), seeds in groups.items():
                frames = [read.rows(run, table, ["step", "layer", column]) for run in seeds]
                ends = [
                    f[f["step"] == (f["step"].min() if first else f["step"].max())] for f in frames
                ]
                by_layer = pd.concat(ends).groupby("layer")[column]
                middle, least, most = by_layer.median(), by_layer.min(), by_layer.max()
                place = (depth - depths[0]) / max(1, depths[-1] - depths[0])
                at, shade = middle.index / middle.index.max(), mixed("#77CCEE", "#332288", place)
                axes.fill_between(at, least, most, color=shade, alpha=0.15, linewidth=0)
                axes.plot(
                    at, middle, linewidth=0.9, color=shade, linestyle=":" if cut else "-",
                    label=f"{depth}{', no skips' * cut}",
                )  # fmt: skip
            axes.set(yscale="log", label=f"{title}:{label}")
            axes.tick_params(labelsize=SMALL, which="both")
    named: list[list[str]] = [[]]
    for axes, (title, _) in zip(grid[0], columns, strict=True):
        axes.set_title(title)
        if (lines := axes.get_legend_handles_labels()[1]) not in named:
            axes.legend(title="layers", fontsize=4.5, title_fontsize=4.5, ncols=2)
            named.append(lines)
    for axes in grid[-1]:
        axes.set_xlabel("layer / layers")
    page.remarks += [_spread(title, runs) for title, runs in columns if runs]
    page.remarks.append("Medians over seeds, and least to greatest.")


def _alike(runs: Sequence[Run]) -> dict[tuple[int, bool], list[Run]]:
    """The seeds of each depth, with skip connections and (True) without."""
    groups = defaultdict[tuple[int, bool], list[Run]](list)
    for run in runs:
        groups[run.option("model.depth"), run.settings.get("model.skip") is False].append(run)
    return dict(sorted(groups.items()))


def _spread(title: str, runs: Sequence[Run]) -> str:
    """What the first step of the deepest networks shows."""
    groups, words = _alike(runs), []
    deepest = max(depth for depth, _ in groups)
    for cut in (cut for depth, cut in groups if depth == deepest):
        seeds = groups[deepest, cut]
        spread = np.median([q.GRADIENT_SPREAD.trace(run, None).lo[0] for run in seeds])
        rank = np.median([q.LEAST_RANK.trace(run, None).lo[0] for run in seeds])
        words.append(f"{spread:.2g} and {rank:.2g}{' without skips' * cut}")
    return (
        f"{title}, {deepest} layers deep, at the first step: largest gradient norm of a layer over "
        f"the smallest, and least stable rank, {'; '.join(words)}."
    )


_SCALES, _RATES = (0.25, 0.5, 1.0, 2.0, 4.0), (0.01, 0.03, 0.1, 0.3, 1.0)


@figure(
    "E9",
    "Initialisation and learning rate: steps to 80 % train accuracy (VGG)",
    needs("figE9", "vgg", BOTH, _RATES, ["train"], varies=("model.init_scale",)),
)
def fig_e9(page: Page) -> None:
    """A map per norm: scale of the initial weights over the learning rate."""
    frame = values(page.selection, ["vgg"], ["model.init_scale"], steps_to_target)
    steps = page.selection.steps("vgg") or 1
    scale = LogNorm(max(1, steps / 30), steps)
    both = page.grid(1, 2, 2.6, sharey=True)[0]
    for axes, norm in zip(both, BOTH, strict=True):
        mine = frame[frame["norm"] == norm]
        cells = mine.pivot_table(
            index="model.init_scale", columns="lr", values="value", aggfunc="median", dropna=False
        )
        shades = cells.to_numpy(float, copy=True)
        y, x = np.nonzero(~np.isfinite(shades))
        shades[~np.isfinite(shades)] = np.nan
        if shades.size:
            axes.imshow(shades, cmap="viridis_r", norm=scale, origin="lower", aspect="auto")
        axes.plot(x, y, "kx", markersize=4)
        axes.set_xticks(range(len(cells.columns)), [f"{lr:g}" for lr in cells.columns])
        axes.set_yticks(range(len(cells)), [f"{s:g}" for s in cells.index])
        axes.set(title=short(norm), xlabel="learning rate", label=f"steps:{norm}")
        page.norm_of[axes] = norm
        if len(mine):
            reached = np.isfinite(cells)
            count = reached.sum().sum()
            most = max((float(lr) for lr in cells.columns if reached[lr].any()), default=0.0)
            largest = f"; the largest learning rate that does is {most:g}" * bool(most > 0)
            page.remarks.append(
                f"{short(norm)}: {count} of {cells.size} settings reach {TARGET:.0f} % in {steps} "
                f"steps{largest}."
            )
    both[0].set_ylabel("scale of the initial weights")
    page.figure.colorbar(ScalarMappable(scale, "viridis_r"), ax=list(both), label="steps to 80 %")
    page.remarks.append("Medians over seeds. Crosses: not reached, or diverged.")
