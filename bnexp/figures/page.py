"""The page of a figure: title and legend above, panels, and below what was drawn and what lacks."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnexp.analysis import paper as paper_curves
from bnexp.analysis.baselines import at_chance, paper_trains
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import EXPERIMENTS, at_paper_scale
from bnexp.analysis.select import Need, Selection
from bnexp.analysis.summaries import last_half, median, median_of
from bnexp.figures.panel import Panel, say
from bnexp.figures.style import GREY, SMALL, WARNING, WIDTH, Look, look, of_paper
from bnexp.registry import FIGURES
from bnexp.runs import Run

_LINE = 0.125  # inches per line of the footer
_CHARACTERS = 150  # per line of the footer


class Page:
    """One figure being drawn.

    Attributes:
        selection: the runs to draw from.
        paper: whether to draw the paper's own curves.
        figure: where panels are put, by matplotlib's own means.
        height: of the panels, in inches.
        panels: those added so far; drawn by `finish`.
        remarks: sentences for the foot of the page.
        families: the networks to draw.
    """

    def __init__(self, number: str, selection: Selection, paper: bool) -> None:
        self.number, self.selection, self.paper = number, selection, paper
        self.figure, self.height = Figure(layout="constrained"), 2.5
        self.panels: list[Panel] = []
        self.remarks: list[str] = []
        self.families = selection.families
        self._remarks_of_chance: dict[tuple[Run, ...], str] = {}
        FigureCanvasAgg(self.figure)

    def panel(
        self,
        axes: Axes,
        letter: str,
        quantity: Quantity,
        family: str,
        layer: int | None = None,
        *,
        norms: Sequence[str] = (),
        lrs: Sequence[float] = (),
        title: str = "",
        direction: str = "gradient",
    ) -> Panel:
        """A panel of one quantity over steps, one series per norm and learning rate.

        They are those that the figure needs of the family, unless others are given. The second
        learning rate is drawn faded. Says in the panel what it could not draw.
        """
        panel = Panel(
            axes, quantity.log, self.selection.steps(family), quantity.limits, quantity.small
        )
        axes.set_label(":".join([letter, quantity.name] + [f"layer{layer}"] * (layer is not None)))
        axes.set(title=title, ylabel=quantity.label)
        any_runs = False
        rates = lrs or self.selection.lrs(family, quantity.table)
        for rank, lr in enumerate(rates):
            for norm in norms or self.selection.norms(family):
                series, key = look(norm, bool(rank)), f"{norm}:{lr:g}"
                if len(rates) > 1:
                    series = replace(series, label=f"{series.label}, LR={lr:g}")
                runs = self.selection.runs(family, norm, lr, quantity.table, direction)
                any_runs |= bool(runs)
                traces = [quantity.trace(run, layer) for run in runs]
                kind = "band" if quantity.filled else "line"
                panel.add(key, series, traces, kind, self._remark_of_chance(runs))
                if self.paper and self.number.isdecimal():
                    number = int(self.number)
                    curve = paper_curves.curve(number, letter, quantity.name, norm, lr, layer)
                    if curve is not None:
                        panel.add_paper(key, series, curve)
        if not panel.ours:
            lacking = f"these runs have no layer {layer}" if layer is not None else "no data"
            say(axes, lacking if any_runs else "no runs")
        self.panels.append(panel)
        return panel

    def finish(self) -> Figure:
        """Draws all panels, then sets legend and text around them."""
        rows = set()
        for panel in self.panels:
            panel.finish()
            axes = panel.axes
            if (spec := axes.get_subplotspec()) is not None:
                if spec.is_last_row():
                    axes.set_xlabel("steps")
                row = (id(spec.get_gridspec()), spec.rowspan.start, axes.get_ylabel())
                if row in rows:
                    axes.set_ylabel("")
                rows.add(row)
        lines = self._footer()
        handles = self._handles()
        head, foot = 0.27, 0.06 + _LINE * len(lines)
        figure = self.figure
        figure.set_size_inches(WIDTH, 10.0)
        for columns in range(len(handles), 0, -1):  # the most that fit
            legend = figure.legend(
                handles=handles, loc="upper center", ncols=columns, borderpad=0, handlelength=2.6,
                columnspacing=1.4, labelspacing=0.25,
            )  # fmt: skip
            box = legend.get_window_extent()
            if box.width < figure.bbox.width - 10 or columns == 1:
                head += box.height / figure.dpi + 0.06
                break
            legend.remove()
        total = head + self.height + foot
        figure.set_size_inches(WIDTH, total)
        for legend in figure.legends:
            legend.set_bbox_to_anchor((0.5, 1 - 0.24 / total), figure.transFigure)
        title = f"Figure {self.number}.  {FIGURES[self.number].more['title']}"
        figure.text(0.01, 1 - 0.05 / total, title, va="top", fontsize=9)
        for index, (line, colour) in enumerate(lines):
            y = (foot - 0.03 - _LINE * index) / total
            figure.text(0.01, y, line, va="top", fontsize=SMALL, color=colour)
        # Lay out once, not again for every format that is written.
        engine: Any = figure.get_layout_engine()
        engine.set(rect=(0, foot / total, 1, self.height / total))
        engine.execute(figure)
        figure.set_layout_engine("none")
        return figure

    def _remark_of_chance(self, runs: tuple[Run, ...]) -> str:
        """What to say of a series that stays at chance although the paper's does not; or ""."""
        if runs not in self._remarks_of_chance:
            dead = sum(paper_trains(run) and at_chance(run) for run in runs)
            some = f" ({dead} of {len(runs)} seeds)" * (dead < len(runs))
            self._remarks_of_chance[runs] = f"at chance{some}" if dead else ""
        return self._remarks_of_chance[runs]

    def _handles(self) -> list[Artist]:
        """The series that were drawn, the paper's below ours where the legend has two rows."""
        series = [series for panel in self.panels for series in panel.series]
        looks: dict[Look, None] = {}
        for ours in dict.fromkeys(s.look for panel in self.panels for s in panel.ours):
            theirs = of_paper(ours)
            looks |= dict.fromkeys([ours, *[theirs] * any(s.look == theirs for s in series)])
        handles: list[Artist] = [
            Line2D([], [], color=it.colour, linestyle=it.dash, label=it.label, linewidth=it.width)
            for it in looks
        ]
        if self._over():
            handles.append(Patch(facecolor=(GREY, 0.2), label="min to max"))
        if any(s.ends for s in series):
            handles.append(
                Line2D([], [], color=GREY, linestyle="", marker="x", markersize=5, label="diverged")
            )
        return handles

    def _over(self) -> str:
        """What bands of median and min to max are over; "" where there are none."""
        ours = [series for panel in self.panels for series in panel.ours]
        over = ["seeds"] * any(s.line.seeds > 1 for s in ours)
        over += ["short stretches of steps"] * any(s.line is not s.whole for s in ours)
        return " and ".join(over)

    def _footer(self) -> list[tuple[str, str]]:
        selection = self.selection
        paragraphs: list[tuple[str, str]] = []
        for family in self.families:
            runs = selection.of(family)
            if not runs:
                continue
            paragraphs.append((f"Runs: {selection.describe_runs(family)}.", GREY))
            varied = any(need.varies for need in selection.matches)
            if family in EXPERIMENTS and not varied and not at_paper_scale(runs[0]):
                words = f"Not the paper's scale, which is: {EXPERIMENTS[family].size}."
                paragraphs.append((words, WARNING))
        if left_out := selection.describe_left_out():
            words = f"Left out: {left_out}; to draw these: bnexp figures --where KEY=VALUE."
            paragraphs.append((words, WARNING))
        if self.figure.findobj(lambda artist: str(artist.get_gid()).startswith("paper:")):
            words = (
                "Thin dashes: the paper's curves, arXiv 1805.11604v3, over the steps shown here."
            )
            paragraphs.append((words, GREY))
        if over := self._over():
            paragraphs.append((f"Faint bands: median and min to max over {over}.", GREY))
        paragraphs += [(remark, GREY) for remark in self.remarks]
        if missing := selection.describe_missing():
            paragraphs.append((f"Not drawn, no such run: {missing}.", WARNING))
        return [(line, c) for text, c in paragraphs for line in textwrap.wrap(text, _CHARACTERS)]


def figure(
    number: str, title: str, needs: Sequence[Need], recipes: Sequence[str] = ()
) -> Callable[[Callable[[Page], None]], Callable[[Page], None]]:
    """Decorator: registers the figure ``number``, drawn by a function that fills a `Page`.

    ``recipes`` that make its runs: those of its needs unless others are given.
    """
    made_by = tuple(recipes) or tuple(dict.fromkeys(need.recipe for need in needs))

    def enter(fill: Callable[[Page], None]) -> Callable[[Page], None]:
        @functools.wraps(fill)
        def draw(selection: Selection, paper: bool) -> Figure:
            page = Page(number, selection, paper)
            fill(page)
            return page.finish()

        FIGURES.register(number, title=title, recipes=made_by, needs=tuple(needs))(draw)
        return fill

    return enter


def letters(index: int) -> str:
    """The letter of panel ``index``, from 0."""
    return "abcdefghijklmnopqrstuvwxyz"[index]


def plateau(runs: Sequence[Run], quantity: Quantity) -> float:
    """The quantity's median over the last half of the run, and over seeds."""
    return median_of([median(last_half(quantity.trace(run, None), run.steps)) for run in runs])
