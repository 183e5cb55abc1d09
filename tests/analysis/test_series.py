"""Numbers behind lines and bands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bnexp.analysis import series
from bnexp.analysis.series import Summary, Trace, clipped, limits, over_seeds, thinned
from bnexp.analysis.summaries import by_seed, ratio_at_equal_loss


def trace(x, y, diverged=False):
    y = np.asarray(y, dtype=float)
    return Trace(np.asarray(x, dtype=float), y, y, diverged)


def test_over_seeds_is_median_and_extremes_of_those_that_have_the_step():
    found = over_seeds([trace([0, 1, 2], [1, 5, 4]), trace([0, 1], [2, 6]), trace([0, 1], [9, 7])])
    np.testing.assert_array_equal(found.x, [0, 1, 2])
    np.testing.assert_array_equal(found.lo, [2, 6, 4])
    np.testing.assert_array_equal(found.least, [1, 5, 4])
    np.testing.assert_array_equal(found.most, [9, 7, 4])


def test_infinite_seeds_make_infinite_medians_without_warning():
    with np.errstate(all="raise"):
        found = over_seeds([trace([0], [np.inf]), trace([0], [np.inf])])
    assert found.lo[0] == np.inf


def test_a_diverged_trace_ends_at_its_last_finite_value():
    found = trace([0, 1, 2, 3], [1, 2, np.inf, np.nan], diverged=True).until_diverged()
    np.testing.assert_array_equal(found.x, [0, 1])
    whole = trace([0, 1], [1, np.inf])
    assert whole.until_diverged() is whole


def summary(y):
    x = np.arange(len(y), dtype=float)
    return Summary(x, y, y, y, y, 1)


@given(arrays(np.float64, st.integers(1, 3000), elements=st.floats(-1e6, 1e6) | st.just(np.nan)))
def test_thinning_loses_no_extreme_and_keeps_short_lines_whole(y):
    found = thinned(summary(y))
    if len(y) <= series.MAX_POINTS:
        np.testing.assert_array_equal(found.lo, y)
    else:
        assert len(found.x) <= series.BINS + 1
        np.testing.assert_array_equal(found.lo[0], y[0])
    if np.isfinite(y).any():
        assert np.nanmax(found.most) == np.nanmax(y)
        assert np.nanmin(found.least) == np.nanmin(y)


def test_stretches_have_medians_at_their_middles():
    y = np.arange(2001.0)
    found = thinned(summary(y))
    np.testing.assert_array_equal(found.x, found.lo)
    assert found.x[1] == 5.5  # steps 1 to 10
    assert (found.least[1], found.most[1]) == (1, 10)


@pytest.mark.parametrize("log", [False, True])
def test_limits_hold_ordinary_data_whole(log):
    y = np.geomspace(1, 1e12, 50) if log else np.linspace(-3, 8, 50)
    lo, hi = limits([y], log)
    assert lo < y.min() < y.max() < hi


@pytest.mark.parametrize("bad", [np.inf, 1e300, np.nan])
@pytest.mark.parametrize("log", [False, True])
def test_rare_huge_values_do_not_move_limits_far(bad, log):
    y = np.append(np.linspace(1, 10, 100), bad)
    lo, hi = limits([y], log)
    assert hi < 1e17
    assert lo < 1
    inside = clipped(y, lo, hi, log)
    np.testing.assert_array_equal(inside[:-1], y[:-1])
    assert np.isnan(bad) or hi <= inside[-1] < 1e40


def test_limits_contain_what_they_must_and_survive_nothing():
    assert limits([np.ones(5)], True, [1e9])[1] > 1e9
    assert limits([], False) is not None
    lo, hi = limits([np.array([np.nan, np.inf])], True)
    assert 0 < lo < hi < np.inf


@pytest.mark.parametrize("factor", [1.0, 3.0])
@pytest.mark.parametrize("pace", [2, 5, 40])
def test_a_faster_net_is_not_favoured_at_equal_loss(factor, pace):
    """Whose quantity is a power of the loss: the same, or ``factor`` times, at each loss."""

    def net(pace, factor):
        steps = np.arange(0, 400, 20)
        loss = 5 * np.exp(-pace * steps / 400) * (1 + 0.3 * np.cos(steps))
        return trace(steps, loss), trace(steps, factor * loss**2)

    assert ratio_at_equal_loss(net(3, factor), net(pace, 1.0)) == pytest.approx(np.log10(factor))


def test_traces_are_paired_by_the_seeds_that_all_have():
    def of(*seeds):
        return [Trace(*3 * [np.ones(1)], of=("bn", 0.1, seed)) for seed in seeds]

    pairs = by_seed(of(0, 2, 3), of(1, 2, 3, 4), of(3, 2))
    assert [[trace.of[2] for trace in pair] for pair in pairs] == [[2] * 3, [3] * 3]
