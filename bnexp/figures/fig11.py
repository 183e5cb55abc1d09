"""Fig 11: gradient predictiveness against the step size, one line per recorded step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from bnexp.analysis import paper as paper_curves
from bnexp.analysis import read
from bnexp.analysis.landscape import points, predictiveness_column
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, VGG, Experiment, eta_multiples
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.series import Array, clipped, limits
from bnexp.figures.panel import say
from bnexp.figures.sheet import Sheet, sheet
from bnexp.figures.style import PAPER_DASH, SMALL, colours_of_steps, look
from bnexp.registry import FIGURES
from bnexp.runs import Run

TITLE = "Gradient predictiveness against the step size"
_LINES = 60
_PAPER_LINES = 6
_LETTERS = {VGG.family: "a", DLN.family: "b"}
_RECIPES = {VGG.family: "fig4", DLN.family: "fig10"}
NEEDS = tuple(
    need
    for family, letter in _LETTERS.items()
    for need in needs(
        _RECIPES[family], family, BOTH, [EXPERIMENTS[family].lr], {"landscape": letter}
    )
)

RGBA = tuple[float, float, float, float]
_Lines = list[tuple[int, Array, Array]]


@FIGURES.register("11", title=TITLE, recipes=("fig4", "fig10"), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:
    """Panel a: the VGG; b: the deep linear network; left without and right with BN."""
    families = selection.drawn_families
    remarks = ["One line per recorded step (at most 60 of them); the lowest seed."]
    summed = [f for f in families if predictiveness_column(selection.of(f)) != "predictiveness"]
    if summed:
        remarks.append("(b): norms summed over the parameter tensors, as the paper's curves are.")
    page = sheet("11", TITLE, 2.45 * len(families), selection, paper, [], remarks, one_seed=True)
    most = max(len(selection.norms(family)) for family in families)
    axes = page.body.subplots(len(families), most, squeeze=False)
    for row, family in zip(axes, families, strict=True):
        _row(page, list(row), EXPERIMENTS[family])
    return page.finish()


def _row(page: Sheet, row: Sequence[Axes], half: Experiment) -> None:
    letter, norms = _LETTERS[half.family], page.selection.norms(half.family)
    lr = page.selection.lrs(half.family)[0]
    steps = page.selection.steps(half.family) or half.steps
    column = predictiveness_column(page.selection.of(half.family))
    runs = [page.selection.runs(half.family, norm, lr, "landscape")[:1] for norm in norms]
    ours: list[_Lines] = [_recorded(run[0], column) if run else [] for run in runs]
    theirs = [_printed(letter, norm, lr, steps) if page.paper else [] for norm in norms]
    values = [y for lines in (*ours, *theirs) for _, _, y in lines]
    lo, hi = limits(values, half.log)
    colours = ScalarMappable(Normalize(0, steps), colours_of_steps())

    def shade(step: int) -> RGBA:
        r, g, b, a = colours.to_rgba(np.array([step]))[0]
        return r, g, b, a

    for ax, norm, run, mine, printed in zip(row, norms, runs, ours, theirs, strict=False):
        ax.set_label(f"{letter}:gradient_difference:{norm}")
        page.head(ax, f"({letter}) {half.family.upper()}, {look(norm).label}", half.family)
        for step, eta, y in mine:
            ax.plot(
                eta, clipped(y, lo, hi, half.log), color=shade(step), linewidth=0.8,
                gid=f"line:{norm}:{step}",
            )  # fmt: skip
        for step, eta, y in printed:
            ax.plot(
                eta, y, color=shade(step), linestyle=PAPER_DASH, linewidth=1.0,
                zorder=3, gid=f"paper:{norm}:{step}",
            )  # fmt: skip
        if half.log:
            ax.set(xscale="log", yscale="log")
        else:
            _tick_etas(ax, [eta for _, eta, _ in (*mine, *printed)])
        ax.set_ylim(lo, hi)
        ax.set_xlabel("step size η")
        if not run:
            say(ax, "no runs")
        elif run[0].state == "diverged" and mine:
            ax.text(
                0.98, 0.02, f"diverged at step {run[0].status.get('step')}",
                transform=ax.transAxes, ha="right", fontsize=SMALL, color=look(norm).colour,
                gid=f"diverged:{norm}",
            )  # fmt: skip
    row[0].set_ylabel("ℓ₂ gradient difference")
    for ax in row[1:]:
        ax.tick_params(labelleft=False)
    page.body.colorbar(colours, ax=list(row), label="step", aspect=18, pad=0.02)


def _recorded(run: Run, column: str) -> _Lines:
    """Predictiveness against eta at up to `_LINES` recorded steps spread over the run."""
    recorded = read.steps(run, "landscape")
    chosen = np.linspace(0, len(recorded) - 1, min(len(recorded), _LINES)).round().astype(int)
    wanted = [int(step) for step in recorded[chosen]]
    steps, etas, values = points(run, column, eta_multiples(run), wanted)
    return [(int(step), etas, row) for step, row in zip(steps, values, strict=True)]


def _printed(letter: str, norm: str, lr: float, steps: int) -> _Lines:
    """A few of the paper's lines over the steps that our run makes."""
    curves = paper_curves.curves_by_step(11, letter, "gradient_difference", norm, lr)
    inside = [(step, curve.x, curve.lo) for step, curve in curves if step <= steps]
    few = np.linspace(0, len(inside) - 1, min(len(inside), _PAPER_LINES)).round().astype(int)
    return [inside[index] for index in few]


def _tick_etas(ax: Axes, etas: Sequence[Array]) -> None:
    """Ticks at the step sizes that were measured, as the paper has them."""
    if etas:
        ax.xaxis.set_major_locator(
            FixedLocator([float(eta) for eta in np.unique(np.concatenate(etas).round(12))[1:]])
        )
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(ScalarFormatter())
