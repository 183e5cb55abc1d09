"""One pair of axes: our runs, the paper's curves, reference lines, limits that suit both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator

from bnexp.analysis.paper import Curve
from bnexp.analysis.series import Array, Summary, Trace, clipped, limits, over_seeds, thinned
from bnexp.figures.style import (
    GREY,
    HALO,
    SMALL,
    WARNING,
    Dash,
    Look,
    mixed,
    of_paper,
    set_log_ticks,
)

_MARKS = 25  # at most so many triangles for values beyond the limits
_REFERENCE_DASHES: tuple[Dash, ...] = (
    (0.0, (1.0, 1.0)), (1.0, (4.0, 4.0)), (0.0, (6.0, 2.0, 1.0, 2.0)),
)  # fmt: skip
_STEPS = [1, 2, 2.5, 5, 10]  # between ticks


@dataclass(frozen=True)
class Series:
    """What is drawn in one colour: all seeds of one kind of run, or a curve of the paper.

    kind: ``line`` or ``band`` of our runs, ``beside`` (another quantity of theirs) or ``paper``.
    ends: where runs that diverged ended. remark: words at its end.
    """

    kind: str
    key: str
    look: Look
    whole: Summary
    line: Summary
    ends: tuple[tuple[float, float], ...] = ()
    remark: str = ""


@dataclass
class Panel:
    """Collects what is to be drawn, then draws it when the limits are known (`finish`).

    Every artist's gid tells what it is: `line:`, `band:`, `spread:`, `beside:`, `paper:`,
    `reference:`, `diverged:`, `chance:` or `beyond:`, followed by the series.

    Attributes:
        log: whether y is logarithmic.
        x_max: the last step to show; None for as many as the paper's curves have.
        fixed: y limits; data below them still widen them.
        always: values that the y limits must contain.
        note: words in the upper left corner.
        siblings: the panels that share its y limits, itself among them.
    """

    axes: Axes
    log: bool
    x_max: float | None
    fixed: tuple[float, float] | None = None
    small: bool = False
    always: list[float] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    references: list[tuple[str, float, str]] = field(default_factory=list)
    note: str = ""
    siblings: Sequence[Panel] = ()

    @property
    def ours(self) -> list[Series]:
        """The series of our runs."""
        return [series for series in self.series if series.kind in ("line", "band")]

    def add(
        self, key: str, look: Look, traces: Sequence[Trace], kind: str = "line", remark: str = ""
    ) -> None:
        """Our runs of one series, one trace per seed; empty traces are left out."""
        drawn = [trace for t in traces if len((trace := t.until_diverged()).x)]
        if drawn:
            ends = tuple((float(t.x[-1]), float(t.hi[-1])) for t in drawn if t.diverged)
            whole = over_seeds(drawn)
            ends = ends if kind != "beside" else ()
            self.series.append(Series(kind, key, look, whole, thinned(whole), ends, remark))

    def add_paper(self, key: str, look: Look, curve: Curve) -> None:
        """A curve of the paper, over the steps that our runs cover."""
        if self.x_max is not None:
            curve = curve.until(self.x_max, self.log)
        if len(curve.x):
            line = Summary(curve.x, curve.lo, curve.hi, curve.lo, curve.hi)
            self.series.append(Series("paper", key, of_paper(look), line, line))

    def reference(self, key: str, y: float, label: str) -> None:
        """A horizontal line at y, inside the limits whatever the data."""
        self.references.append((key, y, label))
        self.always.append(y)

    def finish(self) -> None:
        """Sets scales and limits, then draws."""
        axes = self.axes
        lo, hi = self._limits()
        axes.set(yscale="log" if self.log else "linear", ylim=(lo, hi))
        right = self.x_max or max((s.line.x[-1] for s in self.series), default=1.0)
        axes.set_xlim(-0.015 * right, 1.015 * right)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=_STEPS))
        if self.log:
            set_log_ticks(axes.yaxis, lo, hi, 3 if self.small else 6)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(3 if self.small else 6, steps=_STEPS))
        for series in self.series:
            self._draw(series, lo, hi)
            self._mark_beyond(series, lo, hi)
            self._mark_ends(series, lo, hi, right)
        self._draw_references()
        if self.note:
            axes.text(
                0.03, 0.98, self.note, transform=axes.transAxes, fontsize=SMALL, va="top",
                color=GREY, bbox=HALO, zorder=6,
            )  # fmt: skip

    def _values(self) -> list[Array]:
        """All values that may count for the y limits."""
        lines = [s.whole for s in self.series if self.log or s.kind != "beside"]
        return [values for s in lines for values in (s.lo, s.hi, s.least, s.most)]

    def _limits(self) -> tuple[float, float]:
        panels = self.siblings or [self]
        values = [value for panel in panels for value in panel._values()]
        if self.fixed is None:
            return limits(values, self.log, [y for panel in panels for y in panel.always])
        least = min((v[np.isfinite(v)].min(initial=np.inf) for v in values), default=np.inf)
        return (float(least) - 0.05 if least < self.fixed[0] else self.fixed[0]), self.fixed[1]

    def _draw(self, series: Series, lo: float, hi: float) -> None:
        s, look, gid = series.line, series.look, f"{series.kind}:{series.key}"
        lower, upper, least, most = (
            clipped(y, lo, hi, self.log) for y in (s.lo, s.hi, s.least, s.most)
        )
        if series.kind in ("line", "band") and (s.seeds > 1 or s is not series.whole):
            self.axes.fill_between(
                s.x, least, most, color=look.colour, alpha=0.13, linewidth=0, zorder=1.5,
                gid=f"spread:{series.key}",
            )  # fmt: skip
        if series.kind == "band":
            fill = 0.3 if len(self.ours) < 3 else 0.18
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
                marker="." if len(s.x) == 1 else "",
            )  # fmt: skip

    def _mark_beyond(self, series: Series, lo: float, hi: float) -> None:
        """Triangles at the edge where a line lies outside the limits, inf included."""
        line, paper = series.whole, series.kind == "paper"
        for name, beyond, y in (("above", line.hi > hi, 1.0), ("below", line.lo < lo, 0.0)):
            x = line.x[beyond]
            x = x[np.unique(np.linspace(0, len(x) - 1, min(len(x), _MARKS)).round().astype(int))]
            if len(x):
                self.axes.plot(
                    x, np.full(len(x), y), "^" if y else "v", color=series.look.colour,
                    markersize=3, markeredgewidth=0.6, clip_on=False, zorder=4,
                    markerfacecolor="white" if paper else series.look.colour,
                    transform=self.axes.get_xaxis_transform(),
                    gid=f"beyond:{name}:{'paper:' * paper}{series.key}",
                )  # fmt: skip

    def _mark_ends(self, series: Series, lo: float, hi: float, right: float) -> None:
        """A cross where each diverged run ended, the word beside the first; the remark."""
        colour = mixed(series.look.colour, "black", 0.3)
        if series.ends:
            x, y = np.array(series.ends).T
            y = np.clip(y, lo, hi)
            self.axes.plot(
                x, y, "x", color=colour, markersize=5, markeredgewidth=1.4, zorder=5,
                clip_on=False, gid=f"diverged:{series.key}",
            )  # fmt: skip
            self._say_at("diverged", x[0], y[0], x[0] < 0.6 * right, colour)
        if series.remark:
            end = series.line.hi[-1]
            end = float(np.clip(end, lo, hi)) if np.isfinite(end) else lo
            self._say_at(series.remark, series.line.x[-1], end, False, series.look.colour).set_gid(
                f"chance:{series.key}"
            )

    def _say_at(self, text: str, x: float, y: float, right: bool, colour: str) -> Annotation:
        return self.axes.annotate(
            text, (x, y), xytext=(5 if right else -5, 4), textcoords="offset points",
            ha="left" if right else "right", fontsize=SMALL, color=colour, bbox=HALO, zorder=6,
        )  # fmt: skip

    def _draw_references(self) -> None:
        """The lines, each named once at the right; lines at the same height share their name."""
        names: dict[float, list[str]] = {}
        for (key, y, label), dash in zip(self.references, _REFERENCE_DASHES, strict=False):
            self.axes.axhline(
                y, color=GREY, linestyle=dash, linewidth=0.9, zorder=2.6, gid=f"reference:{key}"
            )  # fmt: skip
            same = next((other for other in names if np.isclose(other, y, rtol=1e-3)), y)
            names.setdefault(same, []).extend([label] if label else [])
        for y, labels in names.items():
            self.axes.annotate(
                " = ".join(labels), (1.0, y), xycoords=("axes fraction", "data"),
                xytext=(-1, 2.5), textcoords="offset points", ha="right", va="bottom",
                fontsize=SMALL, color=GREY, bbox=HALO, zorder=6,
            )  # fmt: skip


def say(axes: Axes, text: str) -> None:
    """Words in the middle of axes: why they are empty."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=SMALL,
        color=WARNING, bbox=HALO, zorder=7,
    )  # fmt: skip


def beside(look: Look) -> Look:
    """The look of another quantity of the same runs: dotted and darker."""
    return replace(look, colour=mixed(look.colour, "black", 0.2), dash=":", width=1.0)
