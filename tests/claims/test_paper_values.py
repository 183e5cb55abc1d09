"""The paper's own value of each statistic, against the numbers read off its plots by others."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bnexp.claims import Judgement, all_claims, judge_claim
from bnexp.claims.source import MissingSeriesError, PaperSource
from bnexp.claims.statistics import OPEN

CLAIMS = all_claims()
KNOWN: dict[str, dict[str, tuple[float, float]]] = {
    "1.1": {"": (math.log10(3100 / 1000), 0.02)},
    "1.2": {"": (82.9 - 80.0, 0.1)},
    "1.3": {"": (96.1, 0.1)},
    "1.4": {"": (9.8, 0.1)},
    "2.1": {"": (98.1 - 98.8, 0.1)},
    "2.2": {"": (math.log10(3100 / 1500), 0.02)},
    "2.3": {
        "layer 2": (math.log10(0.27 / 0.032), 0.02),
        "layer 9": (math.log10(0.27 / 0.065), 0.02),
        "layer 13": (math.log10(0.35 / 0.013), 0.03),
    },
    "3.2": {"layer 5": (0.56 - 0.51, 0.01), "layer 10": (0.06 - 0.05, 0.01)},
    "3.4": {"layer 5": (0.89 - 0.99, 0.01), "layer 10": (0.50 - 0.94, 0.01)},
    "3.6": {"layer 9": (0.93 - 0.90, 0.01), "layer 17": (-0.98 + 0.87, 0.01)},
    "3.8": {"layer 9": (1.00 - 0.18, 0.01), "layer 17": (1.00 + 0.37, 0.01)},
    "3.9": {"layer 9": (1.0, 0.01), "layer 17": (1.0, 0.01)},
    "4.1": {"first third": (0.300 - 0.082, 0.001), "whole run": (0.222 - 0.069, 0.001)},
    "4.3": {"first third": (0.744 - 0.249, 0.001), "whole run": (0.622 - 0.241, 0.001)},
    "4.5": {"": (math.log10(45.6 / 25.3), 0.002)},
    "4.7": {"first third": (2.85 - 1.79, 0.01), "whole run": (0.87 - 1.47, 0.01)},
    "4.9": {"first third": (5.01 - 3.06, 0.01), "whole run": (3.77 - 3.34, 0.01)},
    "5.2": {"l1": (98.6 - 98.8, 0.1), "l2": (98.7 - 98.8, 0.1), "linf": (99.1 - 98.8, 0.1)},
    "5.3": {
        "l1": (math.log10(479 / 97), 0.005),
        "l2": (math.log10(479 / 481), 0.005),
        "linf": (math.log10(479 / 986), 0.005),
    },
    "5.4": {"": (math.log10(479 / 97), 0.005)},
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_papers_value(name: str) -> None:
    found = judge_claim(CLAIMS[name], [], "there")
    for part in found.parts:
        value, tolerance = KNOWN[name][part.name]
        assert part.paper == pytest.approx(value, abs=tolerance)


def test_what_the_papers_curves_contradict() -> None:
    """BN's ICS is not always the larger, and its DLN's loss band is the wider over the run."""
    found = {name: judge_claim(claim, [], "there").paper for name, claim in CLAIMS.items()}
    assert {name for name, said in found.items() if said == "contradicts"} == {"3.3", "3.4"}
    assert {name for name, said in found.items() if said == "mixed"} == {"3.6", "4.7"}


def test_the_paper_has_no_curves_along_random_directions() -> None:
    for name in ("6.1", "6.2", "6.3", "6.4"):
        found: Judgement = judge_claim(CLAIMS[name], [], "there")
        assert found.paper == ""
        assert all(math.isnan(part.paper) for part in found.parts)
        assert found.verdict == OPEN


def test_the_papers_series_are_at_the_steps_it_recorded() -> None:
    vgg, dln = PaperSource("vgg"), PaperSource("dln")
    np.testing.assert_array_equal(
        vgg.trace("beta_smoothness", "bn", 0.1).x, np.arange(0, 15001, 100)
    )
    after_update = np.arange(1, 10002, 50)  # Fig 5b shows at t the state after update t + 1
    np.testing.assert_array_equal(dln.trace("train_loss", "l1", 1e-6).x, after_update)
    with pytest.raises(MissingSeriesError):
        vgg.trace("beta_smoothness", "bn", 0.5)
    with pytest.raises(MissingSeriesError):  # its axis has no labels: no level is known
        vgg.trace("l2_difference", "bn", 0.1, 10)
