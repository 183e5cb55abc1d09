"""How every figure looks: the one place that maps a normalisation to colour, line and name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import matplotlib.style
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, to_hex, to_rgb

WIDTH = 6.75  # inches: a paper's full column
SMALL = 6.0  # points: footers and remarks
GREY = "#555555"
WARNING = "#9B1C1C"

Dash = Literal["-"] | tuple[float, tuple[float, ...]]
# Behind words that may lie on lines.
HALO = {"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.7, "edgecolor": "none"}
PAPER_DASH: Dash = (0.0, (2.6, 1.6))


@dataclass(frozen=True)
class Look:
    """Colour, line style and legend text of one series."""

    colour: str
    dash: Dash
    label: str


# The paper's red for the standard net and blue for BN; the others stay apart from both and from
# each other for the common kinds of colour blindness, and every one has a line style of its own.
_LOOKS = {
    "none": Look("#CC3311", "-", "Standard"),
    "bn": Look("#0077BB", (0.0, (9.0, 1.2)), "Standard + BatchNorm"),
    "noisy_bn": Look("#333333", (0.0, (6.0, 1.2, 1.2, 1.2)), "Standard + “Noisy” BatchNorm"),
    "noise_only": Look("#999999", (0.0, (3.0, 1.0)), "Standard + noise"),
    "l1": Look("#009988", (0.0, (6.0, 1.0, 1.0, 1.0)), "Standard + ℓ₁ norm"),
    "l2": Look("#E0A100", (0.0, (4.0, 1.0, 1.0, 1.0, 1.0, 1.0)), "Standard + ℓ₂ norm"),
    "linf": Look("#AA4499", (0.0, (1.4, 0.9)), "Standard + ℓ∞ norm"),
}

# One font throughout, and no mathtext but in ticks: every font costs a PDF 0.1 s.
_RC: dict[str, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,
    "savefig.dpi": 150,
    "figure.dpi": 150,
}


def look(norm: str, faded: bool = False) -> Look:
    """The look of a normalisation; `faded` for a second learning rate in the same panel."""
    base = _LOOKS[norm]
    if not faded:
        return base
    return Look(mixed(base.colour, "white", 0.5), base.dash, base.label)


def colours_of_steps() -> ListedColormap:
    """From dark to light with the step, without the lightest yellow, which is lost on white."""
    return ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.92, 256)), name="steps")


def mixed(colour: str, other: str, share: float) -> str:
    """`colour` with a share (0 to 1) of `other` in it."""
    (r, g, b), (r2, g2, b2) = to_rgb(colour), to_rgb(other)
    rest = 1 - share
    return to_hex((rest * r + share * r2, rest * g + share * g2, rest * b + share * b2))


def short(norm: str) -> str:
    """The name of a normalisation where there is little room."""
    return _LOOKS[norm].label.replace("Standard + ", "").replace("“Noisy”", "Noisy")


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib settings of every figure, whatever the user's own say; the backend is not touched.

    Settings count when artists are made and when they are drawn: hold this open over both.
    """
    with matplotlib.style.context(["default", _RC]):
        yield
