"""Claim 4: with BN the landscape is smoother along the gradient."""

from __future__ import annotations

from bnexp.claims.claim import claim
from bnexp.claims.source import Source
from bnexp.claims.statistics import Region
from bnexp.analysis.select import Need, needs
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import first_third, last_third, log_ratio, top, width

MORE = Region(low=0.0)
PARTS = {"first third": True, "whole run": False}
LOSS, GRADIENT, BETA = "loss_landscape", "gradient_predictiveness", "beta_smoothness"
BAND = "median log10(top/bottom) of the {} over eta, none less BN"
RATIO = "log10 of the median {}, none / BN"


def landscape_needs(recipe: str, family: str, direction: str = "gradient") -> tuple[Need, ...]:
    """Runs with and without BN, at the default learning rate."""
    lr = 0.1 if family == "vgg" else 1e-6
    return needs(recipe, family, ("none", "bn"), (lr,), {"smoothness": ""}, direction)


def _pair(source: Source, quantity: str, lr: float, early: bool) -> tuple[Trace, Trace]:
    none, bn = (source.trace(quantity, norm, lr) for norm in ("none", "bn"))
    if early:
        return first_third(none, source.steps), first_third(bn, source.steps)
    return none, bn


def narrower(source: Source, quantity: str, lr: float, early: bool) -> float:
    """By how many decades BN's band is narrower, in the first third or over the run."""
    none, bn = _pair(source, quantity, lr, early)
    return width(none) - width(bn)


def smaller(source: Source, quantity: str, lr: float, early: bool) -> float:
    """By how many decades BN's upper edge is lower, in the first third or over the run."""
    none, bn = _pair(source, quantity, lr, early)
    return log_ratio(top(none), top(bn))


@claim(
    "4.1",
    "sec. 3.2, Fig 4a",
    BAND.format("loss"),
    landscape_needs("fig4", "vgg"),
    MORE,
    parts=PARTS,
)
def vgg_loss(source: Source, early: bool) -> float:
    """With BN the VGG's loss varies less along the gradient.

    Holds if BN's band of the loss over eta is narrower, in the first third and over the run.
    """
    return narrower(source, LOSS, 0.1, early)


@claim("4.2", "sec. 3.2, Fig 4b", RATIO.format("greatest gradient change over eta"),
       landscape_needs("fig4", "vgg"), MORE, parts=PARTS)  # fmt: skip
def vgg_gradient(source: Source, early: bool) -> float:
    """With BN the VGG's gradients are more predictive.

    Holds if the greatest change of the gradient over eta is smaller with BN, in the first third
    and over the run.
    """
    return smaller(source, GRADIENT, 0.1, early)


@claim("4.3", "sec. 3.2, Fig 4b", BAND.format("gradient change"),
       landscape_needs("fig4", "vgg"), MORE, parts=PARTS)  # fmt: skip
def vgg_gradient_band(source: Source, early: bool) -> float:
    """With BN the change of the VGG's gradient varies less along the gradient.

    Holds if BN's band of gradient predictiveness over eta is narrower, in the first third and
    over the run.
    """
    return narrower(source, GRADIENT, 0.1, early)


@claim("4.4", "sec. 3.2, Fig 4c", RATIO.format("effective beta"),
       landscape_needs("fig4", "vgg"), MORE, parts=PARTS)  # fmt: skip
def vgg_beta(source: Source, early: bool) -> float:
    """With BN the VGG's effective beta-smoothness is lower.

    Holds if its median over steps is lower with BN, in the first third and over the run.
    """
    return smaller(source, BETA, 0.1, early)


@claim("4.5", "sec. 3.2, Fig 4c", "log10 of the greatest effective beta of the run, none / BN",
       landscape_needs("fig4", "vgg"), MORE)  # fmt: skip
def vgg_greatest_beta(source: Source, _: None) -> float:
    """The greatest effective beta that the VGG meets in its run is lower with BN.

    Holds if the log10 of the ratio of the maxima over steps is above 0.
    """
    return _greatest(source, 0.1)


@claim("4.6", "sec. 3.2, Fig 4a",
       "median log10(top/bottom) of the loss over eta, none less BN, first less last third",
       landscape_needs("fig4", "vgg"), MORE)  # fmt: skip
def vgg_above_all_early(source: Source, _: None) -> float:
    """BN narrows the VGG's loss band above all early in training.

    Holds if the band is narrowed by more in the first third of the run than in the last.
    """
    none, bn = _pair(source, LOSS, 0.1, early=False)
    gains = [
        width(part(none, source.steps)) - width(part(bn, source.steps))
        for part in (first_third, last_third)
    ]
    return gains[0] - gains[1]


@claim(
    "4.7",
    "App. B, Fig 10a",
    BAND.format("loss"),
    landscape_needs("fig10", "dln"),
    MORE,
    parts=PARTS,
)
def dln_loss(source: Source, early: bool) -> float:
    """With BN the DLN's loss varies less along the gradient.

    Holds if BN's band of the loss over eta is narrower, in the first third and over the run.
    """
    return narrower(source, LOSS, 1e-6, early)


@claim("4.8", "App. B, Fig 10b", RATIO.format("greatest gradient change over eta"),
       landscape_needs("fig10", "dln"), MORE, parts=PARTS)  # fmt: skip
def dln_gradient(source: Source, early: bool) -> float:
    """With BN the DLN's gradients are more predictive.

    Holds if the greatest change of the gradient over eta is smaller with BN, in the first third
    and over the run.
    """
    return smaller(source, GRADIENT, 1e-6, early)


@claim("4.9", "App. B, Fig 10b", BAND.format("gradient change"),
       landscape_needs("fig10", "dln"), MORE, parts=PARTS)  # fmt: skip
def dln_gradient_band(source: Source, early: bool) -> float:
    """With BN the change of the DLN's gradient varies less along the gradient.

    Holds if BN's band of gradient predictiveness over eta is narrower, in the first third and
    over the run.
    """
    return narrower(source, GRADIENT, 1e-6, early)


@claim("4.10", "App. B, Fig 10c", RATIO.format("effective beta"),
       landscape_needs("fig10", "dln"), MORE, parts=PARTS)  # fmt: skip
def dln_beta(source: Source, early: bool) -> float:
    """With BN the DLN's effective beta-smoothness is lower.

    Holds if its median over steps is lower with BN, in the first third and over the run.
    """
    return smaller(source, BETA, 1e-6, early)


@claim("4.11", "App. B, Fig 10c", "log10 of the greatest effective beta of the run, none / BN",
       landscape_needs("fig10", "dln"), MORE)  # fmt: skip
def dln_greatest_beta(source: Source, _: None) -> float:
    """The greatest effective beta that the DLN meets in its run is lower with BN.

    Holds if the log10 of the ratio of the maxima over steps is above 0.
    """
    return _greatest(source, 1e-6)


def _greatest(source: Source, lr: float) -> float:
    none, bn = _pair(source, BETA, lr, early=False)
    greatest = [float(line.hi.max()) if len(line.hi) else float("nan") for line in (none, bn)]
    return log_ratio(greatest[0], greatest[1])
