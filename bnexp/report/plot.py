"""A drawn figure as plain data for plotly, read back from what matplotlib drew.

So no figure is written twice, and what a plug-in draws is in the report too. Only the single seeds,
which matplotlib does not draw, come from the panels' series.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import FixedFormatter, FixedLocator

from bnexp.analysis.series import Array, clipped
from bnexp.claims.report import number
from bnexp.figures.page import Page
from bnexp.figures.panel import Panel, Series
from bnexp.figures.style import WIDTH, Dash, short, variant

Plain = dict[str, Any]
_PIXELS = 1.6  # of a line per point of its width
_SEED_POINTS = 64  # of the line of a single seed
_SYMBOLS = {"^": "triangle-up", "v": "triangle-down", "x": "x-thin-open"}
_KINDS = {"paper": "the paper", "beside": "as η → 0", "spread": "min to max"}


def plot(page: Page) -> Plain:
    """What a bare ``page`` shows: ``panels``, the ``traces`` in them, ``legend``, ``alt`` text.

    A trace has the norm, learning rate and seed of its runs where these are one (seed "all" of
    several). ``at`` gives its x, its y and of a band its other y, as indices into ``data`` (see
    `packed`); those of single seeds, shown when one is chosen, by seed.
    """
    panels, traces = list[Plain](), list[Plain]()
    arrays: dict[str, int] = {}
    for place, axes in enumerate(page.figure.axes):
        box, (x, y) = axes.get_position(), (axes.xaxis, axes.yaxis)
        panel = next((panel for panel in page.panels if panel.axes is axes), None)
        panels.append({
            "box": [round(float(end), 4) for end in (box.x0, box.x1, box.y0, box.y1)],
            "title": escape(axes.get_title("left"), quote=False),
            "x": _axis(x, axes.get_xlim()),
            "y": _axis(y, axes.get_ylim()),
            "steps": panel is not None,
            "bar": axes.get_label() == "<colorbar>",
            "notes": list(_notes(page, panel, axes)),
        })  # fmt: skip
        for trace in (*_drawn(page, panel, axes), *_seeds(panel)):
            for key, columns in (at := trace["at"]).items():
                at[key] = [arrays.setdefault(packed(column), len(arrays)) for column in columns]
            traces.append({"panel": place, **trace})
    legend = [{"label": it.label, "colour": to_hex(it.colour), "dash": _dash(it.dash, it.width)}
              for it in page.looks()]  # fmt: skip
    return {
        "id": page.number, "title": " ".join(page.title.split()), "alt": _words(page),
        "sentences": [text for text, _ in page.sentences()], "legend": legend,
        "ratio": round(page.height / WIDTH, 4), "panels": panels, "traces": traces,
        "data": list(arrays),
    }  # fmt: skip


def packed(values: Any) -> str:
    """Numbers as float32 in base64; what is too large for them is infinite and drawn as a gap."""
    with np.errstate(over="ignore"):
        return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


def _axis(axis: Axis, ends: tuple[float, float]) -> Plain:
    params, log = axis.get_tick_params(), axis.get_scale() == "log"
    plain: Plain = {
        "label": escape(axis.get_label().get_text(), quote=False), "log": log,
        "range": [float(f"{end:.7g}") for end in (np.log10(ends) if log else ends)],
        "shown": any(params.get(f"label{side}") for side in ("left", "right", "bottom", "top")),
        "right": str(axis.get_label_position()) == "right",
    }  # fmt: skip
    if isinstance(axis.get_major_locator(), FixedLocator) and not plain["right"]:
        plain["at"] = [float(f"{tick:.7g}") for tick in axis.get_majorticklocs()]
        words = axis.get_major_formatter()
        if isinstance(words, FixedFormatter):
            plain["words"] = [escape(str(word), quote=False) for word in words.seq]
    return plain


def _dash(dash: Dash, width: float) -> str:
    """A line style as SVG writes it, "" for a solid line."""
    pattern = {"-": (), ":": (1.0, 1.65)}[dash] if isinstance(dash, str) else dash[1]
    return ",".join(f"{length * width * _PIXELS:.1f}px" for length in pattern)


def _series(panel: Panel | None, gid: str) -> Series | None:
    """The series that an artist of the panel belongs to, of our runs rather than of the paper."""
    mine = [s for s in (panel.series if panel else []) if gid.endswith(f":{s.key}")]
    return min(mine, key=lambda s: s.kind == "paper", default=None)


def _whose(page: Page, panel: Panel | None, axes: Axes, artist: Artist) -> Plain:
    """The runs that an artist shows, what it is called and which parts of the legend switch it."""
    gid = artist.get_gid() or ""
    kind, _, rest = gid.partition(":")
    if kind == "reference" and panel is not None:
        return {"name": panel.references[rest][1], "groups": [panel.references[rest][1]]}
    kind = "paper" if ":paper:" in gid else kind
    groups = [_KINDS[kind]] if kind in _KINDS else []
    whose: Plain = {}
    if (series := _series(panel, gid)) is not None:
        of = [trace.of for trace in series.traces if trace.of]
        if not of:
            whose["norm"], _, whose["lr"] = series.key.partition(":")
        elif kind != "paper":
            whose["seed"] = of[0][2] if len(of) == 1 else "all"
        groups = names = [series.look.label, *groups]
    else:
        runs = page.shows.get(artist) or page.shows.get(axes, ())
        of = [(run.norm, run.lr, run.seed) for run in runs]
        names = [short(norm) for norm in dict.fromkeys(run.norm for run in runs)]
        if artist in page.shows:
            whose["seed"] = of[0][2]
            names.append(f"seed {of[0][2]}")
        elif runs and gid:
            names.append(f"step {gid.rpartition(':')[2]}")
        names += groups
    for key, values in (
        ("norm", {norm for norm, _, _ in of}),
        ("lr", {f"{lr:g}" for _, lr, _ in of}),
    ):
        if len(values) == 1:
            whose[key] = values.pop()
    return {**whose, "name": ", ".join(names), "groups": groups}


def _drawn(page: Page, panel: Panel | None, axes: Axes) -> Iterator[Plain]:
    for artist in sorted(axes.get_children(), key=Artist.get_zorder):
        it: Any = artist  # whose type the checks below do not narrow
        whose = _whose(page, panel, axes, artist)
        whose["name"] = escape(whose["name"], quote=False)
        if isinstance(artist, Line2D):
            x, y = _in_data(axes, it.get_xydata(), it.get_transform())
            yield {**whose, "at": {"": (x, y)}, **_line_style(artist)}
        elif isinstance(artist, QuadMesh):
            edges = it.get_coordinates()
            yield {"at": {"": (edges[0, :, 0], edges[:, 0, 1])}, **_colours(artist)}
        elif isinstance(artist, AxesImage):
            rows, columns = it.get_array().shape[:2]
            yield {**whose, "at": {"": (range(columns), range(rows))}, **_colours(artist)}
        elif isinstance(artist, PolyCollection) and it.get_paths():
            bands = [_band(path.vertices) for path in it.get_paths()]
            columns = [np.concatenate(parts)[:-1] for parts in zip(*bands, strict=True)]
            face, width = it.get_facecolor()[0], float(it.get_linewidth()[0])
            fill: Plain = {"colour": to_hex(face), "alpha": round(float(face[3]), 3)}
            if width:
                fill |= {"edge": to_hex(it.get_edgecolor()[0]), "width": width * _PIXELS}
            yield {**whose, "at": {"": columns}, **fill}


def _band(vertices: Any) -> list[Any]:
    """x and the two edges of what ``fill_between`` made, with a gap at the end."""
    n = (len(vertices) - 3) // 2
    lower, upper = vertices[1 : n + 1], vertices[n + 2 : 2 * n + 2][::-1]
    return [np.append(column, np.nan) for column in (lower[:, 0], lower[:, 1], upper[:, 1])]


def _in_data(axes: Axes, points: Any, transform: Any) -> list[Any]:
    """x and y of points, of which either may be given as a share of the axes."""
    points = np.asarray(points, dtype=np.float64)
    columns = []
    for column, in_data, ends, scale in zip(
        points.reshape(-1, 2).T, transform.contains_branch_seperately(axes.transData),
        (axes.get_xlim(), axes.get_ylim()), (axes.get_xscale(), axes.get_yscale()), strict=True,
    ):  # fmt: skip
        if not in_data:
            lo, hi = np.log10(ends) if scale == "log" else ends
            column = lo + (hi - lo) * column
            column = 10.0**column if scale == "log" else column
        columns.append(column)
    return columns


def _line_style(line: Any) -> Plain:
    width = float(line.get_linewidth())
    style: Plain = {"colour": to_hex(line.get_color())}
    if (alpha := line.get_alpha()) is not None:
        style["alpha"] = alpha
    if line.get_marker() not in ("", "None", None):
        style["symbol"] = _SYMBOLS.get(str(line.get_marker()), "circle")
    if line.get_linestyle() != "None":
        style["width"] = round(width * _PIXELS, 2)
        dash = line._unscaled_dash_pattern[1]  # no public way gives more than "--"
        style["dash"] = _dash((0.0, tuple(dash or ())), width)
    return style


def _colours(artist: ScalarMappable) -> Plain:
    """A map of colours: the shade of each value from 0 to 1, the values, the colour map."""
    values: Any = np.ma.masked_invalid(np.atleast_2d(np.ma.asarray(artist.get_array())))
    shades, ends = np.ma.filled(artist.norm(values), np.nan), np.linspace(0, 1, 16)
    plain = [[None if np.isnan(v) else round(float(v), 4) for v in row] for row in shades]
    words = [[number(float(v)) for v in row] for row in values.filled(np.nan)]
    scale = [[round(float(end), 4), to_hex(artist.cmap(end))] for end in ends]
    return {"z": plain, "words": words, "scale": scale}


def _seeds(panel: Panel | None) -> Iterator[Plain]:
    """Of the series drawn as the median of several seeds the lines or bands of each."""
    if panel is None:
        return
    for series in (s for s in panel.series if s.kind != "paper" and len(s.traces) > 1):
        look, label, seeds = variant(series.look, series.kind), series.look.label, dict[str, Any]()
        (low, high), band = panel.axes.get_ylim(), series.kind == "band"
        for trace in series.traces:
            edges = [clipped(y, low, high, panel.log) for y in (trace.lo, trace.hi)[: 1 + band]]
            norm, lr, seed = trace.of or ("", 0.0, -1)
            seeds[str(seed)] = [_binned(column) for column in (trace.x, *edges)]
        plain: Plain = {
            "norm": norm, "lr": f"{lr:g}", "name": escape(f"{label}, seed ", quote=False),
            "groups": [label], "colour": to_hex(look.colour), "at": seeds,
            "width": round(look.width * _PIXELS, 2),
        }  # fmt: skip
        edge = {"alpha": 0.25, "edge": plain["colour"]}
        yield {**plain, **(edge if band else {"dash": _dash(look.dash, look.width)})}


def _binned(column: Array) -> Array:
    """A column with the medians of at most `_SEED_POINTS` stretches after its first value."""
    size = max(1, -(-(len(column) - 1) // _SEED_POINTS))
    whole = (len(column) - 1) // size * size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a stretch without numbers is a gap
        return np.append(column[:1], np.nanmedian(column[1 : 1 + whole].reshape(-1, size), axis=1))


def _notes(page: Page, panel: Panel | None, axes: Axes) -> Iterator[Plain]:
    """Words in the axes."""
    for text in axes.texts:
        where = text.xy if isinstance(text, Annotation) else text.get_position()
        transform = axes.transData if isinstance(text, Annotation) else text.get_transform()
        (x,), (y,) = _in_data(axes, where, transform)
        whose = _whose(page, panel, axes, text)
        yield {
            **{key: whose[key] for key in ("norm", "lr", "groups") if key in whose},
            "x": float(x), "y": float(y), "text": escape(text.get_text(), quote=False),
            "colour": to_hex(text.get_color()), "ha": text.get_horizontalalignment(),
            "va": text.get_verticalalignment(),
        }  # fmt: skip


def _words(page: Page) -> list[str]:
    """Each panel in a sentence: where its series end."""
    sentences = []
    for panel in page.panels:
        ends = []
        for series in panel.series:
            s = series.whole
            if series.kind != "beside" and len(at := np.flatnonzero(np.isfinite(s.lo + s.hi))):
                both = dict.fromkeys(number(float(y[at[-1]])) for y in (s.lo, s.hi))
                label = series.look.label + " in the paper" * (series.kind == "paper")
                ends.append(f"{label} {' to '.join(both)} at {s.x[at[-1]]:g}")
        what = ", ".join(filter(None, [panel.axes.get_title("left"), panel.axes.get_ylabel()]))
        sentences.append(f"{what}: {'; '.join(ends) or 'nothing drawn'}.")
    return sentences
