"""Fig 3: internal covariate shift (Definition 2.1) with and without BN, VGG and DLN."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from bnexp.analysis.quantities import ICS_L2, TRAIN_ACCURACY, TRAIN_LOSS, ics_cosine
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, VGG, Experiment
from bnexp.analysis.select import Selection, needs
from bnexp.figures.sheet import Sheet, sheet
from bnexp.figures.style import look
from bnexp.registry import FIGURES

TITLE = "Internal covariate shift, as Definition 2.1 measures it"
_LETTERS = {VGG.family: "a", DLN.family: "b"}
_TRAINING = {VGG.family: TRAIN_ACCURACY, DLN.family: TRAIN_LOSS}
_LOWEST_COSINE = {VGG.family: -0.3, DLN.family: -1.1}
NEEDS = tuple(
    need
    for family, letter in _LETTERS.items()
    for need in needs(
        f"fig3{letter}",
        family,
        BOTH,
        EXPERIMENTS[family].lrs,
        {"train": letter, "gradient_shift": letter},
    )
)


@FIGURES.register("3", title=TITLE, recipes=("fig3a", "fig3b"), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:
    """Per net and learning rate: training beside l2 (above) and cosine (below) of two layers."""
    blocks = [(f, lr) for f in selection.drawn_families for lr in selection.lrs(f)]
    hidden = [str(EXPERIMENTS[family].ics_layers[1]) for family in selection.drawn_families]
    remarks = [
        f"The paper prints no y labels for the ℓ₂ difference of layer {' and '.join(hidden)}: "
        "the level of its dashed curves there is inferred, their shape is its own."
    ] * paper
    entries = [look(norm) for norm in selection.norms(blocks[0][0])]
    page = sheet("3", TITLE, 2.25 * len(blocks), selection, paper, entries, remarks)
    grid = page.body.add_gridspec(2 * len(blocks), 3, width_ratios=[1.15, 1, 1])
    for index, (family, lr) in enumerate(blocks):
        _block(page, grid, 2 * index, EXPERIMENTS[family], lr)
    return page.finish()


def _block(page: Sheet, grid: GridSpec, top: int, experiment: Experiment, lr: float) -> None:
    family, letter = experiment.family, _LETTERS[experiment.family]
    training = page.body.add_subplot(grid[top : top + 2, 0])
    title = f"({letter}) {family.upper()}, LR={lr:g}"
    page.panel(training, letter, _TRAINING[family], family, lrs=[lr], title=title)
    training.set_xlabel("steps")
    for column, layer in enumerate(experiment.ics_layers, start=1):
        upper = page.body.add_subplot(grid[top, column])
        lower = page.body.add_subplot(grid[top + 1, column])
        upper.tick_params(labelbottom=False)
        page.panel(upper, letter, ICS_L2, family, layer, lrs=[lr], title=f"Layer #{layer}")
        cosine = ics_cosine(_LOWEST_COSINE[family])
        page.panel(lower, letter, cosine, family, layer, lrs=[lr], head=False)
        lower.set_xlabel("steps")
