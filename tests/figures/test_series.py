"""Numbers behind lines and bands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.figures.series import Trace, clipped, limits, over_seeds, thin_band, thin_line


def trace(x, y, diverged=False):
    y = np.asarray(y, dtype=float)
    return Trace(np.asarray(x, dtype=float), y, y, diverged)


def test_over_seeds_is_median_and_extremes_at_every_step():
    found = over_seeds([trace([0, 1], [1, 5]), trace([0, 1], [2, 6]), trace([0, 1], [9, 7])])
    np.testing.assert_array_equal(found.lo, [2, 6])
    np.testing.assert_array_equal(found.least, [1, 5])
    np.testing.assert_array_equal(found.most, [9, 7])


def test_a_seed_that_ended_early_leaves_the_others():
    found = over_seeds([trace([0, 1, 2], [1, 1, 1]), trace([0], [3])])
    np.testing.assert_array_equal(found.x, [0, 1, 2])
    np.testing.assert_array_equal(found.lo, [2, 1, 1])


def test_infinite_seeds_make_infinite_medians_without_warning():
    with np.errstate(all="raise"):
        found = over_seeds([trace([0], [np.inf]), trace([0], [np.inf])])
    assert found.lo[0] == np.inf


def test_a_diverged_trace_ends_at_its_last_finite_value():
    found = trace([0, 1, 2, 3], [1, 2, np.inf, np.nan], diverged=True).until_diverged()
    np.testing.assert_array_equal(found.x, [0, 1])
    whole = trace([0, 1], [1, np.inf])
    assert whole.until_diverged() is whole


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), min_size=1, max_size=300), st.integers(4, 50)
)
def test_thinning_keeps_the_extremes_and_only_real_points(values, points):
    x, y = np.arange(len(values), dtype=float), np.array(values)
    thin_x, thin_y = thin_line(x, y, points)
    assert len(thin_x) <= max(points, 1) + 1
    np.testing.assert_array_equal(thin_y, y[thin_x.astype(int)])
    if np.isfinite(y).any():
        assert np.nanmax(thin_y) == np.nanmax(y)
        assert np.nanmin(thin_y) == np.nanmin(y)


def test_a_thinned_band_is_the_hull_of_its_stretches():
    x = np.arange(10.0)
    start, lo, hi = thin_band(x, x, x + 100, points=5)
    np.testing.assert_array_equal(start, [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(lo, [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(hi, [101, 103, 105, 107, 109])


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
