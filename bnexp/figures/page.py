"""The page of a figure: title and legend above, panels, and below what was drawn and what lacks."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from string import ascii_lowercase
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatterMathtext

from bnexp.analysis import paper as paper_curves
from bnexp.analysis.quantities import Quantity, stuck_at_chance
from bnexp.analysis.scales import EXPERIMENTS, at_paper_scale
from bnexp.analysis.select import Need, Selection, Where
from bnexp.analysis.series import MAX_POINTS, Trace
from bnexp.figures.panel import Panel, Series
from bnexp.figures.style import (
    GREY,
    REFERENCE_DASHES,
    SMALL,
    WARNING,
    WIDTH,
    Look,
    look,
    mixed,
    set_log_ticks,
    style,
    variant,
)
from bnexp.registry import FIGURES
from bnexp.runs import Run

Lines = dict[str, tuple[Look, list[Trace]]]
"""By key the look of a line, and a trace per seed."""
_LINE = 0.125  # inches per line of the footer
_CHARACTERS = 144  # per line of the footer


class Page:
    """One figure being drawn from the runs of ``selection``; ``paper``: with the paper's curves.

    Attributes:
        figure: where panels are put, by matplotlib's own means; ``height`` inches in all.
        panels: are drawn by `finish`.
        shows: the runs that axes or artists which are not of a panel show.
        remarks, warnings: sentences for the foot of the page.
        over: what bands are over. families: the networks to draw.
        bare: without title, legend and foot, and without room for labels between the panels.
    """

    def __init__(
        self, number: str, title: str, selection: Selection, paper: bool, bare: bool = False
    ) -> None:
        self.number, self.title, self.selection, self.paper = number, title, selection, paper
        self.figure = Figure(layout=None if bare else "constrained")
        self.height, self.bare = 2.5, bare
        if bare:
            self.figure.subplots_adjust(0, 0, 1, 1, 0, 0)
        self.panels: list[Panel] = []
        self.shows: dict[Artist, Sequence[Run]] = {}
        self.remarks: list[str] = []
        self.warnings: list[str] = []
        self.over = "seeds"
        self.families = selection.families
        FigureCanvasAgg(self.figure)

    def grid(self, rows: int, columns: int, height: float, **more: Any) -> Any:
        """Axes in rows of this height in inches, as a matrix."""
        self.height = height * rows
        return self.figure.subplots(rows, columns, squeeze=False, **more)

    @staticmethod
    def letter(axes: Axes) -> str:
        """The letter of axes by their place in the grid, from left to right."""
        spec = axes.get_subplotspec()
        return ascii_lowercase[0 if spec is None else spec.num1]

    def traces(
        self, quantity: Quantity, family: str, norm: str, lr: float, where: Where = (),
        layer: int | None = None,
    ) -> list[Trace]:  # fmt: skip
        """A trace per seed of the runs of one kind."""
        runs = self.selection.runs(family, norm, lr, quantity.table, where=where)
        return [quantity.trace(run, layer) for run in runs]

    def lines(self, axes: Axes, quantity: Quantity, family: str, lines: Lines, title: str) -> Panel:
        """A panel with a line per entry of ``lines``: its look, and a trace per seed."""
        letter = self.letter(axes)
        panel = self._added(axes, quantity, family, f"{letter}:{quantity.name}")
        axes.set_title(f"({letter}) {title}")
        panel.lacking = "no data" if self.selection.of(family) else "no runs"
        for key, (its_look, traces) in lines.items():
            panel.add(key, its_look, traces)
        return panel

    def panel(
        self, axes: Axes, letter: str, quantity: Quantity, family: str, layer: int | None = None,
        *, norms: Sequence[str] = (), lrs: Sequence[float] = (), title: str | None = None,
        direction: str = "gradient",
    ) -> Panel:  # fmt: skip
        """A panel of one quantity over steps, one series per norm and learning rate.

        They are those that the figure needs of the family, unless others are given. The second
        learning rate is drawn faded. Says in the panel what it could not draw. Without a letter
        its place in the grid gives one.
        """
        if not letter:
            letter = self.letter(axes)
            title = f"({letter}) {title}"
        of_layer = [] if layer is None else [f"layer{layer}"]
        panel = self._added(axes, quantity, family, ":".join([letter, quantity.name, *of_layer]))
        axes.set_title(f"({letter})" if title is None else title)
        rates = lrs or self.selection.lrs(family, quantity.table)
        for lr, norm in product(rates, norms or self.selection.norms(family)):
            its_look, key = look(norm), f"{norm}:{lr:g}"
            if len(rates) > 1:
                its_look = replace(its_look, label=f"{its_look.label}, LR={lr:g}")
            if lr != rates[0]:
                its_look = replace(its_look, colour=mixed(its_look.colour, "white", 0.5))
            runs = self.selection.runs(family, norm, lr, quantity.table, direction)
            if runs:
                panel.lacking = f"these runs have no layer {layer}" if of_layer else "no data"
            again = quantity.small and any(s.remark and s.key == key for s in self._series)
            remark = "" if again else _remark_of_chance(runs)
            traces = [quantity.trace(run, layer) for run in runs]
            panel.add(key, its_look, traces, "band" if quantity.filled else "line", remark)
            if self.paper and self.number.isdecimal():
                number = int(self.number)
                curve = paper_curves.curve(number, letter, quantity.name, norm, lr, layer)
                if curve is not None:
                    panel.add(key, its_look, [curve], "paper")
        return panel

    def _added(self, axes: Axes, quantity: Quantity, family: str, name: str) -> Panel:
        axes.set(label=name, ylabel=quantity.label)
        steps = self.selection.steps(family)
        panel = Panel(axes, quantity.log, steps, quantity.limits, quantity.small)
        self.panels.append(panel)
        return panel

    def finish(self) -> None:
        """Draws all panels, then sets title, legend and footer around them unless it is bare."""
        rows = set()
        for panel in self.panels:
            panel.finish()
            spec = panel.axes.get_subplotspec()
            assert spec is not None
            if spec.is_last_row() and not panel.axes.get_xlabel():
                panel.axes.set_xlabel("steps")
            row = (id(spec.get_gridspec()), spec.rowspan.start, panel.axes.get_ylabel())
            if row in rows:
                panel.axes.set_ylabel("")
            rows.add(row)
        if not self.bare:
            self._set_around()

    def _set_around(self) -> None:
        lines = [
            (line, colour)
            for text, colour in self.sentences()
            for line in textwrap.wrap(text, _CHARACTERS)
        ]
        figure, handles = self.figure, self._handles()
        head, foot = 0.27, 0.06 + _LINE * len(lines)
        figure.set_size_inches(WIDTH, 10.0)
        for legend_rows in range(1, len(handles) + 1):  # as few as fit
            columns = math.ceil(len(handles) / legend_rows)
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
        figure.text(0.01, 1 - 0.05 / total, self.title, va="top", fontsize=9)
        for index, (line, colour) in enumerate(lines):
            y = (foot - 0.03 - _LINE * index) / total
            figure.text(0.01, y, line, va="top", fontsize=SMALL, color=colour)
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
                set_log_ticks(axis, axis.get_view_interval(), 5)
        # Lay out once, not again for every format that is written.
        engine: Any = figure.get_layout_engine()
        engine.set(rect=(0, foot / total, 1, self.height / total))
        engine.execute(figure)
        figure.set_layout_engine("none")

    @property
    def _series(self) -> list[Series]:
        return [series for panel in self.panels for series in panel.series]

    def looks(self) -> list[Look]:
        """A line per look, then what the other kinds of lines in the panels mean."""
        kinds = {series.kind for series in self._series}
        looks = [series.look for series in self._series if series.kind != "beside"]
        for kind, label in (("paper", "the paper"), ("beside", "as η → 0")):
            looks += [variant(Look(GREY, "-", label), kind)] * (kind in kinds)
        for panel in self.panels:
            named = zip(panel.references.values(), REFERENCE_DASHES, strict=False)
            looks += [Look(GREY, dash, name, 0.9) for (_, name), dash in named]
        return list(dict.fromkeys(looks))

    def _handles(self) -> list[Artist]:
        handles: list[Artist] = [
            Line2D([], [], color=it.colour, linestyle=it.dash, label=it.label, linewidth=it.width)
            for it in self.looks()
        ]
        if self._over():
            handles.append(Patch(facecolor=(GREY, 0.2), label="min to max"))
        if any(s.ends for s in self._series):
            handles.append(Line2D([], [], color=GREY, linestyle="", marker="x", label="diverged"))
        return handles

    def _over(self) -> str:
        """What bands of median and min to max are over; "" where there are none."""
        ours = [s.whole for s in self._series if s.kind in ("line", "band")]
        over = [self.over] * any(whole.seeds > 1 for whole in ours)
        over += ["short stretches of steps"] * any(len(whole.x) > MAX_POINTS for whole in ours)
        return " and ".join(over)

    def sentences(self) -> list[tuple[str, str]]:
        """What stands at the foot, each sentence with its colour."""
        selection, words = self.selection, list[tuple[str, str]]()
        for family in self.families:
            if runs := selection.of(family):
                words.append((f"Runs: {selection.describe_runs(family)}.", GREY))
                varied = any(need.varies or need.where for need in selection.matches)
                if family in EXPERIMENTS and not varied and not at_paper_scale(runs[0]):
                    size = EXPERIMENTS[family].size
                    words.append((f"Not the paper's scale, which is: {size}.", WARNING))
        if left_out := selection.describe_left_out():
            how = "to draw these: bnexp figures --where KEY=VALUE"
            words.append((f"Left out: {left_out}; {how}.", WARNING))
        artists = (artist for axes in self.figure.axes for artist in axes.get_children())
        if any(str(artist.get_gid()).startswith("paper:") for artist in artists):
            curves = "the paper's curves, arXiv 1805.11604v3, over the steps shown here"
            words.append((f"Thin dashes: {curves}.", GREY))
        if over := self._over():
            words.append((f"Faint bands: median and min to max over {over}.", GREY))
        words += [(remark, GREY) for remark in self.remarks]
        words += [(f"{warning[0].upper()}{warning[1:]}.", WARNING) for warning in self.warnings]
        if missing := selection.describe_missing():
            words.append((f"Not drawn, no such run: {missing}.", WARNING))
        return words


def _remark_of_chance(runs: Sequence[Run]) -> str:
    """What to say of a series that stays at chance although the paper's does not; or ""."""
    dead = sum(map(stuck_at_chance, runs))
    return f"at chance{f' ({dead} of {len(runs)} seeds)' * (dead < len(runs))}" * bool(dead)


def figure(
    number: str, title: str, needs: Sequence[Need], recipes: Sequence[str] = ()
) -> Callable[[Callable[[Page], None]], Callable[[Page], None]]:
    """Decorator: registers the figure ``number``, drawn by a function that fills a `Page`.

    ``recipes`` that make its runs: those of its needs unless others are given.
    """
    made_by = recipes or tuple(dict.fromkeys(need.recipe for need in needs))

    def enter(fill: Callable[[Page], None]) -> Callable[[Page], None]:
        @functools.wraps(fill)
        @style()
        def draw(selection: Selection, paper: bool = True, bare: bool = False) -> Page:
            page = Page(number, f"Figure {number}.  {title}", selection, paper, bare)
            fill(page)
            page.finish()
            return page

        FIGURES.register(number, recipes=made_by, needs=needs)(draw)
        return fill

    return enter
