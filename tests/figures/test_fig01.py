"""Fig 1: accuracies of BN and none at two learning rates; ridgelines of layers 3 and 11."""

import numpy as np
import pytest
from looking import artists, line, panels, run_of


def test_accuracies_are_the_tables_in_percent(draw, runs):
    axes = panels(draw("1"))
    for panel, table in (("a:train_accuracy", "train"), ("b:test_accuracy", "eval")):
        for norm in ("none", "bn"):
            for lr in (0.1, 0.5):
                rows = run_of(runs, "vgg", norm, lr).table(table)
                x, y = line(axes[panel][0], f"line:{norm}:{lr:g}")
                np.testing.assert_array_equal(x, rows["step"])
                np.testing.assert_array_equal(y, 100 * rows["accuracy"])


def test_has_the_papers_panels_with_linear_axes(draw):
    axes = panels(draw("1"))
    assert set(axes) == {"a:train_accuracy", "b:test_accuracy"} | {
        f"c:activations:layer{layer}:{norm}" for layer in (3, 11) for norm in ("none", "bn")
    }
    for name in ("a:train_accuracy", "b:test_accuracy"):
        assert axes[name][0].get_yscale() == "linear"
        assert axes[name][0].get_ylim() == (0, 105)


def test_the_diverged_run_ends_in_a_cross_where_it_diverged(draw, runs):
    axes = panels(draw("1"))["a:train_accuracy"][0]
    x, y = line(axes, "diverged:")
    rows = run_of(runs, "vgg", "none", 0.5).table("train")
    assert (x[0], y[0]) == (16, pytest.approx(100 * rows["accuracy"].iloc[-1]))
    assert any(t.get_text() == "diverged" for t in axes.texts)


def test_ridges_lie_at_recorded_steps_and_share_x_per_layer(draw, runs):
    axes = panels(draw("1"))
    recorded = set(run_of(runs, "vgg", "none", 0.1).table("activations")["step"])
    for layer in (3, 11):
        pair = [axes[f"c:activations:layer{layer}:{norm}"][0] for norm in ("none", "bn")]
        assert pair[0].get_xlim() == pair[1].get_xlim()
        for ax in pair:
            ridges = artists(ax, "ridge:")
            assert 15 <= len(ridges) <= 25
            assert {int(r.get_gid().split(":")[1]) for r in ridges} <= recorded
