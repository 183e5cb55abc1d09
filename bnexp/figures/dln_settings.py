"""Figure dln_settings, ours: which settings of the deep linear network give the paper's curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bnexp.analysis import paper as paper_curves
from bnexp.analysis.coverage import compare
from bnexp.analysis.quantities import TRAIN_LOSS
from bnexp.analysis.scales import BOTH, DLN
from bnexp.analysis.select import Selection, config_value, needs
from bnexp.figures.page import Page, figure
from bnexp.figures.style import GREY, SMALL
from bnexp.runs import Run

_KEYS = ("data.A", "data.A_low", "data.A_high", "data.A_std", "model.loss", "model.init")
_CURVES = [(3, norm, lr) for norm in BOTH for lr in DLN.lrs] + [
    (5, n, DLN.lr) for n in ("l1", "l2")
]
"""Figure (panel b), norm and learning rate of the curves compared."""
_STEPS = (0, 500, 1000, 2000, 5000, 10_000)
_NEEDS = [
    need
    for _, norm, lr in _CURVES
    for need in needs("dln_settings", DLN.family, [norm], [lr], {"train": "all"}, varies=_KEYS)
]


@dataclass(frozen=True)
class Score:
    """How near one setting comes to the paper's loss curves.

    Attributes:
        setting: the values of the keys in which the runs differ.
        distance: |log10(median of seeds / paper)|, the mean over points and curves.
        inside: the share of the paper's points within the seeds' min to max.
        curves, seeds: how many curves were compared, and the most seeds of any.
    """

    setting: str
    distance: float
    inside: float
    curves: int
    seeds: int


@figure(
    "dln_settings",
    "Settings of the deep linear network beside the paper's six loss curves",
    _NEEDS,
    ("dln_settings", "dln_settings_normal", "dln_settings_init"),
)
def fig_dln_settings(page: Page) -> None:
    """A row per setting, the nearest first: distance, share inside, and both as numbers."""
    table = scores(page.selection)
    page.height = 0.7 + 0.2 * len(table)
    left, right = page.figure.subplots(1, 2, sharey=True)
    for axes, mark, values, words in (
        (left, "o", [s.distance for s in table], [f"{s.distance:.2f}" for s in table]),
        (right, "s", [s.inside for s in table],
         [f"{s.inside:.2f}, {s.curves} curves, {s.seeds} seeds" for s in table]),
    ):  # fmt: skip
        axes.plot(values, range(len(table)), mark, color="#0077BB")
        for row, (value, text) in enumerate(zip(values, words, strict=True)):
            axes.annotate(text, (value, row), fontsize=SMALL, color=GREY, va="center",
                          xytext=(5, 0), textcoords="offset points")  # fmt: skip
    left.set_yticks(range(len(table)), [s.setting for s in table], fontsize=SMALL)
    left.invert_yaxis()
    left.set(xlabel="mean distance to the paper (decades)", xlim=(0, None))
    right.set(xlabel="share of the paper's points inside", xlim=(0, 1.6), xticks=[0, 0.5, 1])
    if table:
        best, last = table[0], table[-1]
        page.remarks += [
            f"Nearest to the paper's curves: {best.setting} ({best.distance:.2f} decades, "
            f"{best.inside:.0%} of the points inside the seeds' range); farthest: {last.setting} "
            f"({last.distance:.2f}, {last.inside:.0%}).",
            "Compared at steps 0 (1 for l1, l2), 500, 1000, 2000, 5000 and 10,000.",
        ]


def scores(selection: Selection) -> list[Score]:
    """One entry per setting that any run has, the nearest to the paper's curves first."""
    runs = selection.of(DLN.family)
    keys = [key for key in _KEYS if len({str(config_value(run, key)) for run in runs}) > 1]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_name(run, keys), []).append(run)
    table = [_score(name, group) for name, group in groups.items()]
    return sorted(table, key=lambda s: (math.isnan(s.distance), s.distance, s.setting))


def _score(name: str, runs: list[Run]) -> Score:
    distances, inside, points, seeds = [], 0, 0, 0
    for number, norm, lr in _CURVES:
        mine = [run for run in runs if run.norm == norm and math.isclose(run.lr, lr)]
        curve = paper_curves.curve(number, "b", TRAIN_LOSS.name, norm, lr)
        assert curve is not None
        traces = [TRAIN_LOSS.trace(run, None).until_diverged() for run in mine]
        compared, within, apart = compare(curve, traces, log=True, ratio=True, steps=_STEPS)
        if compared:
            distances.append(float(np.nanmean(apart)))
            inside, points, seeds = inside + within, points + compared, max(seeds, len(mine))
    distance = float(np.mean(distances)) if distances else math.nan
    return Score(name, distance, inside / points if points else math.nan, len(distances), seeds)


def _name(run: Run, keys: list[str]) -> str:
    """The setting in words, less what does not count for its law of A."""
    law = config_value(run, "data.A") or "normal"  # the only one of runs before it had a name
    unused = ("data.A_std",) if law == "uniform" else ("data.A_low", "data.A_high")
    named = {key.partition(".")[2]: config_value(run, key) for key in keys if key not in unused}
    return ", ".join(f"{key}={value}" for key, value in named.items()) or f"A {law}"
