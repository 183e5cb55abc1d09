"""Drawing all figures to files."""

import re

import matplotlib
import numpy as np
import pytest
from looking import artists, band, line, panels, words
from matplotlib.figure import Figure
from PIL import Image
from synthetic_runs import make_run, runs_in

from bnexp.cli import main
from bnexp.commands.figures import chosen
from bnexp.figures import draw_figures, figure, figure_ids, message
from bnexp.figures.draw import write_figure

IDS = ["1", "2", "3", "4", "5", "6", "8", "9", "10", "11", "12", "13"]


def test_figures_are_registered_in_order_with_the_recipes_of_their_needs():
    ours = [*(f"E{number}" for number in range(1, 15)), "dln_settings", "lr_choice", "quick_task"]
    assert figure_ids() == [*IDS, *ours, "vgg_level", "vgg_settings"]
    for recipe in map(figure, figure_ids()):
        assert {need.recipe for need in recipe.needs} <= set(recipe.recipes)


@pytest.mark.parametrize("number", sorted(set(IDS) - {"6", "9", "8"}))
def test_the_papers_curves_are_dashed_and_within_the_panels_steps_or_left_out(draw, number):
    drawn = [a for a in artists(draw(number), "paper:") if "beyond" not in a.get_gid()]
    assert drawn
    for curve in drawn:
        assert curve.is_dashed()
        if number != "11":
            assert max(curve.get_xdata(), default=0) <= 60
    if number in ("5", "10", "11"):
        assert not artists(draw(number, paper=False), "paper:")
        assert ", the paper\n" not in words(draw(number, paper=False)) + "\n"


def test_the_same_tables_give_the_same_bytes_whatever_the_users_style(runs, tmp_path):
    one, _ = draw_figures(["5"], runs, tmp_path / "one")
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "axes.grid": True}):
        before = dict(matplotlib.rcParams)
        two, _ = draw_figures(["5"], runs, tmp_path / "two")
        assert dict(matplotlib.rcParams) == before
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_colours_that_are_numbers_are_kept_and_others_are_few(tmp_path):
    plain, shaded = Figure(), Figure()
    plain.subplots().plot([1, 2])
    shaded.subplots().imshow([[1, 2]])
    files = [tmp_path / "plain.png", tmp_path / "shaded.png"]
    for made, file in zip((plain, shaded), files, strict=True):
        write_figure(made, file)
    assert [Image.open(file).mode for file in files] == ["P", "RGB"]


def test_files_are_named_by_figure_and_hold_no_dates(runs, tmp_path):
    paths, drawn = draw_figures(["4"], runs, tmp_path)
    assert [path.name for path in paths] == ["fig04.png", "fig04.pdf"]
    assert not message(drawn)
    pdf = (tmp_path / "fig04.pdf").read_bytes()
    assert not re.search(rb"CreationDate|ModDate|Producer", pdf)
    assert b"/FontFile2" in pdf  # TrueType, embedded
    assert b"/Type3" not in pdf
    png = Image.open(tmp_path / "fig04.png")
    assert png.info == {"dpi": (pytest.approx(150, abs=0.1), pytest.approx(150, abs=0.1))}


def test_no_runs_no_file_and_one_message_with_the_command(tmp_path):
    paths, drawn = draw_figures(["1", "4"], [], tmp_path / "out")
    assert paths == []
    assert not (tmp_path / "out").exists()
    words = message(drawn)
    assert "figure 4: not drawn, no runs: VGG none lr 0.1; VGG bn lr 0.1" in words
    assert words.endswith("bnexp reproduce preset=quick|cpu|paper figures=1,4")


def test_some_runs_are_drawn_and_the_figure_says_what_lacks(root, tmp_path, draw):
    make_run(root, "dln", "bn", 1e-6)
    make_run(root, "dln", "none", 1e-6, tables=["train"])
    runs = runs_in(root)
    paths, drawn = draw_figures(["13"], runs, tmp_path / "out", ["png"])
    assert paths
    assert "DLN l1 lr 1e-06" in message(drawn)
    assert "DLN none lr 1e-06 (table smoothness)" in words(draw("13", of=runs))


def test_figures_draws_those_asked_for_or_the_papers(root, capsys):
    make_run(root, "dln", "bn", 1e-6)
    assert chosen(["e5"]) == chosen(["figE5"]) == ["E5"]
    assert chosen([]) == IDS
    assert main(["figures", "E5", "--runs", str(root)]) == 1, "it has no runs"


def test_several_seeds_are_a_median_with_a_band(root, draw):
    for seed in range(3):
        make_run(root, "dln", "bn", 1e-6, seed=seed)
    seeds = runs_in(root)
    axes = panels(draw("10", of=seeds))["c:beta_smoothness"][0]
    tables = np.array([run.table("smoothness")["beta"] for run in seeds])
    _, y = line(axes, "line:bn:1e-06")
    np.testing.assert_allclose(y, np.median(tables, axis=0), rtol=1e-12)
    _, lo, hi = band(axes, "spread:bn:1e-06")
    np.testing.assert_allclose(lo, tables.min(axis=0), rtol=1e-12)
    np.testing.assert_allclose(hi, tables.max(axis=0), rtol=1e-12)


def test_the_figure_says_what_was_drawn(draw, root):
    assert "VGG-16 ×1/8, digits, batch 128, 40 steps; 1 seed." in words(draw("4"))
    assert "Not the paper's scale, which is: full-width VGG-16, CIFAR-10" in words(draw("4"))
    for norm in ("none", "bn"):
        make_run(root, "dln", norm, 1e-6, steps=10_000, every=2000)
    assert "scale" not in words(draw("10", of=runs_in(root)))


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
