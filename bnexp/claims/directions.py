"""Claim 6: the same holds along random directions (the paper has no figure of it)."""

from __future__ import annotations

from bnexp.claims.claim import claim
from bnexp.claims.landscape import (
    BAND,
    BETA,
    LOSS,
    MORE,
    PARTS,
    RATIO,
    landscape_needs,
    narrower,
    smaller,
)
from bnexp.claims.source import Source


@claim(
    "6.1",
    "sec. 3.2",
    BAND.format("loss"),
    landscape_needs("figE3a", "vgg", "random"),
    MORE,
    parts=PARTS,
)
def vgg_random_loss(source: Source, early: bool) -> float:
    """Along random directions, too, the VGG's loss varies less with BN.

    Holds if BN's band of the loss over eta is narrower, in the first third and over the run.
    """
    return narrower(source, LOSS, 0.1, early)


@claim("6.2", "sec. 3.2", RATIO.format("effective beta"),
       landscape_needs("figE3a", "vgg", "random"), MORE, parts=PARTS)  # fmt: skip
def vgg_random_beta(source: Source, early: bool) -> float:
    """Along random directions, too, the VGG's effective beta-smoothness is lower with BN.

    Holds if its median over steps is lower with BN, in the first third and over the run.
    """
    return smaller(source, BETA, 0.1, early)


@claim(
    "6.3",
    "sec. 3.2",
    BAND.format("loss"),
    landscape_needs("figE3b", "dln", "random"),
    MORE,
    parts=PARTS,
)
def dln_random_loss(source: Source, early: bool) -> float:
    """Along random directions, too, the DLN's loss varies less with BN.

    Holds if BN's band of the loss over eta is narrower, in the first third and over the run.
    """
    return narrower(source, LOSS, 1e-6, early)


@claim("6.4", "sec. 3.2", RATIO.format("effective beta"),
       landscape_needs("figE3b", "dln", "random"), MORE, parts=PARTS)  # fmt: skip
def dln_random_beta(source: Source, early: bool) -> float:
    """Along random directions, too, the DLN's effective beta-smoothness is lower with BN.

    Holds if its median over steps is lower with BN, in the first third and over the run.
    """
    return smaller(source, BETA, 1e-6, early)
