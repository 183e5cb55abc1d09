"""How every figure looks: the one place that maps a normalisation to colour, line and name."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import matplotlib.style
import numpy as np
from matplotlib import colormaps
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgb
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

WIDTH = 6.75  # inches: a paper's full column
SMALL = 6.0  # points: footers and remarks
GREY = "#555555"
WARNING = "#9B1C1C"
# Behind words that may lie on lines.
HALO = {"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.7, "edgecolor": "none"}

Dash = Literal["-", ":"] | tuple[float, tuple[float, ...]]
PAPER_DASH: Dash = (0.0, (2.6, 1.2))
REFERENCE_DASHES: tuple[Dash, ...] = ((0, (1, 1)), (1, (4, 4)), (0, (6, 2, 1, 2)))

style = partial(matplotlib.style.context, ["default", Path(__file__).with_name("bnexp.mplstyle")])
"""Matplotlib settings of every figure, whatever the user's own say; the backend is not touched.

Settings count when artists are made and when they are drawn: hold this open over both."""


@dataclass(frozen=True)
class Look:
    """Colour, line style and legend text of one series."""

    colour: str
    dash: Dash
    label: str
    width: float = 1.1


# The paper's red for the standard net and blue for BN; the others stay apart from both and from
# each other for the common kinds of colour blindness, and every one has a line style of its own.
_LOOKS = {
    "none": Look("#CC3311", "-", "Standard"),
    "bn": Look("#0077BB", (0.0, (9.0, 1.2)), "BatchNorm"),
    "noisy_bn": Look("#333333", (0.0, (6.0, 1.2, 1.2, 1.2)), "Noisy BatchNorm"),
    "noise_only": Look("#999999", (0.0, (3.0, 1.0)), "Noise, no BatchNorm"),
    "l1": Look("#009988", (0.0, (6.0, 1.0, 1.0, 1.0)), "ℓ₁ norm"),
    "l2": Look("#E0A100", (0.0, (4.0, 1.0, 1.0, 1.0, 1.0, 1.0)), "ℓ₂ norm"),
    "linf": Look("#AA4499", (0.0, (1.4, 0.9)), "ℓ∞ norm"),
    "ghost": Look("#332288", (0.0, (5.0, 1.0)), "Ghost BN"),
    "group": Look("#117733", (0.0, (2.0, 0.8)), "GroupNorm"),
    "instance": Look("#EE7733", (0.0, (7.0, 1.5, 2.0, 1.5)), "InstanceNorm"),
    "layer": Look("#88AA00", (0.0, (4.0, 0.8, 1.5, 0.8)), "LayerNorm"),
    "weight": Look("#882255", (0.0, (10.0, 1.0, 3.0, 1.0)), "WeightNorm"),
}

# Norms that are not built in: by the name alone, so the same in every figure.
_COLOURS = ("#332288", "#117733", "#CC6677", "#88AA00", "#882255", "#44AA99", "#AA7744", "#6677CC")
_DASHES: tuple[Dash, ...] = ((0.0, (5.0, 1.0)), (0.0, (2.0, 0.8)), (0.0, (7.0, 1.5, 2.0, 1.5)))


def look(norm: str) -> Look:
    """The look of a normalisation, built in or not."""
    row, column = divmod(zlib.crc32(norm.encode()), len(_COLOURS))
    return _LOOKS.get(norm) or Look(_COLOURS[column], _DASHES[row % len(_DASHES)], norm)


def looks(key: str, values: Sequence[Any]) -> dict[Any, Look]:
    """A look for each of the ``values`` of a setting, in their order: from dark to light."""
    if key == "norm":
        return {value: look(value) for value in values}
    shades = colormaps["viridis"](np.linspace(0.0, 0.85, len(values)))
    labels = [f"{key}={value}" if key else "runs" for value in values]
    return {
        value: Look(to_hex(shade), "-", label)
        for value, shade, label in zip(values, shades, labels, strict=True)
    }


def variant(look: Look, kind: str) -> Look:
    """How a ``line`` or ``band``, the ``paper``'s curve and one ``beside`` look in one colour."""
    if kind == "paper":
        return replace(look, colour=mixed(look.colour, "white", 0.35), dash=PAPER_DASH, width=0.8)
    if kind == "beside":
        return replace(look, colour=mixed(look.colour, "black", 0.2), dash=":", width=1.0)
    return look


def mixed(colour: str, other: str, share: float) -> str:
    """`colour` with a share (0 to 1) of `other` in it."""
    pairs = zip(to_rgb(colour), to_rgb(other), strict=True)
    r, g, b = ((1 - share) * ours + share * theirs for ours, theirs in pairs)
    return to_hex((r, g, b))


def short(norm: str) -> str:
    """What a normalisation is called in titles and sentences."""
    return look(norm).label


def _power(value: float, _: int | None = None) -> str:
    exponent = math.floor(math.log10(value) + 1e-9)
    times = f"{value / 10.0**exponent:.3g}"
    power = f"{exponent}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if times == "1" else f"{times}·10{power}"


POWERS = FuncFormatter(_power)
"""Writes powers of ten, and multiples of them, without mathtext."""


def set_log_ticks(axis: Axis, ends: tuple[float, float], most: int) -> None:
    """About `most` ticks from `lo` to `hi` of a log axis; plain numbers where short."""
    lo, hi = ends
    decades = math.log10(hi / lo)
    if decades >= 2:
        # An even distance in decades; otherwise neighbouring panels look alike and are not.
        axis.set_major_locator(LogLocator(10.0 ** math.ceil(decades / most), numticks=99))
        axis.set_major_formatter(POWERS)
    else:
        subs: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
        if decades > 0.7:
            subs = (1.0, 2.0, 5.0) if 3 * decades <= most else (1.0, 3.0)
        axis.set_major_locator(LogLocator(10.0, subs=subs, numticks=99))
        if lo >= 1e-3 and hi < 1e5:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(LogLocator(10.0, numticks=99))
    axis.set_minor_formatter(NullFormatter())
