"""One pair of axes: our runs, the paper's curves, reference lines, limits that suit both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bnexp.analysis.series import Array, Summary, Trace, clipped, limits, over_seeds, thinned
from bnexp.figures.style import (
    GREY,
    HALO,
    REFERENCE_DASHES,
    SMALL,
    WARNING,
    Look,
    mixed,
    set_log_ticks,
    variant,
)

_MARKS = 25  # about so many triangles at most for values beyond the limits
_POINTS = 12  # of lines with no more of them each is marked
_STEPS = [1, 2, 2.5, 5, 10]  # between ticks


@dataclass(frozen=True)
class Series:
    """What is drawn in one colour: all seeds of one kind of run, or a curve of the paper.

    kind: ``line`` or ``band`` of our runs, ``beside`` (another quantity of theirs) or ``paper``.
    ends: where runs that diverged ended. remark: words at its end. traces: one per seed.
    """

    kind: str
    key: str
    look: Look
    whole: Summary
    ends: Sequence[tuple[float, float]] = ()
    remark: str = ""
    traces: Sequence[Trace] = ()


@dataclass
class Panel:
    """Collects what is to be drawn, then draws it when the limits are known (`finish`).

    Every artist's gid tells what it is: the series' kind, `spread:`, `reference:`, `diverged:`,
    `chance:` or `beyond:`, followed by the series.

    Attributes:
        x_max: the last step to show; None for as many as the paper's curves have.
        fixed: y limits; data below them still widen them. always: values they must contain.
        siblings: the panels that share its y limits, itself among them.
        references: by key the height of a horizontal line, and its name in the legend.
        set_x: sets scale, limits and ticks of x where they are not those of steps.
        lacking: what a panel says that shows no runs.
    """

    axes: Axes
    log: bool
    x_max: float | None
    fixed: tuple[float, float] | None = None
    small: bool = False
    always: list[float] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    siblings: Sequence[Panel] = ()
    references: dict[str, tuple[float, str]] = field(default_factory=dict)
    set_x: Callable[[], None] | None = None
    lacking: str = "no runs"

    def add(
        self, key: str, look: Look, traces: Sequence[Trace], kind: str = "line", remark: str = ""
    ) -> None:
        """One series, a trace per seed; the paper's over the steps that our runs cover.

        Empty traces are left out.
        """
        if kind == "paper" and self.x_max is not None:
            traces = [trace.until(self.x_max, self.log) for trace in traces]
        if drawn := [trace for t in traces if len((trace := t.until_diverged()).x)]:
            ends = [(t.x[-1], t.hi[-1]) for t in drawn if t.diverged and kind != "beside"]
            self.series.append(Series(kind, key, look, over_seeds(drawn), ends, remark, drawn))

    def reference(self, key: str, y: float, label: str) -> None:
        """A horizontal line at y, inside the limits whatever the data."""
        self.references[key] = y, label
        self.always.append(y)

    def finish(self) -> None:
        """Sets scales and limits, then draws."""
        axes = self.axes
        lo, hi = self._limits()
        axes.set(yscale="log" if self.log else "linear", ylim=(lo, hi))
        if self.set_x is not None:
            self.set_x()
        else:
            right = self.x_max or max((s.whole.x[-1] for s in self.series), default=1.0)
            axes.set_xlim(-0.015 * right, 1.015 * right)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=_STEPS))
        if self.log:
            set_log_ticks(axes.yaxis, (lo, hi), 3 if self.small else 6)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(3 if self.small else 6, steps=_STEPS))
        for series in self.series:
            self._draw(series, lo, hi)
            line, paper = series.whole, series.kind == "paper"
            colour = variant(series.look, series.kind).colour
            for name, beyond, y in (("above", line.hi > hi, 1.0), ("below", line.lo < lo, 0.0)):
                gid = f"beyond:{name}:{'paper:' * paper}{series.key}"
                mark_beyond(axes, line.x[beyond], y, colour, paper, gid)
            self._mark_end(series, lo, hi)
        if all(series.kind == "paper" for series in self.series):
            say(axes, self.lacking)
        for (key, (y, _)), dash in zip(self.references.items(), REFERENCE_DASHES, strict=False):
            axes.axhline(
                y, color=GREY, linestyle=dash, linewidth=0.9, zorder=2.6, gid=f"reference:{key}"
            )

    def _limits(self) -> tuple[float, float]:
        panels = self.siblings or [self]
        lines = [s.whole for p in panels for s in p.series if p.log or s.kind != "beside"]
        values = [y for line in lines for y in (line.lo, line.hi, line.least, line.most)]
        if self.fixed is None:
            return limits(values, self.log, [y for panel in panels for y in panel.always])
        least = min((v[np.isfinite(v)].min(initial=np.inf) for v in values), default=np.inf)
        return (float(least) - 0.05 if least < self.fixed[0] else self.fixed[0]), self.fixed[1]

    def _draw(self, series: Series, lo: float, hi: float) -> None:
        s, look = thinned(series.whole), variant(series.look, series.kind)
        gid = f"{series.kind}:{series.key}"
        lower, upper, least, most = (
            clipped(y, lo, hi, self.log) for y in (s.lo, s.hi, s.least, s.most)
        )
        if series.kind in ("line", "band") and (s.seeds > 1 or s is not series.whole):
            self.axes.fill_between(
                s.x, least, most, color=look.colour, alpha=0.13, linewidth=0, zorder=1.5,
                gid=f"spread:{series.key}",
            )  # fmt: skip
        if series.kind == "band":
            fill = 0.3 if sum(s.kind == "band" for s in self.series) < 3 else 0.18
            self.axes.fill_between(
                s.x, lower, upper, facecolor=(look.colour, fill), linewidth=0.5,
                edgecolor=(look.colour, 0.9), zorder=2, gid=gid,
            )  # fmt: skip
            return
        flat = series.kind != "paper" or np.array_equal(s.lo, s.hi)
        for y in [lower] if flat else [lower, upper]:
            self.axes.plot(
                s.x, y, color=look.colour, linestyle=look.dash, linewidth=look.width, gid=gid,
                zorder={"line": 2.2, "beside": 2.4, "paper": 3.0}[series.kind],
                marker="." if len(s.x) <= _POINTS else "",
            )  # fmt: skip

    def _mark_end(self, series: Series, lo: float, hi: float) -> None:
        """A cross where each diverged run ended; the remark."""
        s, colour = series.whole, series.look.colour
        if series.ends:
            x, y = np.array(series.ends).T
            self.axes.plot(
                x, np.clip(y, lo, hi), "x", color=mixed(colour, "black", 0.3), markersize=5,
                markeredgewidth=1.4, zorder=5, clip_on=False, gid=f"diverged:{series.key}",
            )  # fmt: skip
        if series.remark:
            end = np.clip(s.hi[-1] if np.isfinite(s.hi[-1]) else lo, lo, hi)
            self.axes.annotate(
                series.remark, (s.x[-1], end), xytext=(-2, 3), textcoords="offset points",
                ha="right", va="bottom", fontsize=SMALL, color=colour, bbox=HALO, zorder=6,
                gid=f"chance:{series.key}",
            )  # fmt: skip


def mark_beyond(axes: Axes, x: Array, y: float, colour: Any, paper: bool, gid: str) -> None:
    """Triangles at the upper (1) or lower (0) edge where a line lies beyond the limits."""
    if len(x := x[:: max(1, len(x) // _MARKS)]):
        axes.plot(
            x, np.full(len(x), y), "^" if y else "v", color=colour, markersize=3,
            markerfacecolor="white" if paper else colour, markeredgewidth=0.6, zorder=4,
            transform=axes.get_xaxis_transform(), clip_on=False, gid=gid,
        )  # fmt: skip


def say(axes: Axes, text: str) -> None:
    """Words in the middle of axes: why they are empty."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL,
        color=WARNING, bbox=HALO, zorder=7,
    )  # fmt: skip
