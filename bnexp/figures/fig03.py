"""Fig 3: internal covariate shift (Definition 2.1) with and without BN, VGG and DLN."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from bnexp.analysis.select import Selection, needs
from bnexp.analysis.quantities import ICS_L2, TRAIN_ACCURACY, TRAIN_LOSS, Quantity, ics_cosine
from bnexp.figures.sheet import Sheet, sheet
from bnexp.figures.style import look

TITLE = "Internal covariate shift, as Definition 2.1 measures it"
RECIPES = ("fig3a", "fig3b")
_NORMS = ("none", "bn")


@dataclass(frozen=True)
class _Half:
    letter: str
    family: str
    lrs: tuple[float, float]
    layers: tuple[int, int]
    training: Quantity
    lowest_cosine: float


_HALVES = (
    _Half("a", "vgg", (0.1, 0.01), (5, 10), TRAIN_ACCURACY, -0.3),
    _Half("b", "dln", (1e-6, 1e-7), (9, 17), TRAIN_LOSS, -1.1),
)
NEEDS = tuple(
    need
    for half in _HALVES
    for need in needs(
        f"fig3{half.letter}",
        half.family,
        _NORMS,
        half.lrs,
        {"train": half.letter, "gradient_shift": half.letter},
    )
)


def draw(selection: Selection, paper: bool) -> Figure:
    """Per net and learning rate: training beside l2 (above) and cosine (below) of two layers."""
    remarks = []
    if paper:
        remarks.append(
            "The paper prints no y labels for the ℓ₂ difference of layers 10 and 17: "
            "the level of its dashed curves there is inferred, their shape is its own."
        )
    page = sheet(3, TITLE, 9.0, selection, paper, [look(norm) for norm in _NORMS], remarks)
    grid = page.body.add_gridspec(8, 3, width_ratios=[1.15, 1, 1])
    for index, half in enumerate(_HALVES):
        for row, lr in enumerate(half.lrs):
            _block(page, grid, 4 * index + 2 * row, half, lr)
    return page.finish()


def _block(page: Sheet, grid: GridSpec, top: int, half: _Half, lr: float) -> None:
    kind = half.family, _NORMS, (lr,)
    training = page.body.add_subplot(grid[top : top + 2, 0])
    title = f"({half.letter}) {half.family.upper()}, LR={lr:g}"
    page.panel(training, half.letter, half.training, *kind, title=title)
    training.set_xlabel("steps")
    for column, layer in enumerate(half.layers, start=1):
        upper = page.body.add_subplot(grid[top, column])
        lower = page.body.add_subplot(grid[top + 1, column])
        upper.tick_params(labelbottom=False)
        page.panel(upper, half.letter, ICS_L2, *kind, layer=layer, title=f"Layer #{layer}")
        cosine = ics_cosine(half.lowest_cosine)
        page.panel(lower, half.letter, cosine, *kind, layer=layer, head=False)
        lower.set_xlabel("steps")
