"""Figs 4, 10, 12, 13: bands over eta, effective beta, and what stands beside it."""

import numpy as np
import pytest
from looking import artists, band, line, panels, run_of
from synthetic_runs import make_run, runs_in

from bnexp.figures import FIGURES as FIGURES_BY_ID
from bnexp.figures import select

FIVE = ("none", "bn", "l1", "l2", "linf")
FIGURES = [
    ("4", "vgg", 0.1, "abc", ("none", "bn"), False),
    ("10", "dln", 1e-6, "abc", ("none", "bn"), True),
    ("12", "vgg", 0.1, "bcd", FIVE, False),
    ("13", "dln", 1e-6, "bcd", FIVE, True),
]
each_figure = pytest.mark.parametrize(
    ("number", "family", "lr", "letters", "norms", "log"), FIGURES, ids=[f[0] for f in FIGURES]
)


@each_figure
def test_bands_and_beta_are_the_tables(draw, runs, number, family, lr, letters, norms, log):
    axes = panels(draw(number))
    a, b, c = letters
    for norm in norms:
        rows = run_of(runs, family, norm, lr).table("smoothness")
        key = f"{norm}:{lr:g}"
        for panel, name in ((f"{a}:loss_landscape", "loss"),
                            (f"{b}:gradient_predictiveness", "predictiveness")):  # fmt: skip
            x, lo, hi = band(axes[panel][0], f"band:{key}")
            np.testing.assert_array_equal(x, rows["step"])
            np.testing.assert_allclose(lo, rows[f"{name}_min"], rtol=1e-12)
            np.testing.assert_allclose(hi, rows[f"{name}_max"], rtol=1e-12)
        _, beta = line(axes[f"{c}:beta_smoothness"][0], f"line:{key}")
        np.testing.assert_allclose(beta, rows["beta"], rtol=1e-12)
        _, eta = line(axes[f"{c}:beta_eta"][0], f"line:{key}")
        np.testing.assert_allclose(eta, rows["beta_eta"], rtol=1e-12)


@each_figure
def test_axes_are_log_where_the_papers_are(draw, number, family, lr, letters, norms, log):
    axes = panels(draw(number))
    a, b, c = letters
    assert axes[f"{a}:loss_landscape"][0].get_yscale() == "log"
    expected = "log" if log else "linear"
    assert axes[f"{b}:gradient_predictiveness"][0].get_yscale() == expected
    assert axes[f"{c}:beta_smoothness"][0].get_yscale() == expected
    assert axes[f"{c}:beta_eta"][0].get_yscale() == "log"
    assert len(axes) == (4 if len(norms) == 2 else 5)


@each_figure
def test_beta_stands_beside_two_over_lr_and_one_over_the_least_eta(
    draw, runs, number, family, lr, letters, norms, log
):
    axes = panels(draw(number))[f"{letters[2]}:beta_smoothness"][0]
    multiple = 0.5 if family == "vgg" else 0.01
    for name, value in (("2/lr", 2 / lr), ("1/eta_min", 1 / (multiple * lr))):
        _, y = line(axes, f"reference:{name}")
        np.testing.assert_allclose(y, value)
        assert axes.get_ylim()[0] < value < axes.get_ylim()[1]
    text = " ".join(t.get_text() for t in axes.texts)
    assert "2/lr" in text
    assert "1/ηₘᵢₙ" in text


@each_figure
def test_beta_as_eta_goes_to_0_is_drawn_where_it_was_measured(
    draw, runs, tmp_path, number, family, lr, letters, norms, log
):
    axes = panels(draw(number))[f"{letters[2]}:beta_smoothness"][0]
    for norm in norms:
        expected = run_of(runs, family, norm, lr).table("curvature")
        x, y = line(axes, f"beside:{norm}:0")
        np.testing.assert_array_equal(x, expected["step"])
        top, bottom = (max(axes.get_ylim()), min(axes.get_ylim()))
        shown = np.clip([y, expected["beta_0"]], bottom, top)
        np.testing.assert_allclose(*shown, rtol=1e-12)
        marks = artists(axes, f"beyond:above:{norm}:0")
        assert len(marks) == bool((expected["beta_0"] > top).any()), "what is cut off is marked"
    bare = [
        make_run(tmp_path, family, norm, lr, tables=("smoothness", "train", "eval"))
        for norm in norms
    ]
    assert len(bare) == len(norms)
    selection = select(FIGURES_BY_ID[number].needs, runs_in(tmp_path))
    assert selection.missing == (), "it is not missed"
    axes = panels(draw(number, of=runs_in(tmp_path)))[f"{letters[2]}:beta_smoothness"][0]
    assert not [artist for artist in axes.get_children() if "beside:" in (artist.get_gid() or "")]
    # a run on which other tables were recorded besides
    more = {"probes__curvature": {"every": 2, "dense": 0}, "tables": ("smoothness", "curvature")}
    curved = make_run(tmp_path, family, norms[0], lr, seed=1, **more)
    selection = select(FIGURES_BY_ID[number].needs, runs_in(tmp_path))
    (found,) = selection.runs(family, norms[0], lr, "curvature")
    assert found.path == curved


@each_figure
def test_the_papers_bands_are_drawn_by_their_edges(draw, number, family, lr, letters, norms, log):
    axes = panels(draw(number))
    for norm in norms:
        key = f"paper:{norm}:{lr:g}"
        assert len(artists(axes[f"{letters[0]}:loss_landscape"][0], key)) == 2
        assert len(artists(axes[f"{letters[1]}:gradient_predictiveness"][0], key)) == 2
        assert len(artists(axes[f"{letters[2]}:beta_smoothness"][0], key)) == 1


@pytest.mark.parametrize(
    ("number", "family", "lr", "panel", "column", "factor"),
    [
        ("12", "vgg", 0.1, "a:train_accuracy", "accuracy", 100),
        ("13", "dln", 1e-6, "a:train_loss", "loss", 1),
    ],
)
def test_figs_12_and_13_begin_with_fig_5(draw, runs, number, family, lr, panel, column, factor):
    axes = panels(draw(number))[panel][0]
    for norm in FIVE:
        rows = run_of(runs, family, norm, lr).table("train")
        _, y = line(axes, f"line:{norm}:{lr:g}")
        np.testing.assert_allclose(y, factor * rows[column], rtol=1e-12)
