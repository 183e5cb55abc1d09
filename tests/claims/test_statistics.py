"""Intervals, effect sizes and verdicts, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Iterable

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
    found = estimate(known(range(seeds, 0, -1)), ABOVE)
    assert (found.low, found.high) == (rank, seeds + 1 - rank)
    assert found.value == (seeds + 1) / 2


def test_infinite_effects_have_an_exact_interval_but_no_students() -> None:
    many = estimate(known([1.0, 2.0, 3.0, 4.0, 5.0, math.inf, math.inf]), ABOVE)
    assert (many.low, many.high) == (1, math.inf)
    assert judge(many, ABOVE)[0] == HOLDS
    assert judge(estimate(known([1.0, 2.0, math.inf]), ABOVE), ABOVE)[0] == OPEN


@pytest.mark.parametrize(
    ("values", "region", "verdict", "size", "p"),
    [
        ([1, 2, 3, 4, 5, 6], ABOVE, (HOLDS, ""), 1, 2**-6),  # the sign test
        ([-1, -2, -3, -4, -5, -6], ABOVE, (FAILS, ""), -1, 1),
        ([-1, 2, 3], ABOVE, (OPEN, "3 seeds leave both possible"), 4 / 6, None),  # (2 + 3 - 1)/6
        ([0.5] * 4, ABOVE, (HOLDS, ""), 1, 0),
        ([0.0] * 4, ABOVE, (FAILS, ""), 0, 1),  # not any amount above
        ([-0.3, -0.2, -0.1, 0.1, 0.2, 0.3], Region(-1, 1), (HOLDS, ""), 1, 2**-6),
        ([1.3, 1.2, 1.1, 1.4, 1.5, 1.6], Region(-1, 1), (FAILS, ""), -1, 1),
        ([-3.0, -0.2, 0.1, 0.1, 0.3, 4.0], Region(-1, 1), (MIXED, "in 4 of 6 seeds"), None, None),
        ([-1] * 2 + [1] * 8, ABOVE, (MIXED, "in 8 of 10 seeds"), None, None),
        ([-1] + [1] * 6, ABOVE, (OPEN, "7 seeds leave both possible"), None, None),
        ([math.nan, 1.0, math.nan], ABOVE, (OPEN, "1 seed"), math.nan, math.nan),
        ([math.nan], ABOVE, (OPEN, "no runs"), math.nan, math.nan),
    ],
)
def test_verdicts_on_one_number(
    values: list[float], region: Region, verdict: tuple[str, str], size: float, p: float
) -> None:
    found = estimate(known(values), region)
    assert judge(found, region) == verdict
    assert size is None or found.size == pytest.approx(size, nan_ok=True)
    assert p is None or found.p == pytest.approx(p, nan_ok=True)


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


@pytest.mark.parametrize("seeds", [3, EXACT, 9])
def test_a_bound_limits_one_side_only(seeds: int) -> None:
    """Effects known to be at least 1: at least as much as with 1 from below, open from above."""
    values = [1 + 0.1 * i for i in range(seeds)]
    plain = estimate(known(values), ABOVE)
    least = estimate([Effect(value, "at least") for value in values], ABOVE)
    assert (least.censored, least.low, least.high) == (seeds, plain.low, math.inf)
    assert judge(least, ABOVE) == judge(plain, ABOVE)
    assert judge(least, Region(high=0.5))[0] == FAILS
    assert judge(least, Region(0.0, 2.0))[0] == OPEN
    most = estimate([Effect(-value, "at most") for value in values], ABOVE)
    assert (most.low, most.high) == (-math.inf, -plain.low)
    assert judge(most, ABOVE)[0] == FAILS
    assert judge(estimate([Effect(1.0, "at most")] * seeds, ABOVE), ABOVE)[0] == OPEN


def test_one_bound_among_many_moves_the_exact_interval_by_its_rank() -> None:
    """Of nine, the interval is between ranks 2 and 8: one open end does not reach it, two do."""
    for open_ends, high in ((1, 8), (2, math.inf)):
        rest = [Effect(8.0)] * (2 - open_ends) + [Effect(8.0, "at least")] * open_ends
        found = estimate([*known(range(1, 8)), *rest], ABOVE)
        assert (found.low, found.high) == (2, high)
