"""The paper's curves, as they lie in the package."""

import numpy as np
import pytest

from bnexp.analysis import paper
from bnexp.analysis.series import Trace


def test_numbers_that_the_paper_is_known_by():
    start = paper.curve(4, "a", "loss_landscape", "none", 0.1)
    assert (start.lo[0], start.hi[0]) == pytest.approx((4.267, 4.288), abs=1e-3)
    final = paper.curve(5, "b", "train_loss", "none", 1e-6)
    assert final.lo[-1] == pytest.approx(1661, abs=1)
    accuracy = paper.curve(1, "b", "test_accuracy", "bn", 0.1)
    assert accuracy.lo[-1] == pytest.approx(82.9, abs=0.1)
    assert paper.curve(10, "c", "beta_smoothness", "none", 1e-6).hi.max() > 1e15
    cosine = paper.curve(3, "b", "cos_angle", "none", 1e-7, layer=9)
    assert np.all(cosine.lo > 0.999)


def test_every_curve_of_the_index_has_points_in_order():
    rows = paper._index()
    assert len(rows) > 100
    for _, row in rows.iterrows():
        found = paper._curve(row)
        assert len(found.x) >= 2
        assert np.all(np.diff(found.x) > 0)
        assert np.all(found.lo <= found.hi)


def test_what_the_paper_does_not_show_is_none():
    assert paper.curve(4, "a", "loss_landscape", "l1", 0.1) is None
    assert paper.curve(4, "a", "loss_landscape", "noise_only", 0.1) is None
    assert paper.curve(1, "a", "train_accuracy", "none", 0.3) is None


def test_a_cut_curve_ends_on_the_line_as_plotted():
    curve = Trace(np.array([0.0, 100.0]), np.array([1.0, 100.0]), np.array([1.0, 100.0]))
    assert curve.until(50, log=False).lo[-1] == pytest.approx(50.5)
    assert curve.until(50, log=True).lo[-1] == pytest.approx(10)
    assert curve.until(200, log=True) is curve
    np.testing.assert_array_equal(curve.until(50, log=True).x, [0, 50])


def test_fig_11_has_a_curve_per_step():
    curves = paper.curves_by_step(11, "b", "gradient_difference", "bn", 1e-6)
    assert [step for step, _ in curves] == [*range(51, 7402, 150), 7501]
    assert all(len(curve.x) == 5 for _, curve in curves)


def test_dln_curves_after_the_update_are_at_our_next_step():
    """Fig 3b begins with the state before the first update, Figs 5b and 13a with that after it."""
    before = paper.curve(3, "b", "train_loss", "none", 1e-6)
    after = paper.curve(5, "b", "train_loss", "none", 1e-6)
    assert (before.x[0], after.x[0]) == (0, 1)
    assert before.lo[0] > after.lo[0]
    assert paper.curve(13, "a", "train_loss", "none", 1e-6).lo[0] == pytest.approx(
        after.lo[0], rel=1e-3
    )
    assert paper.curve(5, "a", "train_accuracy", "none", 0.1).x[0] == 0
    both = [np.interp(1000, c.x, np.log10(c.lo)) for c in (before, after)]
    assert both[0] == pytest.approx(both[1], abs=2e-3)
