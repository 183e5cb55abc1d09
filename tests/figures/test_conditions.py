"""Figs E7 to E9 and lr_choice: lines and maps are the tables, sentences are made of them."""

import numpy as np
import pytest
from looking import line, panels, words
from synthetic_runs import add_table, make_run, runs_in

STEPS = np.arange(0, 41, 2)


def _evaluated(path, accuracy):
    rows = {"step": np.array([0, 40]), "accuracy": np.array([0.1, accuracy])}
    add_table(path, "eval", {**rows, "split": np.array(["test", "test"])})


def test_e7_has_a_line_per_norm_over_the_batch_size(root, draw):
    for norm, share in {"bn": 0.001, "group": 0.0005}.items():
        for size in (2, 32, 512):
            path = make_run(root, "vgg", norm, 0.1, batch_size=size)
            _evaluated(path, share * size)
            ones = np.ones(len(STEPS))
            gap = {"train_mode": ones, "test_mode": (1 + 8 / size) * ones}
            add_table(path, "mode_gap", {"step": STEPS, **gap})
    drawn = draw("E7", of=runs_in(root))
    axes = {label: found for label, (found,) in panels(drawn).items()}
    x, y = line(axes["a:test accuracy (%)"], "line:bn")
    np.testing.assert_allclose(x, [2, 32, 512])
    np.testing.assert_allclose(y, [0.2, 3.2, 51.2])
    _, y = line(axes["b:loss, test / training mode"], "line:group")
    np.testing.assert_allclose(y, [5, 1.25, 1 + 8 / 512])
    assert "from batch 2 to batch 512, after equally many steps" in words(drawn)
    assert "BatchNorm 0 to 51 %" in words(drawn)
    assert "Not drawn, no such run: VGG none lr 0.1; VGG ghost lr 0.1" in words(drawn)


def test_e7_draws_what_there_is_of_runs_without_probes(root, draw):
    for size in (2, 32):
        path = make_run(
            root, "vgg", "bn", 0.1, tables=["train"], batch_size=size, probes={"train": {}}
        )
        _evaluated(path, 0.01 * size)
    drawn = draw("E7", of=runs_in(root))
    axes = {label: found for label, (found,) in panels(drawn).items()}
    np.testing.assert_allclose(line(axes["a:test accuracy (%)"], "line:bn")[1], [2, 32])
    drawn.draw_without_rendering()


def model(depth):
    return {"name": f"vgg{depth}", "family": "vgg", "width": 0.125}


def test_e8_says_how_far_apart_the_layers_of_the_deepest_network_are(root, draw):
    for norm, factor in {"none": 10.0, "bn": 2.0}.items():
        for depth in (11, 19):
            path = make_run(root, "vgg", norm, 0.1, tables=["train"], model=model(depth))
            layers = np.tile([1, 2, 3], len(STEPS))
            rows = {"step": np.repeat(STEPS, 3), "layer": layers}
            add_table(path, "gradient_shift", {**rows, "grad_norm": factor**layers * depth})
            add_table(path, "stable_rank", {**rows, "stable_rank": factor * layers})
    figure = draw("E8", of=runs_in(root))
    titles = [axes.get_title("left") for axes in figure.axes]
    assert [*filter(None, titles)] == ["VGG, Standard", "VGG, BatchNorm"]
    assert figure.axes[0].get_legend() is not None
    text = " ".join(words(figure).split())
    assert text.count("19 layers deep") == 2
    assert "1e+02 and 10" in text
    assert "4 and 2" in text


def test_e8_takes_the_last_step_that_each_seed_reached(root, draw):
    """One seed ends at step 40, the other diverged at 20: the median is of both."""
    for seed, last in enumerate((40, 20)):
        path = make_run(root, "vgg", "bn", 0.1, seed=seed, tables=["train"], model=model(19))
        make_run(root, "vgg", "bn", 0.1, seed=seed, model=model(11), state="done")
        steps = np.repeat([0, last], 3)
        rows = {"step": steps, "layer": np.tile([1, 2, 3], 2)}
        add_table(path, "gradient_shift", {**rows, "grad_norm": steps + 1.0})
        add_table(path, "stable_rank", {**rows, "stable_rank": steps + 1.0})
    figure = draw("E8", of=runs_in(root))
    (axes,) = panels(figure)["VGG, BatchNorm:gradient norm, last step"]
    deepest = next(line for line in axes.lines if line.get_label() == "19")
    np.testing.assert_allclose(deepest.get_ydata(), [31, 31, 31])


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (0.3, "2 of 3 settings reach 80 % in 40 steps; the largest learning rate that does is 0.3"),
        (0.1, "1 of 3 settings reach 80 % in 40 steps; the largest learning rate that does is 0.1"),
        (0.0, "0 of 3 settings reach 80 % in 40 steps. "),
    ],
)
def test_e9_counts_the_settings_that_reach_80_percent(root, draw, best, said):
    """Runs from before the scale was a setting have scale 1; a setting without runs is none."""
    for lr, scale in (
        (0.1, {}),
        (0.3, {"model__init_scale": 1.0}),
        (0.1, {"model__init_scale": 2}),
    ):
        path = make_run(root, "vgg", "bn", lr, tables=[], **scale)
        reached = np.full(len(STEPS), 0.9 if lr <= best and 2 not in scale.values() else 0.5)
        add_table(path, "train", {"step": STEPS, "accuracy": reached, "loss": reached})
    drawn = draw("E9", of=runs_in(root))
    assert said in " ".join(words(drawn).split())
    (crosses,) = panels(drawn)["steps:bn"][0].lines
    assert len(crosses.get_xdata()) == 3 - int(said[0])


def test_the_best_learning_rate_of_each_norm_is_said(root, draw):
    for norm, best in {"none": 0.01, "bn": 0.3}.items():
        for lr in (0.01, 0.1, 0.3):
            path = make_run(root, "vgg", norm, lr, tables=["train"])
            _evaluated(path, 0.9 if lr == best else 0.5)
    text = words(draw("lr_choice", of=runs_in(root)))
    assert "0.01 (90.0 %)" in text
    assert "0.3 (90.0 %)" in text
