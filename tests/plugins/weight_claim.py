"""The claim ``X1``: group normalisation trains this network about as well as BN."""

import math

from bnexp.claims.claim import Claim, register
from bnexp.claims.compare import COMPARISONS, Term
from bnexp.claims.statistics import Region

LR = 0.05

register(
    Claim(
        id="X1",
        statement="With group normalisation the net ends at a lower train loss than with BN.",
        short="gn ends lower",
        criterion="Holds if the log10 of the ratio of losses is below 0.",
        source="tests",
        statistic="log10 of the final train losses, gn / bn",
        compare=COMPARISONS["ratio"],
        region=Region(-math.inf, 0.0),
        parts={"": tuple(Term("train_loss", norm, LR, summary="final") for norm in ("gn", "bn"))},
        family="perceptron",
        recipe="weights",
    )
)
