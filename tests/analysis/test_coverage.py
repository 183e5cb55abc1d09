"""Shares of the paper's points inside the seeds' band, and distances."""

import numpy as np
import pytest

from bnexp.analysis import paper
from bnexp.analysis.coverage import compare
from bnexp.analysis.series import Trace


def scaled(curve, factor, steps):
    lo, hi = curve.at(steps, log=True)
    return Trace(steps, factor * lo, factor * hi)


@pytest.mark.parametrize(
    ("factors", "inside", "distance"),
    [((1.0,), 1, 0), ((0.5, 2.0), 1, np.log10(1.25)), ((2.0, 4.0), 0, np.log10(3))],
)
def test_seeds_around_the_papers_curve_hold_all_of_it(factors, inside, distance):
    curve = paper.curve(5, "b", "train_loss", "bn", 1e-6)
    steps = np.arange(1.0, 10_001)
    traces = [scaled(curve, factor, steps) for factor in factors]
    points, within, apart = compare(curve, traces, log=True, ratio=True)
    assert within == inside * points
    assert points == (curve.x <= 10_000).sum()
    np.testing.assert_allclose(apart, distance, atol=1e-9)


def test_a_band_has_two_points_at_each_step():
    curve = paper.curve(10, "a", "loss_landscape", "bn", 1e-6)
    steps = np.arange(1.0, 10_001, 50)
    points, within, _ = compare(curve, [scaled(curve, 1, steps)], log=True, ratio=True)
    assert points == within == 2 * (curve.x <= steps[-1]).sum()


def test_points_before_the_second_recorded_step_count_only_where_recorded():
    """The paper's state after the first update is not compared with ours before it."""
    curve = Trace(np.array([1.0, 51, 101]), *np.ones((2, 3)))
    ours = Trace(np.array([0.0, 50, 100, 150]), *np.array([[9.0, 1, 1, 1]] * 2))
    points, within, _ = compare(curve, [ours], log=True, ratio=True)
    assert (points, within) == (2, 2)
    every = Trace(np.arange(151.0), *np.ones((2, 151)))
    assert compare(curve, [every], log=True, ratio=True)[0] == 3
