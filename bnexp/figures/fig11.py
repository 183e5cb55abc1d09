"""Fig 11: gradient predictiveness against the step size, one line per recorded step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from bnexp.analysis import paper as paper_curves
from bnexp.analysis import read
from bnexp.analysis.select import Selection, needs
from bnexp.figures.panel import say
from bnexp.analysis.scales import PAPER_STEPS
from bnexp.analysis.series import Array, clipped, limits
from bnexp.figures.sheet import Sheet, sheet
from bnexp.figures.style import PAPER_DASH, SMALL, colours_of_steps, look
from bnexp.runs import Run

TITLE = "Gradient predictiveness against the step size"
RECIPES = ("fig11a", "fig11b")
_NORMS = ("none", "bn")
_LINES = 60
_PAPER_LINES = 6


@dataclass(frozen=True)
class _Half:
    letter: str
    family: str
    lr: float
    log: bool


_HALVES = (_Half("a", "vgg", 0.1, False), _Half("b", "dln", 1e-6, True))
NEEDS = tuple(
    need
    for half in _HALVES
    for need in needs(
        f"fig11{half.letter}", half.family, _NORMS, [half.lr], {"landscape": half.letter}
    )
)

RGBA = tuple[float, float, float, float]
_Lines = list[tuple[int, Array, Array]]


def draw(selection: Selection, paper: bool) -> Figure:
    """Panel a: the VGG; b: the deep linear network; left without and right with BN."""
    remarks = ["One line per recorded step (at most 60 of them); the lowest seed."]
    page = sheet(11, TITLE, 4.9, selection, paper, [], remarks, one_seed=True)
    axes = page.body.subplots(2, 2)
    for pair, half in zip(axes, _HALVES, strict=True):
        _row(page, list(pair), half)
    return page.finish()


def _row(page: Sheet, pair: Sequence[Axes], half: _Half) -> None:
    steps = page.selection.steps(half.family) or PAPER_STEPS[half.family]
    runs = [page.selection.runs(half.family, n, half.lr, "landscape")[:1] for n in _NORMS]
    ours: list[_Lines] = [_recorded(run[0]) if run else [] for run in runs]
    theirs = [_printed(half, norm, steps) if page.paper else [] for norm in _NORMS]
    values = [y for lines in (*ours, *theirs) for _, _, y in lines]
    lo, hi = limits(values, half.log)
    colours = ScalarMappable(Normalize(0, steps), colours_of_steps())

    def shade(step: int) -> RGBA:
        r, g, b, a = colours.to_rgba(np.array([step]))[0]
        return r, g, b, a

    for ax, norm, run, mine, printed in zip(pair, _NORMS, runs, ours, theirs, strict=True):
        ax.set_label(f"{half.letter}:gradient_difference:{norm}")
        page.head(ax, f"({half.letter}) {half.family.upper()}, {look(norm).label}", half.family)
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
    pair[0].set_ylabel("ℓ₂ gradient difference")
    pair[1].tick_params(labelleft=False)
    page.body.colorbar(colours, ax=list(pair), label="step", aspect=18, pad=0.02)


def _recorded(run: Run) -> _Lines:
    """Predictiveness against eta at up to `_LINES` recorded steps spread over the run."""
    recorded = read.steps(run, "landscape")
    chosen = np.linspace(0, len(recorded) - 1, min(len(recorded), _LINES)).round().astype(int)
    wanted = [int(step) for step in recorded[chosen]]
    frame = read.rows(run, "landscape", ["step", "eta", "predictiveness"], step=wanted)
    frame = frame.sort_values(["step", "eta"], kind="stable")
    return [
        (int(str(step)), rows["eta"].to_numpy(), rows["predictiveness"].to_numpy())
        for step, rows in frame.groupby("step")
    ]


def _printed(half: _Half, norm: str, steps: int) -> _Lines:
    """A few of the paper's lines over the steps that our run makes."""
    curves = paper_curves.curves_by_step(
        11, half.letter, "gradient_difference", norm, half.lr
    )  # fmt: skip
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
