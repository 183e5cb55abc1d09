"""Figs 4, 10, 12 and 13: the landscape along the gradient, and what must stand beside beta.

Effective beta-smoothness can be held at 2/lr by gradient descent itself (the edge of stability)
and at 1/eta_min by the grid: a step that leaves nothing of the gradient gives
||g' - g|| = ||g||. Both lines are drawn, the eta at which the max was reached and, where runs
recorded the curvature, beta as eta -> 0, which neither bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from matplotlib.gridspec import SubplotSpec

from bnexp.analysis import quantities as q
from bnexp.analysis.landscape import predictiveness_column
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import BOTH, DLN, LP, VGG, Experiment, eta_multiples
from bnexp.analysis.select import needs
from bnexp.figures.page import Page, figure
from bnexp.figures.panel import Panel, beside
from bnexp.figures.style import look, short

_OVERLAID = 3  # more bands than this in one panel hide each other
_NORMS = {
    "predictiveness": "Gradient predictiveness: the norm of the whole gradient's change.",
    "predictiveness_tensors": "Gradient predictiveness: norms summed over the parameter tensors, "
    "as the paper's curves are; β: the norm of the whole gradient.",
}


def _landscape(page: Page, experiment: Experiment, training: Quantity | None) -> None:
    """Training, if it is drawn, is panel a; then loss, predictiveness, beta and its eta.

    All norms overlaid, or where there are many a column per norm, each row with one scale.
    """
    family = experiment.family
    norms, column = page.selection.norms(family), predictiveness_column(page.selection.of(family))
    page.remarks.append(_NORMS[column])
    first = [training] if training else []
    log = experiment.log
    shown = [q.LOSS_BAND, q.predictiveness_band(log, column), replace(q.BETA, log=log)]
    rows = list(zip("abcd", [*first, *shown], strict=False))
    if len(norms) > _OVERLAID:
        _small_multiples(page, family, norms, rows)
        return
    across = 2 if training else 3
    page.height = 5.2 if training else 2.5
    grid = page.figure.add_gridspec(len(rows) // across, across)
    for index, (name, quantity) in enumerate(rows[:-1]):
        axes = page.figure.add_subplot(grid[index])
        page.panel(axes, name, quantity, family, title=f"({name})")
    _beta(page, family, norms, grid[len(rows) - 1], *rows[-1])


def _beta(
    page: Page, family: str, norms: Sequence[str], cell: SubplotSpec, letter: str, beta: Quantity
) -> None:
    """Beta, and in a small panel below the eta at which it is reached."""
    split = cell.subgridspec(2, 1, height_ratios=[3, 1.1])
    above, below = page.figure.add_subplot(split[0]), page.figure.add_subplot(split[1])
    above.tick_params(labelbottom=False)
    panel = page.panel(above, letter, beta, family, norms=norms, title=f"({letter})")
    reached = page.panel(below, letter, q.BETA_ETA, family, norms=norms)
    _references(page, family, norms, panel, reached)


def _small_multiples(
    page: Page, family: str, norms: Sequence[str], rows: Sequence[tuple[str, Quantity]]
) -> None:
    first = len(rows) - 3
    page.height = 6.0 + 2.4 * first
    rows = [*rows, (rows[-1][0], q.BETA_ETA)]
    heights = [1.5] * first + [1.0, 1.0, 1.0, 0.5]
    grid = page.figure.add_gridspec(len(rows), len(norms), height_ratios=heights)
    if first:
        letter, training = rows[0]
        axes = page.figure.add_subplot(grid[0, :])
        page.panel(axes, letter, training, family, title=f"({letter})")
    panels: list[list[Panel]] = []
    for row, (letter, quantity) in list(enumerate(rows))[first:]:
        panels.append([])
        for column, norm in enumerate(norms):
            title = (f"({letter}) " if column == 0 else "") + short(norm)
            axes = page.figure.add_subplot(grid[row, column])
            axes.tick_params(labelbottom=row == len(rows) - 1, labelleft=column == 0)
            title = "" if quantity is q.BETA_ETA else title
            panels[-1].append(page.panel(axes, letter, quantity, family, norms=[norm], title=title))
        for panel in panels[-1]:
            panel.siblings = panels[-1]
    for column, norm in enumerate(norms):
        _references(page, family, [norm], panels[-2][column], panels[-1][column], column == 0)


def _references(
    page: Page, family: str, norms: Sequence[str], beta: Panel, reached: Panel, named: bool = True
) -> None:
    """2/lr, 1/eta_min and beta as eta -> 0 into beta's panel; the grid's ends into eta's."""
    for lr in page.selection.lrs(family):
        beta.reference("2/lr", 2 / lr, "2/lr" * named)
        for norm in norms:
            runs = page.selection.runs(family, norm, lr, q.BETA_0.table)
            traces = [q.BETA_0.trace(run, None) for run in runs]
            beta.add(f"{norm}:0", beside(look(norm)), traces, "beside")
    if any(series.kind == "beside" for series in beta.series):
        beta.note = "dotted: as η → 0" * named
    for run in page.selection.of(family)[:1]:
        etas = [eta * run.lr for eta in eta_multiples(run)]
        beta.reference("1/eta_min", 1 / etas[0], "1/ηₘᵢₙ" * named)
        reached.always += [etas[0], etas[-1]]


_FIGURES: dict[str, tuple[str, str, Experiment, Sequence[str], Quantity | None]] = {
    "4": ("the VGG along the gradient", "fig4", VGG, BOTH, None),
    "10": ("the deep linear network along the gradient", "fig10", DLN, BOTH, None),
    "12": ("the VGG under other normalisations", "fig5a", VGG, LP, q.TRAIN_ACCURACY),
    "13": ("the deep linear network under other normalisations", "fig5b", DLN, LP, q.TRAIN_LOSS),
}
for _number, (_title, _recipe, _experiment, _norms, _training) in _FIGURES.items():
    _kind = _recipe, _experiment.family, _norms, [_experiment.lr]
    _tables = ({_training.table: "a"} if _training else {}) | {"smoothness": "all"}
    _needs = needs(*_kind, _tables) + needs(*_kind, {"curvature": "beta"}, optional=True)
    _fill = partial(_landscape, experiment=_experiment, training=_training)
    figure(_number, f"The optimisation landscape of {_title}", _needs)(_fill)
