"""Intervals, effect sizes and verdicts, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bnexp.claims.statistics import (
    EXACT,
    FAILS,
    HOLDS,
    MIXED,
    OPEN,
    VERDICTS,
    Region,
    estimate,
    judge,
    together,
)

ABOVE = Region(low=0.0)


def test_students_interval_of_three() -> None:
    """Mean 2, deviation 1, t of two degrees of freedom 4.302653: 2 -+ 4.302653/sqrt(3)."""
    found = estimate([1.0, 2.0, 3.0], ABOVE)
    half = 4.302652729749464 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((2, 2 - half, 2 + half))
    assert found.share == found.size == 1
    assert judge(found, ABOVE) == (OPEN, "3 seeds leave both possible")


@pytest.mark.parametrize(("seeds", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3)])
def test_exact_interval_is_between_order_statistics(seeds: int, rank: int) -> None:
    """The ranks of the sign test's 95 % interval of the median, as in any table of it."""
    values = [float(i) for i in range(1, seeds + 1)]
    found = estimate(values[::-1], ABOVE)
    assert (found.low, found.high) == (rank, seeds + 1 - rank)
    assert found.value == (seeds + 1) / 2


def test_exact_interval_covers_the_median() -> None:
    """In 95 % of samples or more, whatever the distribution: here a heavy-tailed one."""
    rng = np.random.default_rng(0)
    samples = [estimate(rng.standard_cauchy(10), ABOVE) for _ in range(400)]
    assert np.mean([one.low <= 0 <= one.high for one in samples]) >= 0.95


def test_infinite_effects_have_an_exact_interval_but_no_students() -> None:
    """A ratio whose denominator is zero is an effect, too: the largest."""
    many = estimate([1.0, 2.0, 3.0, 4.0, 5.0, math.inf, math.inf], ABOVE)
    assert many.low == 1
    assert many.high == math.inf
    assert judge(many, ABOVE)[0] == HOLDS
    few = estimate([1.0, 2.0, math.inf], ABOVE)
    assert math.isnan(few.low)
    assert judge(few, ABOVE)[0] == OPEN


def test_p_of_six_on_one_side() -> None:
    """The sign test: 2^-6."""
    assert estimate([1.0, 2, 3, 4, 5, 6], ABOVE).p == pytest.approx(2**-6)
    assert estimate([-1.0, -2, -3, -4, -5, -6], ABOVE).p == pytest.approx(1)


def test_two_sided_regions_need_both_edges() -> None:
    inside = Region(-1.0, 1.0)
    within = estimate([-0.3, -0.2, -0.1, 0.1, 0.2, 0.3], inside)
    assert judge(within, inside)[0] == HOLDS
    above = estimate([1.3, 1.2, 1.1, 1.4, 1.5, 1.6], inside)
    assert judge(above, inside)[0] == FAILS
    assert above.size == -1
    assert above.p == pytest.approx(1)
    wide = estimate([-3.0, -0.2, 0.1, 0.1, 0.3, 4.0], inside)
    assert judge(wide, inside) == (MIXED, "in 4 of 6 seeds")


def test_rank_biserial_by_hand() -> None:
    """Ranks of |x|: -1 has 1, 2 has 2, 3 has 3: (2 + 3 - 1)/6."""
    assert estimate([-1.0, 2.0, 3.0], ABOVE).size == pytest.approx(4 / 6)


def test_equal_effects_are_certain() -> None:
    found = estimate([0.5] * 4, ABOVE)
    assert (found.low, found.high, found.p) == (0.5, 0.5, 0)
    assert judge(found, ABOVE)[0] == HOLDS
    assert judge(estimate([0.0] * 4, ABOVE), ABOVE)[0] == FAILS  # not any amount above


def test_no_number_is_left_out() -> None:
    found = estimate([math.nan, 1.0, math.nan], ABOVE)
    assert found.seeds == 1
    assert judge(found, ABOVE) == (OPEN, "1 seed")
    assert judge(estimate([math.nan], ABOVE), ABOVE) == (OPEN, "no runs")


def test_disagreeing_seeds_are_mixed_from_a_fifth_on() -> None:
    split = [-1.0] * 2 + [1.0] * 8
    assert judge(estimate(split, ABOVE), ABOVE) == (MIXED, "in 8 of 10 seeds")
    assert judge(estimate([-1.0] + [1.0] * 6, ABOVE), ABOVE)[0] == OPEN
    assert len(split) >= EXACT


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        *(([verdict] * 2, verdict) for verdict in VERDICTS),
        ([HOLDS, FAILS], MIXED),
        ([HOLDS, MIXED], MIXED),
        ([HOLDS, FAILS, OPEN], MIXED),
        ([HOLDS, OPEN], OPEN),
        ([FAILS, OPEN], OPEN),
    ],
)
def test_a_statement_is_all_its_parts(parts: list[str], whole: str) -> None:
    assert together(parts) == whole


def test_regions_in_words() -> None:
    assert str(Region(low=0.0)) == "> 0"
    assert str(Region(high=20.0)) == "< 20"
    assert str(Region(-0.1, 0.1)) == "in (-0.1, 0.1)"
