"""Claim 3: BN does not reduce internal covariate shift as Definition 2.1 has it."""

from __future__ import annotations

from bnexp.claims.claim import claim
from bnexp.claims.source import Source
from bnexp.claims.statistics import Region
from bnexp.analysis.select import Need, needs
from bnexp.analysis.summaries import log_ratio, middle

SIMILAR = Region(low=-0.3)
"""BN's l2 difference is larger, or smaller by a factor of two at most (10^-0.3)."""

SIMILAR_ANGLE = Region(low=-0.05)
"""BN's cosine is lower, or higher by 0.05 at most."""

VGG_LAYERS = {f"layer {number}": number for number in (5, 10)}
DLN_LAYERS = {f"layer {number}": number for number in (9, 17)}
L2 = "log10 of the median l2 difference, BN / none"
COS = "median cosine, none less BN"


def _needs(recipe: str, family: str, lr: float, norms: tuple[str, ...]) -> tuple[Need, ...]:
    return needs(recipe, family, norms, (lr,), {"gradient_shift": ""})


def _l2(source: Source, lr: float, layer: int) -> float:
    bn, none = (middle(source.trace("l2_difference", norm, lr, layer)) for norm in ("bn", "none"))
    return log_ratio(bn, none)


def _cos(source: Source, lr: float, layer: int) -> float:
    none, bn = (middle(source.trace("cos_angle", norm, lr, layer)) for norm in ("none", "bn"))
    return none - bn


BOTH = ("none", "bn")


@claim("3.1", "sec. 2.2, Fig 3a", L2, _needs("fig3a", "vgg", 0.1, BOTH), SIMILAR, parts=VGG_LAYERS)
def vgg_l2(source: Source, layer: int) -> float:
    """With BN, ICS by the l2 difference is similar or worse: VGG, lr 0.1.

    Holds if in layers 5 and 10 BN's median over steps is at least half of that without BN.
    """
    return _l2(source, 0.1, layer)


@claim(
    "3.2",
    "sec. 2.2, Fig 3a",
    COS,
    _needs("fig3a", "vgg", 0.1, BOTH),
    SIMILAR_ANGLE,
    unit="cosine",
    parts=VGG_LAYERS,
)
def vgg_cos(source: Source, layer: int) -> float:
    """With BN, ICS by the cosine is similar or worse: VGG, lr 0.1.

    Holds if in layers 5 and 10 BN's median cosine is above that without BN by 0.05 at most.
    """
    return _cos(source, 0.1, layer)


@claim("3.3", "sec. 2.2, Fig 3a", L2, _needs("fig3a", "vgg", 0.01, BOTH), SIMILAR, parts=VGG_LAYERS)
def vgg_small_rate_l2(source: Source, layer: int) -> float:
    """With BN, ICS by the l2 difference is similar or worse: VGG, lr 0.01.

    Holds if in layers 5 and 10 BN's median over steps is at least half of that without BN.
    """
    return _l2(source, 0.01, layer)


@claim(
    "3.4",
    "sec. 2.2, Fig 3a",
    COS,
    _needs("fig3a", "vgg", 0.01, BOTH),
    SIMILAR_ANGLE,
    unit="cosine",
    parts=VGG_LAYERS,
)
def vgg_small_rate_cos(source: Source, layer: int) -> float:
    """With BN, ICS by the cosine is similar or worse: VGG, lr 0.01.

    Holds if in layers 5 and 10 BN's median cosine is above that without BN by 0.05 at most.
    """
    return _cos(source, 0.01, layer)


@claim("3.5", "sec. 2.2, Fig 3b", L2, _needs("fig3b", "dln", 1e-6, BOTH), SIMILAR, parts=DLN_LAYERS)
def dln_l2(source: Source, layer: int) -> float:
    """With BN, ICS by the l2 difference is similar or worse: DLN, lr 1e-6.

    Holds if in layers 9 and 17 BN's median over steps is at least half of that without BN.
    """
    return _l2(source, 1e-6, layer)


@claim(
    "3.6",
    "sec. 2.2, Fig 3b",
    COS,
    _needs("fig3b", "dln", 1e-6, BOTH),
    SIMILAR_ANGLE,
    unit="cosine",
    parts=DLN_LAYERS,
)
def dln_cos(source: Source, layer: int) -> float:
    """With BN, ICS by the cosine is similar or worse: DLN, lr 1e-6.

    Holds if in layers 9 and 17 BN's median cosine is above that without BN by 0.05 at most.
    """
    return _cos(source, 1e-6, layer)


@claim("3.7", "sec. 2.2, Fig 3b", L2, _needs("fig3b", "dln", 1e-7, BOTH), SIMILAR, parts=DLN_LAYERS)
def dln_small_rate_l2(source: Source, layer: int) -> float:
    """With BN, ICS by the l2 difference is similar or worse: DLN, lr 1e-7.

    Holds if in layers 9 and 17 BN's median over steps is at least half of that without BN.
    """
    return _l2(source, 1e-7, layer)


@claim(
    "3.8",
    "sec. 2.2, Fig 3b",
    COS,
    _needs("fig3b", "dln", 1e-7, BOTH),
    SIMILAR_ANGLE,
    unit="cosine",
    parts=DLN_LAYERS,
)
def dln_small_rate_cos(source: Source, layer: int) -> float:
    """With BN, ICS by the cosine is similar or worse: DLN, lr 1e-7.

    Holds if in layers 9 and 17 BN's median cosine is above that without BN by 0.05 at most.
    """
    return _cos(source, 1e-7, layer)


@claim(
    "3.9",
    "sec. 2.2, Fig 3b",
    "median cosine, none",
    _needs("fig3b", "dln", 1e-7, ("none",)),
    Region(low=0.95),
    unit="cosine",
    parts=DLN_LAYERS,
)
def dln_without_bn_has_no_shift(source: Source, layer: int) -> float:
    """Without BN, the DLN at lr 1e-7 has almost no ICS: G and G' are nearly the same direction.

    Holds if in layers 9 and 17 the median cosine is above 0.95.
    """
    return middle(source.trace("cos_angle", "none", 1e-7, layer))
