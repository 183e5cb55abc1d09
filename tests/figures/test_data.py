"""Which runs a figure takes."""

import pytest
from looking import words
from synthetic_runs import make_run, runs_in

from bnexp.analysis.scales import at_paper_scale
from bnexp.analysis.select import needs
from bnexp.errors import UserError
from bnexp.figures import draw_figures, figure, select
from bnexp.runs import Run

NEEDS = needs("fig4", "vgg", ["none", "bn"], [0.1], {"train": "a"})


def seeds(selection, norm):
    return [run.seed for run in selection.runs("vgg", norm, 0.1, "train")]


def test_runs_are_found_by_what_they_computed_one_per_seed(root):
    for seed in (2, 0):
        make_run(root, "vgg", "bn", 0.1, seed=seed)
    make_run(root, "vgg", "bn", 0.2)
    make_run(root, "vgg", "none", 0.1)
    found = select(NEEDS, runs_in(root))
    assert seeds(found, "bn") == [0, 2]
    assert seeds(found, "none") == [0]
    assert not found.missing


def test_a_run_without_the_table_does_not_meet_the_need(root):
    make_run(root, "vgg", "bn", 0.1, tables=["eval"])
    assert len(select(NEEDS, runs_in(root)).missing) == 2


def test_of_two_scales_the_more_complete_is_taken_then_the_longer(root):
    make_run(root, "vgg", "bn", 0.1, steps=80)
    for norm in ("none", "bn"):
        make_run(root, "vgg", norm, 0.1, steps=40)
    assert select(NEEDS, runs_in(root)).steps("vgg") == 40
    make_run(root, "vgg", "none", 0.1, steps=80)
    assert select(NEEDS, runs_in(root)).steps("vgg") == 80


def test_an_unfinished_run_only_where_there_is_no_other(root):
    done = make_run(root, "vgg", "bn", 0.1)
    half = make_run(root, "vgg", "bn", 0.1, seed=1)
    (half / "status.json").write_text('{"state": "running", "step": 10}')
    assert seeds(select(NEEDS, runs_in(root)), "bn") == [0]
    (done / "status.json").write_text('{"state": "failed", "step": 20}')
    assert seeds(select(NEEDS, runs_in(root)), "bn") == [0, 1]


def test_landscapes_along_random_directions_are_not_the_papers(root):
    make_run(root, "vgg", "bn", 0.1, probes__landscape={"etas": [1], "direction": "random"})
    needed = [need for need in figure("4").needs if not need.optional]
    assert len(select(figure("4").needs, runs_in(root)).missing) == len(needed) == 2


def test_a_damaged_part_is_named(root, tmp_path):
    path = make_run(root, "vgg", "bn", 0.1)
    (part,) = (path / "tables" / "smoothness").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(UserError, match=part.name):
        draw_figures(["4"], runs_in(root), tmp_path / "out", ["png"])


def test_the_papers_scale_is_recognised(root):
    paper = {"model__width": 1.0, "data__name": "cifar10", "data__label": "CIFAR-10"}
    make_run(root, "vgg", "bn", 0.1, steps=15_000, every=5000, **paper)
    make_run(root, "dln", "bn", 1e-6, steps=10_000, every=5000)
    make_run(root, "vgg", "none", 0.1)
    found = {(run.family, run.norm): at_paper_scale(run) for run in runs_in(root)}
    assert found == {("vgg", "bn"): True, ("dln", "bn"): True, ("vgg", "none"): False}


def test_the_figure_says_what_was_drawn(draw, root, runs: list[Run]):
    assert "VGG-16 ×1/8, digits, batch 128, 40 steps; 1 seed (0)" in words(draw("4"))
    assert "other scale*" in words(draw("4"))
    assert "Not the paper's scale: full-width VGG-16, CIFAR-10" in words(draw("4"))
    for norm in ("none", "bn"):
        make_run(root, "dln", norm, 1e-6, steps=10_000, every=2000)
    told = words(draw("10", of=runs_in(root)))
    assert "scale" not in told
