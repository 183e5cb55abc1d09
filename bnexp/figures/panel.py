"""One pair of axes: our runs, the paper's curves, reference lines, limits that suit both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes

from bnexp.analysis.paper import Curve
from bnexp.analysis.series import (
    Array,
    Summary,
    Trace,
    clipped,
    limits,
    over_seeds,
    thinned,
)
from bnexp.figures.axis import set_x_ticks, set_y_ticks
from bnexp.figures.style import GREY, HALO, SMALL, WARNING, Look, mixed, of_paper

_MARKS = 25  # at most so many triangles for values beyond the limits
_REFERENCE_DASHES = ((0.0, (1.0, 1.0)), (1.0, (4.0, 4.0)), (0.0, (6.0, 2.0, 1.0, 2.0)))


@dataclass(frozen=True)
class Ours:
    """One series of a panel: all seeds of one kind of run, and where those that diverged ended."""

    key: str
    look: Look
    summary: Summary
    filled: bool
    ends: tuple[tuple[float, float], ...]


@dataclass
class Panel:
    """Collects what is to be drawn, then draws it when the limits are known (`finish`).

    Every artist's gid tells what it is: `line:`, `band:`, `spread:`, `beside:`, `paper:`,
    `reference:`, `diverged:` or `beyond:`, followed by the series.

    Attributes:
        log: whether y is logarithmic.
        x_max: the last step to show; None for as many as the paper's curves have.
        fixed: y limits; data below them still widen them.
        always: values that the y limits must contain.
        beside_label: what the dotted lines are that stand beside the series.
        at_chance: by series, what to say of runs that learn nothing although the paper's do.
        siblings: the panels that share its y limits, itself among them.
    """

    axes: Axes
    log: bool
    x_max: float | None
    fixed: tuple[float, float] | None = None
    small: bool = False
    always: list[float] = field(default_factory=list)
    ours: list[Ours] = field(default_factory=list)
    beside: list[Ours] = field(default_factory=list)
    beside_label: str = ""
    paper: list[tuple[str, Look, Curve]] = field(default_factory=list)
    references: list[tuple[str, float, str]] = field(default_factory=list)
    at_chance: dict[str, str] = field(default_factory=dict)
    siblings: list[Panel] = field(default_factory=list)

    def add(self, key: str, look: Look, traces: Sequence[Trace], filled: bool) -> None:
        """Our runs of one series, one trace per seed; empty traces are left out."""
        if drawn := _drawn(traces):
            ends = tuple((float(t.x[-1]), float(t.hi[-1])) for t in drawn if t.diverged)
            self.ours.append(Ours(key, look, over_seeds(drawn), filled, ends))

    def add_beside(self, key: str, look: Look, traces: Sequence[Trace]) -> None:
        """Another quantity of the same runs: the median over seeds as a dotted line."""
        if drawn := _drawn(traces):
            self.beside.append(Ours(key, look, over_seeds(drawn), filled=False, ends=()))

    def add_paper(self, key: str, look: Look, curve: Curve) -> None:
        """A curve of the paper, over the steps that our runs cover."""
        if self.x_max is not None:
            curve = curve.until(self.x_max, self.log)
        if len(curve.x):
            self.paper.append((key, look, curve))

    def reference(self, key: str, y: float, label: str) -> None:
        """A horizontal line at y, inside the limits whatever the data."""
        self.references.append((key, y, label))
        self.always.append(y)

    def say(self, text: str) -> None:
        """Words in the middle of the panel: why it is empty."""
        say(self.axes, text)

    def finish(self) -> None:
        """Sets scales and limits, then draws."""
        axes = self.axes
        if self.log:
            axes.set_yscale("log")
        lo, hi = self._limits()
        axes.set_ylim(lo, hi)
        right = self.x_max or max((c.x[-1] for _, _, c in self.paper), default=1.0)
        axes.set_xlim(-0.015 * right, 1.015 * right)
        set_x_ticks(axes, 4)
        set_y_ticks(axes, self.log, 3 if self.small else 6)
        for series in self.ours:
            self._draw(series, lo, hi)
        for key, look, curve in self.paper:
            self._draw_paper(key, of_paper(look), curve, lo, hi)
        self._draw_beside(lo, hi)
        self._draw_references()

    def _values(self) -> list[Array]:
        """All values that may count for the y limits."""
        values: list[Array] = [c for _, _, curve in self.paper for c in (curve.lo, curve.hi)]
        for series in self.ours:
            s = series.summary
            values += [s.lo, s.hi, s.least, s.most]
        if self.log:  # on a linear scale they would leave nothing to see of the series
            values += [series.summary.lo for series in self.beside]
        return values

    def _limits(self) -> tuple[float, float]:
        panels = self.siblings or [self]
        values = [value for panel in panels for value in panel._values()]
        if self.fixed is None:
            return limits(values, self.log, [y for panel in panels for y in panel.always])
        flat = np.concatenate([np.empty(0), *(v[np.isfinite(v)] for v in values)])
        lo, hi = self.fixed
        if len(flat) and flat.min() < lo:
            lo = float(flat.min()) - 0.05
        return lo, hi

    def _draw(self, series: Ours, lo: float, hi: float) -> None:
        s, look, axes = thinned(series.summary), series.look, self.axes

        def inside(y: Array) -> Array:
            return clipped(y, lo, hi, self.log)

        if s.seeds > 1 or len(s.x) < len(series.summary.x):
            axes.fill_between(
                s.x, inside(s.least), inside(s.most), color=look.colour, alpha=0.13, linewidth=0,
                zorder=1.5, gid=f"spread:{series.key}",
            )  # fmt: skip
        if series.filled:
            fill = 0.3 if len(self.ours) < 3 else 0.18
            axes.fill_between(
                s.x, inside(s.lo), inside(s.hi), facecolor=(look.colour, fill), linewidth=0.5,
                edgecolor=(look.colour, 0.9), zorder=2, gid=f"band:{series.key}",
            )  # fmt: skip
        else:
            axes.plot(
                s.x, inside(s.lo), color=look.colour, linestyle=look.dash, zorder=2.2,
                marker="." if len(s.x) == 1 else "", gid=f"line:{series.key}",
            )  # fmt: skip
        self._mark_beyond(series.key, look, series.summary, lo, hi)
        mark_diverged(axes, series, lo, hi, self.x_max or 0.0)
        if series.key in self.at_chance:
            self._say_at_chance(series, lo, hi)

    def _say_at_chance(self, series: Ours, lo: float, hi: float) -> None:
        s = series.summary
        end = float(np.clip(s.hi[-1], lo, hi)) if np.isfinite(s.hi[-1]) else lo
        self.axes.annotate(
            self.at_chance[series.key], (s.x[-1], end), xytext=(-2, 3), ha="right", va="bottom",
            textcoords="offset points", fontsize=SMALL, color=series.look.colour, bbox=HALO,
            zorder=6, gid=f"chance:{series.key}",
        )  # fmt: skip

    def _draw_beside(self, lo: float, hi: float) -> None:
        for series in self.beside:
            s = thinned(series.summary)
            self.axes.plot(
                s.x, clipped(s.lo, lo, hi, self.log), color=mixed(series.look.colour, "black", 0.2),
                linestyle=":", linewidth=1.0, zorder=2.4, gid=f"beside:{series.key}",
            )  # fmt: skip
            self._mark_beyond(series.key, series.look, series.summary, lo, hi)
        if self.beside:
            self.axes.text(
                0.03, 0.98, self.beside_label, transform=self.axes.transAxes, fontsize=SMALL,
                va="top", color=GREY, bbox=HALO, zorder=6,
            )  # fmt: skip

    def _mark_beyond(
        self, key: str, look: Look, line: Summary | Curve, lo: float, hi: float, filled: bool = True
    ) -> None:
        """Triangles at the edge where a line lies outside the limits, inf included."""
        for name, beyond, y, marker in (
            ("above", line.hi > hi, 1.0, "^"),
            ("below", line.lo < lo, 0.0, "v"),
        ):
            x = line.x[beyond]
            if not len(x):
                continue
            x = x[np.unique(np.linspace(0, len(x) - 1, min(len(x), _MARKS)).round().astype(int))]
            self.axes.plot(
                x, np.full(len(x), y), marker, color=look.colour, markersize=3,
                markerfacecolor=look.colour if filled else "white", markeredgewidth=0.6,
                transform=self.axes.get_xaxis_transform(), clip_on=False, zorder=4,
                gid=f"beyond:{name}:{key}",
            )  # fmt: skip

    def _draw_paper(self, key: str, look: Look, curve: Curve, lo: float, hi: float) -> None:
        edges = [curve.lo] if np.array_equal(curve.lo, curve.hi) else [curve.lo, curve.hi]
        for y in edges:
            self.axes.plot(
                curve.x, clipped(y, lo, hi, self.log), color=look.colour, linestyle=look.dash,
                linewidth=0.8, zorder=3, gid=f"paper:{key}",
            )  # fmt: skip
        self._mark_beyond(f"paper:{key}", look, curve, lo, hi, filled=False)

    def _draw_references(self) -> None:
        """The lines, each named once at the right; lines at the same height share their name."""
        names: list[tuple[float, str]] = []
        for (key, y, label), dash in zip(self.references, _REFERENCE_DASHES, strict=False):
            self.axes.axhline(
                y, color=GREY, linestyle=dash, linewidth=0.9, zorder=2.6, gid=f"reference:{key}"
            )  # fmt: skip
            if not label:
                continue
            if names and np.isclose(names[-1][0], y, rtol=1e-3):
                names[-1] = (y, f"{names[-1][1]} = {label}")
            else:
                names.append((y, label))
        for y, label in names:
            self.axes.annotate(
                label, (1.0, y), xycoords=("axes fraction", "data"), xytext=(-1, 2.5),
                textcoords="offset points", ha="right", va="bottom", fontsize=SMALL, color=GREY,
                bbox=HALO, zorder=6,
            )  # fmt: skip


def _drawn(traces: Sequence[Trace]) -> list[Trace]:
    """The traces that are not empty, up to where their runs diverged."""
    whole = [trace.until_diverged() for trace in traces]
    return [trace for trace in whole if len(trace.x)]


def say(axes: Axes, text: str) -> None:
    """Words in the middle of axes: why they are empty."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL,
        color=WARNING, bbox=HALO, zorder=7,
    )  # fmt: skip


def mark_diverged(axes: Axes, series: Ours, lo: float, hi: float, x_max: float) -> None:
    """A cross where each diverged run ended, the word beside the first."""
    if not series.ends:
        return
    colour = mixed(series.look.colour, "black", 0.3)
    x, y = [end[0] for end in series.ends], np.clip([end[1] for end in series.ends], lo, hi)
    axes.plot(
        x, y, "x", color=colour, markersize=5, markeredgewidth=1.4, zorder=5, clip_on=False,
        gid=f"diverged:{series.key}",
    )  # fmt: skip
    left = x[0] < 0.6 * x_max
    axes.annotate(
        "diverged", (x[0], y[0]), xytext=(5 if left else -5, 4), textcoords="offset points",
        ha="left" if left else "right", fontsize=SMALL, color=colour, bbox=HALO, zorder=6,
    )  # fmt: skip
