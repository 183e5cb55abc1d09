"""Figs 4, 10 to 13: the landscape along the gradient, and what must stand beside beta.

Effective beta-smoothness can be held at 2/lr by gradient descent itself (the edge of stability)
and at 1/eta_min by the grid: a step that leaves nothing of the gradient gives
||g' - g|| = ||g||. Both lines are drawn, the eta at which the max was reached and, where runs
recorded the curvature, beta as eta -> 0, which neither bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize

from bnexp.analysis import paper as paper_curves
from bnexp.analysis import quantities as q
from bnexp.analysis import read
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, LP, VGG, Experiment, eta_multiples
from bnexp.analysis.select import has_table, needs
from bnexp.analysis.series import Trace, clipped, limits
from bnexp.figures.page import Page, figure
from bnexp.figures.panel import Panel, mark_beyond, say
from bnexp.figures.style import PAPER_DASH, SMALL, look, short
from bnexp.runs import Run

_OVERLAID = 3  # more bands than this in one panel hide each other
_NORMS = {
    "predictiveness": "gradient predictiveness is the norm of the whole gradient's change.",
    "predictiveness_tensors": "gradient predictiveness is summed over the norms of the parameter "
    "tensors, as the paper's curves are; β is of the whole gradient's norm.",
}


def _landscape(page: Page, experiment: Experiment, training: Sequence[Quantity]) -> None:
    """Training, if it is drawn, is panel a; then loss, predictiveness, beta and its eta.

    All norms overlaid, or where there are many a column per norm, each row with one scale.
    """
    family, letters, letter = experiment.family, iter("abcd"), ""
    norms, runs = page.selection.norms(family), page.selection.of(family)
    column = read.predictiveness_column(runs)
    page.remarks.append(_NORMS[column].capitalize())
    many = len(norms) > _OVERLAID
    page.height = 6.0 if many else 2.5
    shares = [*(2.4 for _ in training), page.height]
    page.height = sum(shares)
    whole = page.figure.add_gridspec(len(shares), 1, height_ratios=shares)
    for quantity in training:
        page.panel(page.figure.add_subplot(whole[0]), next(letters), quantity, family)
    if many:
        grid = whole[-1].subgridspec(4, len(norms), height_ratios=[1, 1, 1, 0.5])
        cells = [[grid[row, column] for column in range(len(norms))] for row in range(4)]
    else:
        grid = whole[-1].subgridspec(2, 3, height_ratios=[3, 1.1])
        cells = [[grid[:, 0]], [grid[:, 1]], [grid[0, 2]], [grid[1, 2]]]
    groups = [[norm] for norm in norms] if many else [norms]
    change = replace(q.predictiveness_band(column), log=experiment.log)
    rows = q.LOSS_BAND, change, replace(q.BETA, log=experiment.log), q.BETA_ETA
    panels: list[list[Panel]] = []
    for quantity, places in zip(rows, cells, strict=True):
        letter = letter if quantity is q.BETA_ETA else next(letters)
        panels.append([])
        for place, group in zip(places, groups, strict=True):
            axes, first = page.figure.add_subplot(place), place is places[0]
            axes.tick_params(labelbottom=place.is_last_row(), labelleft=first)
            title = f"({letter}) " * first + short(group[0]) * many
            title = "" if quantity is q.BETA_ETA else title
            panels[-1].append(page.panel(axes, letter, quantity, family, norms=group, title=title))
        for panel in panels[-1]:
            panel.siblings = panels[-1]
    for group, beta, reached in zip(groups, *panels[-2:], strict=True):
        _references(page, family, group, beta, reached)


def _references(page: Page, family: str, norms: Sequence[str], beta: Panel, reached: Panel) -> None:
    """2/lr, 1/eta_min and beta as eta -> 0 into beta's panel; the grid's ends into eta's."""
    for lr in page.selection.lrs(family):
        beta.reference("2/lr", 2 / lr, "2/lr")
        for norm in norms:
            runs = page.selection.runs(family, norm, lr, q.BETA_0.table)
            traces = [q.BETA_0.trace(run, None) for run in runs]
            beta.add(f"{norm}:0", look(norm), traces, "beside")
    measured = [run for run in page.selection.of(family) if has_table(run, q.BETA.table)]
    for run in measured[:1]:
        etas = [eta * run.lr for eta in eta_multiples(run)]
        beta.reference("1/eta_min", 1 / etas[0], "1/ηₘᵢₙ")
        reached.always += [etas[0], etas[-1]]


_FIGURES: dict[str, tuple[str, str, Experiment, Sequence[str], list[Quantity]]] = {
    "4": ("the VGG along the gradient", "fig4", VGG, BOTH, []),
    "10": ("the deep linear network along the gradient", "fig10", DLN, BOTH, []),
    "12": ("the VGG under other normalisations", "fig5a", VGG, LP, [q.TRAIN_ACCURACY]),
    "13": ("the deep linear network under other normalisations", "fig5b", DLN, LP, [q.TRAIN_LOSS]),
}
for _number, (_title, _recipe, _experiment, _norms, _training) in _FIGURES.items():
    _kind = _recipe, _experiment.family, _norms, [_experiment.lr]
    _tables = [*(quantity.table for quantity in _training), "smoothness"]
    _needs = needs(*_kind, _tables) + needs(*_kind, ["curvature"], optional=True)
    _fill = partial(_landscape, experiment=_experiment, training=_training)
    figure(_number, f"The optimisation landscape of {_title}", _needs)(_fill)


_LINES = 60
_PAPER_LINES = 6
_LETTERS = {VGG.family: "a", DLN.family: "b"}
# From dark to light with the step, without the lightest yellow, which is lost on white.
_COLOURS = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.92, 256)))


@figure(
    "11",
    "Gradient predictiveness against the step size",
    needs("fig4", VGG.family, BOTH, [VGG.lr], ["landscape"])
    + needs("fig10", DLN.family, BOTH, [DLN.lr], ["landscape"]),
)
def fig11(page: Page) -> None:
    """Panel a: the VGG; b: the deep linear network; left without and right with BN."""
    words = f"One line per recorded step (at most {_LINES}); the lowest seed; triangles: beyond."
    page.remarks.append(words)
    most = max(len(page.selection.norms(family)) for family in page.families)
    grid = page.grid(len(page.families), most, 2.45)
    for row, family in zip(grid, page.families, strict=True):
        _row(page, row, EXPERIMENTS[family])


def _row(page: Page, row: Sequence[Axes], half: Experiment) -> None:
    family, selection = half.family, page.selection
    letter, norms, lr = _LETTERS[family], selection.norms(family), selection.lrs(family)[0]
    steps = selection.steps(family) or half.steps
    column = read.predictiveness_column(selection.of(family))
    page.remarks.append(f"({letter}): {_NORMS[column]}")
    runs = [selection.runs(family, norm, lr, "landscape")[:1] for norm in norms]
    ours = [_recorded(run[0], column) if run else [] for run in runs]
    theirs = [_printed(letter, norm, lr, steps) if page.paper else [] for norm in norms]
    lo, hi = limits([line.lo for lines in (*ours, *theirs) for _, line in lines], half.log)
    for ax, norm, run, mine, printed in zip(row, norms, runs, ours, theirs, strict=False):
        page.shows[ax] = run
        ax.set_label(f"{letter}:gradient_difference:{norm}")
        ax.set(title=f"({letter}) {family.upper()}, {look(norm).label}", xlabel="step size η")
        for kind, lines, dash in (("line", mine, "-"), ("paper", printed, PAPER_DASH)):
            for step, line in lines:
                colour, beyond = _COLOURS(step / steps), line.x[line.lo > hi]
                ax.plot(
                    line.x, clipped(line.lo, lo, hi, half.log), color=colour, linestyle=dash,
                    linewidth=0.8 if dash == "-" else 1.0, gid=f"{kind}:{norm}:{step}",
                )  # fmt: skip
                mark_beyond(ax, beyond, 1.0, colour, kind == "paper", f"beyond:{norm}:{step}")
        if half.log:
            ax.set(xscale="log", yscale="log")
        elif mine:  # ticks at the step sizes that were measured, as the paper has them
            ax.set_xticks(mine[0][1].x[1:])
        ax.set_ylim(lo, hi)
        if not run:
            say(ax, "no runs")
        elif run[0].state == "diverged":
            ax.text(
                0.98, 0.02, f"diverged at step {run[0].status.get('step')}",
                transform=ax.transAxes, ha="right", fontsize=SMALL, gid=f"diverged:{norm}",
            )  # fmt: skip
        ax.tick_params(labelleft=ax is row[0])
    row[0].set_ylabel("ℓ₂ gradient difference")
    colours = ScalarMappable(Normalize(0, steps), _COLOURS)
    page.figure.colorbar(colours, ax=list(row), label="step", aspect=18, pad=0.02)


def _recorded(run: Run, column: str) -> list[tuple[int, Trace]]:
    """Predictiveness against eta at up to `_LINES` recorded steps spread over the run."""
    recorded = read.rows(run, "landscape", ["step"])["step"].unique()
    wanted = [int(recorded[index]) for index in _spread(len(recorded), _LINES)]
    steps, etas, values = read.points(run, column, eta_multiples(run), wanted)
    lines = zip(steps, etas, values, strict=True)
    return [(int(t), read.trace(run, eta, row)) for t, eta, row in lines]


def _printed(letter: str, norm: str, lr: float, steps: int) -> list[tuple[int, Trace]]:
    """A few of the paper's lines over the steps that our run makes."""
    curves = paper_curves.curves_by_step(11, letter, "gradient_difference", norm, lr)
    inside = [(step, curve) for step, curve in curves if step <= steps]
    return [inside[index] for index in _spread(len(inside), _PAPER_LINES)]


def _spread(amount: int, most: int) -> list[int]:
    """At most so many of the indices below ``amount``, evenly spread."""
    return [int(i) for i in np.linspace(0, amount - 1, min(amount, most)).round()]
