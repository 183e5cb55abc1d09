"""Figs 3, 5 and 8: training, internal covariate shift (Definition 2.1), moments of single units."""

from __future__ import annotations

from dataclasses import replace

from bnexp.analysis import quantities as q
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, LP, NOISY, VGG
from bnexp.analysis.select import needs
from bnexp.figures.page import Page, figure

_TRAINING = {VGG.family: ("a", q.TRAIN_ACCURACY), DLN.family: ("b", q.TRAIN_LOSS)}
"""Per network the panel of Figs 3 and 5, and what shows its training."""

_ICS = ["train", "gradient_shift"]
_COSINES = {VGG.family: replace(q.ICS_COSINE, limits=(-0.3, 1.1)), DLN.family: q.ICS_COSINE}


@figure(
    "3",
    "Internal covariate shift, as Definition 2.1 measures it",
    needs("fig3a", VGG.family, BOTH, VGG.lrs, _ICS)
    + needs("fig3b", DLN.family, BOTH, DLN.lrs, _ICS),
)
def fig3(page: Page) -> None:
    """Per net and learning rate: training beside l2 (above) and cosine (below) of two layers."""
    blocks = [(family, lr) for family in page.families for lr in page.selection.lrs(family)]
    page.height = 2.25 * len(blocks)
    grid = page.figure.add_gridspec(2 * len(blocks), 3, width_ratios=[1.15, 1, 1])
    for top, (family, lr) in zip(range(0, 2 * len(blocks), 2), blocks, strict=True):
        letter, training = _TRAINING[family]
        axes = page.figure.add_subplot(grid[top : top + 2, 0])
        title = f"({letter}) {family.upper()}, LR={lr:g}"
        page.panel(axes, letter, training, family, lrs=[lr], title=title)
        for column, layer in enumerate(EXPERIMENTS[family].ics_layers, start=1):
            titles = (f"Layer #{layer}", "")
            for row, quantity in enumerate((q.ICS_L2, _COSINES[family])):
                axes = page.figure.add_subplot(grid[top + row, column])
                axes.tick_params(labelbottom=bool(row))
                page.panel(axes, letter, quantity, family, layer, lrs=[lr], title=titles[row])
    if page.paper:
        hidden = " and ".join(str(EXPERIMENTS[family].ics_layers[1]) for family in page.families)
        page.remarks.append(
            f"The paper prints no y labels for the ℓ₂ difference of layer {hidden}: the level of "
            "its dashed curves there is inferred, their shape is its own."
        )


@figure(
    "5",
    "Training under other normalisations",
    needs("fig5a", VGG.family, LP, [VGG.lr], ["train"])
    + needs("fig5b", DLN.family, LP, [DLN.lr], ["train"]),
)
def fig5(page: Page) -> None:
    """Panel a: the VGG's train accuracy; b: the deep linear network's train loss."""
    (row,) = page.grid(1, len(page.families), 2.5)
    for axes, family in zip(row, page.families, strict=True):
        letter, quantity = _TRAINING[family]
        page.panel(axes, letter, quantity, family, title=f"({letter}) {EXPERIMENTS[family].label}")


@figure(
    "8",
    "How the mean and variance of single units of the VGG shift",
    needs("fig2", VGG.family, NOISY, [VGG.lr], ["moments", "activations"]),
)
def fig8(page: Page) -> None:
    """Panel a: change between successive recorded points; b: since the first. A row per layer."""
    halves = ("a", q.UNIT_SHIFTS[:2]), ("b", q.UNIT_SHIFTS[2:])
    rows = [(*half, layer) for half in halves for layer in VGG.unit_layers]
    for pair, (letter, shifts, layer) in zip(page.grid(6, 2, 1.27, sharex=True), rows, strict=True):
        for axes, shift in zip(pair, shifts, strict=True):
            title = f"({letter}) Layer #{layer}"
            page.panel(axes, letter, shift, VGG.family, layer, title=title)
    page.remarks.append("One fixed unit per layer, pre-activation, over the batch (and positions).")
    every = {int(run.option("probes.moments.every")) for run in page.selection.of(VGG.family)}
    if every - {VGG.every}:
        page.remarks.append(
            f"(a): t and t+1 are successive recorded points, {' or '.join(map(str, sorted(every)))}"
            f" steps apart here and {VGG.every} in the paper."
        )
