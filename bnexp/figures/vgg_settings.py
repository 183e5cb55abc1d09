"""Figs vgg_settings and vgg_level, ours: what the paper leaves open about its VGG; and quick_task:
what the task of preset quick leaves open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnexp.analysis import paper
from bnexp.analysis import quantities as q
from bnexp.analysis.coverage import compare
from bnexp.analysis.scales import BOTH, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import median_of
from bnexp.figures.conditions import TARGET, steps_to_target, values
from bnexp.figures.page import Page, figure
from bnexp.figures.style import GREY, SMALL, look
from bnexp.runs import Run

_KEYS = ("model.width", "model.init", "model.head", "optim.momentum", "optim.weight_decay")
_CURVES = {
    (1, "a", "train accuracy (points)"): q.TRAIN_ACCURACY,
    (4, "a", "loss (decades)"): q.LOSS_BAND,
    (4, "b", "predictiveness (decades)"): q.predictiveness_band(),
    (4, "c", "effective β (decades)"): q.BETA,
}
"""Of the paper's curves that settings are held against: figure, panel and label; the quantity."""


@figure(
    "vgg_settings",
    "Open choices of the VGG: distance of the training curves and landscape to the paper's",
    needs("vgg_settings", "vgg", BOTH, (VGG.lr,), ("train", "smoothness"), varies=_KEYS),
    tuple("vgg_settings" + more for more in ("", "_momentum", "_init", "_head", "_width")),
)
def fig_vgg_settings(page: Page) -> None:
    """A row per setting, a panel per curve of the paper; a mark per norm."""
    table = distances(page.selection)
    settings = list(table.groupby("setting")["rank"].mean().sort_values(kind="stable").index)
    page.height = 0.8 + 0.22 * len(settings)
    columns = page.figure.subplots(1, len(_CURVES), sharey=True)
    for axes, (_, _, label) in zip(columns, _CURVES, strict=True):
        for norm, mark in zip(BOTH, "so", strict=True):
            mine = table[(table["curve"] == label) & (table["norm"] == norm)]
            rows = [settings.index(setting) for setting in mine["setting"]]
            axes.plot(
                mine["distance"],
                rows,
                mark,
                label=norm,
                color=GREY if norm == "none" else "#0077BB",
            )
        axes.set(xlabel=label, xlim=(0, None))
    columns[0].set_yticks(range(len(settings)), settings, fontsize=SMALL)
    columns[0].invert_yaxis()
    columns[0].legend(fontsize=SMALL)
    nearest = table.loc[table.groupby(["curve", "norm"])["distance"].idxmin()]
    words = [f"{r.curve}, {r.norm}: {r.setting} ({r.distance:.2g})" for r in nearest.itertuples()]
    page.remarks.append(
        f"Median distance to the paper's curve over the steps that the runs have. In order of the "
        f"mean rank over curves, {settings[0]} is the nearest of {len(settings)} settings and "
        f"{settings[-1]} the farthest. Nearest by curve: {'; '.join(words)}."
    )


def distances(selection: Selection) -> pd.DataFrame:
    """By setting, curve and norm: the median ``distance`` to the paper's curve, see `compare`, and
    its ``rank`` among the settings (from 1)."""
    rows = []
    runs = selection.of("vgg")
    for (number, panel, label), quantity in _CURVES.items():
        for norm in BOTH:
            curve = paper.curve(number, panel, quantity.name, norm, VGG.lr)
            assert curve is not None
            groups = defaultdict[str, list[Run]](list)
            for run in selection.runs("vgg", norm, VGG.lr, quantity.table):
                groups[setting_of(run, runs)].append(run)
            for setting, mine in groups.items():
                traces = [quantity.trace(run, None).until_diverged() for run in mine]
                points, _, apart = compare(curve, traces, quantity.log, quantity.ratio)
                rows.append((setting, label, norm, median_of(apart) if points else np.nan))
    table = pd.DataFrame(rows, columns=["setting", "curve", "norm", "distance"])
    return table.assign(rank=table.groupby(["curve", "norm"])["distance"].rank())


def setting_of(run: Run, runs: tuple[Run, ...], keys: Sequence[str] = _KEYS) -> str:
    """In which of ``keys`` the run differs from most of ``runs``, in words."""
    usual = {key: pd.Series([str(r.option(key)) for r in runs]).mode()[0] for key in keys}
    own = {key: str(run.option(key)) for key in keys}
    words = [f"{k.rpartition('.')[2]}={v}" for k, v in own.items() if v != usual[k]]
    return ", ".join(words) or "default"


@figure(
    "vgg_level",
    "Open choices of the VGG: level of the loss at step 0 and its decline by weight decay alone",
    needs(
        "vgg_level", "vgg", ("none",), (VGG.lr,), ("train",),
        varies=("model.depth", "model.head", "optim.weight_decay"),
    ),
)  # fmt: skip
def fig_vgg_level(page: Page) -> None:
    """A mark per setting, and the paper's: Fig 4a at step 0, and its lower envelope's decline."""
    rows = []
    for run in page.selection.of("vgg"):
        depth, head, decay = (
            run.option(key) for key in ("model.depth", "model.head", "optim.weight_decay")
        )
        name = f"VGG-{depth}, head {str(head).replace(' ', '')}, λ {decay:g}"
        rows.append((name, q.TRAIN_LOSS.trace(run, None).lo[0], 2 * decay * run.lr))
    table = pd.DataFrame(rows, columns=["setting", "level", "decline"])
    table = table.groupby("setting", as_index=False).median()
    level, declines = papers_level()
    page.height = 3.2
    axes = page.figure.subplots()
    axes.plot(table["decline"], table["level"], "o", color="#0077BB")
    for at, side in ((0, "left"), (1, "right")):
        for row in table.sort_values("level").iloc[at::2].itertuples():
            axes.annotate(
                f" {row.setting} ", (row.decline, row.level), fontsize=SMALL, ha=side, va="center"
            )
    axes.plot(declines, [level] * len(declines), "k+-", markersize=9)
    axes.annotate(" the paper", (max(declines), level), fontsize=SMALL, va="bottom")
    axes.margins(0.5, 0.15)
    axes.set(xlabel="relative decline of the loss per step, 2 λ lr", ylabel="loss at step 0")
    apart = np.hypot(np.log(table["level"] / level), np.log(table["decline"] / np.mean(declines)))
    best = table.loc[apart.idxmin()]
    page.remarks.append(
        f"The paper's loss is {level:.2f} at step 0 and its lower envelope declines by "
        f"{min(declines):.2g} to {max(declines):.2g} of itself a step once the data are fitted, "
        f"where weight decay alone acts. Nearest: {best.setting}, {best.level:.2f} and "
        f"{best.decline:.2g}."
    )


def papers_level() -> tuple[float, list[float]]:
    """Fig 4a's loss at step 0 without BN, and of both norms the relative decline per step of the
    lower envelope over the second half of the run."""
    curves = [paper.curve(4, "a", q.LOSS_BAND.name, norm, VGG.lr) for norm in BOTH]
    declines = []
    for curve in curves:
        assert curve is not None
        late = curve.x >= VGG.steps / 2
        envelope = np.log(np.minimum.accumulate(curve.lo)[late])
        declines.append(-float(np.polyfit(curve.x[late], envelope, 1)[0]))
    first = curves[0]
    assert first is not None
    return float((first.lo[0] + first.hi[0]) / 2), declines


_TASK = ("data.smallest", "data.turn", "data.shift", "data.noise", "batch_size")


@figure(
    "quick_task",
    "Candidates for the task of preset quick: steps to 80 % train accuracy",
    needs("quick_task", "vgg", BOTH, (VGG.lr,), ("train",), varies=_TASK),
    ("quick_task", "quick_task_place", "quick_task_batch"),
)
def fig_quick_task(page: Page) -> None:
    """A row per candidate, a mark per norm: the median over seeds; open where it is not reached."""
    runs = page.selection.of("vgg")
    frame = values(page.selection, ["vgg"], _TASK, steps_to_target)
    frame["task"] = [setting_of(run, runs, _TASK) for run in runs]
    steps = frame.pivot_table("value", "task", "norm", "median", dropna=False).sort_values("bn")
    last = page.selection.steps("vgg") or 1
    page.height = 1.0 + 0.18 * len(steps)
    axes = page.figure.subplots()
    for norm, mark in zip(BOTH, "so", strict=True):
        style, at, rows = look(norm), steps[norm].clip(upper=last), np.arange(len(steps))
        axes.plot(at, rows, mark, color=style.colour, fillstyle="none")
        reached = np.isfinite(steps[norm].to_numpy())
        axes.plot(at[reached], rows[reached], mark, color=style.colour, label=style.label)
    axes.set_yticks(range(len(steps)), steps.index, fontsize=SMALL)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel=f"steps to {TARGET:.0f} % train accuracy", label="a:steps")
    axes.legend(fontsize=SMALL)
    ratios = steps["none"] / steps["bn"]
    between = ((steps["bn"] >= 100) & ratios.between(2, 5)).sum()
    own = steps.loc["default"]
    page.remarks.append(
        f"Medians over seeds; open marks: not reached in {last} steps. The preset's own task takes "
        f"{own['bn']:.0f} steps with BN and {own['none']:.0f} without. Of {len(steps)} candidates "
        f"{between} take at least 100 steps with BN and two to five times as many without."
    )
