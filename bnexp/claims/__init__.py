"""The paper's claims, and some of our own, judged from stored runs.

One function per claim, by the paper's numbers: `training` (1, 2), `covariate_shift` (3),
`landscape` (4, 6), `normalisations` (5), `beyond` (ours). Claim 7, the theorems, is
``bnexp theory``.
"""

from bnexp.claims import training  # isort: skip  # noqa: F401, the order of the paper
from bnexp.claims import covariate_shift  # isort: skip  # noqa: F401
from bnexp.claims import landscape  # isort: skip  # noqa: F401
from bnexp.claims import normalisations  # isort: skip  # noqa: F401
from bnexp.claims import beyond  # isort: skip  # noqa: F401
from bnexp.claims.claim import CLAIMS, Claim, Judgement, Part, judged

__all__ = ["CLAIMS", "Claim", "Judgement", "Part", "judged"]
