"""Claim 5: other normalisations do as BN does, though their distributions shift more."""

from __future__ import annotations

from bnexp.claims.claim import claim
from bnexp.claims.measures import final_accuracy, final_loss, speed
from bnexp.claims.source import Source
from bnexp.claims.statistics import Region
from bnexp.analysis.select import Need, needs
from bnexp.analysis.summaries import first_third, log_ratio, middle, width

LP = ("l1", "l2", "linf")
ALL = ("none", "bn", *LP)
EACH = {norm: norm for norm in LP}
MORE = Region(low=0.0)


def _needs(recipe: str, family: str, norms: tuple[str, ...], table: str) -> tuple[Need, ...]:
    lr = 0.1 if family == "vgg" else 1e-6
    return needs(recipe, family, norms, (lr,), {table: ""})


@claim(
    "5.1",
    "sec. 3.3, Fig 5a",
    "log10 of steps to 80 % train accuracy, BN / l_p",
    _needs("fig5a", "vgg", ("bn", *LP), "train"),
    Region(low=-0.3),
    parts=EACH,
)
def vgg_as_fast(source: Source, norm: str) -> float:
    """l1, l2 and linf train the VGG about as fast as BN, or faster.

    Holds if each reaches 80 % train accuracy within twice BN's steps.
    """
    return speed(source, 80.0, "bn", norm, 0.1)


@claim(
    "5.2",
    "sec. 3.3, Fig 5a",
    "train accuracy over the last third of the run, l_p less BN",
    _needs("fig5a", "vgg", ("bn", *LP), "train"),
    Region(low=-5.0),
    unit="points",
    parts=EACH,
)
def vgg_as_high(source: Source, norm: str) -> float:
    """l1, l2 and linf end about as high in train accuracy as BN, or higher (VGG).

    Holds if each is at most 5 percentage points below BN over the last third of the run.
    """
    return final_accuracy(source, norm, 0.1) - final_accuracy(source, "bn", 0.1)


@claim(
    "5.3",
    "sec. 3.3, Fig 5b",
    "log10 of the final train loss, BN / l_p",
    _needs("fig5b", "dln", ("bn", *LP), "train"),
    Region(low=-0.5),
    parts=EACH,
)
def dln_as_low(source: Source, norm: str) -> float:
    """l1, l2 and linf train the DLN comparably to BN, or better.

    Holds if each ends at a loss at most half a decade above BN's.
    """
    return log_ratio(final_loss(source, "bn", 1e-6), final_loss(source, norm, 1e-6))


@claim(
    "5.4",
    "sec. 3.3, Fig 5b",
    "log10 of the final train loss, best of BN, l2, linf / l1",
    _needs("fig5b", "dln", ("bn", *LP), "train"),
    MORE,
)
def l1_is_best(source: Source, _: None) -> float:
    """l1 is the best of the normalisations on the DLN.

    Holds if it ends at a lower loss than BN, l2 and linf: log10 of the ratio to the least of
    theirs above 0.
    """
    others = min(final_loss(source, norm, 1e-6) for norm in ("bn", "l2", "linf"))
    return log_ratio(others, final_loss(source, "l1", 1e-6))


@claim(
    "5.5",
    "sec. 3.3, Fig 6",
    "log10 of the median change of a unit's mean in layer 11, l_p / none",
    _needs("fig6", "vgg", ("none", *LP), "moments"),
    MORE,
    parts=EACH,
)
def distributions_shift_more(source: Source, norm: str) -> float:
    """The distributions of l1, l2 and linf shift more than those of the net without (VGG).

    Holds if in layer 11 the median over units and recorded steps of the change of the mean is
    larger for each. (The paper shows ridgelines of one unit, which have no numbers.)
    """
    change = [middle(source.trace("abs_mean_step_change", n, 0.1, 11)) for n in (norm, "none")]
    return log_ratio(change[0], change[1])


@claim(
    "5.6",
    "App. B, Fig 12b",
    "median log10(top/bottom) of the loss over eta in the first third, none less l_p",
    _needs("fig12", "vgg", ("none", *LP), "smoothness"),
    MORE,
    parts=EACH,
)
def vgg_smoother(source: Source, norm: str) -> float:
    """With l1, l2 and linf, too, the VGG's loss varies less along the gradient.

    Holds if for each the band of the loss over eta is narrower in the first third of the run.
    """
    return _narrower(source, norm, 0.1)


@claim(
    "5.7",
    "App. B, Fig 13b",
    "median log10(top/bottom) of the loss over eta in the first third, none less l_p",
    _needs("fig13", "dln", ("none", *LP), "smoothness"),
    MORE,
    parts=EACH,
)
def dln_smoother(source: Source, norm: str) -> float:
    """With l1, l2 and linf, too, the DLN's loss varies less along the gradient.

    Holds if for each the band of the loss over eta is narrower in the first third of the run.
    """
    return _narrower(source, norm, 1e-6)


def _narrower(source: Source, norm: str, lr: float) -> float:
    bands = [
        width(first_third(source.trace("loss_landscape", one, lr), source.steps))
        for one in ("none", norm)
    ]
    return bands[0] - bands[1]
