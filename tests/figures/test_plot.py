"""`bnexp plot` against pandas by hand: what is chosen, what is pooled, what is said of it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from looking import artists, band, line, words
from synthetic_runs import add_table, make_run, runs_in

from bnexp.cli import main
from bnexp.figures.plot import Plot
from bnexp.figures.style import POWERS
from bnexp.runs import load_runs

SEEDS, SIZES = (0, 1, 2), (16, 64, None)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two norms, three batch sizes, three seeds."""
    root = tmp_path_factory.mktemp("sweep")
    for seed in SEEDS:
        for number, size in enumerate(SIZES):
            for norm in ("none", "bn"):
                lr = 0.1 + number / 1e9  # other numbers, the same to every reader
                more = {"tables": ["train", "eval", "gradient_shift"], "layers": 3}
                make_run(root, "vgg", norm, lr, seed, optim__lr=0.1, batch_size=size, **more)
    return root


def drawn(root, what, **how):
    table, _, column = what.partition(".")
    page = Plot(table, column, **how).draw(runs_in(root))
    return {axes.get_label(): axes for axes in page.figure.axes}, page.warnings, words(page.figure)


def test_a_line_is_the_median_over_seeds_and_its_band_their_range(sweep):
    panels, said, text = drawn(sweep, "train.loss", hue="batch_size", col="norm")
    assert said == []
    assert "over seeds" in text
    frame = load_runs(sweep)["train"]
    for norm in ("none", "bn"):
        for size in SIZES:
            at = frame["batch_size"].isna() if size is None else frame["batch_size"] == size
            mine = frame[at & (frame["norm"] == norm)]
            wide = mine.pivot_table(index="step", columns="seed", values="loss")
            key = "null" if size is None else str(size)
            x, y = line(panels[f":{norm}"], f"line:{key}")
            np.testing.assert_array_equal(x, wide.index)
            np.testing.assert_allclose(y, wide.median(axis=1))
            _, low, high = band(panels[f":{norm}"], f"spread:{key}")
            np.testing.assert_allclose((low, high), (wide.min(axis=1), wide.max(axis=1)))


def test_over_a_setting_each_run_gives_its_last_value(sweep):
    panels, said, text = drawn(sweep, "eval.accuracy", x="batch_size", rows={"split": ["test"]})
    assert said == []
    assert "The last recorded step of each run." in text
    frame = load_runs(sweep)["eval"].sort_values("step").groupby(["run"], observed=True).last()
    sizes = frame["batch_size"].fillna(np.inf)
    for norm in ("none", "bn"):
        wide = frame[frame["norm"] == norm].groupby(sizes)["accuracy"]
        x, y = line(panels[":"], f"line:{norm}")
        np.testing.assert_array_equal(x, [0, 1, 2])
        np.testing.assert_allclose(y, wide.median())
        _, low, high = band(panels[":"], f"spread:{norm}")
        np.testing.assert_allclose((low, high), (wide.min(), wide.max()))
    assert [t.get_text() for t in panels[":"].get_xticklabels()] == ["16", "64", "null"]


def test_what_is_pooled_besides_seeds_is_said_and_how_to_tell_it_apart(sweep):
    panels, said, text = drawn(sweep, "train.loss")
    assert len(said) == 1
    assert said[0].startswith("pooled over batch_size: tell them apart by --hue")
    assert "Pooled over batch_size" in text
    assert "over seeds" not in text
    frame = load_runs(sweep)["train"]
    wide = frame[frame["norm"] == "bn"].pivot_table(index="step", columns="run", values="loss")
    np.testing.assert_allclose(line(panels[":"], "line:bn")[1], wide.median(axis=1))


def test_rows_of_several_layers_are_pooled_aloud_or_told_apart(sweep):
    (only,) = drawn(sweep, "gradient_shift.cos", col="batch_size")[1]
    assert only.startswith("pooled over layer: ")
    panels, said, _ = drawn(sweep, "gradient_shift.cos", col="batch_size", row="layer")
    assert said == []
    assert len(panels) == 9
    rows = {"layer": ["2"]}
    one, said, text = drawn(sweep, "gradient_shift.cos", col="batch_size", rows=rows)
    assert said == []
    assert "Only layer 2." in " ".join(text.split())
    same = line(one[":64"], "line:bn")[1], line(panels["2:64"], "line:bn")[1]
    np.testing.assert_array_equal(*same)


def test_options_of_a_norm_and_how_it_was_measured_are_never_pooled_silently(root):
    for seed in (0, 1):
        for eps in (1e-5, 1e-3):
            make_run(root, "vgg", "bn", 0.1, seed, norm__eps=eps)
            etas = {"etas": [0.5, 1] if eps > 1e-4 else [0.5, 1, 2, 4], "every": 2}
            make_run(root, "vgg", "l1", 0.1, seed, probes__landscape=etas)
    assert "norm.eps" in drawn(root, "train.loss")[1][0]
    (said,) = drawn(root, "smoothness.beta")[1]
    assert "probes.landscape.etas" in said
    assert "probes" not in drawn(root, "train.loss")[1][0]


def test_runs_without_the_table_or_without_numbers_are_counted(sweep, root):
    make_run(root, "vgg", "bn", 0.1, tables=["train"])
    lone = make_run(root, "vgg", "bn", 0.2, tables=["eval"])
    _, said, _ = drawn(root, "train.loss")
    assert said == ["1 of 2 runs have no table train"]
    add_table(lone, "train", {"step": [0, 1], "loss": [np.nan, np.nan]})
    _, said, _ = drawn(root, "train.loss", hue="lr")
    assert said == ["1 of 2 runs have no numbers there"]


def test_diverged_runs_end_in_a_cross_and_infinite_ends_can_be_drawn(root):
    for seed in (0, 1):
        make_run(root, "vgg", "none", 0.5, seed, stop=16)
    panels, _, text = drawn(root, "train.loss")
    assert artists(panels[":"], "diverged:none")
    assert "2 runs, 2 of them diverged" in text
    for path in (root / "runs").iterdir():
        add_table(path, "train", {"step": [17], "loss": [1e308], "accuracy": [0.1]})
    panels, _, _ = drawn(root, "train.loss", x="seed", log="xy")
    assert np.isfinite(panels[":"].get_ylim()).all()


HOSTILE = "$\\frac{1$ $x$ \x1b[2J| `x` <b>\n# head"


def test_labels_of_users_break_no_figure(root, tmp_path):
    for seed in (0, 1):
        make_run(root, "vgg", "bn", 0.1, seed, data__label=HOSTILE)
        make_run(root, "vgg", "$\\frac{$", 0.1, seed, data__label=HOSTILE)
    for how in ({"hue": "data"}, {"x": "norm", "hue": "data"}, {"row": "data", "col": "norm"}):
        drawn(root, "train.loss", **how)
    shown = drawn(root, "train.loss", hue="data")[2]
    assert "data=$\\frac{1$ $x$ ?[2J? ?x? ?b? # head" in shown
    command = ["figures", "4", "--runs", str(root), "--out", str(tmp_path / "out")]
    assert main([*command, "--norms", "bn,$\\frac{$"]) == 0


def test_powers_of_ten_need_no_mathtext(root):
    assert [POWERS(value) for value in (1e-12, 1, 1e30)] == ["10⁻¹²", "10⁰", "10³⁰"]
    assert [POWERS(value) for value in (2e4, 1.5e-7)] == ["2·10⁴", "1.5·10⁻⁷"]
    make_run(root, "dln", "bn", 1e-6)
    panels, _, _ = drawn(root, "train.loss", log="y")
    assert not any("$" in tick.get_text() for tick in panels[":"].get_yticklabels())


def test_the_command_writes_a_file_and_leaves_no_figure_open(sweep, tmp_path, capsys):
    out = tmp_path / "plot.pdf"
    command = ["plot", "train.loss", "--runs", str(sweep), "--where", "batch_size=64,16"]
    assert main([*command, "--hue", "batch_size", "--col", "norm", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"{out}\n", "")
    assert out.read_bytes().startswith(b"%PDF")
    assert main([*command[:4], "--where", "step=40"]) == 0
    assert "pooled over batch_size" in capsys.readouterr().err
    assert (sweep / "figures" / "train.loss.png").is_file()
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train"], "TABLE.COLUMN: expected"),
        (["trian.loss"], "did you mean train?"),
        (["train.los"], "did you mean loss?"),
        (["eval.split"], "expected a column of numbers"),
        (["train.loss", "--hue", "batchsize"], "--hue: expected one of step"),
        (["train.loss", "--hue", "step"], "at most 20 values"),
        (["train.loss", "--where", "step=3"], "expected one of step=0, 2"),
        (["train.loss", "--where", "layer=3"], "--where: expected"),
        (["train.loss", "--log", "z"], "--log"),
        (["train.loss", "--out", "a.txt"], "--out: expected one of png, pdf"),
        (["train.loss", "--runs", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(sweep, tmp_path, capsys, arguments, named):
    given = ["--runs", str(sweep), "--out", str(tmp_path / "a.png"), *arguments[1:]]
    assert main(["plot", arguments[0], *given]) == 2
    err = capsys.readouterr().err
    assert named in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
