"""Figs E10 to E14: lines are the tables, sentences are made of their numbers."""

import numpy as np
import pytest
from looking import line, panels, words
from synthetic_runs import add_table, make_run, runs_in

STEPS = np.arange(0, 41, 2)


def made(root, table, rows, norm="bn", lr=0.1, **settings):
    """A run with this table alone, besides one that no figure here draws."""
    path = make_run(root, "vgg", norm, lr, tables=["sharpness"], **settings)
    add_table(path, table, {"step": STEPS, **rows})


def trained(accuracy):
    values = np.full(len(STEPS), accuracy)
    return {"loss": 1 - values, "accuracy": values}


@pytest.mark.parametrize(("warm", "closes"), [(0.3, 25), (0.0999, 0)])
def test_e10_says_how_much_of_the_gap_warm_up_closes(root, draw, warm, closes):
    """At lr 0.5 from 10 % of none to ``warm`` with 90 % of BN; at lr 0.2 there is no gap."""
    for lr, low, high in ((0.2, 0.9, 0.9), (0.5, 0.1, warm)):
        for norm, schedule, accuracy in (
            ("none", "constant", low), ("none", "warmup_constant", high), ("bn", "constant", 0.9),
            ("bn", "warmup_constant", 0.95),
        ):  # fmt: skip
            made(root, "train", trained(accuracy), norm, lr, optim__schedule=schedule)
    drawn = draw("E10", of=runs_in(root))
    (found,) = panels(drawn)["b:train_accuracy"]
    np.testing.assert_allclose(line(found, "line:Standard, warm-up")[1], 100 * warm)
    assert "at lr 0.2: BN 90 %, none 90 %, none with warm-up 90 %: there is no" in words(drawn)
    assert f"warm-up closes {closes} % of the gap" in words(drawn)


def test_e11_is_the_relative_difference_of_the_two_costumes(root, draw):
    """With BN they differ by 1e-12, without by a half."""
    for norm, apart in (("none", 0.5), ("bn", 1e-12)):
        for lr, schedule, decay, factor in (
            (0.1, "constant", 0.05, 1), (0.1 / 0.995, "exponential", 0.0, 1 + apart),
            (0.1, "constant", 0.0, 3),
        ):  # fmt: skip
            settings = {"optim__schedule": schedule, "optim__weight_decay": decay}
            losses = factor * (2.0 - STEPS / 50)
            made(root, "train", {"loss": losses, "data_loss": losses}, norm, lr, **settings)
    drawn = draw("E11", of=runs_in(root))
    axes = {label: found for label, (found,) in panels(drawn).items()}
    np.testing.assert_allclose(line(axes["b:data_loss"], "line:neither")[1], 6 - 3 * STEPS / 50)
    np.testing.assert_allclose(line(axes["c:difference"], "line:bn")[1], 1e-12, rtol=1e-3)
    said = words(drawn)
    assert "Standard: over 40 steps the data losses of the two costumes differ by 0.5" in said
    assert "BatchNorm: over 40 steps" in said
    assert "differ by 1e-12 of themselves at most; without decay at constant lr by 2" in said


def test_e12_is_the_relative_update_in_units_of_the_equilibrium(root, draw):
    """Layer i's is i / 10; the head's, left out, 100; at first the largest is 8 times as large."""
    layers = np.arange(1, 10)
    for norm in ("none", "bn"):
        update = np.tile(np.where(layers == 9, 100, layers / 10), (len(STEPS), 1))
        update[0, 7] *= 8
        rows = {"step": np.repeat(STEPS, 9), "layer": np.tile(layers, len(STEPS))}
        rows["relative_update"] = update.ravel()
        made(root, "updates", rows, norm, optim__weight_decay=0.05)
    drawn = draw("E12", of=runs_in(root))
    axes = {label: found for label, (found,) in panels(drawn).items()}
    np.testing.assert_allclose(line(axes["b:rotation"], "line:layer 3")[1], 0.3 / 0.1)
    np.testing.assert_allclose(line(axes["c:update_spread"], "line:bn")[1], [64] + 20 * [8])
    said = words(drawn)
    assert "BatchNorm: over the last third the layers' relative updates are 1 to 8" in said
    assert "the largest is 8 times the smallest, at first 64 times" in said


def test_e13_has_a_line_per_batch_size_in_units_of_the_edge(root, draw):
    for norm in ("none", "bn"):
        for size in (8, 32, 128):
            rows = {"batch_sharpness": np.full(len(STEPS), 20.0 * size)}
            made(root, "batch_sharpness", rows, norm, batch_size=size)
    drawn = draw("E13", of=runs_in(root))
    (found,) = panels(drawn)["b:batch_sharpness"]
    for size in (8, 32, 128):
        np.testing.assert_allclose(line(found, f"line:batch {size}")[1], size)
    assert "last half of the run: 8 (batch 8), 32 (batch 32), 1.3e+02 (batch 128)" in words(drawn)


def test_e14_compares_test_losses_at_equal_train_loss(root, draw):
    """Test loss over train loss is 3 without BN, 2 with dropout and 1.5 with BN."""
    for norm, dropout, ratio in (("none", 0.0, 3.0), ("none", 0.1, 2.0), ("bn", 0.0, 1.5)):
        loss = 2.0 / (1 + STEPS)
        rows = {"step": np.tile(STEPS, 2), "split": np.repeat(["test", "train"], len(STEPS))}
        losses = np.concatenate([ratio * loss, loss])
        rows |= {"loss": losses, "accuracy": 1 / (1 + losses)}
        made(root, "eval", rows, norm, model__dropout=dropout)
    drawn = draw("E14", of=runs_in(root))
    (found,) = panels(drawn)["b:test_loss:at equal loss"]
    x, y = line(found, "line:Standard, dropout 0.1:0")
    np.testing.assert_allclose(y, 2 * x)
    assert "the test loss of Standard is 2 times that with BN alone" in words(drawn)
    assert "the test loss of Standard, dropout 0.1 is 1.3 times" in words(drawn)


@pytest.mark.parametrize("number", ["E10", "E11", "E12", "E13", "E14"])
def test_without_runs_nothing_is_drawn_and_with_some_it_is_said(root, draw, number):
    given = {"batch_size": 8, "optim__weight_decay": 0.05, "optim__schedule": "constant"}
    given["model__dropout"] = 0.0
    path = make_run(root, "vgg", "bn", 0.2 if number == "E10" else 0.1, tables=["eval"], **given)
    values = {"loss": 1 / (1 + STEPS), "data_loss": 1 / (1 + STEPS), "accuracy": STEPS / 40}
    add_table(path, "train", {"step": STEPS, **values})
    columns = {"step": STEPS, "layer": 1 + STEPS % 4, "relative_update": STEPS + 1.0}
    add_table(path, "updates", columns)
    add_table(path, "batch_sharpness", {"step": STEPS, "batch_sharpness": STEPS + 1.0})
    text = words(draw(number, of=runs_in(root)))
    assert "Not drawn, no such run: VGG none lr 0." in text
    assert "nan" not in text
