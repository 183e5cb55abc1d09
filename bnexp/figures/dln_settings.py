"""Figure dln_settings, ours: which settings of the deep linear network give the paper's curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from bnexp.analysis import paper as paper_curves
from bnexp.analysis.coverage import compare
from bnexp.analysis.quantities import TRAIN_LOSS
from bnexp.analysis.scales import BOTH, DLN
from bnexp.analysis.select import Selection, config_value, needs
from bnexp.figures.sheet import sheet
from bnexp.figures.style import GREY, SMALL
from bnexp.registry import FIGURES
from bnexp.runs import Run

TITLE = "Settings of the deep linear network beside the paper's six loss curves"
RECIPES = ("dln_settings", "dln_settings_normal", "dln_settings_init")
_KEYS = ("data.A", "data.A_low", "data.A_high", "data.A_std", "model.loss", "model.init")
_CURVES = tuple((3, "b", norm, lr) for norm in BOTH for lr in DLN.lrs) + tuple(
    (5, "b", norm, DLN.lr) for norm in ("l1", "l2")
)
"""Figure, panel, norm and learning rate of the curves compared."""
_STEPS = (0, 500, 1000, 2000, 5000, 10_000)
NEEDS = tuple(
    need
    for _, _, norm, lr in _CURVES
    for need in needs("dln_settings", DLN.family, [norm], [lr], {"train": "all"}, varies=_KEYS)
)


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


@FIGURES.register("dln_settings", title=TITLE, recipes=RECIPES, needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  it is about the paper's
    """A row per setting, the nearest first: distance, share inside, and both as numbers."""
    table = scores(selection)
    height = 0.7 + 0.2 * len(table)
    page = sheet("dln_settings", TITLE, height, selection, False, [], sentences(table), True)
    left, right = page.body.subplots(1, 2, sharey=True)
    rows = range(len(table))
    left.plot([s.distance for s in table], rows, "o", color="#0077BB", gid="distance")
    right.plot([s.inside for s in table], rows, "s", color="#CC3311", gid="inside")
    for row, score in enumerate(table):
        number = f" {score.distance:.2f}"
        left.annotate(number, (score.distance, row), fontsize=SMALL, color=GREY, va="center",
                      xytext=(4, 0), textcoords="offset points")  # fmt: skip
        right.annotate(f"{score.inside:.2f}, {score.curves} curves, {score.seeds} seeds",
                       (score.inside, row), fontsize=SMALL, color=GREY, va="center",
                       xytext=(4, 0), textcoords="offset points")  # fmt: skip
    left.set_yticks(rows, [s.setting for s in table], fontsize=SMALL)
    left.invert_yaxis()
    left.set(xlabel="mean distance to the paper (decades)", xlim=(0, None), label="distance")
    right.set(xlabel="share of the paper's points inside", xlim=(0, 1.6), label="inside")
    right.set_xticks([0, 0.5, 1])
    return page.finish()


def scores(selection: Selection) -> list[Score]:
    """One entry per setting that any run has, the nearest to the paper's curves first."""
    runs = selection.of(DLN.family)
    values = {key: {str(config_value(run, key)) for run in runs} for key in _KEYS}
    keys = [key for key in _KEYS if len(values[key]) > 1]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_name(run, keys), []).append(run)
    return sorted((_score(name, group) for name, group in groups.items()), key=_order)


def sentences(table: list[Score]) -> list[str]:
    """What the runs show, in one sentence made from the numbers."""
    if not table:
        return []
    best = table[0]
    words = (
        f"Nearest to the paper's curves: {best.setting} ({best.distance:.2f} decades, "
        f"{best.inside:.0%} of the points inside the seeds' range)"
    )
    if len(table) > 1:
        last = table[-1]
        words += f"; farthest: {last.setting} ({last.distance:.2f}, {last.inside:.0%})"
    return [f"{words}.", "Compared at steps 0 (1 for l1, l2), 500, 1000, 2000, 5000 and 10,000."]


def _score(name: str, runs: list[Run]) -> Score:
    distances, inside, points, curves, seeds = [], 0, 0, 0, 0
    for figure, panel, norm, lr in _CURVES:
        mine = [run for run in runs if run.norm == norm and math.isclose(run.lr, lr)]
        curve = paper_curves.curve(figure, panel, TRAIN_LOSS.name, norm, lr)
        if not mine or curve is None:
            continue
        traces = [TRAIN_LOSS.trace(run, None).until_diverged() for run in mine]
        compared, within, apart = compare(curve, traces, log=True, ratio=True, steps=_STEPS)
        if compared:
            distances.append(float(np.nanmean(apart)))
            inside, points = inside + within, points + compared
            curves, seeds = curves + 1, max(seeds, len(mine))
    distance = float(np.mean(distances)) if distances else math.nan
    return Score(name, distance, inside / points if points else math.nan, curves, seeds)


def _order(score: Score) -> tuple[bool, float, str]:
    return math.isnan(score.distance), score.distance, score.setting


def _name(run: Run, keys: list[str]) -> str:
    """The setting in words, less what does not count for its law of A."""
    law = config_value(run, "data.A") or "normal"  # the only one of runs before it had a name
    unused = ("data.A_std",) if law == "uniform" else ("data.A_low", "data.A_high")
    parts = [f"{key.partition('.')[2]}={config_value(run, key)}" for key in keys
             if key not in unused]  # fmt: skip
    return ", ".join(parts) or f"A {law}"
