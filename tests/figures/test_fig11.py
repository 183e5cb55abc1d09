"""Fig 11: predictiveness against eta, one line per recorded step, coloured by step."""

import numpy as np
import pytest
from looking import artists, panels, run_of


@pytest.mark.parametrize(("letter", "family", "lr"), [("a", "vgg", 0.1), ("b", "dln", 1e-6)])
def test_one_line_per_recorded_step(draw, runs, letter, family, lr):
    axes = panels(draw("11"))
    for norm in ("none", "bn"):
        table = run_of(runs, family, norm, lr).table("landscape")
        lines = artists(axes[f"{letter}:gradient_difference:{norm}"][0], f"line:{norm}:")
        assert len(lines) == table["step"].nunique()
        for found in lines:
            rows = table[table["step"] == int(found.get_gid().split(":")[2])].sort_values("eta")
            np.testing.assert_array_equal(found.get_xdata(), rows["eta"])
            np.testing.assert_allclose(found.get_ydata(), rows["predictiveness"], rtol=1e-12)
        assert len({tuple(found.get_color()) for found in lines}) == len(lines)


def test_scales_are_the_papers_and_the_pair_shares_y(draw):
    axes = panels(draw("11"))
    for letter, scale in (("a", "linear"), ("b", "log")):
        pair = [axes[f"{letter}:gradient_difference:{norm}"][0] for norm in ("none", "bn")]
        assert {ax.get_xscale() for ax in pair} == {ax.get_yscale() for ax in pair} == {scale}
        assert pair[0].get_ylim() == pair[1].get_ylim()


def test_a_colourbar_for_each_net_runs_over_the_steps(draw):
    bars = [ax for ax in draw("11").axes if ax.get_label() == "<colorbar>"]
    assert [bar.get_ylim() for bar in bars] == [(0, 40), (0, 60)]


def test_the_papers_lines_are_of_steps_that_the_run_makes(draw):
    drawn = artists(draw("11"), "paper:")
    steps = {int(a.get_gid().split(":")[2]) for a in drawn}
    # Our step of the paper's 50, of the DLN's 60; the VGG's 40 end before the paper's first, 100.
    assert steps == {51}
