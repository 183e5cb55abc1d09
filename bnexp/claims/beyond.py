"""Claims of our own, past the paper: what the beta plots really show (E1, E2, E4; E3 is claim 6).

Gradient descent drives the curvature along its path to 2/lr (Cohen et al. 2021), and beta cannot
exceed 1/eta_min once a step leaves nothing of the gradient. Either makes a plateau of beta that
says nothing of the normalisation.
"""

from __future__ import annotations

import math

from bnexp.claims.claim import claim
from bnexp.claims.measures import at_equal_loss
from bnexp.claims.source import Source
from bnexp.claims.statistics import Region
from bnexp.analysis.select import Need, needs
from bnexp.analysis.summaries import first_third, last_half, log_ratio, middle

MORE = Region(low=0.0)
NORMS = ("none", "bn", "l1", "l2", "linf")
EACH = {norm: norm for norm in NORMS}
RATES = {"vgg": 0.1, "dln": 1e-6}
EARLY = {"first third": True, "whole run": False}
GRIDS = {f"{norm}, lr {lr:g}": (norm, lr) for norm in ("none", "bn") for lr in (0.1, 0.03)}


def _beta(table: str, *lrs: float) -> tuple[Need, ...]:
    return needs("figE1", "dln", NORMS, lrs, {table: ""})


def _plateau(source: Source, quantity: str, norm: str, lr: float) -> float:
    """Median over the last half of the run."""
    return middle(last_half(source.trace(quantity, norm, lr), source.steps))


@claim("E1.1", "Fig 10c, 13d", "log10 of effective beta over the last half, / (2/lr)",
       _beta("smoothness", 1e-6), Region(-0.1, 0.1), parts=EACH)  # fmt: skip
def plateau_is_two_over_lr(source: Source, norm: str) -> float:
    """On the DLN effective beta ends on a plateau at 2/lr, with and without normalisation.

    Holds if, for every normalisation, its median over the last half of the run is within a tenth
    of a decade (26 %) of 2/lr, at lr 1e-6.
    """
    return log_ratio(_plateau(source, "beta_smoothness", norm, 1e-6), 2 / 1e-6)


@claim("E1.2", "Fig 10c, 13d", "log10 of effective beta over the last half, lr 1e-7 / lr 1e-6",
       _beta("smoothness", 1e-7, 1e-6), Region(0.8, 1.2), parts=EACH)  # fmt: skip
def plateau_follows_the_rate(source: Source, norm: str) -> float:
    """The DLN's plateau of effective beta follows the learning rate.

    Holds if, for every normalisation, a tenth of the learning rate gives ten times the plateau,
    within a fifth of a decade.
    """
    small, large = (_plateau(source, "beta_smoothness", norm, lr) for lr in (1e-7, 1e-6))
    return log_ratio(small, large)


@claim("E1.3", "Fig 10c, 13d", "log10 of effective beta over the last half, norm / none",
       _beta("smoothness", 1e-6), Region(-0.1, 0.1),
       parts={norm: norm for norm in NORMS if norm != "none"})  # fmt: skip
def plateau_ignores_the_norm(source: Source, norm: str) -> float:
    """The DLN's plateau of effective beta is the same with and without normalisation.

    Holds if each normalisation's median over the last half of the run is within a tenth of a
    decade of that without, at lr 1e-6.
    """
    with_it, without = (_plateau(source, "beta_smoothness", n, 1e-6) for n in (norm, "none"))
    return log_ratio(with_it, without)


@claim("E1.4", "Fig 10c, 13d", "log10 of sharpness over the last half, / (2/lr)",
       _beta("sharpness", 1e-6), Region(-0.1, 0.1), parts=EACH)  # fmt: skip
def sharpness_is_two_over_lr(source: Source, norm: str) -> float:
    """The DLN's sharpness, too, ends at 2/lr with every normalisation: the edge of stability.

    Holds if, for every normalisation, its median over the last half of the run is within a tenth
    of a decade of 2/lr, at lr 1e-6.
    """
    return log_ratio(_plateau(source, "sharpness", norm, 1e-6), 2 / 1e-6)


def _moved(source: Source, of: tuple[str, float]) -> float:
    """log2 of how the plateau changes when the grid begins at lr/8 and not at lr/2."""
    fine, coarse = (_plateau(source, f"beta_from_{m:g}", *of) for m in (0.125, 0.5))
    return log_ratio(fine, coarse) / math.log10(2)


_GRID = needs("figE2", "vgg", ("none", "bn"), (0.1, 0.03), {"landscape": ""}, least_eta=0.125)
_MOVED = "log2 of effective beta over the last half, eta_min lr/8 / lr/2"


@claim("E2.1", "Fig 4c", _MOVED, _GRID, Region(low=1.0), unit="octaves", parts=GRIDS)
def plateau_is_saturation(source: Source, of: tuple[str, float]) -> float:
    """The VGG's flat effective beta is saturation: it follows 1/eta_min when the grid is refined.

    Holds if, for none and BN at lr 0.1 and 0.03, a quarter of eta_min makes the median over the
    last half of the run more than twice as large (saturation: four times; edge of stability: no
    change).
    """
    return _moved(source, of)


@claim("E2.2", "Fig 4c", _MOVED, _GRID, Region(-0.25, 0.25), unit="octaves", parts=GRIDS)
def plateau_ignores_the_grid(source: Source, of: tuple[str, float]) -> float:
    """The VGG's flat effective beta is the edge of stability: refining the grid does not move it.

    Holds if, for none and BN at lr 0.1 and 0.03, a quarter of eta_min changes the median over the
    last half of the run by less than a quarter of an octave (19 %).
    """
    return _moved(source, of)


def _curved(family: str, *tables: str) -> tuple[Need, ...]:
    recipe = "figE4a" if family == "vgg" else "figE4b"
    return needs(recipe, family, ("none", "bn"), (RATES[family],), dict.fromkeys(tables, ""))


def _lower(source: Source, quantity: str, family: str, early: bool) -> float:
    lines = [source.trace(quantity, norm, RATES[family]) for norm in ("none", "bn")]
    if early:
        lines = [first_third(line, source.steps) for line in lines]
    return log_ratio(middle(lines[0]), middle(lines[1]))


_AT_ZERO = "log10 of the median ||Hg||/||g||, none / BN"
_SCALED = "log10 of the median ||w||^2 ||Hg||/||g||, none / BN"
_EQUAL = "log10 of ||Hg||/||g||, none / BN, median over equal losses"


@claim("E4.1", "claim 4", _AT_ZERO, _curved("vgg", "curvature"), MORE, parts=EARLY)
def vgg_beta_at_zero(source: Source, early: bool) -> float:
    """With BN the VGG's effective beta is lower also as eta -> 0, where no grid can saturate it.

    Holds if the median over steps of ||Hg||/||g|| is lower with BN, in the first third and over
    the run.
    """
    return _lower(source, "beta_0", "vgg", early)


@claim("E4.2", "claim 4", _SCALED, _curved("vgg", "curvature"), MORE, parts=EARLY)
def vgg_beta_scaled(source: Source, early: bool) -> float:
    """With BN the VGG's beta as eta -> 0 is lower also at distances relative to ||w||.

    Holds if the median over steps of ||w||^2 ||Hg||/||g|| is lower with BN, in the first third
    and over the run: normalised weights can shrink curvature by growing alone.
    """
    return _lower(source, "beta_0_scaled", "vgg", early)


@claim("E4.3", "claim 4", _EQUAL, _curved("vgg", "curvature", "train"), MORE)
def vgg_beta_at_equal_loss(source: Source, _: None) -> float:
    """With BN the VGG's beta as eta -> 0 is lower also where the two nets have the same loss.

    Holds if the median of the log10 of the ratio, over losses that both go through, is above 0.
    """
    return at_equal_loss(source, "beta_0", ("none", "bn"), 0.1)


@claim("E4.4", "claim 4", _AT_ZERO, _curved("dln", "curvature"), MORE, parts=EARLY)
def dln_beta_at_zero(source: Source, early: bool) -> float:
    """With BN the DLN's effective beta is lower also as eta -> 0.

    Holds if the median over steps of ||Hg||/||g|| is lower with BN, in the first third and over
    the run.
    """
    return _lower(source, "beta_0", "dln", early)


@claim("E4.5", "claim 4", _SCALED, _curved("dln", "curvature"), MORE, parts=EARLY)
def dln_beta_scaled(source: Source, early: bool) -> float:
    """With BN the DLN's beta as eta -> 0 is lower also at distances relative to ||w||.

    Holds if the median over steps of ||w||^2 ||Hg||/||g|| is lower with BN, in the first third
    and over the run.
    """
    return _lower(source, "beta_0_scaled", "dln", early)


@claim("E4.6", "claim 4", _EQUAL, _curved("dln", "curvature", "train"), MORE)
def dln_beta_at_equal_loss(source: Source, _: None) -> float:
    """With BN the DLN's beta as eta -> 0 is lower also where the two nets have the same loss.

    Holds if the median of the log10 of the ratio, over losses that both go through, is above 0.
    """
    return at_equal_loss(source, "beta_0", ("none", "bn"), 1e-6)
