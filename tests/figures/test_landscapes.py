"""Figs 4, 10, 12, 13: bands over eta, effective beta, and what stands beside it."""

import shutil

import numpy as np
import pytest
from looking import artists, band, line, panels, run_of, words
from synthetic_runs import make_run, runs_in

from bnexp.figures import figure, select
from bnexp.runs import TableWriter

FIVE = ("none", "bn", "l1", "l2", "linf")
FIGURES = [
    ("4", "vgg", 0.1, "abc", ("none", "bn"), False),
    ("10", "dln", 1e-6, "abc", ("none", "bn"), True),
    ("12", "vgg", 0.1, "bcd", FIVE, False),
    ("13", "dln", 1e-6, "bcd", FIVE, True),
]


def axes_of(figure, panel, norm, norms):
    """The panel of a norm: where there are many norms, each has one of its own."""
    found = panels(figure)[panel]
    return found[norms.index(norm)] if len(norms) > 3 else found[0]


each_figure = pytest.mark.parametrize(
    ("number", "family", "lr", "letters", "norms", "log"), FIGURES, ids=[f[0] for f in FIGURES]
)


@each_figure
def test_bands_and_beta_are_the_tables(draw, runs, number, family, lr, letters, norms, log):
    a, b, c = letters

    def axes(panel):
        return axes_of(draw(number), panel, norm, norms)

    for norm in norms:
        rows = run_of(runs, family, norm, lr).table("smoothness")
        key = f"{norm}:{lr:g}"
        for panel, name in ((f"{a}:loss_landscape", "loss"),
                            (f"{b}:gradient_predictiveness", "predictiveness")):  # fmt: skip
            x, lo, hi = band(axes(panel), f"band:{key}")
            np.testing.assert_array_equal(x, rows["step"])
            np.testing.assert_allclose(lo, rows[f"{name}_min"], rtol=1e-12)
            np.testing.assert_allclose(hi, rows[f"{name}_max"], rtol=1e-12)
        _, beta = line(axes(f"{c}:beta_smoothness"), f"line:{key}")
        np.testing.assert_allclose(beta, rows["beta"], rtol=1e-12)
        _, eta = line(axes(f"{c}:beta_eta"), f"line:{key}")
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
    for norm in norms:
        axes = axes_of(draw(number), f"{letters[2]}:beta_smoothness", norm, norms)
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
    selection = select(figure(number).needs, runs_in(tmp_path))
    assert selection.missing == (), "it is not missed"
    axes = panels(draw(number, of=runs_in(tmp_path)))[f"{letters[2]}:beta_smoothness"][0]
    assert not [artist for artist in axes.get_children() if "beside:" in (artist.get_gid() or "")]
    # a run on which other tables were recorded besides
    more = {"probes__curvature": {"every": 2, "dense": 0}, "tables": ("smoothness", "curvature")}
    curved = make_run(tmp_path, family, norms[0], lr, seed=1, **more)
    selection = select(figure(number).needs, runs_in(tmp_path))
    (found,) = selection.runs(family, norms[0], lr, "curvature")
    assert found.path == curved


@each_figure
def test_the_papers_bands_are_drawn_by_their_edges(draw, number, family, lr, letters, norms, log):
    names = ("loss_landscape", "gradient_predictiveness", "beta_smoothness")
    for norm in norms:
        for letter, name, edges in zip(letters, names, (2, 2, 1), strict=True):
            axes = axes_of(draw(number), f"{letter}:{name}", norm, norms)
            assert len(artists(axes, f"paper:{norm}:{lr:g}")) == edges


def test_a_row_of_small_multiples_has_one_y_range_and_a_panel_per_norm(draw):
    axes = panels(draw("13"))
    for panel in ("b:loss_landscape", "c:gradient_predictiveness", "d:beta_smoothness"):
        assert len(axes[panel]) == 5
        assert len({ax.get_ylim() for ax in axes[panel]}) == 1
        for ax in axes[panel]:
            assert len(artists(ax, "line:") + artists(ax, "band:")) == 1


FINE = {"every": 2, "dense": 0, "etas": [0.125, 0.25, 0.5, 1, 2, 4], "direction": "gradient"}


def test_a_finer_grid_is_drawn_at_the_papers_step_sizes(root, draw):
    make_run(root, "vgg", "bn", 0.1, probes__landscape=FINE)
    (run,) = runs_in(root)
    rows = run.table("landscape")
    rows = rows[rows["eta"] >= 0.05 * (1 - 1e-9)].groupby("step")
    axes = panels(draw("4", of=[run]))
    _, lo, hi = band(axes["a:loss_landscape"][0], "band:bn:0.1")
    np.testing.assert_array_equal([lo, hi], [rows["loss"].min(), rows["loss"].max()])
    _, y = line(axes["c:beta_smoothness"][0], "line:bn:0.1")
    np.testing.assert_array_equal(y, rows["beta"].max())
    assert run.table("smoothness")["beta"].max() > y.max()
    _, end = line(axes["c:beta_smoothness"][0], "reference:1/eta_min")
    np.testing.assert_allclose(end, 1 / 0.05)


def test_the_norm_summed_over_tensors_is_drawn_where_it_was_recorded(root, draw):
    assert "the norm of the whole gradient's change" in words(draw("10"))
    path = make_run(root, "dln", "bn", 1e-6)
    table = runs_in(root)[0].table("landscape")
    shutil.rmtree(path / "tables" / "landscape")
    writer = TableWriter(path / "tables")
    columns = {str(name): table[name].to_numpy() for name in table}
    writer.add("landscape", {**columns, "predictiveness_tensors": 7 * table["predictiveness"]})
    writer.flush()
    drawn = draw("10", of=runs_in(root))
    assert "summed over the parameter tensors" in words(drawn)
    _, lo, hi = band(panels(drawn)["b:gradient_predictiveness"][0], "band:bn:1e-06")
    whole = runs_in(root)[0].table("smoothness")
    np.testing.assert_allclose(hi, 7 * whole["predictiveness_max"], rtol=1e-12)
    np.testing.assert_allclose(lo, 7 * whole["predictiveness_min"], rtol=1e-12)


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
