"""Intervals, effect sizes and verdicts, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest

from bnexp.claims.statistics import (
    EXACT,
    FAILS,
    HOLDS,
    MIXED,
    OPEN,
    VERDICTS,
    Effect,
    Region,
    combine,
    estimate,
    judge,
)

ABOVE = Region(low=0.0)


def known(values: Iterable[float]) -> list[Effect]:
    return [Effect(value) for value in values]


def test_students_interval_of_three() -> None:
    """Mean 2, deviation 1, t of two degrees of freedom 4.302653: 2 -+ 4.302653/sqrt(3)."""
    found = estimate(known([1.0, 2.0, 3.0]), ABOVE)
    half = 4.302652729749464 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((2, 2 - half, 2 + half))
    assert found.share == found.size == 1
    assert judge(found, ABOVE) == (OPEN, "3 seeds leave both possible")


@pytest.mark.parametrize(("seeds", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3)])
def test_exact_interval_is_between_order_statistics(seeds: int, rank: int) -> None:
    """The ranks of the sign test's 95 % interval of the median, as in any table of it."""
    values = [float(i) for i in range(1, seeds + 1)]
    found = estimate(known(values[::-1]), ABOVE)
    assert (found.low, found.high) == (rank, seeds + 1 - rank)
    assert found.value == (seeds + 1) / 2


def test_exact_interval_covers_the_median() -> None:
    """In 95 % of samples or more, whatever the distribution: here a heavy-tailed one."""
    rng = np.random.default_rng(0)
    samples = [estimate(known(rng.standard_cauchy(10)), ABOVE) for _ in range(100)]
    assert np.mean([one.low <= 0 <= one.high for one in samples]) >= 0.95


def test_infinite_effects_have_an_exact_interval_but_no_students() -> None:
    """A ratio whose denominator is zero is an effect, too: the largest."""
    many = estimate(known([1.0, 2.0, 3.0, 4.0, 5.0, math.inf, math.inf]), ABOVE)
    assert many.low == 1
    assert many.high == math.inf
    assert judge(many, ABOVE)[0] == HOLDS
    few = estimate(known([1.0, 2.0, math.inf]), ABOVE)
    assert math.isnan(few.low)
    assert judge(few, ABOVE)[0] == OPEN


def test_p_of_six_on_one_side() -> None:
    """The sign test: 2^-6."""
    assert estimate(known([1.0, 2, 3, 4, 5, 6]), ABOVE).p == pytest.approx(2**-6)
    assert estimate(known([-1.0, -2, -3, -4, -5, -6]), ABOVE).p == pytest.approx(1)


def test_two_sided_regions_need_both_edges() -> None:
    inside = Region(-1.0, 1.0)
    within = estimate(known([-0.3, -0.2, -0.1, 0.1, 0.2, 0.3]), inside)
    assert judge(within, inside)[0] == HOLDS
    above = estimate(known([1.3, 1.2, 1.1, 1.4, 1.5, 1.6]), inside)
    assert judge(above, inside)[0] == FAILS
    assert above.size == -1
    assert above.p == pytest.approx(1)
    wide = estimate(known([-3.0, -0.2, 0.1, 0.1, 0.3, 4.0]), inside)
    assert judge(wide, inside) == (MIXED, "in 4 of 6 seeds")


def test_rank_biserial_by_hand() -> None:
    """Ranks of |x|: -1 has 1, 2 has 2, 3 has 3: (2 + 3 - 1)/6."""
    assert estimate(known([-1.0, 2.0, 3.0]), ABOVE).size == pytest.approx(4 / 6)


def test_equal_effects_are_certain() -> None:
    found = estimate(known([0.5] * 4), ABOVE)
    assert (found.low, found.high, found.p) == (0.5, 0.5, 0)
    assert judge(found, ABOVE)[0] == HOLDS
    assert judge(estimate(known([0.0] * 4), ABOVE), ABOVE)[0] == FAILS  # not any amount above


def test_no_number_is_left_out() -> None:
    found = estimate(known([math.nan, 1.0, math.nan]), ABOVE)
    assert found.seeds == 1
    assert judge(found, ABOVE) == (OPEN, "1 seed")
    assert judge(estimate(known([math.nan]), ABOVE), ABOVE) == (OPEN, "no runs")


def test_disagreeing_seeds_are_mixed_from_a_fifth_on() -> None:
    split = [-1.0] * 2 + [1.0] * 8
    assert judge(estimate(known(split), ABOVE), ABOVE) == (MIXED, "in 8 of 10 seeds")
    assert judge(estimate(known([-1.0] + [1.0] * 6), ABOVE), ABOVE)[0] == OPEN
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
    assert combine(parts) == whole


def test_regions_in_words() -> None:
    assert str(Region(low=0.0)) == "> 0"
    assert str(Region(high=20.0)) == "< 20"
    assert str(Region(-0.1, 0.1)) == "in (-0.1, 0.1)"


@pytest.mark.parametrize("bound", ["at least", "at most"])
@pytest.mark.parametrize("seeds", [3, 4, EXACT, 9])
def test_a_bound_limits_one_side_only(bound: str, seeds: int) -> None:
    """Effects known to be at least 1: at least as much as with 1 from below, open from above."""
    sign = 1.0 if bound == "at least" else -1.0
    exact = [sign * (1 + 0.1 * i) for i in range(seeds)]
    bounds = [Effect(value, bound) for value in exact]
    censored, plain = estimate(bounds, ABOVE), estimate(known(exact), ABOVE)
    assert (censored.censored, plain.censored) == (seeds, 0)
    if bound == "at least":
        assert (censored.low, censored.high) == (plain.low, math.inf)
        assert judge(censored, ABOVE) == judge(plain, ABOVE)
        assert judge(censored, Region(high=0.5))[0] == FAILS
        assert judge(censored, Region(0.0, 2.0))[0] == OPEN
    else:
        assert (censored.low, censored.high) == (-math.inf, plain.high)
        assert judge(censored, ABOVE)[0] == FAILS
    assert judge(estimate([Effect(1.0, "at most")] * seeds, ABOVE), ABOVE)[0] == OPEN


def test_one_bound_among_many_moves_the_exact_interval_by_its_rank() -> None:
    """Of nine, the interval is between ranks 2 and 8: one open end does not reach it, two do."""
    values = known(float(i) for i in range(1, 8))
    for open_ends, high in ((1, 8), (2, math.inf)):
        rest = known([8.0] * (2 - open_ends))
        found = estimate([*values, *rest, *[Effect(8.0, "at least")] * open_ends], ABOVE)
        assert (found.low, found.high) == (2, high)
