"""Draws the figures asked for from the runs there are, and writes them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from bnexp.errors import UserError
from bnexp.figures import (
    fig01,
    fig02,
    fig03,
    fig04,
    fig05,
    fig06,
    fig08,
    fig09,
    fig10,
    fig11,
    fig12,
    fig13,
    fige1,
    fige2,
    fige3,
    fige4,
    fige5,
)
from bnexp.analysis.select import Need, Selection, select, tell_missing
from bnexp.figures.style import style
from bnexp.runs import Run, write_atomic

FORMATS = ("png", "pdf")

# No dates and no versions: the same tables give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class Recipe:
    """One figure: which experiments make its runs, what it needs of them, and how it is drawn."""

    id: str
    title: str
    recipes: tuple[str, ...]
    needs: tuple[Need, ...]
    draw: Callable[[Selection, bool], Figure]


@dataclass(frozen=True)
class Drawn:
    """What came of one figure: the files written (none where no run was found), and what lacks."""

    id: str
    paths: tuple[Path, ...]
    missing: tuple[Need, ...]


def _recipe(number: str, module: ModuleType) -> Recipe:
    return Recipe(number, module.TITLE, module.RECIPES, module.NEEDS, module.draw)


FIGURES: dict[str, Recipe] = {
    number: _recipe(number, module)
    for number, module in {
        "1": fig01,
        "2": fig02,
        "3": fig03,
        "4": fig04,
        "5": fig05,
        "6": fig06,
        "8": fig08,
        "9": fig09,
        "10": fig10,
        "11": fig11,
        "12": fig12,
        "13": fig13,
        "E1": fige1,
        "E2": fige2,
        "E3": fige3,
        "E4": fige4,
        "E5": fige5,
    }.items()
}

PAPER = tuple(number for number in FIGURES if number.isdecimal())
"""The paper's own figures; the others, E1, E2, .., are ours and are made when asked for."""


def draw_figures(
    ids: Sequence[str],
    runs: Sequence[Run],
    out: Path,
    formats: Sequence[str] = FORMATS,
    paper: bool = True,
) -> list[Drawn]:
    """Draws figures as `<out>/figNN.<format>`, each file whole or not at all.

    Args:
        ids: numbers of figures as text, see `FIGURES`.
        runs: all runs that may be drawn from; each figure takes those that it needs.
        out: the folder to write to; made if need be.
        formats: of png (150 dpi) and pdf (vector, embedded fonts).
        paper: whether to draw the paper's own curves too.

    Returns:
        One entry per id, in their order. A figure with some of its runs is drawn with those and
        says what is missing; one with none is not drawn.

    Raises:
        UserError: an unknown figure or format, or a damaged table; nothing is written before the
            arguments are checked.
    """
    check_ids(ids)
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise UserError(f"format: expected some of {', '.join(FORMATS)}; got {unknown[0]!r}")
    drawn = []
    for number in ids:
        figure = FIGURES[number]
        selection = select(figure.needs, runs)
        paths: tuple[Path, ...] = ()
        if not selection.empty:
            with style():
                canvas = figure.draw(selection, paper)
                stem = f"fig{number.zfill(2)}"
                paths = tuple(write_figure(canvas, out / f"{stem}.{name}") for name in formats)
        drawn.append(Drawn(number, paths, selection.missing))
    return drawn


def check_ids(ids: Iterable[str]) -> None:
    """Raise the UserError that names the first id that is no figure with data."""
    for number in ids:
        if number not in FIGURES:
            raise UserError(f"figure {number!r}: expected some of {', '.join(FIGURES)}")


def missing_message(drawn: Iterable[Drawn]) -> str | None:
    """What the figures lack, and the command that makes it; None when they lack nothing."""
    lacking = [one for one in drawn if one.missing]
    if not lacking:
        return None
    lines = []
    for one in lacking:
        state = "drawn without" if one.paths else "not drawn, no runs:"
        lines.append(f"figure {one.id}: {state} {tell_missing(one.missing, FIGURES[one.id].needs)}")
    ids = ",".join(one.id for one in lacking)
    lines.append(f"make them with: bnexp reproduce preset=quick|cpu|paper figures={ids}")
    return "\n".join(lines)


def write_figure(figure: Figure, path: Path) -> Path:
    """Writes ``figure`` to ``path``, a .png or .pdf, whole or not at all; the same bytes each time.

    Returns ``path``.
    """
    name = path.suffix[1:]
    buffer = io.BytesIO()
    # Not savefig, which draws everything twice to learn of a layout that is done already.
    canvas: Any
    if name == "png":
        canvas = FigureCanvasAgg(figure)
        canvas.print_png(buffer, metadata=_METADATA[name])
    else:
        canvas = FigureCanvasPdf(figure)
        with _same_dpi(figure):
            canvas.print_pdf(buffer, metadata=_METADATA[name])
    write_atomic(path, buffer.getvalue())
    return path


@contextmanager
def _same_dpi(figure: Figure) -> Iterator[None]:
    """Puts back the resolution, which writing a PDF changes."""
    dpi = figure.dpi
    try:
        yield
    finally:
        figure.dpi = dpi
