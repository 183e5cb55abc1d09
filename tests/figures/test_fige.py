"""Figures E1 to E4, ours: lines are the tables, sentences are made of their numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from looking import line, panels, run_of
from synthetic_runs import make_run, runs_in

from bnexp.figures import fige1, fige2, fige3, fige4, figure, select
from bnexp.runs import Run

FINE = {"every": 2, "dense": 0, "etas": [0.125, 0.25, 0.5, 1, 2, 4], "direction": "gradient"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two seeds of every run that E1 to E4 need."""
    root = tmp_path_factory.mktemp("ours")
    for seed in range(2):
        for norm in ("none", "bn", "l1", "l2", "linf"):
            for lr in (1e-7, 3e-7, 1e-6, 3e-6):
                make_run(root, "dln", norm, lr, seed=seed, steps=60)
        for norm in ("none", "bn"):
            for lr in (0.1, 0.03):
                make_run(root, "vgg", norm, lr, seed=seed, probes__landscape=FINE)
            for family, lr in (("vgg", 0.1), ("dln", 1e-6)):
                etas = [0.5, 1, 2, 4] if family == "vgg" else [0.01, 0.1, 1, 10, 31.6227766]
                along = {**FINE, "etas": etas, "direction": "random"}
                make_run(root, family, norm, lr, seed=seed, steps=60, probes__landscape=along)
    return runs_in(root)


def only(runs: list[Run], seed: int, direction: str = "gradient") -> list[Run]:
    """Those of one seed that measured along the direction."""
    mine = [run for run in runs if run.seed == seed]
    return [r for r in mine if r.option("probes.landscape").get("direction") == direction]


@pytest.mark.parametrize("one", ["E1", "E2", "E3", "E4"])
def test_two_sentences_each_and_nothing_missing(draw, ours, one):
    selection = select(figure(one).needs, ours)
    assert selection.missing == ()
    module = {"E1": fige1, "E2": fige2, "E3": fige3, "E4": fige4}[one]
    sentences = module.sentences(selection)
    assert len(sentences) == 2
    drawn = draw(one, of=ours)
    shown = " ".join(t.get_text() for s in drawn.subfigs for t in s.texts).replace("\n", " ")
    for sentence in sentences:
        assert sentence in shown


@pytest.mark.parametrize("one", ["E1", "E2", "E3", "E4"])
def test_without_runs_there_are_no_sentences(one):
    module = {"E1": fige1, "E2": fige2, "E3": fige3, "E4": fige4}[one]
    assert module.sentences(select(figure(one).needs, [])) == []


def test_e1_is_beta_and_sharpness_in_units_of_the_edge(draw, ours):
    runs = only(ours, 0)
    axes = panels(draw("E1", of=runs))
    for letter, lr in zip("abcd", (1e-7, 3e-7, 1e-6, 3e-6), strict=True):
        rows = run_of(runs, "dln", "bn", lr).table("smoothness")
        _, y = line(axes[f"{letter}:beta_smoothness"][0], f"line:bn:{lr:g}")
        np.testing.assert_allclose(y, rows["beta"] * lr / 2)
        _, edge = line(axes[f"{letter}:beta_smoothness"][0], "reference:2/lr")
        np.testing.assert_allclose(edge, 1)
    rows = run_of(runs, "dln", "linf", 3e-6).table("sharpness")
    _, y = line(axes["h:sharpness"][0], "line:linf:3e-06")
    np.testing.assert_allclose(y, rows["sharpness"] * 3e-6 / 2)


def test_e1_says_what_the_plateaus_are(ours):
    """Two seeds: the median over seeds of medians over the last half, least and greatest lr."""
    said = fige1.sentences(select(figure("E1").needs, ours))[0]
    values = []
    for lr in (1e-7, 3e-7, 1e-6, 3e-6):
        each = []
        for seed in range(2):
            rows = run_of(only(ours, seed), "dln", "bn", lr).table("smoothness")
            each.append(rows.loc[rows["step"] >= 30, "beta"].median() * lr / 2)
        values.append(float(np.median(each)))
    told = dict.fromkeys(f"{value:.2g}" for value in (min(values), max(values)))
    assert f"{' to '.join(told)} (BatchNorm)" in said


def test_e2_takes_the_largest_beta_of_each_grid(draw, ours):
    runs = only(ours, 1)
    axes = panels(draw("E2", of=runs))["b:beta"][0]
    rows = run_of(runs, "vgg", "bn", 0.1).table("landscape")
    for multiple in (0.125, 0.25, 0.5):
        inside = rows[rows["eta"] >= multiple * 0.1 * 0.999]
        _, y = line(axes, f"line:{multiple:g}")
        np.testing.assert_allclose(y, inside.groupby("step")["beta"].max())
        _, end = line(axes, f"reference:1/eta_min {multiple:g}")
        np.testing.assert_allclose(end, 1 / (multiple * 0.1))


def test_e3_has_both_directions_each_from_its_own_runs(draw, ours):
    both = [run for run in ours if run.seed == 0]
    axes = panels(draw("E3", of=both))
    for letter, direction in (("i", "random"), ("l", "gradient")):
        rows = run_of(only(ours, 0, direction), "dln", "bn", 1e-6).table("smoothness")
        _, y = line(axes[f"{letter}:beta_smoothness"][0], "line:bn:1e-06")
        np.testing.assert_allclose(y, rows["beta"])


def test_e4_compares_at_equal_loss(draw, ours):
    runs = only(ours, 0)
    axes = panels(draw("E4", of=runs))
    run = run_of(runs, "dln", "none", 1e-6)
    _, y = line(axes["d:beta_0"][0], "line:none:1e-06")
    np.testing.assert_allclose(y, run.table("curvature")["beta_0"])
    x, y = line(axes["f:beta_against_loss"][0], "line:none:0")
    np.testing.assert_allclose(x, np.minimum.accumulate(run.table("train")["loss"]))
    np.testing.assert_allclose(y, run.table("curvature")["beta_0"])


def test_losses_on_the_axis_can_be_read(draw, ours):
    drawn = draw("E4", of=ours, layout=True)
    drawn.canvas.draw()
    for letter in "cf":
        (axes,) = panels(drawn)[f"{letter}:beta_against_loss"]
        names = [t.get_window_extent() for t in axes.get_xticklabels(which="both") if t.get_text()]
        names.sort(key=lambda box: box.x0)
        assert len(names) >= 2
        assert all(one.x1 < other.x0 for one, other in itertools.pairwise(names))
