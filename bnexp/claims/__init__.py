"""The paper's claims, and some of our own, judged from stored runs.

One function per claim, by the paper's numbers: `training` (1, 2), `covariate_shift` (3),
`landscape` (4), `normalisations` (5), `directions` (6), `beyond` (ours, past the paper). Claim 7,
the theorems, is ``bnexp theory``.
"""

from bnexp.claims import beyond, covariate_shift, directions, landscape, normalisations, training
from bnexp.claims.claim import CLAIMS, Claim, Judgement, Part, judged

__all__ = [
    "CLAIMS",
    "Claim",
    "Judgement",
    "Part",
    "beyond",
    "covariate_shift",
    "directions",
    "judged",
    "landscape",
    "normalisations",
    "training",
]


def _order(name: str) -> tuple[bool, int, int]:
    major, _, minor = name.removeprefix("E").partition(".")
    return name.startswith("E"), int(major), int(minor)


for _name in sorted(CLAIMS, key=_order):  # the paper's, then ours
    CLAIMS[_name] = CLAIMS.pop(_name)
