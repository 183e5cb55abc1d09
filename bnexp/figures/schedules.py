"""Figs E10 and E11, ours: batch normalisation and the schedule of the learning rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnexp.analysis import quantities as q
from bnexp.analysis.scales import BOTH
from bnexp.analysis.select import Where, needs
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import by_seed, greatest_difference, median_of, share_of_gap
from bnexp.figures.beyond import LR, end_of
from bnexp.figures.page import Lines, Page, figure
from bnexp.figures.style import Dash, Look, look, short

_WARMUP = {name: (("optim.schedule", name),) for name in ("constant", "warmup_constant")}
_RATES = 0.2, 0.5


@figure(
    "E10",
    "Is it only warm-up? (VGG)",
    needs("figE10", "vgg", BOTH, _RATES, ["train"], _WARMUP.values()),
)
def fig_e10(page: Page) -> None:
    """Train accuracy with and without BN, with and without warm-up (Gilmer et al. 2022)."""
    for axes, lr in zip(page.grid(1, len(_RATES), 2.3, sharey=True)[0], _RATES, strict=True):
        lines: Lines = {}
        ends = dict[str, float]()
        for norm in BOTH:
            for name, where in _WARMUP.items():
                warm = name != "constant"
                label = f"{short(norm)}{', warm-up' * warm}"
                dash: Dash = (0.0, (2.0, 1.0)) if warm else "-"
                its_look = replace(look(norm), dash=dash, label=label)
                lines[label] = its_look, page.traces(q.TRAIN_ACCURACY, "vgg", norm, lr, where)
                runs = page.selection.runs("vgg", norm, lr, "train", where=where)
                lost = bool(runs) and all(run.state == "diverged" for run in runs)
                ends[norm + "+" * warm] = 0.0 if lost else end_of(runs, q.TRAIN_ACCURACY)
        page.lines(axes, q.TRAIN_ACCURACY, "vgg", lines, f"lr {lr:g}")
        share = share_of_gap(ends["none+"], ends["none"], ends["bn"])
        if not np.isnan(list(ends.values())).any():
            closes = f"warm-up closes {share:z.0f} % of the gap"
            page.remarks.append(
                f"Train accuracy over the last third at lr {lr:g}: BN {ends['bn']:.0f} %, none "
                f"{ends['none']:.0f} %, none with warm-up {ends['none+']:.0f} %: "
                f"{'there is no gap to close' if np.isnan(share) else closes}."
            )


_DECAY = 0.05


def _where(schedule: str, decay: float) -> Where:
    return ("optim.schedule", schedule), ("optim.weight_decay", decay)


_COSTUMES: dict[str, tuple[str, float, Where]] = {
    "decay": ("figE11a", LR, _where("constant", _DECAY)),
    "growth": ("figE11b", LR / (1 - LR * _DECAY), _where("exponential", 0.0)),
    "neither": ("figE11a", LR, _where("constant", 0.0)),
}
"""Of E11: recipe, learning rate at the start, what else the run is made with."""
_LOOKS = {
    "decay": Look("#332288", "-", "weight decay, lr constant"),
    "growth": Look("#E0A100", (0.0, (2.0, 2.0)), "no decay, lr grows exponentially", 1.6),
    "neither": Look("#999999", "-", "no decay, lr constant"),
}


@figure(
    "E11",
    "One run in two costumes: weight decay as a growing learning rate (VGG, float64)",
    [
        need
        for recipe, lr, where in _COSTUMES.values()
        for need in needs(recipe, "vgg", BOTH, [lr], ["train"], [where])
    ],
)
def fig_e11(page: Page) -> None:
    """The data loss without and with BN, and how far each pair of runs is apart.

    Li and Arora (2020): where L(cw) = L(w), SGD on w with L2 coefficient lambda and lr eta has at
    step t the direction of SGD without it and with lr eta (1 - eta lambda)^(-2t - 1).
    """
    *panels, last = page.grid(1, 3, 2.3)[0]
    differences: Lines = {}
    for axes, norm in zip(panels, BOTH, strict=True):
        lines = {
            name: (_LOOKS[name], page.traces(q.DATA_LOSS, "vgg", norm, lr, where))
            for name, (_, lr, where) in _COSTUMES.items()
        }
        page.lines(axes, q.DATA_LOSS, "vgg", lines, short(norm))
        (_, one), (_, other), (_, third) = lines.values()
        differences[norm] = (look(norm), [apart(*pair) for pair in by_seed(one, other)])
        if not (one and other and third):
            continue
        most = median_of([greatest_difference(*pair) for pair in by_seed(one, other)])
        control = median_of([greatest_difference(*pair) for pair in by_seed(one, third)])
        page.remarks.append(
            f"{short(norm)}: over {page.selection.steps('vgg')} steps the data losses of the two "
            f"costumes differ by {10**most:.1g} of themselves at most; without decay at constant "
            f"lr by {10**control:.1g}."
        )
    difference = replace(q.DATA_LOSS, name="difference", label="relative difference")
    page.lines(last, difference, "vgg", differences, "decay against growth")


def apart(one: Trace, other: Trace) -> Trace:
    """The relative difference of two lines, 1e-17 where there is none."""
    size = min(len(one.x), len(other.x))
    line = np.maximum(np.abs(other.lo[:size] / one.lo[:size] - 1), 1e-17)
    return Trace(one.x[:size], line, line)
