"""The three landscape panels that Figs 4, 10, 12 and 13 share, and what must stand beside beta.

Effective beta-smoothness can be held at 2/lr by gradient descent itself (the edge of stability)
and at 1/eta_min by the grid: a step that leaves nothing of the gradient gives
||g' - g|| = ||g||. Both lines are drawn, the eta at which the max was reached and, where runs
recorded the curvature, beta as eta -> 0, which neither bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, SubplotSpec

from bnexp.analysis import quantities as q
from bnexp.analysis.landscape import predictiveness_column
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import Experiment, eta_multiples
from bnexp.analysis.select import Need, Selection, needs
from bnexp.figures.panel import Panel
from bnexp.figures.sheet import Sheet, sheet
from bnexp.figures.style import look, short
from bnexp.registry import FIGURES

_OVERLAID = 3  # more bands than this in one panel hide each other


@dataclass(frozen=True)
class LandscapeFigure:
    """What tells one landscape figure from another.

    ``letters`` are those of loss, predictiveness and beta; ``training``, if any, is drawn first,
    as panel a.
    """

    number: str
    experiment: Experiment
    letters: str
    training: Quantity | None = None

    def draw(self, selection: Selection, paper: bool) -> Figure:
        """Bands over eta and the max over eta, one norm a panel where there are many."""
        family, experiment = self.experiment.family, self.experiment
        norms = selection.norms(family)
        column = predictiveness_column(selection.of(family))
        quantities = (
            q.loss_band(), q.predictiveness_band(experiment.log, column), q.beta(experiment.log),
        )  # fmt: skip
        title = FIGURES[self.number].more["title"]
        single = len(norms) > _OVERLAID
        height = (8.4 if self.training else 6.0) if single else (5.2 if self.training else 2.5)
        remarks = [_NORMS[column]]
        entries = [look(norm) for norm in norms]
        page = sheet(self.number, title, height, selection, paper, entries, remarks)
        if single:
            self._small_multiples(page, norms, quantities)
            return page.finish()
        shape = (2, 2) if self.training else (1, 3)
        grid = page.body.add_gridspec(*shape, width_ratios=[1.0] * (shape[1] - 1) + [1.08])
        cells = [grid[index] for index in range(shape[0] * shape[1])]
        if self.training:
            self._train(page, cells.pop(0))
        self._overlaid(page, cells, quantities)
        return page.finish()

    def _train(self, page: Sheet, cell: SubplotSpec) -> None:
        assert self.training is not None
        axes = page.body.add_subplot(cell)
        axes.set_xlabel("steps")
        page.panel(axes, "a", self.training, self.experiment.family, title="(a)")

    def _overlaid(
        self, page: Sheet, cells: Sequence[SubplotSpec], quantities: Sequence[Quantity]
    ) -> None:
        """All norms in each panel; the last cell is shared with the small panel of beta's eta."""
        family = self.experiment.family
        for cell, letter, quantity in zip(cells, self.letters, quantities[:2], strict=False):
            axes = page.body.add_subplot(cell)
            axes.set_xlabel("steps")
            page.panel(axes, letter, quantity, family, title=f"({letter})")
        split = cells[2].subgridspec(2, 1, height_ratios=[3, 1.1])
        letter = self.letters[2]
        axes = page.body.add_subplot(split[0])
        axes.tick_params(labelbottom=False)
        panel = page.panel(axes, letter, quantities[2], family, title=f"({letter})")
        below = page.body.add_subplot(split[1])
        below.set_xlabel("steps")
        reached = page.panel(below, letter, q.BETA_ETA, family, head=False)
        self._references(page, panel, reached, page.selection.norms(family))

    def _small_multiples(
        self, page: Sheet, norms: Sequence[str], quantities: Sequence[Quantity]
    ) -> None:
        """A column per norm and a row per quantity; each row has one scale."""
        family, first = self.experiment.family, int(self.training is not None)
        heights = [1.5] * first + [1.0, 1.0, 1.0, 0.5]
        grid: GridSpec = page.body.add_gridspec(len(heights), len(norms), height_ratios=heights)
        if first:
            self._train(page, grid[0, :])
        rows = [*zip(self.letters, quantities, strict=True), (self.letters[2], q.BETA_ETA)]
        above: list[Panel] = []
        for row, (letter, quantity) in enumerate(rows):
            panels = []
            for column, norm in enumerate(norms):
                axes = page.body.add_subplot(grid[first + row, column])
                title = f"({letter}) {short(norm)}" if column == 0 else short(norm)
                panels.append(page.panel(axes, letter, quantity, family, norms=[norm], head=False))
                if quantity is not q.BETA_ETA:
                    axes.set_title(title, loc="left")
                    if column == len(norms) - 1:
                        page.remark_scale(axes, family)
                axes.tick_params(labelbottom=row == len(rows) - 1, labelleft=column == 0)
                if column:
                    axes.set_ylabel("")
                if row == len(rows) - 1:
                    axes.set_xlabel("steps")
                    self._references(page, above[column], panels[-1], [norm], named=column == 0)
            page.same_limits(panels)
            above = panels

    def _references(
        self, page: Sheet, beta: Panel, reached: Panel, norms: Sequence[str], named: bool = True
    ) -> None:
        """2/lr, 1/eta_min and beta as eta -> 0 into beta's panel; the grid's ends into eta's."""
        family = self.experiment.family
        for lr in page.selection.lrs(family):
            beta.reference("2/lr", 2 / lr, "2/lr" * named)
            for norm in norms:
                runs = page.selection.runs(family, norm, lr, q.BETA_0.table)
                traces = [q.BETA_0.trace(run, None) for run in runs]
                beta.add_beside(f"{norm}:0", look(norm), traces)
        beta.beside_label = "dotted: as η → 0" * named
        for run in page.selection.of(family)[:1]:
            etas = [eta * run.lr for eta in eta_multiples(run)]
            beta.reference("1/eta_min", 1 / etas[0], "1/ηₘᵢₙ" * named)
            reached.always += [etas[0], etas[-1]]


_NORMS = {
    "predictiveness": "Gradient predictiveness: the norm of the whole gradient's change.",
    "predictiveness_tensors": "Gradient predictiveness: norms summed over the parameter tensors, "
    "as the paper's curves are; β: the norm of the whole gradient.",
}


def landscape_figure(
    number: str,
    title: str,
    recipe: str,
    experiment: Experiment,
    norms: Sequence[str],
    letters: str,
    training: Quantity | None = None,
) -> None:
    """Registers a landscape figure of one of the paper's experiments."""
    kind = recipe, experiment.family, norms, [experiment.lr]
    tables = {training.table: "a"} if training else {}
    required = needs(*kind, {**tables, "smoothness": " ".join(letters)})
    curvature: tuple[Need, ...] = needs(*kind, {"curvature": letters[2]}, optional=True)
    figure = LandscapeFigure(number, experiment, letters, training)
    FIGURES.register(number, title=title, recipes=(recipe,), needs=required + curvature)(
        figure.draw
    )
