"""Fig 11: gradient predictiveness against the step size, one line per recorded step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from bnexp.analysis import paper as paper_curves
from bnexp.analysis import read
from bnexp.analysis.landscape import points, predictiveness_column
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, VGG, Experiment, eta_multiples
from bnexp.analysis.select import needs
from bnexp.analysis.series import Array, clipped, limits
from bnexp.figures.page import Page, figure
from bnexp.figures.panel import say
from bnexp.figures.style import PAPER_DASH, SMALL, look
from bnexp.runs import Run

_LINES = 60
_PAPER_LINES = 6
_LETTERS = {VGG.family: "a", DLN.family: "b"}
# From dark to light with the step, without the lightest yellow, which is lost on white.
_COLOURS = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.92, 256)))
_Lines = list[tuple[int, Array, Array]]


@figure(
    "11",
    "Gradient predictiveness against the step size",
    needs("fig4", VGG.family, BOTH, [VGG.lr], {"landscape": "a"})
    + needs("fig10", DLN.family, BOTH, [DLN.lr], {"landscape": "b"}),
)
def fig11(page: Page) -> None:
    """Panel a: the VGG; b: the deep linear network; left without and right with BN."""
    page.height = 2.45 * len(page.families)
    page.remarks.append(f"One line per recorded step (at most {_LINES}); the lowest seed.")
    most = max(len(page.selection.norms(family)) for family in page.families)
    grid = page.figure.subplots(len(page.families), most, squeeze=False)
    for row, family in zip(grid, page.families, strict=True):
        _row(page, list(row), EXPERIMENTS[family])


def _row(page: Page, row: Sequence[Axes], half: Experiment) -> None:
    family, selection = half.family, page.selection
    letter, norms, lr = _LETTERS[family], selection.norms(family), selection.lrs(family)[0]
    steps = selection.steps(family) or half.steps
    column = predictiveness_column(selection.of(family))
    if column != "predictiveness":
        page.remarks.append(
            f"({letter}): norms summed over the parameter tensors, as the paper's curves are."
        )
    runs = [selection.runs(family, norm, lr, "landscape")[:1] for norm in norms]
    ours: list[_Lines] = [_recorded(run[0], column) if run else [] for run in runs]
    theirs = [_printed(letter, norm, lr, steps) if page.paper else [] for norm in norms]
    lo, hi = limits([y for lines in (*ours, *theirs) for _, _, y in lines], half.log)
    colours = ScalarMappable(Normalize(0, steps), _COLOURS)
    for ax, norm, run, mine, printed in zip(row, norms, runs, ours, theirs, strict=False):
        ax.set_label(f"{letter}:gradient_difference:{norm}")
        ax.set(title=f"({letter}) {family.upper()}, {look(norm).label}", xlabel="step size η")
        for kind, lines, dash, width in (
            ("line", mine, "-", 0.8),
            ("paper", printed, PAPER_DASH, 1.0),
        ):
            for step, eta, y in lines:
                ax.plot(
                    eta, clipped(y, lo, hi, half.log), color=_COLOURS(step / steps),
                    linestyle=dash, linewidth=width, gid=f"{kind}:{norm}:{step}",
                )  # fmt: skip
        if half.log:
            ax.set(xscale="log", yscale="log")
        elif mine:  # ticks at the step sizes that were measured, as the paper has them
            ax.xaxis.set_major_locator(FixedLocator(mine[0][1][1:].tolist()))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.set_ylim(lo, hi)
        if not run:
            say(ax, "no runs")
        elif run[0].state == "diverged":
            ax.text(
                0.98, 0.02, f"diverged at step {run[0].status.get('step')}",
                transform=ax.transAxes, ha="right", fontsize=SMALL, gid=f"diverged:{norm}",
            )  # fmt: skip
    row[0].set_ylabel("ℓ₂ gradient difference")
    for ax in row[1:]:
        ax.tick_params(labelleft=False)
    page.figure.colorbar(colours, ax=list(row), label="step", aspect=18, pad=0.02)


def _recorded(run: Run, column: str) -> _Lines:
    """Predictiveness against eta at up to `_LINES` recorded steps spread over the run."""
    recorded = read.rows(run, "landscape", ["step"])["step"].unique()
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
