"""The numbers that a drawn figure shows, so that it can be compared without its pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Numbers = dict[str, list[float]]


def numbers(figure: Figure) -> Numbers:
    """By line or band: how many points it has, then the mean, least and greatest of x and of y."""
    shown: Numbers = {}
    for place, axes in enumerate(figure.findobj(Axes)):
        for rank, (artist, points) in enumerate(_artists(axes)):
            finite = points[np.isfinite(points).all(axis=1)]
            if len(finite):
                name = f"{place}:{axes.get_label()}:{artist.get_gid() or ''}:{rank}"
                columns = (finite.mean(0), finite.min(0), finite.max(0))
                shown[name] = [float(len(finite)), *np.concatenate(columns).tolist()]
    return shown


def differing(now: Numbers, before: Numbers, tolerance: float = 1e-8) -> list[str]:
    """The names of lines and bands that only one has, or whose numbers differ."""
    names = sorted(now.keys() ^ before.keys())
    for name in sorted(now.keys() & before.keys()):
        pairs = zip(now[name], before[name], strict=True)
        if not all(math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-300) for a, b in pairs):
            names.append(name)
    return names


def _artists(axes: Axes) -> Iterator[tuple[Artist, np.ndarray]]:
    for artist in axes.get_children():
        if isinstance(artist, Line2D):
            yield artist, np.asarray(artist.get_xydata(), dtype=np.float64)
        elif isinstance(artist, PolyCollection):
            for path in artist.get_paths():
                yield artist, np.asarray(path.vertices, dtype=np.float64)
