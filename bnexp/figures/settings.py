"""Figs dln_settings, vgg_settings and vgg_level, ours: what the paper leaves open; quick_task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

from bnexp.analysis import paper
from bnexp.analysis import quantities as q
from bnexp.analysis.coverage import compare
from bnexp.analysis.scales import BOTH, DLN, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import median_of
from bnexp.figures.maps import TARGET, steps_to_target, values
from bnexp.figures.page import Page, figure
from bnexp.figures.style import GREY, SMALL, look
from bnexp.runs import Run

Curve = tuple[int, str, q.Quantity, str, float]
"""A curve of the paper: figure, panel, quantity, norm and learning rate."""


def beside(
    selection: Selection, family: str, curves: Iterable[Curve], name: Callable[[Run], str],
    steps: tuple[int, ...] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """A row per setting, as ``name`` calls it, and curve of the paper that its runs answer.

    ``quantity`` and ``norm`` of the curve; ``points`` that are compared, at ``steps`` or at those
    of the plot; how many lie ``inside`` the seeds' range; ``apart``, an array of their distances,
    see `compare`; ``seeds``.
    """
    rows = []
    for number, panel, quantity, norm, lr in curves:
        curve = paper.curve(number, panel, quantity.name, norm, lr)
        assert curve is not None
        groups = defaultdict[str, list[Run]](list)
        for run in selection.runs(family, norm, lr, quantity.table):
            groups[name(run)].append(run)
        for setting, runs in groups.items():
            traces = [quantity.trace(run, None).until_diverged() for run in runs]
            compared = compare(curve, traces, quantity.log, quantity.ratio, steps)
            if compared[0]:
                rows.append((setting, quantity.name, norm, *compared, len(runs)))
    columns = ["setting", "quantity", "norm", "points", "inside", "apart", "seeds"]
    return pd.DataFrame(rows, columns=columns)


_DLN_KEYS = ("data.A", "data.A_low", "data.A_high", "data.A_std", "model.loss", "model.init")
_DLN_CURVES = [(3, "b", q.TRAIN_LOSS, norm, lr) for norm in BOTH for lr in DLN.lrs]
_DLN_CURVES += [(5, "b", q.TRAIN_LOSS, norm, DLN.lr) for norm in ("l1", "l2")]
_DLN_STEPS = (0, 500, 1000, 2000, 5000, 10_000)


@figure(
    "dln_settings",
    "Settings of the deep linear network beside the paper's six loss curves",
    needs("dln_settings", "dln", BOTH, DLN.lrs, ["train"], varies=_DLN_KEYS)
    + needs("dln_settings", "dln", ("l1", "l2"), [DLN.lr], ["train"], varies=_DLN_KEYS),
    ("dln_settings", "dln_settings_normal", "dln_settings_init"),
)
def fig_dln_settings(page: Page) -> None:
    """A row per setting, the nearest first: distance and share inside, as marks and as numbers."""
    table = scores(page.selection)
    page.height = 0.7 + 0.2 * len(table)
    words = [f"{s.inside:.2f}, {s.curves} curves, {s.seeds} seeds" for s in table.itertuples()]
    shown = {"distance": [f"{value:.2f}" for value in table["distance"]], "inside": words}
    both = page.figure.subplots(1, 2, sharey=True)
    for axes, (name, texts) in zip(both, shown.items(), strict=True):
        axes.plot(table[name], range(len(table)), "o", color="#0077BB")
        for row, text in enumerate(texts):
            axes.annotate(
                text, (table[name].iloc[row], row), xytext=(5, 0), textcoords="offset points",
                fontsize=SMALL, color=GREY, va="center",
            )  # fmt: skip
    both[0].set_yticks(range(len(table)), table.index, fontsize=SMALL)
    both[0].invert_yaxis()
    both[0].set(xlabel="distance (decades)", xlim=(0, None))
    both[1].set(xlabel="share inside", xlim=(0, 2.6), xticks=[0, 0.5, 1])
    ends = [
        f"{s.Index} ({s.distance:.2f} decades, {s.inside:.0%} of the points inside)"
        for s in table.iloc[[0, -1]].itertuples()
    ]
    page.remarks.append(
        f"Mean distance of the median to the paper's curves, and share of their points inside the "
        f"seeds' range. Nearest: {ends[0]}; farthest: {ends[1]}. Compared at steps 0 (1 "
        "for l1, l2), 500, 1000, 2000, 5000 and 10,000."
    )


def scores(selection: Selection) -> pd.DataFrame:
    """How near each setting comes to the paper's loss curves, the nearest first.

    By setting, the keys in which the runs differ: ``distance``, |log10(median of seeds / paper)|,
    the mean over points and curves; ``inside``, the share of the paper's points within the seeds'
    min to max; how many ``curves`` were compared, and the most ``seeds`` of any.
    """
    runs = selection.of("dln")
    keys = [key for key in _DLN_KEYS if len({str(run.settings.get(key)) for run in runs}) > 1]

    def name(run: Run) -> str:
        law = run.settings.get("data.A") or "normal"  # the only one of runs before it had a name
        unused = ("data.A_std",) if law == "uniform" else ("data.A_low", "data.A_high")
        named = {key.partition(".")[2]: run.settings.get(key) for key in keys if key not in unused}
        return ", ".join(f"{key}={value}" for key, value in named.items()) or f"A {law}"

    table = beside(selection, "dln", _DLN_CURVES, name, _DLN_STEPS)
    table = table.assign(distance=table["apart"].map(np.nanmean))
    table = table.groupby("setting", sort=False).agg(
        distance=("distance", "mean"), inside=("inside", "sum"), points=("points", "sum"),
        curves=("points", "size"), seeds=("seeds", "max"),
    )  # fmt: skip
    table["inside"] /= table["points"]
    return table.sort_values("distance", kind="stable")


_VGG_KEYS = ("model.width", "model.init", "model.head", "optim.momentum", "optim.weight_decay")
_VGG_LABELS = {
    q.TRAIN_ACCURACY.name: "train accuracy (points)",
    q.LOSS_BAND.name: "loss (decades)",
    q.predictiveness_band().name: "predictiveness (decades)",
    q.BETA.name: "effective β (decades)",
}
_VGG_CURVES = [
    (*curve, norm, VGG.lr)
    for curve in (
        (1, "a", q.TRAIN_ACCURACY), (4, "a", q.LOSS_BAND), (4, "b", q.predictiveness_band()),
        (4, "c", q.BETA),
    )
    for norm in BOTH
]  # fmt: skip


@figure(
    "vgg_settings",
    "Open choices of the VGG: distance of its curves to the paper's",
    needs("vgg_settings", "vgg", BOTH, (VGG.lr,), ("train", "smoothness"), varies=_VGG_KEYS),
    tuple("vgg_settings" + more for more in ("", "_momentum", "_init", "_head", "_width")),
)
def fig_vgg_settings(page: Page) -> None:
    """A row per setting, a panel per curve of the paper; a mark per norm."""
    table = distances(page.selection)
    settings = list(table.groupby("setting")["rank"].mean().sort_values(kind="stable").index)
    page.height = 0.8 + 0.22 * len(settings)
    columns = page.figure.subplots(1, len(_VGG_LABELS), sharey=True)
    for axes, label in zip(columns, _VGG_LABELS.values(), strict=True):
        for norm, mark, colour in zip(BOTH, "so", (GREY, "#0077BB"), strict=True):
            mine = table[(table["curve"] == label) & (table["norm"] == norm)]
            rows = [settings.index(setting) for setting in mine["setting"]]
            axes.plot(mine["distance"], rows, mark, label=norm, color=colour)
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


def differences(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, str]:
    """By run id in which of ``keys`` the run differs from most of ``runs``, in words."""
    frame = pd.DataFrame({key: [str(run.option(key)) for run in runs] for key in keys})
    usual, names = frame.mode().iloc[0], dict[str, str]()
    for run, (_, own) in zip(runs, frame.iterrows(), strict=True):
        words = [f"{key.rpartition('.')[2]}={own[key]}" for key in keys if own[key] != usual[key]]
        names[run.id] = ", ".join(words) or "default"
    return names


def distances(selection: Selection) -> pd.DataFrame:
    """By setting, curve and norm: the median ``distance`` to the paper's curve, see `compare`, and
    its ``rank`` among the settings (from 1). A setting is called by what sets it apart from most.
    """
    names = differences(selection.of("vgg"), _VGG_KEYS)
    table = beside(selection, "vgg", _VGG_CURVES, lambda run: names[run.id])
    table = table.assign(
        curve=table["quantity"].map(_VGG_LABELS), distance=table["apart"].map(median_of)
    )
    return table.assign(rank=table.groupby(["curve", "norm"])["distance"].rank())


@figure(
    "vgg_level",
    "Open choices of the VGG: loss at step 0, and its decline by weight decay",
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
    frame = values(runs, _TASK, {"steps": steps_to_target})
    frame["task"] = list(differences(runs, _TASK).values())
    steps = frame.pivot_table("steps", "task", "norm", "median", dropna=False).sort_values("bn")
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
