"""Tick marks that can be read in small panels."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter


def set_x_ticks(axes: Axes, most: int) -> None:
    """At most `most` intervals, at whole steps."""
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True, steps=[1, 2, 2.5, 5, 10]))


def set_y_ticks(axes: Axes, log: bool, most: int) -> None:
    """About `most` ticks inside the present limits; on a log axis plain numbers where short."""
    if log:
        set_log_ticks(axes.yaxis, *axes.get_ylim(), most)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))


def set_log_ticks(axis: Axis, lo: float, hi: float, most: int) -> None:
    """About `most` ticks from `lo` to `hi` of a log axis; plain numbers where short."""
    decades = math.log10(hi / lo)
    if decades >= 2:
        # An even distance in decades; otherwise neighbouring panels look alike and are not.
        every = math.ceil(decades / most)
        axis.set_major_locator(LogLocator(10.0**every, numticks=99))
        axis.set_minor_locator(LogLocator(10.0, numticks=99))
    else:
        subs: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
        if decades > 0.7:
            subs = (1.0, 2.0, 5.0) if 3 * decades <= most else (1.0, 3.0)
        axis.set_major_locator(LogLocator(10.0, subs=subs, numticks=99))
        axis.set_minor_locator(LogLocator(10.0, subs="all", numticks=99))
        if lo >= 1e-3 and hi < 1e5:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
