"""The page of a figure: title and legend above, panels, and below what was drawn and what lacks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.analysis import paper as paper_curves
from bnexp.analysis.select import Selection
from bnexp.figures.panel import Panel
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import PAPER_SCALE, at_paper_scale
from bnexp.figures.style import GREY, PAPER_DASH, SMALL, WARNING, WIDTH, Look, look
from bnexp.runs import Run

_LINE = 0.125  # inches per line of the footer
_CHARACTERS = 150  # per line of the footer


@dataclass
class Sheet:
    """One figure being drawn."""

    number: int | str
    selection: Selection
    paper: bool
    figure: Figure
    body: SubFigure
    panels: list[Panel] = field(default_factory=list)

    def panel(
        self,
        axes: Axes,
        letter: str,
        quantity: Quantity,
        family: str,
        norms: Sequence[str],
        lrs: Sequence[float],
        layer: int | None = None,
        title: str = "",
        head: bool = True,
        direction: str = "gradient",
    ) -> Panel:
        """A panel of one quantity over steps, one series per norm and learning rate.

        The second learning rate is drawn faded. Says in the panel what it could not draw.
        head: False for a small panel that belongs to the one above it.
        """
        steps = self.selection.steps(family)
        panel = Panel(axes, quantity.log, steps, quantity.limits, quantity.small)
        axes.set_label(":".join([letter, quantity.name] + [f"layer{layer}"] * (layer is not None)))
        axes.set_ylabel(quantity.label)
        if head:
            self.head(axes, title, family)
        for faded, lr in enumerate(lrs):
            for norm in norms:
                its_look = look(norm, bool(faded))
                runs = self.selection.runs(family, norm, lr, quantity.table, direction)
                self._series(panel, letter, quantity, norm, lr, layer, its_look, runs)
        if not panel.ours:
            panel.say(self._why_empty(family, norms, lrs, quantity.table, layer, direction))
        self.panels.append(panel)
        return panel

    def head(self, axes: Axes, title: str, family: str) -> None:
        """The panel's title, and a remark where our runs are not of the paper's scale."""
        axes.set_title(title, loc="left")
        self.remark_scale(axes, family)

    def remark_scale(self, axes: Axes, family: str) -> None:
        """Says above the axes if the family's runs are not of the paper's scale."""
        runs = self.selection.of(family)
        if runs and not at_paper_scale(runs[0]):
            axes.set_title(
                "other scale*", loc="right", fontsize=SMALL, color=WARNING
            )  # fmt: skip

    def finish(self) -> Figure:
        """Draws all panels."""
        for panel in self.panels:
            panel.finish()
        # Lay out once, not again for every format that is written.
        engine = self.figure.get_layout_engine()
        if engine is not None:
            engine.execute(self.figure)
        self.figure.set_layout_engine("none")
        return self.figure

    def _series(
        self,
        panel: Panel,
        letter: str,
        quantity: Quantity,
        norm: str,
        lr: float,
        layer: int | None,
        its_look: Look,
        runs: Sequence[Run],
    ) -> None:
        key = f"{norm}:{lr:g}"
        panel.add(key, its_look, [quantity.trace(run, layer) for run in runs], quantity.filled)
        if self.paper and isinstance(self.number, int):
            curve = paper_curves.curve(self.number, letter, quantity.name, norm, lr, layer)
            if curve is not None:
                panel.add_paper(key, its_look, curve)

    def _why_empty(
        self,
        family: str,
        norms: Sequence[str],
        lrs: Sequence[float],
        table: str,
        layer: int | None,
        direction: str,
    ) -> str:
        runs = [
            run
            for norm in norms
            for lr in lrs
            for run in self.selection.runs(family, norm, lr, table, direction)
        ]
        if not runs:
            return "no runs"
        return f"these runs have no layer {layer}" if layer is not None else "no data"


def sheet(
    number: int | str,
    title: str,
    height: float,
    selection: Selection,
    paper: bool,
    entries: Sequence[Look],
    remarks: Sequence[str] = (),
    one_seed: bool = False,
) -> Sheet:
    """An empty page with `height` inches for its panels.

    entries: the looks of the series, for the legend that the panels share.
    one_seed: whether the panels show one seed only, so that there are no bands over seeds.
    """
    footer = _footer(selection, paper, remarks, one_seed)
    handles = _handles(
        selection, paper, entries, (selection.seeds or selection.dense) and not one_seed
    )
    columns, legend_rows = _legend_shape(handles)
    head, foot = 0.27 + 0.165 * legend_rows, 0.06 + _LINE * len(footer)
    figure = Figure(figsize=(WIDTH, head + height + foot), layout="constrained")
    FigureCanvasAgg(figure)
    top, body, bottom = figure.subfigures(3, 1, squeeze=False, height_ratios=[head, height, foot])[
        :, 0
    ]
    top.text(0.01, 1 - 0.05 / head, f"Figure {number}.  {title}", va="top", fontsize=9)
    if handles:
        top.legend(
            handles=handles, loc="lower center", ncols=columns, borderpad=0, borderaxespad=0.1,
            handlelength=2.6, columnspacing=1.4, labelspacing=0.25,
        )  # fmt: skip
    for row, (line, colour) in enumerate(footer):
        bottom.text(
            0.01, 1 - (0.03 + _LINE * row) / foot, line, va="top", fontsize=SMALL, color=colour
        )  # fmt: skip
    return Sheet(number, selection, paper, figure, body)


def _handles(
    selection: Selection, paper: bool, entries: Sequence[Look], bands: bool
) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], color=entry.colour, linestyle=entry.dash, label=entry.label)
        for entry in entries
    ]
    if bands:
        handles.append(Patch(facecolor=(GREY, 0.2), label="min to max"))
    if paper:
        handles.append(
            Line2D([], [], color="black", linestyle=PAPER_DASH, linewidth=0.65, label="the paper")
        )
    if selection.diverged and handles:
        handles.append(
            Line2D([], [], color=GREY, linestyle="", marker="x", markersize=5, label="diverged")
        )
    return handles


def _legend_shape(handles: Sequence[Artist]) -> tuple[int, int]:
    """Columns and rows so that the widest label fits in every column."""
    if not handles:
        return 1, 0
    widths = [34.0 + 3.9 * len(str(handle.get_label())) for handle in handles]
    for columns in range(len(handles), 0, -1):
        total = sum(max(widths[start::columns]) for start in range(columns))
        if total < 72 * WIDTH - 10 or columns == 1:
            return columns, -(-len(handles) // columns)
    return 1, len(handles)


def _footer(
    selection: Selection, paper: bool, remarks: Sequence[str], one_seed: bool
) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []

    def add(text: str, colour: str = GREY) -> None:
        lines.extend((line, colour) for line in textwrap.wrap(text, _CHARACTERS))

    for family in selection.families:
        told = selection.told_runs(family)
        if told:
            add(f"Runs: {told}.")
            if not at_paper_scale(selection.of(family)[0]):
                add(f"*Not the paper's scale: {PAPER_SCALE[family]}.", WARNING)
    if paper:
        add("Thin dashes: the paper's own curves, arXiv 1805.11604v3, over the steps shown here.")
    if not one_seed:
        over = ["seeds"] * selection.seeds + ["short stretches of steps"] * selection.dense
        if over:
            add(f"Where there is a faint band: median and min to max over {' and '.join(over)}.")
    for remark in remarks:
        add(remark)
    if selection.missing:
        add(f"Not drawn, no such run: {selection.told_missing()}.", WARNING)
    return lines
