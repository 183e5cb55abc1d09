"""The paper's claims, and some past it, judged from stored runs.

The claims are the rows of ``claims.yaml``; claim 7, the theorems, is ``bnexp theory``. A user's own
is a `Claim` that a module named by ``plugins`` gives to `register`.
"""

from bnexp.claims.claim import Claim, all_claims, from_row, register
from bnexp.claims.compare import Term
from bnexp.claims.judge import Judgement, judge_claim
from bnexp.claims.statistics import Effect, Region

__all__ = [
    "Claim", "Effect", "Judgement", "Region", "Term", "all_claims", "from_row", "judge_claim",
    "register",
]  # fmt: skip
