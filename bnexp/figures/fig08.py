"""Fig 8: how the moments of single units shift over training, without and with (noisy) BN."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.quantities import unit_shifts
from bnexp.analysis.scales import NOISY, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look
from bnexp.registry import FIGURES

TITLE = "How the mean and variance of single units of the VGG shift"
NEEDS = needs("fig2", VGG.family, NOISY, [VGG.lr], {"moments": "a b", "activations": "a b"})
_PANELS = {
    "a": ("abs_mean_step_change", "abs_var_step_change"),
    "b": ("mean_minus_initial", "var_minus_initial"),
}


@FIGURES.register("8", title=TITLE, recipes=("fig2",), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:
    """Panel a: change between successive recorded points; b: since the first. A row per layer."""
    entries = [look(norm) for norm in selection.norms(VGG.family)]
    page = sheet("8", TITLE, 7.6, selection, paper, entries, _remarks(selection))
    shifts = unit_shifts(VGG.unit_layers)
    axes = page.body.subplots(6, 2, sharex=True)
    rows = [(letter, layer) for letter in _PANELS for layer in VGG.unit_layers]
    for pair, (letter, layer) in zip(axes, rows, strict=True):
        for ax, name in zip(pair, _PANELS[letter], strict=True):
            title = f"({letter}) Layer #{layer}"
            page.panel(ax, letter, shifts[name], VGG.family, layer, title=title)
    for ax in axes[-1]:
        ax.set_xlabel("steps")
    return page.finish()


def _remarks(selection: Selection) -> list[str]:
    remarks = ["One fixed unit per layer, pre-activation, over the batch (and positions)."]
    every = {int(run.option("probes.moments.every")) for run in selection.of(VGG.family)}
    if every - {VGG.every}:
        distance = " or ".join(map(str, sorted(every)))
        remarks.append(
            f"(a): t and t+1 are successive recorded points, {distance} steps apart here and "
            f"{VGG.every} in the paper."
        )
    return remarks
