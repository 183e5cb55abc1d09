"""Fig 5: train accuracy of the VGG and train loss of the DLN under five normalisations."""

import numpy as np
from looking import artists, line, panels, run_of


def test_both_panels_hold_five_lines_with_the_tables_numbers(draw, runs):
    axes = panels(draw("5"))
    assert set(axes) == {"a:train_accuracy", "b:train_loss"}
    for name, family, lr, column, factor in (
        ("a:train_accuracy", "vgg", 0.1, "accuracy", 100),
        ("b:train_loss", "dln", 1e-6, "loss", 1),
    ):
        assert len(artists(axes[name][0], "line:")) == 5
        for norm in ("none", "bn", "l1", "l2", "linf"):
            rows = run_of(runs, family, norm, lr).table("train")
            x, y = line(axes[name][0], f"line:{norm}:{lr:g}")
            np.testing.assert_array_equal(x, rows["step"])
            np.testing.assert_allclose(y, factor * rows[column], rtol=1e-12)
    assert axes["a:train_accuracy"][0].get_yscale() == "linear"
    assert axes["b:train_loss"][0].get_yscale() == "log"


def test_colours_and_line_styles_differ_and_keep_the_papers_roles(draw):
    lines = artists(panels(draw("5"))["a:train_accuracy"][0], "line:")
    colours = {str(a.get_gid()).split(":")[1]: a.get_color() for a in lines}
    assert len(set(colours.values())) == 5
    assert len({str(a._dash_pattern) for a in lines}) == 5

    def rgb(name):
        return [int(colours[name][i : i + 2], 16) for i in (1, 3, 5)]

    assert np.argmax(rgb("none")) == 0  # red
    assert np.argmax(rgb("bn")) == 2  # blue
