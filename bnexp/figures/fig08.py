"""Fig 8: how the moments of single units shift over training, without and with (noisy) BN."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.figures.data import Selection, needs
from bnexp.figures.quantities import moments
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look

TITLE = "How the mean and variance of single units of the VGG shift"
RECIPES = ("fig8",)
_NORMS = ("none", "bn", "noisy_bn")
_LAYERS = (2, 9, 13)
NEEDS = needs("fig8", "vgg", _NORMS, [0.1], {"moments": "a b", "activations": "a b"})
_PAPER_EVERY = 100

_QUANTITIES = {
    "a": (
        moments("abs_mean_step_change", r"$|\mu_{t+1}-\mu_t|$", "mean", successive=True),
        moments("abs_var_step_change", r"$|\sigma^2_{t+1}-\sigma^2_t|$", "var", successive=True),
    ),
    "b": (
        moments("mean_minus_initial", r"$\mu_t-\mu_0$", "mean", successive=False),
        moments("var_minus_initial", r"$\sigma^2_t-\sigma^2_0$", "var", successive=False),
    ),
}


def draw(selection: Selection, paper: bool) -> Figure:
    """Panel a: change between successive recorded points; b: since the first. A row per layer."""
    entries = [look(norm) for norm in _NORMS]
    page = sheet(8, TITLE, 7.6, selection, paper, entries, _remarks(selection))
    axes = page.body.subplots(6, 2, sharex=True)
    rows = [(letter, layer) for letter in _QUANTITIES for layer in _LAYERS]
    for pair, (letter, layer) in zip(axes, rows, strict=True):
        for ax, quantity in zip(pair, _QUANTITIES[letter], strict=True):
            title = f"({letter}) Layer #{layer}"
            page.panel(ax, letter, quantity, "vgg", _NORMS, [0.1], layer=layer, title=title)
    for ax in axes[-1]:
        ax.set_xlabel("steps")
    return page.finish()


def _remarks(selection: Selection) -> list[str]:
    remarks = ["One fixed unit per layer, pre-activation, over the batch (and positions)."]
    every = {int(run.option("probes.moments.every")) for run in selection.of("vgg")}
    if every - {_PAPER_EVERY}:
        told = " or ".join(map(str, sorted(every)))
        remarks.append(
            f"(a): t and t+1 are successive recorded points, {told} steps apart here and "
            f"{_PAPER_EVERY} in the paper."
        )
    return remarks
