"""The three landscape panels that Figs 4, 10, 12 and 13 share, and what must stand beside beta.

Effective beta-smoothness can be held at 2/lr by gradient descent itself (the edge of stability)
and at 1/eta_min by the grid: a step that leaves nothing of the gradient gives
||g' - g|| = ||g||. Both lines are drawn, the eta at which the max was reached and, where runs
recorded the curvature, beta as eta -> 0, which neither bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.gridspec import SubplotSpec

from bnexp.analysis import quantities as q
from bnexp.analysis.select import Need, needs
from bnexp.figures.sheet import Sheet
from bnexp.figures.style import look
from bnexp.runs import Run


@dataclass(frozen=True)
class LandscapeFigure:
    """What tells one landscape figure from another; letters of loss, predictiveness and beta."""

    recipe: str
    family: str
    norms: tuple[str, ...]
    lr: float
    letters: tuple[str, str, str]
    log: bool

    def needs(self, train: str = "") -> tuple[Need, ...]:
        """The runs: table smoothness, and table train for the panel `train` if there is one."""
        tables = {"train": train} if train else {}
        tables["smoothness"] = " ".join(self.letters)
        kind = self.recipe, self.family, self.norms, [self.lr]
        curvature = needs(*kind, {"curvature": self.letters[2]})
        return needs(*kind, tables) + tuple(replace(need, optional=True) for need in curvature)

    def draw(self, sheet: Sheet, cells: Sequence[SubplotSpec]) -> None:
        """The three panels, in three cells of a grid; the last is shared with the small panel."""
        kind = self.family, self.norms, (self.lr,)
        drawn = (q.loss_band(), q.predictiveness_band(self.log))
        for cell, letter, quantity in zip(cells, self.letters, drawn, strict=False):
            axes = sheet.body.add_subplot(cell)
            axes.set_xlabel("steps")
            sheet.panel(axes, letter, quantity, *kind, title=f"({letter})")
        split = cells[2].subgridspec(2, 1, height_ratios=[3, 1.1])
        letter = self.letters[2]
        axes = sheet.body.add_subplot(split[0])
        axes.tick_params(labelbottom=False)
        beta = sheet.panel(axes, letter, q.beta(self.log), *kind, title=f"({letter})")
        beta.reference("2/lr", 2 / self.lr, "2/lr")
        for norm in self.norms:
            runs = sheet.selection.runs(self.family, norm, self.lr, q.BETA_0.table)
            beta.add_beside(f"{norm}:0", look(norm), [q.BETA_0.trace(run, None) for run in runs])
        beta.beside_label = "dotted: as η → 0"
        axes = sheet.body.add_subplot(split[1])
        axes.set_xlabel("steps")
        reached = sheet.panel(axes, letter, q.BETA_ETA, *kind, head=False)
        for run in sheet.selection.of(self.family)[:1]:
            grid = step_sizes(run)
            beta.reference("1/eta_min", 1 / grid[0], "1/ηₘᵢₙ")
            reached.always += [grid[0], grid[-1]]


def step_sizes(run: Run) -> list[float]:
    """The etas of a run's landscape, from the least: its grid holds multiples of lr."""
    return sorted(float(eta) * run.lr for eta in run.option("probes.landscape.etas"))
