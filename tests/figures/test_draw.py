"""Drawing all figures to files."""

import re

import matplotlib
import numpy as np
import pytest
from looking import artists, band, line, panels, words
from synthetic_runs import make_run, runs_in

from bnexp.errors import UserError
from bnexp.figures import draw_figures, figure, figure_ids, message
from bnexp.runs import TableWriter

IDS = ["1", "2", "3", "4", "5", "6", "8", "9", "10", "11", "12", "13"]


def test_figures_are_registered_in_order_with_the_recipes_of_their_needs():
    ours = ["E1", "E2", "E3", "E4", "E5", "E6", "dln_settings"]
    assert figure_ids() == [*IDS, *ours]
    for recipe in map(figure, figure_ids()):
        assert {need.recipe for need in recipe.needs} <= set(recipe.recipes)
        assert recipe.of_paper == (recipe.id in IDS)


@pytest.mark.parametrize("number", ["5", "10", "11"])
def test_without_the_paper_nothing_of_it_is_drawn(draw, number):
    assert not artists(draw(number, paper=False), "paper:")
    assert ", the paper\n" not in words(draw(number, paper=False)) + "\n"


@pytest.mark.parametrize("number", sorted(set(IDS) - {"6", "9", "8"}))
def test_with_the_paper_its_curves_are_dashed_and_within_the_panels_steps(draw, number):
    drawn = [a for a in artists(draw(number), "paper:") if "beyond" not in a.get_gid()]
    assert drawn
    for curve in drawn:
        assert curve.is_dashed()
        if number != "11":
            assert max(curve.get_xdata(), default=0) <= 60


def test_the_same_tables_give_the_same_bytes(runs, tmp_path):
    first = draw_figures(["4"], runs, tmp_path / "one")
    second = draw_figures(["4"], runs, tmp_path / "two")
    for drawn in first:
        (again,) = [d for d in second if d.id == drawn.id]
        for one, two in zip(drawn.paths, again.paths, strict=True):
            assert one.name == two.name
            assert one.read_bytes() == two.read_bytes()


def test_files_are_named_by_figure_and_hold_no_dates(runs, tmp_path):
    (drawn,) = draw_figures(["4"], runs, tmp_path)
    assert [path.name for path in drawn.paths] == ["fig04.png", "fig04.pdf"]
    assert drawn.missing == ()
    pdf = (tmp_path / "fig04.pdf").read_bytes()
    assert not re.search(rb"CreationDate|ModDate|Producer", pdf)
    assert b"/FontFile2" in pdf  # TrueType, embedded
    assert b"/Type3" not in pdf
    png = (tmp_path / "fig04.png").read_bytes()
    assert b"tEXt" not in png
    assert b"pHYs" in png  # 150 dpi is 5906 pixels per metre
    assert int.from_bytes(png[png.index(b"pHYs") + 4 :][:4], "big") == 5906


def test_drawing_leaves_matplotlib_as_it_was(runs, tmp_path):
    before = dict(matplotlib.rcParams)
    draw_figures(["5"], runs, tmp_path, ["png"])
    assert dict(matplotlib.rcParams) == before


def test_the_users_own_style_changes_nothing(runs, tmp_path):
    draw_figures(["5"], runs, tmp_path / "plain", ["png"])
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "axes.grid": True}):
        draw_figures(["5"], runs, tmp_path / "styled", ["png"])
    plain, styled = (tmp_path / name / "fig05.png" for name in ("plain", "styled"))
    assert plain.read_bytes() == styled.read_bytes()


def test_no_runs_no_file_and_one_message_with_the_command(tmp_path):
    drawn = draw_figures(["1", "4"], [], tmp_path / "out")
    assert [one.paths for one in drawn] == [(), ()]
    assert drawn[1].missing == tuple(n for n in figure("4").needs if not n.optional)
    assert not (tmp_path / "out").exists()
    words = message(drawn)
    assert "figure 4: not drawn, no runs: VGG none lr 0.1; VGG bn lr 0.1" in words
    assert words.endswith("bnexp reproduce preset=quick|cpu|paper figures=1,4")


def test_some_runs_are_drawn_and_the_figure_says_what_lacks(root, tmp_path, draw):
    make_run(root, "dln", "bn", 1e-6)
    make_run(root, "dln", "none", 1e-6, tables=["train"])
    runs = runs_in(root)
    (drawn,) = draw_figures(["13"], runs, tmp_path / "out", ["png"])
    assert drawn.paths
    assert "DLN l1 lr 1e-06" in message([drawn])
    assert "DLN none lr 1e-06 (table smoothness)" in words(draw("13", of=runs))


def test_nothing_lacks_nothing_is_said(runs, tmp_path):
    assert message(draw_figures(["4"], runs, tmp_path, ["png"])) is None


@pytest.mark.parametrize(
    ("ids", "formats"), [(["7"], ["png"]), (["4", "x"], ["png"]), (["4"], ["svg"])]
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(runs, tmp_path, ids, formats):
    with pytest.raises(UserError, match=r"expected some of"):
        draw_figures(ids, runs, tmp_path / "out", formats)
    assert not (tmp_path / "out").exists()


def test_several_seeds_are_a_median_with_a_band(seeds, draw):
    axes = panels(draw("10", of=seeds))["c:beta_smoothness"][0]
    tables = np.array([r.table("smoothness")["beta"] for r in seeds if r.norm == "bn"])
    assert len(tables) == 3
    _, y = line(axes, "line:bn:1e-06")
    np.testing.assert_allclose(y, np.median(tables, axis=0), rtol=1e-12)
    _, lo, hi = band(axes, "spread:bn:1e-06")
    np.testing.assert_allclose(lo, tables.min(axis=0), rtol=1e-12)
    np.testing.assert_allclose(hi, tables.max(axis=0), rtol=1e-12)


def test_overflow_is_clipped_and_marked(root, draw):
    path = make_run(root, "dln", "none", 1e-6, tables=["train"])
    steps = np.arange(0, 41, 2)
    top = np.where(steps == 10, np.inf, np.where(steps == 20, 1e300, 1e5))
    writer = TableWriter(path / "tables")
    rows = {"loss_min": 1e3, "predictiveness_min": 1e2, "beta": top, "beta_eta": 1e-6}
    rows |= {"step": steps, "loss_max": top, "predictiveness_max": top}
    writer.add("smoothness", rows)
    writer.flush()
    axes = panels(draw("10", paper=False, of=runs_in(root)))
    for name in ("a:loss_landscape", "b:gradient_predictiveness", "c:beta_smoothness"):
        assert axes[name][0].get_ylim()[1] < 1e25
        x, _ = line(axes[name][0], "beyond:above:none")
        np.testing.assert_array_equal(x, [10, 20])


def test_long_runs_are_drawn_by_stretches_with_nothing_lost(root, draw):
    make_run(root, "dln", "bn", 1e-6, steps=9000, every=1, tables=["train"], layers=1)
    (run,) = runs_in(root)
    figure = draw("13", of=[run])
    axes = panels(figure)["a:train_loss"][0]
    x, y = line(axes, "line:bn:1e-06")
    loss = run.table("train")["loss"].to_numpy()
    assert len(x) == 201
    assert y[0] == loss[0]
    assert (x[1], y[1]) == (23, np.median(loss[1:46]))
    _, lo, hi = band(axes, "spread:bn:1e-06")
    assert (lo.min(), hi.max()) == pytest.approx((loss.min(), loss.max()))
    assert "over short stretches of steps" in words(figure)
