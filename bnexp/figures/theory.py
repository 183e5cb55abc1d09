"""Figure E5, ours: both sides of Theorems 4.1 and 4.2 along training, and what each term does."""

from __future__ import annotations

import numpy as np

from bnexp.analysis import read
from bnexp.analysis.scales import DLN, EXPERIMENTS, VGG
from bnexp.analysis.select import needs
from bnexp.analysis.series import Trace
from bnexp.figures.page import Page, figure
from bnexp.figures.style import Look
from bnexp.runs import Run

_LOOKS = {
    "plain": Look("#CC3311", "-", "without BN: ‖g‖², g′Hg"),
    "scaled": Look("#E0A100", "-", "scaled only: γ²/σ²‖g‖², γ²/σ² v′Hv"),
    "bound": Look("#0077BB", "-", "right side"),
    "left": Look("black", (0.0, (3.0, 3.0)), "left side: ‖∇L̂‖², v′Ĥv"),
    "mean": Look("#009988", "-", "share taken off: ⟨1,g⟩²/m"),
    "yhat": Look("#AA4499", (0.0, (1.4, 0.9)), "share taken off: ⟨g,ŷ⟩²/m"),
}
_COLUMNS = {
    "4.1": ("squared gradient", "plain=plain scaled=scaled bound=bound left=grad"),
    "4.1, share": ("taken off", "mean=mean_term/scaled yhat=yhat_term/scaled"),
    "4.2": (
        "curvature",
        "plain=curv_plain/plain scaled=curv_scaled/grad bound=curv_bound/grad left=curv/grad",
    ),
}
"""Per column of panels its label, and per series the columns of table ``theory``."""


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
        norm, lr = page.selection.norms(family)[0], page.selection.lrs(family)[0]
        runs = page.selection.runs(family, norm, lr, "theory")
        for axes, (theorem, (label, terms)) in zip(row, _COLUMNS.items(), strict=True):
            lines = {
                key: (_LOOKS[key], [_trace(run, layer, *ratio.split("/")) for run in runs])
                for key, _, ratio in (term.partition("=") for term in terms.split())
            }
            title, name = f"{family.upper()} {layer}: {theorem}", f"{theorem}:layer{layer}"
            page.lines(axes, name, family, lines, title, label).small = True
    page.remarks += [
        "Sums over the layer's units. g: gradient that arrives at the BN layer; v = ∇L̂ by its "
        "input. 4.2 along v of the whole layer, absolute values per ‖v‖² (g′Hg per ‖g‖²).",
        "Where the left side lies on the right one, the theorem is an equality. The share taken "
        "off is what 4.1 says of BN beyond the scale γ/σ; ⟨1,g⟩ is the gradient of β, ⟨g,ŷ⟩ that "
        "of γ. Shares below 1e-8 are drawn at 1e-8.",
    ]


def _trace(run: Run, layer: int, above: str, below: str = "") -> Trace:
    frame = read.rows(run, "theory", ["step", above, *filter(None, [below])], layer=layer)
    y = frame[above].abs()
    if below:
        y = y / frame[below].abs().replace(0, np.nan)
    return read.trace(run, frame["step"], y.clip(1e-8) if above.endswith("_term") else y)
