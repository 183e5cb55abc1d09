"""Figure E5, ours: both sides of Theorems 4.1 and 4.2 along training, and what each term does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis import read
from bnexp.analysis.scales import DLN, EXPERIMENTS, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.series import Array, Trace
from bnexp.figures.panel import Panel
from bnexp.figures.sheet import Sheet, sheet
from bnexp.figures.style import Dash, Look
from bnexp.registry import FIGURES
from bnexp.runs import Run

TITLE = "How much of the smoothing Theorem 4.1 explains"
_RECIPES = {VGG.family: "figE5a", DLN.family: "figE5b"}
NEEDS = tuple(
    need
    for family, recipe in _RECIPES.items()
    for need in needs(recipe, family, ["bn"], [EXPERIMENTS[family].lr], {"theory": "all"})
)
_LOOKS = {
    "plain": Look("#CC3311", "-", "without BN: ‖g‖², g′Hg"),
    "scaled": Look("#E0A100", "-", "scaled only: γ²/σ²‖g‖², γ²/σ² v′Hv"),
    "bound": Look("#0077BB", "-", "right side"),
    "left": Look("black", (0.0, (3.0, 3.0)), "left side: ‖∇L̂‖², v′Ĥv"),
}
_DOTS: Dash = (0.0, (1.4, 0.9))
_SHARES = {
    "mean": Look("#009988", "-", "share taken off: ⟨1,g⟩²/m"),
    "yhat": Look("#AA4499", _DOTS, "share taken off: ⟨g,ŷ⟩²/m"),
}
_REMARKS = (
    "Sums over the layer's units. g: gradient that arrives at the BN layer; v = ∇L̂ by its input. "
    "4.2 along v of the whole layer, absolute values per ‖v‖² (g′Hg per ‖g‖²).",
    "Where the left side lies on the right one, the theorem is an equality. The share taken off is "
    "what 4.1 says of BN beyond the scale γ/σ; ⟨1,g⟩ is the gradient of β, ⟨g,ŷ⟩ that of γ. "
    "Shares below 1e-8 are drawn at 1e-8.",
)
_LEAST = 1e-8  # a share below it is drawn as it: rounding, where a term is 0
_Rows = dict[str, Array]


@dataclass(frozen=True)
class _Line:
    """One series: its look, and its values from the table's columns."""

    key: str
    look: Look
    value: Callable[[_Rows], Array]


def _column(name: str) -> Callable[[_Rows], Array]:
    return lambda rows: rows[name]


def _size_of(curvature: str, length: str) -> Callable[[_Rows], Array]:
    return lambda rows: np.abs(_ratio(rows[curvature], rows[length]))


def _share(term: str) -> Callable[[_Rows], Array]:
    return lambda rows: np.maximum(_ratio(rows[term], rows["scaled"]), _LEAST)


def _ratio(above: Array, below: Array) -> Array:
    """above / below; NaN where below is 0."""
    ratio = np.full(len(above), np.nan)
    np.divide(above, below, out=ratio, where=below != 0)
    return ratio


_COLUMNS: tuple[tuple[str, str, tuple[_Line, ...]], ...] = (
    (
        "4.1",
        "squared gradient",
        (
            _Line("plain", _LOOKS["plain"], _column("plain")),
            _Line("scaled", _LOOKS["scaled"], _column("scaled")),
            _Line("bound", _LOOKS["bound"], _column("bound")),
            _Line("left", _LOOKS["left"], _column("grad")),
        ),
    ),
    (
        "4.1, share",
        "taken off",
        (
            _Line("mean", _SHARES["mean"], _share("mean_term")),
            _Line("yhat", _SHARES["yhat"], _share("yhat_term")),
        ),
    ),
    (
        "4.2",
        "curvature",
        (
            _Line("plain", _LOOKS["plain"], _size_of("curv_plain", "plain")),
            _Line("scaled", _LOOKS["scaled"], _size_of("curv_scaled", "grad")),
            _Line("bound", _LOOKS["bound"], _size_of("curv_bound", "grad")),
            _Line("left", _LOOKS["left"], _size_of("curv", "grad")),
        ),
    ),
)
_TABLE = ("plain", "scaled", "bound", "grad", "mean_term", "yhat_term", "curv_plain",
          "curv_scaled", "curv_bound", "curv")  # fmt: skip


@FIGURES.register("E5", title=TITLE, recipes=tuple(_RECIPES.values()), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  the paper has no such figure
    """A row for each layer: the sides of 4.1, what it takes off beyond the scale, those of 4.2."""
    entries = [*_LOOKS.values(), *_SHARES.values()]
    rows = [(f, layer) for f in selection.drawn_families for layer in EXPERIMENTS[f].ics_layers]
    page = sheet("E5", TITLE, 1.5 * len(rows), selection, False, entries, _REMARKS)
    grid = page.body.subplots(len(rows), len(_COLUMNS), squeeze=False)
    for row, (family, layer) in enumerate(rows):
        norm, lr = selection.norms(family)[0], selection.lrs(family)[0]
        runs = selection.runs(family, norm, lr, "theory")
        tables = [(run, _table(run, layer)) for run in runs]
        for column, (theorem, label, lines) in enumerate(_COLUMNS):
            axes = grid[row, column]
            letter = "abcdefghijkl"[3 * row + column]
            title = f"({letter}) {family.upper()} {layer}: {theorem}"
            _panel(page, axes, family, title, label, lines, tables)
            if column == 0:
                page.remark_scale(axes, family)
            axes.set_label(f"{letter}:{theorem}:layer{layer}")
            if row == len(rows) - 1:
                axes.set_xlabel("steps")
    return page.finish()


def _panel(
    page: Sheet,
    axes: Axes,
    family: str,
    title: str,
    label: str,
    lines: tuple[_Line, ...],
    tables: list[tuple[Run, _Rows]],
) -> None:
    panel = Panel(axes, True, page.selection.steps(family), small=True)
    axes.set_ylabel(label)
    axes.set_title(title, loc="left")
    for line in lines:
        traces = [_trace(run, rows, line) for run, rows in tables if len(rows["step"])]
        panel.add(line.key, line.look, traces, filled=False)
    if not panel.ours:
        panel.say("these runs have no such layer" if tables else "no runs")
    page.panels.append(panel)


def _table(run: Run, layer: int) -> _Rows:
    frame = read.rows(run, "theory", ["step", *_TABLE], layer=layer)
    return {str(name): frame[name].to_numpy(dtype=np.float64) for name in frame}


def _trace(run: Run, rows: _Rows, line: _Line) -> Trace:
    y = line.value(rows)
    return Trace(rows["step"], y, y, run.state == "diverged")
