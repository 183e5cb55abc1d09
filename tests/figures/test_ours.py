"""Our own figures: lines and maps are the tables, sentences are made of their numbers."""

from itertools import product

import numpy as np
import pytest
from looking import artists, line, panels, run_of, words
from synthetic_runs import add_table, make_run, runs_in

from bnexp.analysis import paper
from bnexp.analysis.scales import EXPERIMENTS
from bnexp.analysis.select import select
from bnexp.figures import figure, maps, settings

FINE = {"every": 2, "dense": 0, "etas": [0.125, 0.25, 0.5, 1, 2, 4], "direction": "gradient"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Every run that E1 to E4 need."""
    root = tmp_path_factory.mktemp("ours")
    for norm in ("none", "bn", "l1", "l2", "linf"):
        for lr in (1e-7, 3e-7, 1e-6, 3e-6):
            make_run(root, "dln", norm, lr, steps=60)
    for norm in ("none", "bn"):
        for lr in (0.1, 0.03):
            make_run(root, "vgg", norm, lr, probes__landscape=FINE)
        for family, lr in (("vgg", 0.1), ("dln", 1e-6)):
            along = {**FINE, "etas": list(EXPERIMENTS[family].etas), "direction": "random"}
            make_run(root, family, norm, lr, steps=60, probes__landscape=along)
    return runs_in(root)


def along(runs, direction):
    return [r for r in runs if r.option("probes.landscape").get("direction") == direction]


@pytest.mark.parametrize("number", ["E1", "E2", "E3", "E4"])
def test_nothing_lacks_and_claims_are_named(draw, ours, number):
    selection = select(figure(number).needs, ours)
    assert not selection.describe_missing()
    assert "In numbers: claims" in words(draw(number, of=ours))


def test_e1_is_beta_and_sharpness_in_units_of_the_edge(draw, ours):
    runs = along(ours, "gradient")
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


def test_e2_takes_the_largest_beta_of_each_grid(draw, ours):
    runs = along(ours, "gradient")
    axes = panels(draw("E2", of=runs))["b:beta_smoothness"][0]
    rows = run_of(runs, "vgg", "bn", 0.1).table("landscape")
    for multiple in (0.125, 0.25, 0.5):
        inside = rows[rows["eta"] >= multiple * 0.1 * 0.999]
        _, y = line(axes, f"line:{multiple:g}")
        np.testing.assert_allclose(y, inside.groupby("step")["beta"].max())
        _, end = line(axes, f"reference:1/eta_min {multiple:g}")
        np.testing.assert_allclose(end, 1 / (multiple * 0.1))


def test_e3_has_both_directions_each_from_its_own_runs(draw, ours):
    axes = panels(draw("E3", of=ours))
    for letter, direction in (("i", "random"), ("l", "gradient")):
        rows = run_of(along(ours, direction), "dln", "bn", 1e-6).table("smoothness")
        _, y = line(axes[f"{letter}:beta_smoothness"][0], "line:bn:1e-06")
        np.testing.assert_allclose(y, rows["beta"])


def test_e4_compares_at_equal_loss(draw, ours):
    runs = along(ours, "gradient")
    axes = panels(draw("E4", of=runs))
    run = run_of(runs, "dln", "none", 1e-6)
    _, y = line(axes["d:beta_0"][0], "line:none:1e-06")
    np.testing.assert_allclose(y, run.table("curvature")["beta_0"])
    x, y = line(axes["f:beta_0:at equal loss"][0], "line:none:0")
    least = np.minimum.accumulate(run.table("train")["loss"])
    came_down = np.diff(least, prepend=np.inf) < 0
    np.testing.assert_allclose(x, least[came_down])
    np.testing.assert_allclose(y, run.table("curvature")["beta_0"][came_down])


def test_e5_has_the_sides_and_shares_of_the_table(draw, root):
    steps = np.arange(0, 41, 2)
    one = {
        "plain": 3.0 + steps, "scaled": 2.0 + steps, "mean_term": 0.1 + 0 * steps,
        "yhat_term": np.full(len(steps), 1e-30), "curv": -1.0 - steps, "curv_bound": -1.0 - steps,
        "curv_plain": 5.0 + steps, "curv_scaled": 4.0 + steps,
    }  # fmt: skip
    one["bound"] = one["grad"] = one["scaled"] - one["mean_term"] - one["yhat_term"]
    add_table(make_run(root, "dln", "bn", 1e-6), "theory", {"step": steps, "layer": 9, **one})
    drawn = draw("E5", of=runs_in(root))
    axes = {label: found for label, (found,) in panels(drawn).items()}
    assert len(axes) == 6, "the VGG has no runs and no panels"
    for panel, key, expected in (
        ("a:4.1:layer9", "plain", one["plain"]),
        ("a:4.1:layer9", "grad", one["grad"]),
        ("b:4.1, share:layer9", "mean_term", 0.1 / one["scaled"]),
        ("b:4.1, share:layer9", "yhat_term", 1e-8),
        ("c:4.2:layer9", "curv_bound", -one["curv"] / one["grad"]),
        ("c:4.2:layer9", "curv_plain", one["curv_plain"] / one["plain"]),
    ):
        np.testing.assert_allclose(line(axes[panel], f"line:{key}")[1], expected)
    assert not artists(drawn, "paper:")
    assert words(drawn).count("no data") == 3, "layer 17 was not recorded"


def test_e6_has_a_cell_per_setting_and_crosses_where_runs_diverged(root, draw):
    for norm, lr, k, d in product(("none", "bn"), (1e-7, 1e-6), (2, 5), (5, 10)):
        stop = 10 if (norm, lr, k) == ("none", 1e-6, 5) else None
        size = {"model__k": k, "model__d": d, "data__d": d, "layers": k}
        make_run(root, "dln", norm, lr, stop=stop, steps=20, every=10, **size)
    phase = runs_in(root)
    values = maps.measured(select(figure("E6").needs, phase))
    assert len(values) == 16
    run = next(r for r in phase if (r.norm, r.lr) == ("bn", 1e-7) and "-2-5-5" in r.id)
    loss = run.table("train")["loss"].to_numpy()
    beta = run.table("smoothness")["beta"].iloc[1:].median() * 1e-7 / 2
    cos = run.table("gradient_shift").query("layer > 1 and step >= 10")["cos"].median()
    values = values.set_index(["norm", "model.k", "model.d", "lr"])
    assert values.loc["bn", 2, 5, 1e-7].tolist() == pytest.approx([loss[-1] / loss[0], beta, cos])
    axes = panels(draw("E6", of=phase))
    assert len(axes) == 3 * 2 * 2
    (crosses,) = axes["final loss / first:none:10"][0].lines
    assert np.transpose(crosses.get_data()).tolist() == [[1, 1]]
    (shown,) = axes["final loss / first:bn:5"][0].images
    assert shown.get_array()[0, 0] == pytest.approx(loss[-1] / loss[0], rel=1e-12)


def test_settings_are_ordered_by_their_distance_to_the_papers_curves(root, draw):
    """Runs that are the paper's curve times a factor lie |log10(factor)| from it."""
    for factor, law in ((2.0, "normal"), (1.1, "uniform")):
        for norm in ("none", "bn"):
            extra = {"data__A": law, "data__A_std": 1.0, "steps": 10_000, "every": 5000}
            path = make_run(root, "dln", norm, 1e-6, tables=["eval"], **extra)
            curve = paper.curve(3, "b", "train_loss", norm, 1e-6)
            steps = np.arange(0, 10_001, 100)
            loss = factor * curve.at(steps.astype(float), log=True)[0]
            add_table(path, "train", {"step": steps, "loss": loss, "accuracy": np.nan * loss})
    runs = runs_in(root)
    table = settings.scores(select(figure("dln_settings").needs, runs))
    assert table.index.tolist() == ["A=uniform", "A=normal"]
    assert table["curves"].tolist() == [2, 2]
    assert table["inside"].tolist() == [0, 0]
    assert table["distance"].tolist() == pytest.approx([np.log10(1.1), np.log10(2)], rel=1e-3)
    shown = words(draw("dln_settings", of=runs))
    assert "0.04" in shown
    assert "A=uniform" in shown
