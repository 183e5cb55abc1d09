"""Figs E12 to E14, ours: what the literature after the paper says of BN and of SGD with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bnexp.analysis import quantities as q
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import BOTH
from bnexp.analysis.select import needs
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import by_seed, last_third, median_of, ratio_at_equal_loss
from bnexp.figures.edges import against_loss, by_edge, late
from bnexp.figures.page import Lines, Page, figure
from bnexp.figures.panel import Panel
from bnexp.figures.style import Look, look, looks, short
from bnexp.runs import Run

LR = 0.1


def end_of(runs: Sequence[Run], quantity: Quantity, layer: int | None = None) -> float:
    """The median over the last third of the run and over seeds."""
    return median_of([late(quantity, layer, last_third)(run) for run in runs])


@figure(
    "E12",
    "Rotational equilibrium: the relative update of each layer (VGG)",
    needs("figE12", "vgg", BOTH, [LR], ["updates"])
    + needs("figE12", "vgg", BOTH, [LR], ["train"], optional=True),
)
def fig_e12(page: Page) -> None:
    """Relative updates by layer in units of sqrt(2 eta lambda), and the largest over the smallest.

    Wan et al. (2021), Kosson et al. (2023).
    """
    *panels, last = page.grid(1, 3, 2.3)[0]
    spreads: Lines = {}
    for axes, norm in zip(panels, BOTH, strict=True):
        runs = page.selection.runs("vgg", norm, LR, "updates")
        known = {int(layer) for run in runs for layer in run.table("updates", ["layer"])["layer"]}
        layers = sorted(known)[:-1]
        lines = {
            f"layer {layer}": (its_look, [q.ROTATION.trace(run, layer) for run in runs])
            for layer, its_look in looks("layer", layers).items()
        }
        panel = page.lines(axes, q.ROTATION, "vgg", lines, short(norm))
        panel.reference("equilibrium", 1.0, "√(2ηλ)")
        spreads[norm] = look(norm), page.traces(q.UPDATE_SPREAD, "vgg", norm, LR)
        if runs:
            ends = [end_of(runs, q.ROTATION, layer) for layer in layers]
            first = median_of([trace.lo[0] for trace in spreads[norm][1]])
            page.remarks.append(
                f"{short(norm)}: over the last third the layers' relative updates are "
                f"{min(ends):.2g} to {max(ends):.2g} times √(2ηλ); the largest is "
                f"{end_of(runs, q.UPDATE_SPREAD):.2g} times the smallest, at first {first:.2g} "
                f"times; train accuracy {end_of(runs, q.TRAIN_ACCURACY):.0f} %."
            )
    page.lines(last, q.UPDATE_SPREAD, "vgg", spreads, "largest over smallest")
    alone = [
        (run.lr * run.option("optim.weight_decay") / 2) ** 0.5 for run in page.selection.of("vgg")
    ]
    page.remarks.append(
        f"Without a gradient, decay alone moves weights by {median_of(alone):.2g} times √(2ηλ). "
        "The head, which has no normalisation after it, is left out."
    )


_SIZES = 8, 32, 128


@figure(
    "E13",
    "The edge of stochastic stability: batch sharpness in units of 2/lr (VGG)",
    needs(
        "figE13", "vgg", BOTH, [LR], ["batch_sharpness"],
        wheres=[(("batch_size", size),) for size in _SIZES],
    ),
)  # fmt: skip
def fig_e13(page: Page) -> None:
    """A panel per net, a line per batch size (Andreyev and Beneventano 2024, arXiv 2412.20553)."""
    quantity, panels = by_edge(q.BATCH_SHARPNESS), list[Panel]()
    for axes, norm in zip(page.grid(1, 2, 2.3, sharey=True)[0], BOTH, strict=True):
        lines: Lines = {}
        ends = list[str]()
        for size, its_look in looks("batch", _SIZES).items():
            kind, where = ("vgg", norm, LR), (("batch_size", size),)
            lines[f"batch {size}"] = its_look, page.traces(quantity, *kind, where)
            if runs := page.selection.runs(*kind, quantity.table, where=where):
                end = median_of([late(quantity)(run) for run in runs])
                ends.append(f"{end:.2g} (batch {size})")
        panels.append(page.lines(axes, quantity, "vgg", lines, short(norm)))
        panels[-1].reference("2/lr", 1.0, "2/lr")
        panels[-1].siblings = panels
        if ends:
            page.remarks.append(
                f"{short(norm)}: batch sharpness over 2/lr, median over the last half of the run: "
                f"{', '.join(ends)}."
            )


_KINDS = {
    ("none", 0.0): look("none"),
    ("none", 0.1): Look("#E0A100", (0.0, (3.0, 1.0)), f"{short('none')}, dropout 0.1"),
    ("bn", 0.0): look("bn"),
    ("bn", 0.1): Look("#88CCEE", (0.0, (3.0, 1.0)), f"{short('bn')}, dropout 0.1"),
}
"""Normalisation and dropout."""


@figure(
    "E14",
    "Does BN regularise? Test loss at equal train loss (VGG)",
    needs(
        "figE14", "vgg", BOTH, [LR], ["eval"],
        wheres=[(("model.dropout", dropout),) for dropout in (0.0, 0.1)],
    ),
)  # fmt: skip
def fig_e14(page: Page) -> None:
    """Test accuracy over steps, and test loss against the loss of the whole training split.

    Both in evaluation mode, so that neither the noise of dropout nor that of batch statistics
    counts (Luo et al. 2019 on BN as a regulariser).
    """
    left, right = page.grid(1, 2, 2.3)[0]
    lines: Lines = {}
    each = dict[str, tuple[Look, Run]]()
    losses = dict[tuple[str, float], list[list[Trace]]]()
    for (norm, dropout), its_look in _KINDS.items():
        where = (("model.dropout", dropout),)
        accuracies, *losses[norm, dropout] = (
            page.traces(quantity, "vgg", norm, LR, where)
            for quantity in (q.TEST_ACCURACY, q.SPLIT_LOSS, q.TEST_LOSS)
        )
        lines[its_look.label] = its_look, accuracies
        for run in page.selection.runs("vgg", norm, LR, "eval", where=where):
            each[f"{its_look.label}:{run.seed}"] = its_look, run
    page.lines(left, q.TEST_ACCURACY, "vgg", lines, "test accuracy")
    against_loss(page, right, q.TEST_LOSS, q.SPLIT_LOSS, each)
    for kind in [("none", 0.0), ("none", 0.1), ("bn", 0.1)]:
        seeds = by_seed(*losses[kind], *losses["bn", 0.0])
        ratio = median_of([ratio_at_equal_loss((a, b), (c, d)) for a, b, c, d in seeds])
        if not math.isnan(ratio):
            page.remarks.append(
                f"At equal train loss the test loss of {_KINDS[kind].label} is "
                f"{10**ratio:.2g} times that with BN alone."
            )
