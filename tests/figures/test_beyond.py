"""Figs E12 and E13: lines are the tables, sentences are made of their numbers."""

import numpy as np
import pytest
from looking import line, panels, words
from synthetic_runs import add_table, make_run, runs_in

STEPS = np.arange(0, 41, 2)


def test_e12_is_the_relative_update_in_units_of_the_equilibrium(root, draw):
    """Layer i's is i / 10; the head's, left out, 100; at first the largest is 8 times as large."""
    layers = np.arange(1, 10)
    for norm in ("none", "bn"):
        path = make_run(root, "vgg", norm, 0.1, tables=["train"], optim__weight_decay=0.05)
        update = np.tile(np.where(layers == 9, 100, layers / 10), (len(STEPS), 1))
        update[0, 7] *= 8
        rows = {"step": np.repeat(STEPS, 9), "layer": np.tile(layers, len(STEPS))}
        add_table(path, "updates", {**rows, "relative_update": update.ravel()})
    drawn = draw("E12", of=runs_in(root))
    axes = {label: found for label, (found,) in panels(drawn).items()}
    np.testing.assert_allclose(line(axes["b:rotation"], "line:layer 3")[1], 0.3 / 0.1)
    np.testing.assert_allclose(line(axes["c:update_spread"], "line:bn")[1], [64] + 20 * [8])
    assert "BatchNorm: over the last third the layers' relative updates are 1 to 8" in words(drawn)
    assert "the largest is 8 times the smallest, at first 64 times" in words(drawn)


def test_e13_has_a_line_per_batch_size_in_units_of_the_edge(root, draw):
    for norm in ("none", "bn"):
        for size in (8, 32, 128):
            path = make_run(root, "vgg", norm, 0.1, tables=["train"], batch_size=size)
            rows = {"step": STEPS, "batch_sharpness": np.full(len(STEPS), 20.0 * size)}
            add_table(path, "batch_sharpness", rows)
    drawn = draw("E13", of=runs_in(root))
    (found,) = panels(drawn)["b:batch_sharpness"]
    for size in (8, 32, 128):
        np.testing.assert_allclose(line(found, f"line:batch {size}")[1], size)
    assert "last half of the run: 8 (batch 8), 32 (batch 32), 1.3e+02 (batch 128)" in words(drawn)


@pytest.mark.parametrize("number", ["E12", "E13"])
def test_without_runs_nothing_is_drawn_and_with_some_it_is_said(root, draw, number):
    path = make_run(
        root, "vgg", "bn", 0.1, tables=["train"], batch_size=8, optim__weight_decay=0.05
    )
    columns = {"step": STEPS, "layer": 1 + STEPS % 4, "relative_update": STEPS + 1.0}
    add_table(path, "updates", columns)
    add_table(path, "batch_sharpness", {"step": STEPS, "batch_sharpness": STEPS + 1.0})
    text = words(draw(number, of=runs_in(root)))
    assert "Not drawn, no such run: VGG none lr 0.1" in text
    assert "nan" not in text
