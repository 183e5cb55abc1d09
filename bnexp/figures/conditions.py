"""Figs E7, E8 and lr_choice, ours: under which conditions BN helps: batch size, depth, rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bnexp.analysis import quantities as q
from bnexp.analysis import read
from bnexp.analysis.scales import BOTH, LP
from bnexp.analysis.select import Selection, needs
from bnexp.figures.edges import by_edge, late
from bnexp.figures.maps import values
from bnexp.figures.page import Page, figure
from bnexp.figures.style import SMALL, Look, look, looks, short
from bnexp.runs import Run

LR = 0.1


def final_accuracy(run: Run) -> float:
    """The last evaluation on the test split, in %."""
    return float(q.TEST_ACCURACY.trace(run, None).lo[-1])


def draw_range(axes: Axes, groups: Any, its_look: Look, **more: Any) -> None:
    """A line of the medians of grouped values, with their min to max, over the groups' keys."""
    middle = groups.median()
    colour = its_look.colour
    axes.plot(middle.index, middle, color=colour, linestyle=its_look.dash, **more)
    axes.fill_between(
        middle.index, groups.min(), groups.max(), color=colour, alpha=0.13, linewidth=0
    )
    axes.tick_params(labelsize=SMALL, which="both")


def over(axes: Axes, frame: pd.DataFrame, x: str, y: str, log: bool = False) -> pd.DataFrame:
    """A line per norm of column ``y`` over ``x``, over seeds; returns the medians by x and norm."""
    for norm, mine in frame.groupby("norm", sort=False):
        its_look = look(str(norm))
        more = {"marker": ".", "label": its_look.label, "gid": f"line:{norm}"}
        draw_range(axes, mine.groupby(x)[y], its_look, **more)
    axes.set_ylabel(y)
    if np.isfinite(frame[y]).any():  # a logarithmic axis needs a value
        axes.set(xscale="log", yscale="log" if log else "linear")
    return frame.pivot_table(y, x, "norm", "median", sort=False).sort_index()


@figure(
    "lr_choice",
    "Test accuracy at the end over the learning rate, by normalisation",
    needs("lr_choice", "vgg", LP, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), ("train", "eval")),
)
def fig_lr_choice(page: Page) -> None:
    """A line per norm; in words the best rate of each, as the paper's were "selected by
    hyperparameter optimisation" (Appendix A.1)."""
    axes = page.grid(1, 1, 3.0)[0, 0]
    label = q.TEST_ACCURACY.label
    table = over(axes, values(page.selection.of("vgg"), [], {label: final_accuracy}), "lr", label)
    axes.set(xlabel="learning rate", label="a:test_accuracy")
    axes.legend(fontsize=SMALL, ncols=2)
    best = [f"{short(str(n))} {table[n].idxmax():g} ({table[n].max():.1f} %)" for n in table]
    page.remarks.append(f"Best of the grid by test accuracy at the end: {', '.join(best)}.")


_E7 = ("none", "bn", "ghost", "group")
_OF_BATCH = {
    "test accuracy (%)": final_accuracy,
    "loss, test / training mode": late(q.MODE_GAP),
    "cos angle, layer 5": late(q.ICS_COSINE, 5),
    "effective β / (2/lr)": late(by_edge(q.BETA)),
    "|μₜ₊₁ − μₜ|, layer 5": late(q.UNIT_SHIFTS[0], 5),
}
_LINEAR = ("test accuracy (%)", "cos angle, layer 5")


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
    frame = values(page.selection.of("vgg"), ["batch_size"], _OF_BATCH)
    tables = []
    for axes, label in zip(grid, _OF_BATCH, strict=False):
        tables.append(over(axes, frame, "batch_size", label, label not in _LINEAR))
        letter = page.letter(axes)
        axes.set(xlabel="batch size", title=f"({letter})", label=f"{letter}:{label}")
    accuracy, sizes = tables[0], tables[0].index
    ends = [
        f"{short(str(n))} {its.iloc[0]:.0f} to {its.iloc[-1]:.0f} %" for n, its in accuracy.items()
    ]
    page.remarks.append(
        f"Test accuracy from batch {sizes[0]} to batch {sizes[-1]}, after equally many steps: "
        f"{', '.join(ends)}."
    )
    grid[-1].axis("off")
    grid[-1].legend(*grid[0].get_legend_handles_labels(), loc="center", fontsize=SMALL)
    page.remarks.append("Panels b to e: medians over the last half of the run.")


_E8 = {
    "gradient norm, first step": ("gradient_shift", "grad_norm", "idxmin"),
    "gradient norm, last step": ("gradient_shift", "grad_norm", "idxmax"),
    "stable rank, first step": ("stable_rank", "stable_rank", "idxmin"),
    "stable rank, last step": ("stable_rank", "stable_rank", "idxmax"),
}
"""Per row its table, the column, and which step of each layer."""


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
    columns = {
        f"{family.upper()}, {short(norm)}": _alike(page.selection, family, norm)
        for family in page.families
        for norm in BOTH
    }
    grid = page.grid(len(_E8), len(columns), 1.45, sharex=True)
    for row, (label, (table, column, which)) in zip(grid, _E8.items(), strict=True):
        row[0].set_ylabel(label, fontsize=SMALL)
        for axes, (title, groups) in zip(row, columns.items(), strict=True):
            shades = looks("layers", list(dict.fromkeys(depth for depth, _ in groups)))
            for (depth, cut), seeds in groups.items():
                ends = []
                for run in seeds:
                    rows = read.rows(run, table, ["step", "layer", column])
                    ends.append(rows.loc[rows.groupby("layer")["step"].agg(which)])
                frame = pd.concat(ends)
                by_layer = frame.groupby(frame["layer"] / frame["layer"].max())[column]
                its_look = replace(shades[depth], dash=":" if cut else "-")
                more = {"linewidth": 0.9, "label": f"{depth}{', no skips' * cut}"}
                draw_range(axes, by_layer, its_look, **more)
            axes.set(yscale="log", label=f"{title}:{label}")
    named: list[list[str]] = [[]]
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title)
        if (lines := axes.get_legend_handles_labels()[1]) not in named:
            axes.legend(title="layers", fontsize=4.5, title_fontsize=4.5, ncols=2)
            named.append(lines)
    for axes in grid[-1]:
        axes.set_xlabel("layer / layers")
    page.remarks += [_spread(title, groups) for title, groups in columns.items() if groups]
    page.remarks.append("Medians over seeds, and least to greatest.")


Groups = Mapping[tuple[int, bool], Sequence[Run]]
"""The seeds of each depth, with skip connections and (True) without."""


def _alike(selection: Selection, family: str, norm: str) -> Groups:
    groups = defaultdict[tuple[int, bool], list[Run]](list)
    for run in selection.of(family):
        if run.norm == norm:
            groups[run.option("model.depth"), run.settings.get("model.skip") is False].append(run)
    return dict(sorted(groups.items()))


def _spread(title: str, groups: Groups) -> str:
    """What the first step of the deepest networks shows."""
    words = []
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
