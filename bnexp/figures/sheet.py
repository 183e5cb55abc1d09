"""The page of a figure: title and legend above, panels, and below what was drawn and what lacks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.analysis import paper as paper_curves
from bnexp.analysis.baselines import at_chance, paper_trains
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import EXPERIMENTS, at_paper_scale
from bnexp.analysis.select import Selection
from bnexp.figures.panel import Panel
from bnexp.figures.style import GREY, SMALL, WARNING, WIDTH, Look, look, of_paper
from bnexp.runs import Run

_LINE = 0.125  # inches per line of the footer
_CHARACTERS = 150  # per line of the footer


@dataclass
class Sheet:
    """One figure being drawn."""

    number: str
    selection: Selection
    paper: bool
    figure: Figure
    body: SubFigure
    panels: list[Panel] = field(default_factory=list)
    _at_chance: dict[tuple[str, str, float], str] = field(default_factory=dict)

    def panel(
        self,
        axes: Axes,
        letter: str,
        quantity: Quantity,
        family: str,
        layer: int | None = None,
        *,
        norms: Sequence[str] | None = None,
        lrs: Sequence[float] | None = None,
        title: str = "",
        head: bool = True,
        direction: str = "gradient",
    ) -> Panel:
        """A panel of one quantity over steps, one series per norm and learning rate.

        They are those that the figure needs of the family, unless others are given. The second
        learning rate is drawn faded. Says in the panel what it could not draw.
        head: False for a small panel that belongs to the one above it.
        """
        panel = Panel(
            axes, quantity.log, self.selection.steps(family), quantity.limits, quantity.small
        )
        axes.set_label(":".join([letter, quantity.name] + [f"layer{layer}"] * (layer is not None)))
        axes.set_ylabel(quantity.label)
        if head:
            self.head(axes, title, family)
        any_runs = False
        for rank, lr in enumerate(lrs or self.selection.lrs(family, quantity.table)):
            for norm in norms or self.selection.norms(family):
                series, key = look(norm, bool(rank)), f"{norm}:{lr:g}"
                runs = self.selection.runs(family, norm, lr, quantity.table, direction)
                any_runs |= bool(runs)
                traces = [quantity.trace(run, layer) for run in runs]
                panel.add(key, series, traces, quantity.filled)
                if remark := self._remark_chance(family, norm, lr, runs):
                    panel.at_chance[key] = remark
                if self.paper and self.number.isdecimal():
                    number = int(self.number)
                    curve = paper_curves.curve(number, letter, quantity.name, norm, lr, layer)
                    if curve is not None:
                        panel.add_paper(key, series, curve)
        if not panel.ours:
            lacking = f"these runs have no layer {layer}" if layer is not None else "no data"
            panel.say(lacking if any_runs else "no runs")
        self.panels.append(panel)
        return panel

    def same_limits(self, panels: Sequence[Panel]) -> None:
        """Gives the panels one range of y."""
        for panel in panels:
            panel.siblings = list(panels)

    def head(self, axes: Axes, title: str, family: str) -> None:
        """The panel's title, and a remark where our runs are not of the paper's scale."""
        axes.set_title(title, loc="left")
        self.remark_scale(axes, family)

    def remark_scale(self, axes: Axes, family: str) -> None:
        """Says above the axes if the family's runs are not of the paper's scale."""
        runs = self.selection.of(family)
        if runs and family in EXPERIMENTS and not at_paper_scale(runs[0]):
            axes.set_title("other scale*", loc="right", fontsize=SMALL, color=WARNING)

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

    def _remark_chance(self, family: str, norm: str, lr: float, runs: Sequence[Run]) -> str:
        """What to say of a series that stays at chance although the paper's does not; or ""."""
        key = family, norm, lr
        if key not in self._at_chance:
            dead = [run for run in runs if paper_trains(run) and at_chance(run)]
            some = f" ({len(dead)} of {len(runs)} seeds)" * (len(dead) < len(runs))
            self._at_chance[key] = f"at chance{some}" if dead else ""
        return self._at_chance[key]


def sheet(
    number: str,
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
        selection, paper, entries, (selection.several_seeds or selection.dense) and not one_seed
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
    def line(entry: Look, width: float) -> Line2D:
        return Line2D(
            [], [], color=entry.colour, linestyle=entry.dash, label=entry.label, linewidth=width
        )

    handles: list[Artist] = []
    for entry in entries:  # the paper's below ours where the legend has two rows
        handles += [line(entry, 1.1)] + [line(of_paper(entry), 0.8)] * paper
    if bands:
        handles.append(Patch(facecolor=(GREY, 0.2), label="min to max"))
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
        rows, larger = divmod(len(handles), columns)  # the first columns have one more
        starts = [column * rows + min(column, larger) for column in range(columns + 1)]
        total = sum(max(widths[a:b]) for a, b in pairwise(starts))
        if total < 72 * WIDTH - 10 or columns == 1:
            return columns, rows + bool(larger)
    return 1, len(handles)


def _footer(
    selection: Selection, paper: bool, remarks: Sequence[str], one_seed: bool
) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []

    def add(text: str, colour: str = GREY) -> None:
        lines.extend((line, colour) for line in textwrap.wrap(text, _CHARACTERS))

    for family in selection.families:
        runs = selection.of(family)
        if runs:
            add(f"Runs: {selection.describe_runs(family)}.")
            varied = any(need.varies for need in selection.matches)
            if family in EXPERIMENTS and not varied and not at_paper_scale(runs[0]):
                add(f"*Not the paper's scale: {EXPERIMENTS[family].size}.", WARNING)
    if left_out := selection.describe_left_out():
        add(f"Left out: {left_out}; drawn instead with: bnexp figures --where KEY=VALUE.", WARNING)
    if paper:
        add("Thin dashes: the paper's own curves, arXiv 1805.11604v3, over the steps shown here.")
    if not one_seed:
        over = ["seeds"] * selection.several_seeds
        over += ["short stretches of steps"] * selection.dense
        if over:
            add(f"Where there is a faint band: median and min to max over {' and '.join(over)}.")
    for remark in remarks:
        add(remark)
    if selection.missing:
        add(f"Not drawn, no such run: {selection.describe_missing()}.", WARNING)
    return lines
