"""Figs E1 to E4, ours: what holds effective beta where it is: 2/lr, the grid's end, or the norm.

Each says on its page what the runs show, in sentences made from the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bnexp.analysis import quantities as q
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, LP, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import (
    band_width,
    falling,
    first_third,
    last_half,
    log_ratio,
    median,
    median_of,
    ratio_at_equal_loss,
)
from bnexp.figures.page import Page, figure
from bnexp.figures.panel import say
from bnexp.figures.style import Look, look, set_log_ticks, short
from bnexp.runs import Run

EDGE = 0.1
"""Decades within which beta counts as being at 2/lr."""


def by_edge(quantity: Quantity) -> Quantity:
    """The quantity in units of 2/lr."""
    return quantity.times(lambda run: run.lr / 2, f"{quantity.label} / (2/lr)")


def plateau(runs: Sequence[Run], quantity: Quantity) -> float:
    """The quantity's median over the last half of the run, and over seeds."""
    return median_of([median(last_half(quantity.trace(run, None), run.steps)) for run in runs])


@figure(
    "E1",
    "Does effective β measure the normalisation, or the learning rate? (DLN)",
    needs("figE1", "dln", LP, (1e-7, 3e-7, 1e-6, 3e-6), ["smoothness", "sharpness"]),
)
def fig_e1(page: Page) -> None:
    """Upper row: effective beta; lower: sharpness; both in units of 2/lr, a column per lr."""
    lrs = page.selection.lrs("dln")
    grid = page.grid(2, len(lrs), 2.1, sharex=True, sharey="row")
    for row, quantity in zip(grid, (by_edge(q.BETA), by_edge(q.SHARPNESS)), strict=True):
        panels = [
            page.panel(axes, "", quantity, "dln", lrs=[lr], title=f"lr {lr:g}")
            for axes, lr in zip(row, lrs, strict=True)
        ]
        for panel in panels:
            panel.reference("2/lr", 1.0, "2/lr")
            panel.siblings = panels
    page.remarks += plateaus(page.selection)


def plateaus(selection: Selection) -> list[str]:
    """The sentences of E1."""
    rows = [
        (norm, lr, plateau(selection.runs("dln", norm, lr, "smoothness"), by_edge(q.BETA)))
        for norm in selection.norms("dln")
        for lr in selection.lrs("dln")
    ]
    found = pd.DataFrame(rows, columns=["norm", "lr", "beta"]).dropna()
    if found.empty:
        return []
    ends = found.groupby("norm", sort=False)["beta"].agg(["min", "max"])
    ranges = [
        f"{end['min']:.2g} to {end['max']:.2g} ({short(str(n))})" for n, end in ends.iterrows()
    ]
    at_edge = np.abs(np.log10(found["beta"])) < EDGE
    apart = found.groupby("lr")["beta"].agg(lambda betas: betas.max() / betas.min()).max()
    return [
        "Over the last half of the run, effective β in units of 2/lr is, from the least to the "
        f"greatest over learning rates (medians over seeds): {', '.join(ranges)}.",
        f"It is within {10**EDGE - 1:.0%} of 2/lr in {at_edge.sum()} of {len(found)} kinds of runs"
        f", and at one learning rate the normalisations differ by a factor of up to {apart:.2g}.",
    ]


_GRIDS = {
    0.125: Look("#332288", "-", "ηₘᵢₙ = lr/8"),
    0.25: Look("#117733", (0.0, (6.0, 1.2)), "ηₘᵢₙ = lr/4"),
    0.5: Look("#CC6677", (0.0, (2.0, 1.0)), "ηₘᵢₙ = lr/2, the paper's"),
}


@figure(
    "E2",
    "Is the flat effective β of Fig 4c the grid's end, 1/ηₘᵢₙ, or 2/lr? (VGG)",
    needs("figE2", "vgg", BOTH, (VGG.lr, 0.03), ["landscape"], least_eta=0.125),
)
def fig_e2(page: Page) -> None:
    """A panel per net and learning rate: effective beta with each grid, and where each ends.

    The paper's grid begins at lr/2, where 1/eta_min is 2/lr, so that its plot cannot tell.
    """
    norms, lrs = page.selection.norms("vgg"), page.selection.lrs("vgg")
    kinds = [(lr, norm) for lr in lrs for norm in norms]
    moved, edges = [], []
    grid = page.grid(len(lrs), len(norms), 2.1)
    for axes, (lr, norm) in zip(grid.ravel(), kinds, strict=True):
        runs = page.selection.runs("vgg", norm, lr, "landscape")
        lines = {
            f"{least:g}": (look, [q.beta_from(least).trace(run, None) for run in runs])
            for least, look in _GRIDS.items()
        }
        panel = page.lines(axes, "beta", "vgg", lines, f"{short(norm)}, lr {lr:g}", q.BETA.label)
        for least in _GRIDS:
            end = f"1/ηₘᵢₙ = {1 / least:g}/lr"
            panel.reference(f"1/eta_min {least:g}", 1 / (least * lr), end)
        if runs:
            fine, coarse = (plateau(runs, q.beta_from(least)) for least in (0.125, 0.5))
            moved.append(f"{fine / coarse:.2f} ({short(norm)}, lr {lr:g})")
            edges.append(f"{fine * lr / 8:.2f}, {fine * lr / 2:.2f}")
    page.remarks += [
        "Beginning the grid at lr/8 instead of lr/2 multiplies effective β over the last half of "
        f"the run (medians over seeds) by {', '.join(moved)}: saturation would give 4, the edge of "
        "stability 1.",
        f"With the finer grid it is, in units of 1/ηₘᵢₙ and of 2/lr: {'; '.join(edges)}.",
    ]


_ROWS = {
    ("vgg", "random"): "figE3a", ("vgg", "gradient"): "fig4",
    ("dln", "random"): "figE3b", ("dln", "gradient"): "fig10",
}  # fmt: skip
"""Network and direction, and the recipe of the runs."""


@figure(
    "E3",
    "Along random directions of the gradient's length, and along the gradient",
    [
        need
        for (family, along), recipe in _ROWS.items()
        for need in needs(
            recipe, family, BOTH, [EXPERIMENTS[family].lr], ["smoothness"], direction=along
        )
    ],
)
def fig_e3(page: Page) -> None:
    """A row per net and direction (sec. 3.2, claim 6): bands of loss and gradient change, beta."""
    rows = [key for key in _ROWS if key[0] in page.families]
    bands, betas = [], []
    quantities = q.LOSS_BAND, q.predictiveness_band(), q.BETA
    for row, (family, along) in zip(page.grid(len(rows), 3, 1.85), rows, strict=True):
        lr, kind = page.selection.lrs(family)[0], f"{family.upper()}, {along}"
        for axes, quantity in zip(row, quantities, strict=True):
            panel = page.panel(axes, "", quantity, family, title=kind, direction=along)
        panel.reference("2/lr", 2 / lr, "2/lr")
        both = [page.selection.runs(family, norm, lr, "smoothness", along) for norm in BOTH]
        if all(both):
            none, bn = (
                median_of([band_width(q.LOSS_BAND.trace(r, None)) for r in runs]) for runs in both
            )
            bands.append(f"{none:.2g} and {bn:.2g} ({kind})")
            none, bn = (median_of([median(q.BETA.trace(r, None)) for r in runs]) for runs in both)
            betas.append(f"{none / bn:.2g} ({kind})")
    page.remarks += [
        "The loss spans over η, in decades without and with BN (medians over steps and seeds): "
        f"{', '.join(bands)}.",
        f"Effective β without BN is that with BN times {', '.join(betas)}.",
    ]


@figure(
    "E4",
    "Effective β where neither grid nor learning rate can bound it: as η → 0",
    needs("figE4a", "vgg", BOTH, [VGG.lr], ["curvature", "train"])
    + needs("figE4b", "dln", BOTH, [DLN.lr], ["curvature", "train"]),
)
def fig_e4(page: Page) -> None:
    """A row per net: beta as eta -> 0, the same at distances relative to ||w||, at equal loss."""
    for row, family in zip(page.grid(len(page.families), 3, 2.2), page.families, strict=True):
        lr = page.selection.lrs(family)[0]
        for axes, quantity in zip(row, (q.BETA_0, q.BETA_0_SCALED), strict=False):
            page.panel(axes, "", quantity, family, title=f"{family.upper()}, lr {lr:g}")
        nets = {
            norm: {run.seed: run for run in page.selection.runs(family, norm, lr, "curvature")}
            for norm in page.selection.norms(family)
        }
        _against_loss(row[2], page.letter(row[2]), nets)
        none, bn = list(nets.values())[:2]
        if pairs := [(none[seed], bn[seed]) for seed in sorted(none.keys() & bn.keys())]:
            page.remarks.append(_at_equal_loss(family, pairs))


def _against_loss(axes: Axes, letter: str, nets: dict[str, dict[int, Run]]) -> None:
    """Beta against the least loss so far, right to left as training goes; a line per seed."""
    axes.set(
        title=f"({letter}) at equal loss", xlabel="least train loss so far", ylabel=q.BETA_0.label,
        xscale="log", yscale="log", label=f"{letter}:beta_against_loss",
    )  # fmt: skip
    for norm, by_seed in nets.items():
        for run in by_seed.values():
            axes.plot(
                *falling(*_net(run)), color=look(norm).colour, linewidth=0.6, alpha=0.6,
                gid=f"line:{norm}:{run.seed}",
            )  # fmt: skip
    if not axes.lines:
        say(axes, "no runs")
        return
    set_log_ticks(axes.xaxis, axes.get_xlim(), 4)
    set_log_ticks(axes.yaxis, axes.get_ylim(), 6)
    axes.invert_xaxis()


def _net(run: Run) -> tuple[Trace, Trace]:
    return q.TRAIN_LOSS.trace(run, None), q.BETA_0.trace(run, None)


def _at_equal_loss(family: str, pairs: Sequence[tuple[Run, Run]]) -> str:
    """The sentence of E4 for one network, from runs without and with BN that share a seed."""

    def early(quantity: Quantity, run: Run) -> float:
        return median(first_third(quantity.trace(run, None), run.steps))

    first, scaled = (
        median_of([log_ratio(early(quantity, none), early(quantity, bn)) for none, bn in pairs])
        for quantity in (q.BETA_0, q.BETA_0_SCALED)
    )
    equal = median_of([ratio_at_equal_loss(_net(none), _net(bn)) for none, bn in pairs])
    at_loss = "not to be compared" if np.isnan(equal) else f"times {10**equal:.2g}"
    return (
        f"As η → 0, the {family.upper()}'s β without BN is that with BN times {10**first:.2g} "
        f"in the first third of the run, times {10**scaled:.2g} at distances relative to ‖w‖, "
        f"and {at_loss} at equal loss (medians over seeds)."
    )
