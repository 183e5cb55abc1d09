"""Fig 2: none, BN and noisy BN train; ridgelines of layers 2, 9, 13."""

import numpy as np
import pytest
from looking import artists, line, panels, run_of

from bnexp.analysis import units
from bnexp.figures import ridges


def test_accuracy_panel_and_nine_ridge_panels(draw, runs):
    axes = panels(draw("2"))
    assert len(axes) == 10
    for norm in ("none", "bn", "noisy_bn"):
        _, y = line(axes["left:train_accuracy"][0], f"line:{norm}:0.1")
        rows = run_of(runs, "vgg", norm, 0.1).table("train")
        np.testing.assert_array_equal(y, 100 * rows["accuracy"])
        for layer in (2, 9, 13):
            assert artists(axes[f":activations:layer{layer}:{norm}"][0], "ridge:")


def test_a_ridge_is_a_density_of_the_values():
    edges = np.linspace(-5, 5, 161)
    values = np.random.default_rng(0).normal(size=20_000)
    found = ridges.density(values, edges)
    middles = (edges[1:] + edges[:-1]) / 2
    assert np.sum(found) * (edges[1] - edges[0]) == pytest.approx(1, abs=1e-3)
    normal = np.exp(-(middles**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(found, normal, atol=0.02)


def test_ridges_of_the_run_are_those_of_the_unit_in_the_table(runs):
    run = run_of(runs, "vgg", "bn", 0.1)
    past = units.histories(run, [2, 9], 20)[9]
    table = run.table("activations")
    for step, values in zip(past.steps, past.values, strict=True):
        (row,) = table[(table["step"] == step) & (table["layer"] == 9)]["values"]
        np.testing.assert_array_equal(values, row)
    assert past.steps[0] == 0
    assert past.steps[-1] == run.steps
