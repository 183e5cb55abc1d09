"""Figs 1 to 3, 5, 6, 8 and 9: training, covariate shift (Definition 2.1), single units.

A ridge is the density of one unit's values at one step, filled; later ones lie behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter1d

from bnexp.analysis import quantities as q
from bnexp.analysis.read import History, histories
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, LP, NOISY, VGG
from bnexp.analysis.select import needs
from bnexp.analysis.series import Array
from bnexp.figures.page import Page, figure
from bnexp.figures.panel import say
from bnexp.figures.style import HALO, SMALL, look, mixed, short
from bnexp.runs import Run

RIDGES = 20
REMARK = (
    "Ridges: densities over the batch (and positions) of one fixed unit per layer, pre-activation; "
    "the lowest seed; the tallest are drawn lower."
)
_BINS = 160
_HEIGHT = 2.6  # of a usual ridge, in distances between two
_TALLEST = 4.5  # a ridge that would hide many others is drawn lower, in its own shape


_TRAINING = {VGG.family: ("a", q.TRAIN_ACCURACY), DLN.family: ("b", q.TRAIN_LOSS)}
"""Per network the panel of Figs 3 and 5, and what shows its training."""

_ICS = ["train", "gradient_shift"]
_COSINES = {VGG.family: replace(q.ICS_COSINE, limits=(-0.3, 1.1)), DLN.family: q.ICS_COSINE}


@figure(
    "1",
    "What batch normalisation does to training the VGG",
    needs("fig1", VGG.family, BOTH, (VGG.lr, 0.5), ["train", "eval"])
    + needs("fig1", VGG.family, BOTH, [VGG.lr], ["activations"]),
)
def fig1(page: Page) -> None:
    """Panels a, b: accuracies at two learning rates; c: ridgelines of layers 3 and 11."""
    rows = max(2, len(page.selection.norms(VGG.family)))
    page.height = 2.05 * rows
    grid = page.figure.add_gridspec(rows, 3, width_ratios=[1.5, 1, 1])
    training, test = page.figure.add_subplot(grid[0, 0]), page.figure.add_subplot(grid[1:, 0])
    page.panel(training, "a", q.TRAIN_ACCURACY, VGG.family, title="(a) training")
    page.panel(test, "b", q.TEST_ACCURACY, VGG.family, title="(b) test")
    _ridges(page, grid[:, 1:], "c", VGG.family, (3, 11))


@figure(
    "2",
    "BN with noise that makes the distributions shift",
    needs("fig2", VGG.family, NOISY, [VGG.lr], ["train", "activations"]),
)
def fig2(page: Page) -> None:
    """Left: train accuracy; right: ridgelines, a row per net and a column per layer."""
    page.height = 4.5
    grid = page.figure.add_gridspec(1, 2, width_ratios=[1.55, 3])
    left = page.figure.add_subplot(grid[0])
    page.panel(left, "left", q.TRAIN_ACCURACY, VGG.family, title="Training")
    _ridges(page, grid[1], "", VGG.family, VGG.unit_layers)


@figure(
    "3",
    "Internal covariate shift, as Definition 2.1 measures it",
    needs("fig3a", VGG.family, BOTH, VGG.lrs, _ICS)
    + needs("fig3b", DLN.family, BOTH, DLN.lrs, _ICS),
)
def fig3(page: Page) -> None:
    """Per net and learning rate: training beside l2 (above) and cosine (below) of two layers."""
    blocks = [(family, lr) for family in page.families for lr in page.selection.lrs(family)]
    page.height = 2.25 * len(blocks)
    grid = page.figure.add_gridspec(2 * len(blocks), 3, width_ratios=[1.15, 1, 1])
    for top, (family, lr) in zip(range(0, 2 * len(blocks), 2), blocks, strict=True):
        letter, training = _TRAINING[family]
        axes = page.figure.add_subplot(grid[top : top + 2, 0])
        title = f"({letter}) {family.upper()}, LR={lr:g}"
        page.panel(axes, letter, training, family, lrs=[lr], title=title)
        for column, layer in enumerate(EXPERIMENTS[family].ics_layers, start=1):
            titles = (f"Layer #{layer}", "")
            for row, quantity in enumerate((q.ICS_L2, _COSINES[family])):
                axes = page.figure.add_subplot(grid[top + row, column])
                axes.tick_params(labelbottom=bool(row))
                page.panel(axes, letter, quantity, family, layer, lrs=[lr], title=titles[row])
    if page.paper:
        hidden = " and ".join(str(EXPERIMENTS[family].ics_layers[1]) for family in page.families)
        page.remarks.append(
            f"The paper prints no y labels for the ℓ₂ difference of layer {hidden}: the level of "
            "its dashed curves there is inferred, their shape is its own."
        )


@figure(
    "5",
    "Training under other normalisations",
    needs("fig5a", VGG.family, LP, [VGG.lr], ["train"])
    + needs("fig5b", DLN.family, LP, [DLN.lr], ["train"]),
)
def fig5(page: Page) -> None:
    """Panel a: the VGG's train accuracy; b: the deep linear network's train loss."""
    (row,) = page.grid(1, len(page.families), 2.5)
    for axes, family in zip(row, page.families, strict=True):
        letter, quantity = _TRAINING[family]
        page.panel(axes, letter, quantity, family, title=f"({letter}) {EXPERIMENTS[family].label}")


@figure(
    "8",
    "How the mean and variance of single units of the VGG shift",
    needs("fig2", VGG.family, NOISY, [VGG.lr], ["moments", "activations"]),
)
def fig8(page: Page) -> None:
    """Panel a: change between successive recorded points; b: since the first. A row per layer."""
    halves = ("a", q.UNIT_SHIFTS[:2]), ("b", q.UNIT_SHIFTS[2:])
    rows = [(*half, layer) for half in halves for layer in VGG.unit_layers]
    for pair, (letter, shifts, layer) in zip(page.grid(6, 2, 1.27, sharex=True), rows, strict=True):
        for axes, shift in zip(pair, shifts, strict=True):
            title = f"({letter}) Layer #{layer}"
            page.panel(axes, letter, shift, VGG.family, layer, title=title)
    page.remarks.append("One fixed unit per layer, pre-activation, over the batch (and positions).")
    every = {int(run.option("probes.moments.every")) for run in page.selection.of(VGG.family)}
    if every - {VGG.every}:
        page.remarks.append(
            f"(a): t and t+1 are successive recorded points, {' or '.join(map(str, sorted(every)))}"
            f" steps apart here and {VGG.every} in the paper."
        )


@figure(
    "6",
    "Distributions of layer 11 of the VGG under other normalisations",
    needs("fig5a", VGG.family, LP, [VGG.lr], ["activations"]),
)
def fig6(page: Page) -> None:
    """Ridgelines, a column per net; an image in the paper."""
    page.height = 2.9
    _ridges(page, page.figure.add_gridspec(1, 1)[0], "", VGG.family, (11,))


@figure(
    "9",
    "Distributions in the deep linear network",
    needs("fig10", DLN.family, BOTH, [DLN.lr], ["activations"]),
)
def fig9(page: Page) -> None:
    """Ridgelines, a row per net and a column per layer; an image in the paper."""
    page.height = 4.2
    _ridges(page, page.figure.add_gridspec(1, 1)[0], "", DLN.family, DLN.unit_layers)


def density(values: Array, edges: Array) -> Array:
    """A smoothed histogram on equal bins, its area one.

    The kernel is a Gaussian of Silverman's width, but at least one bin and at most eight.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return np.zeros(len(edges) - 1)
    width = edges[1] - edges[0]
    spread = np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.349
    bandwidth = np.clip(0.9 * spread * len(values) ** -0.2 / width, 1.0, 8.0)
    counts = np.histogram(values, edges)[0].astype(np.float64)
    smooth = gaussian_filter1d(counts, bandwidth, mode="constant")
    return np.asarray(smooth / max(counts.sum(), 1) / width, dtype=np.float64)


def shared_range(histories: Sequence[History]) -> tuple[float, float]:
    """The x range of one layer's ridges: all but the outermost 0.5 % of the values of each net."""
    nets = (np.concatenate(list(history.values())) for history in histories)
    finite = (values[np.isfinite(values)] for values in nets)
    ends = [np.quantile(values, [0.005, 0.995]) for values in finite if len(values)] or [(0.0, 1.0)]
    lo, hi = min(e[0] for e in ends), max(e[1] for e in ends)
    margin = 0.08 * (hi - lo) or 0.5
    return float(lo - margin), float(hi + margin)


def _ridges(
    page: Page, place: SubplotSpec, letter: str, family: str, layers: Sequence[int]
) -> None:
    """Ridges of the run with the lowest seed: a row per norm and a column per layer.

    Of one layer, which has an x range of its own for each norm, a column per norm.
    """
    norms, lr = page.selection.norms(family), page.selection.lrs(family, "activations")[0]
    runs = {norm: page.selection.runs(family, norm, lr, "activations")[:1] for norm in norms}
    recorded = {
        norm: histories(met[0], layers, RIDGES) if met else {} for norm, met in runs.items()
    }
    one = len(layers) == 1
    grid = place.subgridspec(*((1, len(norms)) if one else (len(norms), len(layers))))
    for column, layer in enumerate(layers):
        extent = shared_range([past[layer] for past in recorded.values() if layer in past])
        for row, norm in enumerate(norms):
            axes = page.figure.add_subplot(grid[0, row] if one else grid[row, column])
            spec, colour = axes.get_subplotspec(), look(norm).colour
            assert spec is not None
            axes.set_label(f"{letter}:activations:layer{layer}:{norm}")
            if one:
                axes.set_title(short(norm), color=colour)
            elif row == 0:
                axes.set_title(f"({letter}) " * bool(letter and column == 0) + f"Layer #{layer}")
            if spec.is_first_col():
                axes.set_ylabel(f"{short(norm)}: step", fontsize=6.5, color=colour)
            axes.set_xlabel("activation" * spec.is_last_row())
            axes.tick_params(length=2, labelleft=spec.is_first_col())
            if past := recorded[norm].get(layer):
                page.shows[axes] = runs[norm]
                _draw(axes, past, extent, runs[norm][0], colour)
                if one:
                    axes.set_xlim(shared_range([past]))
            else:
                axes.set(xticks=[], yticks=[])
                say(axes, f"no layer {layer} here" if runs[norm] else "no runs")
    page.remarks.append(REMARK)


def _draw(axes: Axes, past: History, extent: tuple[float, float], run: Run, colour: str) -> None:
    edges = np.linspace(*extent, _BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    heights = np.array([density(values, edges) for values in past.values()])
    peaks = heights.max(axis=1)
    gap = run.steps / RIDGES
    unit = _HEIGHT * gap / (float(np.median(peaks)) or 1.0)
    heights *= np.minimum(unit, _TALLEST * gap / np.maximum(peaks, 1e-300))[:, None]
    for rank, (base, height) in enumerate(zip(past, heights, strict=True)):
        axes.fill_between(  # darker early, lighter late, so that ridges far back recede
            middles, base, base + height, where=height > 0.02 * gap, linewidth=0.4,
            facecolor=mixed(colour, "white", 0.1 + 0.55 * base / run.steps),
            edgecolor=mixed(colour, "black", 0.3), zorder=2 - rank / 100, gid=f"ridge:{base}",
        )  # fmt: skip
    axes.set(xlim=extent, ylim=(-0.4 * gap, run.steps + (_HEIGHT + 0.6) * gap))
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    ticks = MaxNLocator(4, integer=True).tick_values(0, run.steps)
    axes.set_yticks([tick for tick in ticks if 0 <= tick <= run.steps])
    if run.state == "diverged":
        x = float(np.mean(extent))
        axes.text(x, max(past), "× diverged", ha="center", fontsize=SMALL, zorder=5, bbox=HALO)
