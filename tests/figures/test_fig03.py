"""Fig 3: training, l2 difference and cosine of Definition 2.1, VGG (a) and DLN (b)."""

import numpy as np
import pytest
from looking import line, panels, run_of, words
from synthetic_runs import make_run, runs_in

HALVES = [
    ("a", "vgg", (0.1, 0.01), (5, 10), "a:train_accuracy"),
    ("b", "dln", (1e-6, 1e-7), (9, 17), "b:train_loss"),
]


@pytest.mark.parametrize(("letter", "family", "lrs", "layers", "training"), HALVES)
def test_each_learning_rate_has_its_own_panels_with_the_tables_numbers(
    draw, runs, letter, family, lrs, layers, training
):
    axes = panels(draw("3"))
    for row, lr in enumerate(lrs):
        for norm in ("none", "bn"):
            run = run_of(runs, family, norm, lr)
            assert len(line(axes[training][row], f"line:{norm}:{lr:g}")[0]) == len(
                run.table("train")
            )
            table = run.table("gradient_shift")
            for layer in layers:
                rows = table[table["layer"] == layer]
                for quantity, column in (("l2_difference", "l2"), ("cos_angle", "cos")):
                    panel = axes[f"{letter}:{quantity}:layer{layer}"][row]
                    x, y = line(panel, f"line:{norm}:{lr:g}")
                    np.testing.assert_array_equal(x, rows["step"])
                    np.testing.assert_allclose(y, rows[column], rtol=1e-12)


def test_twenty_panels_l2_and_loss_on_log_axes(draw):
    figure = draw("3")
    assert len(figure.axes) == 20
    for name, found in panels(figure).items():
        log = "l2_difference" in name or "train_loss" in name
        assert {ax.get_yscale() for ax in found} == {"log" if log else "linear"}


def test_a_net_without_the_layer_says_so(draw, root):
    for norm in ("none", "bn"):
        make_run(root, "vgg", norm, 0.1, layers=8)
    figure = draw("3", of=runs_in(root))
    assert {label[0] for label in panels(figure)} == {"a"}, "no runs of the DLN, no panels of it"
    assert "DLN none lr 1e-06" in words(figure), "but said"
    assert "these runs have no layer 10" in words(figure)
    assert line(panels(figure)["a:cos_angle:layer5"][0], "line:bn:0.1")[0].size
