"""Draws the figures asked for from the runs there are, and writes them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from bnexp.analysis.select import Need, Selection, select, with_choice
from bnexp.figures.page import Page
from bnexp.figures.style import style
from bnexp.registry import FIGURES
from bnexp.runs import Run, write_atomic

# No dates and no versions: the same tables give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
FORMATS = tuple(_METADATA)


@dataclass(frozen=True)
class Recipe:
    """One figure: which experiments make its runs, what it needs of them, how its page is drawn."""

    recipes: Sequence[str]
    needs: Sequence[Need]
    page: Callable[..., Page]


def figure_ids() -> list[str]:
    """All registered figures: the paper's by number, then ours, then those of plug-ins."""

    def order(name: str) -> tuple[int, int, str]:
        number = re.fullmatch(r"(E?)(\d+)", name)
        return (2, 0, name) if number is None else (len(number[1]), int(number[2]), "")

    return sorted(FIGURES.names(), key=order)


def figure(number: str) -> Recipe:
    """The figure of this id; a `UserError` where there is none."""
    entry = FIGURES[number]
    return Recipe(page=entry.item, **entry.more)


def draw_figures(
    ids: Sequence[str],
    runs: Sequence[Run],
    out: Path,
    formats: Sequence[str] = FORMATS,
    paper: bool = True,
    norms: Sequence[str] = (),
    lrs: Sequence[float] = (),
) -> tuple[list[Path], dict[str, Selection]]:
    """Draws figures as `<out>/figNN.<format>`, each file whole or not at all.

    ``ids`` are those of `figure_ids`; ``norms`` and ``lrs``, if any, are drawn in place of the
    figures' own. A figure with some of its runs is drawn with those and says what is missing; one
    with none is not drawn.

    Returns:
        The files, and by figure the runs that it is drawn from.

    Raises:
        UserError: an unknown figure, or a damaged table.
    """
    paths, selections = list[Path](), dict[str, Selection]()
    for number, recipe in {number: figure(number) for number in ids}.items():
        selection = selections[number] = select(with_choice(recipe.needs, norms, lrs), runs)
        if not selection.empty:
            drawn = recipe.page(selection, paper).figure
            stem = re.sub(r"^(?=E?\d+$)", "fig", number.zfill(2))
            paths += [write_figure(drawn, out / f"{stem}.{name}") for name in formats]
    return paths, selections


def message(selections: Mapping[str, Selection]) -> str:
    """What the figures lack or left out, and what to do about it; "" when there is nothing."""
    left_out, lacking, ids = [], [], []
    for number, selection in selections.items():
        if words := selection.describe_left_out():
            left_out.append(f"figure {number}: left out {words}")
        if words := selection.describe_missing():
            state = "not drawn, no runs:" if selection.empty else "drawn without"
            lacking.append(f"figure {number}: {state} {words}")
            ids.append(number)
    if left_out:
        left_out.append("choose other runs with: bnexp figures ID --where KEY=VALUE")
    if ids:
        make = "bnexp reproduce preset=quick|cpu|paper"
        lacking.append(f"make them with: {make} figures={','.join(ids)}")
    return "\n".join([*left_out, *lacking])


def _shaded(artist: Any) -> bool:
    """Whether the artist's colours are numbers on a colour map."""
    return isinstance(artist, ScalarMappable) and artist.get_array() is not None


@style()
def write_figure(figure: Figure, path: Path) -> Path:
    """Writes a .png or .pdf whole or not at all, the same bytes each time; returns ``path``.

    A .png has 256 colours, which the eye does not miss and which make it a third as large, but
    where colours are numbers all of them.
    """
    name, buffer, dpi = path.suffix[1:], io.BytesIO(), figure.dpi
    # Not savefig, which draws everything twice to learn of a layout that is done already.
    canvas: Any = (FigureCanvasAgg if name == "png" else FigureCanvasPdf)(figure)
    getattr(canvas, f"print_{name}")(buffer, metadata=_METADATA[name])
    figure.dpi = dpi  # which writing a PDF changes
    if name == "png":
        image = Image.open(buffer).convert("RGB")
        if not figure.findobj(_shaded):
            image = image.quantize(dither=Image.Dither.NONE)
        image.save(buffer := io.BytesIO(), "png", optimize=True, dpi=(dpi, dpi))
    write_atomic(path, buffer.getvalue())
    return path
