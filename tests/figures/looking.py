"""What tests ask of a drawn figure: its panels by name, and the data in their artists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnexp.runs import Run


def panels(figure: Figure) -> dict[str, list[Axes]]:
    """The axes by label (letter:quantity[:layerN]); several where panels repeat per lr."""
    found: dict[str, list[Axes]] = {}
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            found.setdefault(str(axes.get_label()), []).append(axes)
    return found


def artists(axes: Axes | Figure, prefix: str) -> list[Artist]:
    """All artists whose gid begins so."""
    return [a for a in axes.findobj() if str(a.get_gid() or "").startswith(prefix)]


def line(axes: Axes, key: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the one line with this gid."""
    (found,) = artists(axes, key)
    assert isinstance(found, Line2D)
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def band(axes: Axes, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, lower and upper edge of the one filled band with this gid."""
    (found,) = artists(axes, key)
    assert isinstance(found, PolyCollection)
    points = found.get_paths()[0].vertices
    n = (len(points) - 3) // 2
    lower, upper = points[1 : n + 1], points[n + 2 : 2 * n + 2][::-1]
    np.testing.assert_array_equal(lower[:, 0], upper[:, 0])
    return lower[:, 0], lower[:, 1], upper[:, 1]


def words(figure: Figure) -> str:
    """All text on the figure."""
    texts = [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]
    return "\n".join(texts)


def run_of(runs: Sequence[Run], family: str, norm: str, lr: float) -> Run:
    """The one run of its kind."""
    (found,) = [r for r in runs if (r.family, r.norm, r.lr) == (family, norm, lr)]
    return found
