"""What is drawn of the paper's figures: lines, bands and ridges are the tables' numbers."""

import shutil

import numpy as np
import pytest
from looking import artists, band, line, panels, run_of, words
from synthetic_runs import add_table, make_run, runs_in

from bnexp.analysis import read
from bnexp.figures import training

LINES = {
    "train_accuracy": ("train", "accuracy", 100), "test_accuracy": ("eval", "accuracy", 100),
    "train_loss": ("train", "loss", 1), "l2_difference": ("gradient_shift", "l2", 1),
    "cos_angle": ("gradient_shift", "cos", 1), "beta_smoothness": ("smoothness", "beta", 1),
    "beta_eta": ("smoothness", "beta_eta", 1),
}  # fmt: skip
"""Quantity: table, column, factor."""
BANDS = {"loss_landscape": "loss", "gradient_predictiveness": "predictiveness"}
LOG = {"train_loss", "l2_difference", "loss_landscape", "beta_eta"}
FIVE = ("none", "bn", "l1", "l2", "linf")
PANELS = {"1": 6, "2": 10, "3": 20, "4": 4, "5": 2, "6": 5, "8": 12, "9": 6, "10": 4, "11": 4,
          "12": 21, "13": 21}  # fmt: skip
SERIES = {"1": 8, "2": 3, "3": 40, "4": 8, "5": 10, "8": 36, "10": 8, "12": 25, "13": 25}


@pytest.mark.parametrize("number", ["1", "3", "5", "12", "13", "E6"])
def test_runs_made_without_probes_are_drawn_as_far_as_they_go(draw, root, number):
    for family, lr in (("vgg", 0.1), ("dln", 1e-6)):
        for norm in ("none", "bn"):
            make_run(root, family, norm, lr, tables=["train", "eval"], probes={})
    assert panels(draw(number, of=runs_in(root)))


@pytest.mark.parametrize("number", PANELS)
def test_every_line_and_band_is_its_table(draw, runs, number):
    count = 0
    axes = [axes for axes in draw(number).axes if axes.get_label() != "<colorbar>"]
    assert len(axes) == PANELS[number]
    for ax in axes:
        _, quantity, *layer = ax.get_label().split(":")
        for artist in artists(ax, "line:") + artists(ax, "band:"):
            _, norm, lr = artist.get_gid().split(":")
            if number == "11":
                continue
            run = run_of(runs, "vgg" if float(lr) > 1e-3 else "dln", norm, float(lr))
            count += 1
            if quantity in BANDS:
                x, lo, hi = band(ax, artist.get_gid())
                rows = run.table("smoothness")
                for edge, y in (("min", lo), ("max", hi)):
                    np.testing.assert_allclose(y, rows[f"{BANDS[quantity]}_{edge}"], rtol=1e-12)
            elif quantity in LINES:
                table, column, factor = LINES[quantity]
                rows = run.table(table)
                if layer:
                    rows = rows[rows["layer"] == int(layer[0].removeprefix("layer"))]
                x, y = line(ax, artist.get_gid())
                np.testing.assert_allclose(y, factor * rows[column], rtol=1e-12)
            else:
                continue
            np.testing.assert_array_equal(x, rows["step"])
            dln = run.family == "dln" and quantity in ("beta_smoothness", *BANDS)
            assert ax.get_yscale() == ("log" if dln or quantity in LOG else "linear")
    assert count == SERIES.get(number, 0)


def test_fig_8_follows_the_unit_of_the_activations_table(draw, runs):
    axes = panels(draw("8"))
    for norm in ("none", "bn", "noisy_bn"):
        run = run_of(runs, "vgg", norm, 0.1)
        for layer in (2, 9, 13):
            unit = run.table("activations").query(f"layer == {layer}")["unit"].iloc[0]
            rows = run.table("moments").query(f"layer == {layer} and unit == {unit}")
            for column in ("mean", "var"):
                values = rows[column].to_numpy()
                for name, expected in (
                    (f"a:abs_{column}_step_change", np.abs(values[1:] - values[:-1])),
                    (f"b:{column}_minus_initial", values[1:] - values[0]),
                ):
                    x, y = line(axes[f"{name}:layer{layer}"][0], f"line:{norm}:0.1")
                    np.testing.assert_array_equal(x, rows["step"].to_numpy()[1:])
                    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_rows_between_scheduled_steps_do_not_count(draw, root):
    path = make_run(root, "vgg", "bn", 0.1, tables=["activations"])
    steps, ones = np.arange(41), np.ones(41, int)
    mean = np.where(steps % 2 == 0, steps / 2, 99.0)
    moments = {"step": steps, "layer": 2 * ones, "unit": 2 * ones, "mean": mean, "var": ones}
    add_table(path, "moments", moments)
    axes = panels(draw("8", of=runs_in(root)))["a:abs_mean_step_change:layer2"][0]
    x, y = line(axes, "line:bn:0.1")
    np.testing.assert_array_equal(x, range(2, 41, 2))
    np.testing.assert_array_equal(y, 1.0)


@pytest.mark.parametrize(("number", "layers"), [("1", (3, 11)), ("6", (11,)), ("9", (1, 11, 24))])
def test_ridges_lie_at_recorded_steps_and_share_x_per_layer_of_several(draw, runs, number, layers):
    axes = panels(draw(number))
    for layer in layers:
        mine = [found[0] for label, found in axes.items() if f":layer{layer}:" in label]
        assert len({ax.get_xlim() for ax in mine}) == (5 if number == "6" else 1)
        for ax in mine:
            steps = {int(ridge.get_gid().split(":")[1]) for ridge in artists(ax, "ridge:")}
            assert 15 <= len(steps) <= 25
            assert {0, max(steps)} <= steps <= set(range(0, 61, 2))
            assert set(ax.get_yticks()) <= set(range(61))


def test_a_ridge_is_a_density_of_the_unit_in_the_table(runs):
    edges = np.linspace(-5, 5, 161)
    found = training.density(np.random.default_rng(0).normal(size=20_000), edges)
    middles = (edges[1:] + edges[:-1]) / 2
    np.testing.assert_allclose(found, np.exp(-(middles**2) / 2) / np.sqrt(2 * np.pi), atol=0.02)
    run = run_of(runs, "vgg", "bn", 0.1)
    table = run.table("activations").query("layer == 9").set_index("step")["values"]
    for step, values in read.histories(run, [2, 9], 20)[9].items():
        np.testing.assert_array_equal(values, table[step])


def test_a_diverged_run_ends_in_a_cross_where_it_diverged(draw, runs):
    axes = panels(draw("1"))["a:train_accuracy"][0]
    x, y = line(axes, "diverged:")
    rows = run_of(runs, "vgg", "none", 0.5).table("train")
    assert (x[0], y[0]) == (16, pytest.approx(100 * rows["accuracy"].iloc[-1]))
    assert "diverged" in words(draw("1"))


def test_a_baseline_at_chance_is_said_where_the_papers_trains(draw):
    """The made-up VGG without BN learns nothing at lr 0.1 and 0.5; the paper's only at 0.5."""
    for number, panel in (("1", "a:train_accuracy"), ("4", "a:loss_landscape")):
        axes = panels(draw(number))[panel][0]
        assert [a.get_text() for a in artists(axes, "chance:")] == ["at chance"]
        assert artists(axes, "chance:none:0.1")
    assert not artists(draw("10"), "chance:")
    assert len(artists(draw("8"), "chance:none:0.1")) == 1, "small panels say it once a page"


def test_a_net_without_the_layer_says_so(draw, root):
    for norm in ("none", "bn"):
        make_run(root, "vgg", norm, 0.1, layers=8)
    figure = draw("3", of=runs_in(root))
    assert {label[0] for label in panels(figure)} == {"a"}, "no runs of the DLN, no panels of it"
    assert "DLN none lr 1e-06" in words(figure), "but said"
    assert "these runs have no layer 10" in words(figure)


@pytest.mark.parametrize(("letter", "family", "lr"), [("a", "vgg", 0.1), ("b", "dln", 1e-6)])
def test_fig_11_has_one_line_per_recorded_step(draw, runs, letter, family, lr):
    axes = panels(draw("11"))
    pair = [axes[f"{letter}:gradient_difference:{norm}"][0] for norm in ("none", "bn")]
    assert pair[0].get_ylim() == pair[1].get_ylim()
    assert pair[0].get_yscale() == ("linear" if letter == "a" else "log")
    for ax, norm in zip(pair, ("none", "bn"), strict=True):
        table = run_of(runs, family, norm, lr).table("landscape")
        lines = artists(ax, f"line:{norm}:")
        assert len(lines) == len({found.get_color() for found in lines}) == table.step.nunique()
        for found in lines:
            rows = table[table["step"] == int(found.get_gid().split(":")[2])].sort_values("eta")
            np.testing.assert_array_equal(found.get_xdata(), rows["eta"])
            np.testing.assert_allclose(found.get_ydata(), rows["predictiveness"], rtol=1e-12)
    # Our step of the paper's 50, of the DLN's 60; the VGG's 40 end before the paper's first, 100.
    assert {int(a.get_gid().split(":")[2]) for a in artists(draw("11"), "paper:")} == {51}


@pytest.mark.parametrize(
    ("number", "family", "lr", "beta", "norms"),
    [
        ("4", "vgg", 0.1, "c", FIVE[:2]), ("10", "dln", 1e-6, "c", FIVE[:2]),
        ("12", "vgg", 0.1, "d", FIVE), ("13", "dln", 1e-6, "d", FIVE),
    ],
)  # fmt: skip
def test_what_stands_beside_beta(draw, runs, number, family, lr, beta, norms):
    """The lines 2/lr and 1/eta_min, and beta as eta goes to 0, cut off and marked."""
    found = panels(draw(number))[f"{beta}:beta_smoothness"]
    multiple = 0.5 if family == "vgg" else 0.01
    assert len(found) == (1 if len(norms) == 2 else 5)
    for name, value in (("2/lr", 2 / lr), ("1/eta_min", 1 / (multiple * lr))):
        _, y = line(found[0], f"reference:{name}")
        np.testing.assert_allclose(y, value)
        assert found[0].get_ylim()[0] < value < found[0].get_ylim()[1]
        assert name[:2] in words(draw(number))
    for index, norm in enumerate(norms):
        ax = found[index if len(norms) > 3 else 0]
        rows = run_of(runs, family, norm, lr).table("curvature")
        x, y = line(ax, f"beside:{norm}:0")
        np.testing.assert_array_equal(x, rows["step"])
        np.testing.assert_allclose(np.clip(y, *ax.get_ylim()), rows["beta_0"].clip(*ax.get_ylim()))
        assert ax.get_ylim() == found[0].get_ylim(), "also of small multiples"
        assert len(artists(ax, "line:")) == len(norms) // len(found)
        beyond = (rows["beta_0"] > ax.get_ylim()[1]).any()
        assert len(artists(ax, f"beyond:above:{norm}:0")) == beyond
        assert len(artists(ax, f"paper:{norm}:{lr:g}")) == 1


def test_a_finer_grid_is_drawn_at_the_papers_step_sizes(root, draw):
    fine = {"every": 2, "etas": [0.125, 0.25, 0.5, 1, 2, 4], "direction": "gradient"}
    make_run(root, "vgg", "bn", 0.1, probes__landscape=fine)
    (run,) = runs_in(root)
    rows = run.table("landscape").query("eta > 0.0499").groupby("step")
    axes = panels(draw("4", of=[run]))
    _, lo, hi = band(axes["a:loss_landscape"][0], "band:bn:0.1")
    np.testing.assert_array_equal([lo, hi], [rows["loss"].min(), rows["loss"].max()])
    _, y = line(axes["c:beta_smoothness"][0], "line:bn:0.1")
    np.testing.assert_array_equal(y, rows["beta"].max())
    _, end = line(axes["c:beta_smoothness"][0], "reference:1/eta_min")
    np.testing.assert_allclose(end, 1 / 0.05)


def test_the_norm_summed_over_tensors_is_drawn_where_it_was_recorded(root, draw):
    assert "gradient's change" in words(draw("10"))
    path = make_run(root, "dln", "bn", 1e-6)
    table = runs_in(root)[0].table("landscape")
    shutil.rmtree(path / "tables" / "landscape")
    columns = {str(name): table[name].to_numpy() for name in table}
    columns["predictiveness_tensors"] = 7 * columns["predictiveness"]
    add_table(path, "landscape", columns)
    drawn = draw("10", of=runs_in(root))
    assert "summed over the norms of the parameter tensors" in words(drawn)
    _, _, hi = band(panels(drawn)["b:gradient_predictiveness"][0], "band:bn:1e-06")
    whole = runs_in(root)[0].table("smoothness")
    np.testing.assert_allclose(hi, 7 * whole["predictiveness_max"], rtol=1e-12)


def test_overflow_is_clipped_and_marked(root, draw):
    path = make_run(root, "dln", "none", 1e-6, tables=["train"])
    steps = np.arange(0, 41, 2)
    top = np.where(steps == 10, np.inf, np.where(steps == 20, 1e300, 1e5))
    rows = {"loss_min": 1e3, "predictiveness_min": 1e2, "beta": top, "beta_eta": 1e-6}
    rows |= {"step": steps, "loss_max": top, "predictiveness_max": top}
    add_table(path, "smoothness", rows)
    axes = panels(draw("10", paper=False, of=runs_in(root)))
    for name in ("a:loss_landscape", "b:gradient_predictiveness", "c:beta_smoothness"):
        assert axes[name][0].get_ylim()[1] < 1e25
        x, _ = line(axes[name][0], "beyond:above:none")
        np.testing.assert_array_equal(x, [10, 20])
    # The paper's beta of 1e15 at one step, in Fig 10c.
    assert panels(draw("10"))["c:beta_smoothness"][0].get_ylim()[1] < 1e14
