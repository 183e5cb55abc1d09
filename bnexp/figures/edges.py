"""Figs E1 to E5, ours: what holds effective beta where it is, and how much Theorem 4.1 explains.

What E1 to E4 come to in numbers stands in the claims of the same id, and in claims 6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product

import numpy as np
from matplotlib.axes import Axes

from bnexp.analysis import quantities as q
from bnexp.analysis import read
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, LP, VGG
from bnexp.analysis.select import needs
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import falling, last_half, median
from bnexp.figures.page import Page, figure
from bnexp.figures.panel import say
from bnexp.figures.style import Look, look, set_log_ticks, short
from bnexp.runs import Run


def by_edge(quantity: Quantity) -> Quantity:
    """The quantity in units of 2/lr."""
    return quantity.times(lambda run: run.lr / 2, f"{quantity.label} / (2/lr)")


def late(
    quantity: Quantity, layer: int | None = None, part: Callable[..., Trace] = last_half
) -> Callable[[Run], float]:
    """What gives of a run the median of the quantity over its last half, or another part."""
    return lambda run: median(part(quantity.trace(run, layer), run.steps))


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
    page.remarks.append("In numbers: claims E1.1 to E1.4.")


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
    grid = page.grid(len(lrs), len(norms), 2.1)
    for axes, (lr, norm) in zip(grid.ravel(), kinds, strict=True):
        lines = {
            f"{least:g}": (its_look, page.traces(q.beta_from(least), "vgg", norm, lr))
            for least, its_look in _GRIDS.items()
        }
        panel = page.lines(axes, q.BETA, "vgg", lines, f"{short(norm)}, lr {lr:g}")
        for least in _GRIDS:
            end = f"1/ηₘᵢₙ = {1 / least:g}/lr"
            panel.reference(f"1/eta_min {least:g}", 1 / (least * lr), end)
    page.remarks.append("In numbers: claims E2.1 and E2.2.")


@figure(
    "E3",
    "Along random directions of the gradient's length, and along the gradient",
    needs("figE3a", "vgg", BOTH, [VGG.lr], ["smoothness"], direction="random")
    + needs("fig4", "vgg", BOTH, [VGG.lr], ["smoothness"])
    + needs("figE3b", "dln", BOTH, [DLN.lr], ["smoothness"], direction="random")
    + needs("fig10", "dln", BOTH, [DLN.lr], ["smoothness"]),
)
def fig_e3(page: Page) -> None:
    """A row per net and direction (sec. 3.2, claim 6): bands of loss and gradient change, beta."""
    rows = list(product(page.families, ("random", "gradient")))
    quantities = q.LOSS_BAND, q.predictiveness_band(), q.BETA
    for row, (family, along) in zip(page.grid(len(rows), 3, 1.85), rows, strict=True):
        kind = f"{family.upper()}, {along}"
        for axes, quantity in zip(row, quantities, strict=True):
            panel = page.panel(axes, "", quantity, family, title=kind, direction=along)
        panel.reference("2/lr", 2 / page.selection.lrs(family)[0], "2/lr")
    page.remarks.append("In numbers: claims 6.1 to 6.4.")


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
        lines = {
            f"{norm}:{run.seed}": (look(norm), run)
            for norm in page.selection.norms(family)
            for run in page.selection.runs(family, norm, lr, "curvature")
        }
        against_loss(page, row[2], q.BETA_0, q.TRAIN_LOSS, lines)
    page.remarks.append("In numbers: claims E4.1 to E4.6.")


def against_loss(
    page: Page,
    axes: Axes,
    quantity: Quantity,
    loss: Quantity,
    lines: Mapping[str, tuple[Look, Run]],
) -> None:
    """A quantity against the least loss so far, right to left as training goes; a line per run."""
    letter = page.letter(axes)
    axes.set(
        title=f"({letter}) at equal loss", xlabel="least train loss so far", ylabel=quantity.label,
        xscale="log", yscale="log", label=f"{letter}:{quantity.name}:at equal loss",
    )  # fmt: skip
    for key, (its_look, run) in lines.items():
        x, y = falling(loss.trace(run, None), quantity.trace(run, None))
        (drawn,) = axes.plot(
            x, y, color=its_look.colour, linewidth=0.6, alpha=0.6, gid=f"line:{key}"
        )
        page.shows[drawn] = [run]
    if not axes.lines:
        say(axes, "no runs")
        return
    set_log_ticks(axes.xaxis, axes.get_xlim(), 4)
    set_log_ticks(axes.yaxis, axes.get_ylim(), 6)
    axes.invert_xaxis()


_LOOKS = {
    "plain": Look("#CC3311", "-", "without BN: ‖g‖², g′Hg"),
    "scaled": Look("#E0A100", "-", "scaled only: γ²/σ²‖g‖², γ²/σ² v′Hv"),
    "bound": Look("#0077BB", "-", "right side"),
    "grad": Look("black", (0.0, (3.0, 3.0)), "left side: ‖∇L̂‖², v′Ĥv"),
    "mean_term": Look("#009988", "-", "share taken off: ⟨1,g⟩²/m"),
    "yhat_term": Look("#AA4499", (0.0, (1.4, 0.9)), "share taken off: ⟨g,ŷ⟩²/m"),
}
_LOOKS |= {f"curv_{key}": _LOOKS[key] for key in ("plain", "scaled", "bound")}
_LOOKS["curv"] = _LOOKS["grad"]
_COLUMNS = {
    "4.1": ("squared gradient", "plain scaled bound grad"),
    "4.1, share": ("taken off", "mean_term/scaled yhat_term/scaled"),
    "4.2": ("curvature", "curv_plain/plain curv_scaled/grad curv_bound/grad curv/grad"),
}
"""Per column of panels its label, and the columns of table ``theory`` or their ratios."""


@figure(
    "E5",
    "How much of the smoothing Theorem 4.1 explains",
    needs("figE5a", "vgg", ["bn"], [VGG.lr], ["theory"])
    + needs("figE5b", "dln", ["bn"], [DLN.lr], ["theory"]),
)
def fig_e5(page: Page) -> None:
    """A row for each layer: the sides of 4.1, what it takes off beyond the scale, those of 4.2."""
    rows = [(family, layer) for family in page.families for layer in EXPERIMENTS[family].ics_layers]
    for row, (family, layer) in zip(page.grid(len(rows), 3, 1.5), rows, strict=True):
        runs = page.selection.of(family)
        for axes, (theorem, (label, terms)) in zip(row, _COLUMNS.items(), strict=True):
            lines = {
                above: (_LOOKS[above], [_trace(run, layer, above, below) for run in runs])
                for above, _, below in (term.partition("/") for term in terms.split())
            }
            shown = replace(q.BETA, name=f"{theorem}:layer{layer}", label=label, small=True)
            page.lines(axes, shown, family, lines, f"{family.upper()} {layer}: {theorem}")
    page.remarks += [
        "Sums over the layer's units. g: gradient that arrives at the BN layer; v = ∇L̂ by its "
        "input. 4.2 along v of the whole layer, absolute values per ‖v‖² (g′Hg per ‖g‖²).",
        "Where the left side lies on the right one, the theorem is an equality. The share taken "
        "off is what 4.1 says of BN beyond the scale γ/σ; ⟨1,g⟩ is the gradient of β, ⟨g,ŷ⟩ that "
        "of γ. Shares below 1e-8 are drawn at 1e-8.",
    ]


def _trace(run: Run, layer: int, above: str, below: str) -> Trace:
    frame = read.rows(run, "theory", ["step", above, below or above], layer=layer)
    y = frame[above].abs()
    if below:
        y = y / frame[below].abs().replace(0, np.nan)
    return read.trace(run, frame["step"], y.clip(1e-8) if above.endswith("_term") else y)
