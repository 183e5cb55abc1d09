"""Draws the figures asked for from the runs there are, and writes them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from bnexp.analysis.select import Need, Selection, describe_needs, select, with_choice
from bnexp.errors import UserError
from bnexp.figures.style import style
from bnexp.registry import FIGURES
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

    @property
    def of_paper(self) -> bool:
        """Whether it is one of the paper's; the others are drawn when asked for."""
        return self.id.isdecimal()

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"fig{self.id.zfill(2)}" if re.fullmatch(r"E?\d+", self.id) else self.id


@dataclass(frozen=True)
class Choice:
    """Normalisations and learning rates to draw in place of the figure's own, where given."""

    norms: tuple[str, ...] = ()
    lrs: tuple[float, ...] = ()

    def of(self, recipe: Recipe) -> tuple[Need, ...]:
        """What the figure needs with this choice."""
        return with_choice(recipe.needs, self.norms, self.lrs)


@dataclass(frozen=True)
class Drawn:
    """What came of one figure.

    ``paths``: the files written, none where no run was found; ``missing``: what lacks of what was
    ``needed``; ``left_out``: runs that could have served too, in words.
    """

    id: str
    paths: tuple[Path, ...]
    missing: tuple[Need, ...]
    needed: tuple[Need, ...] = ()
    left_out: str = ""


def figure_ids() -> list[str]:
    """All registered figures: the paper's by number, then ours, then those of plug-ins."""

    def order(name: str) -> tuple[int, int, str]:
        number = re.fullmatch(r"(E?)(\d+)", name)
        return (2, 0, name) if number is None else (len(number[1]), int(number[2]), "")

    return sorted(FIGURES.names(), key=order)


def figure(number: str) -> Recipe:
    """The figure of this id.

    Raises:
        UserError: there is none.
    """
    if number not in FIGURES:
        raise UserError(f"figure {number!r}: expected some of {', '.join(figure_ids())}")
    entry = FIGURES[number]
    more = entry.more
    return Recipe(number, more["title"], tuple(more["recipes"]), tuple(more["needs"]), entry.item)


def drawable(number: str, runs: Sequence[Run]) -> bool:
    """Whether the runs meet more than half of what the figure needs of some network."""
    recipe = figure(number)
    matches = select(recipe.needs, runs).matches
    for family in dict.fromkeys(need.family for need in recipe.needs):
        met = [bool(r) for n, r in matches.items() if n.family == family and not n.optional]
        if 2 * sum(met) > len(met):
            return True
    return False


def draw_figures(
    ids: Sequence[str],
    runs: Sequence[Run],
    out: Path,
    formats: Sequence[str] = FORMATS,
    paper: bool = True,
    choice: Choice = Choice(),
) -> list[Drawn]:
    """Draws figures as `<out>/figNN.<format>`, each file whole or not at all.

    Args:
        ids: numbers of figures as text, see `figure_ids`.
        runs: all runs that may be drawn from; each figure takes those that it needs.
        out: the folder to write to; made if need be.
        formats: of png (150 dpi) and pdf (vector, embedded fonts).
        paper: whether to draw the paper's own curves too.
        choice: other normalisations and learning rates than the figures' own.

    Returns:
        One entry per id, in their order. A figure with some of its runs is drawn with those and
        says what is missing; one with none is not drawn.

    Raises:
        UserError: an unknown figure or format, or a damaged table; nothing is written before the
            arguments are checked.
    """
    recipes = [figure(number) for number in ids]
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise UserError(f"format: expected some of {', '.join(FORMATS)}; got {unknown[0]!r}")
    drawn = []
    for recipe in recipes:
        needed = choice.of(recipe)
        selection = select(needed, runs)
        paths: tuple[Path, ...] = ()
        if not selection.empty:
            with style():
                canvas = recipe.draw(selection, paper)
                files = [out / f"{recipe.stem}.{name}" for name in formats]
                paths = tuple(write_figure(canvas, file) for file in files)
        left_out = selection.describe_left_out()
        drawn.append(Drawn(recipe.id, paths, selection.missing, needed, left_out))
    return drawn


def message(drawn: Iterable[Drawn]) -> str | None:
    """What the figures lack or left out, and what to do about it; None when there is nothing."""
    drawn = list(drawn)
    lines = [f"figure {one.id}: left out {one.left_out}" for one in drawn if one.left_out]
    if lines:
        lines.append("choose other runs with: bnexp figures ID --where KEY=VALUE")
    lacking = [one for one in drawn if one.missing]
    for one in lacking:
        state = "drawn without" if one.paths else "not drawn, no runs:"
        lines.append(f"figure {one.id}: {state} {describe_needs(one.missing, one.needed)}")
    if lacking:
        ids = ",".join(one.id for one in lacking)
        lines.append(f"make them with: bnexp reproduce preset=quick|cpu|paper figures={ids}")
    return "\n".join(lines) or None


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
