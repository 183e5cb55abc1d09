"""The paper's claims, and some past it, judged from stored runs.

The claims are the rows of ``claims.yaml``; claim 7, the theorems, is ``bnexp theory``. A user's own
is a `Claim` that a module named by ``plugins`` gives to `register`.
"""

from bnexp.claims.claim import Claim, all_claims, register
from bnexp.claims.judge import Judgement, judge_claim

__all__ = ["Claim", "Judgement", "all_claims", "judge_claim", "register"]
