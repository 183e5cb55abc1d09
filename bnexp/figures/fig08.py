"""Fig 8: how the moments of single units shift over training, without and with (noisy) BN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from bnexp.analysis.select import Selection, needs
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.series import Trace
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look
from bnexp.analysis.units import Moments, moments
from bnexp.runs import Run

TITLE = "How the mean and variance of single units of the VGG shift"
RECIPES = ("fig8",)
_NORMS = ("none", "bn", "noisy_bn")
_LAYERS = (2, 9, 13)
NEEDS = needs("fig8", "vgg", _NORMS, [0.1], {"moments": "a b", "activations": "a b"})
_PAPER_EVERY = 100


@dataclass(frozen=True)
class _Shift:
    name: str
    label: str
    of: str
    successive: bool


_SHIFTS = {
    "a": (
        _Shift("abs_mean_step_change", "|μₜ₊₁ − μₜ|", "mean", True),
        _Shift("abs_var_step_change", "|σ²ₜ₊₁ − σ²ₜ|", "var", True),
    ),
    "b": (
        _Shift("mean_minus_initial", "μₜ − μ₀", "mean", False),
        _Shift("var_minus_initial", "σ²ₜ − σ²₀", "var", False),
    ),
}


def draw(selection: Selection, paper: bool) -> Figure:
    """Panel a: change between successive recorded points; b: since the first. A row per layer."""
    entries = [look(norm) for norm in _NORMS]
    page = sheet(8, TITLE, 7.6, selection, paper, entries, _remarks(selection))
    found = {run.id: moments(run, _LAYERS) for run in selection.of("vgg")}
    axes = page.body.subplots(6, 2, sharex=True)
    rows = [(letter, layer) for letter in _SHIFTS for layer in _LAYERS]
    for pair, (letter, layer) in zip(axes, rows, strict=True):
        for ax, shift in zip(pair, _SHIFTS[letter], strict=True):
            title = f"({letter}) Layer #{layer}"
            quantity = _quantity(shift, found)
            page.panel(ax, letter, quantity, "vgg", _NORMS, [0.1], layer=layer, title=title)
    for ax in axes[-1]:
        ax.set_xlabel("steps")
    return page.finish()


def _quantity(shift: _Shift, found: Mapping[str, Mapping[int, Moments]]) -> Quantity:
    def trace(run: Run, layer: int | None) -> Trace:
        diverged = run.state == "diverged"
        have = found[run.id].get(layer or 0)
        if have is None:
            return Trace(np.empty(0), np.empty(0), np.empty(0), diverged)
        y = have.mean if shift.of == "mean" else have.var
        change = np.abs(np.diff(y)) if shift.successive else y[1:] - y[0]
        return Trace(have.steps[1:], change, change, diverged)

    return Quantity(shift.name, "moments", shift.label, trace, small=True)


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
