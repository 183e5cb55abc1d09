"""Figures over settings of the DLN: E6 (phase diagram) and dln_settings."""

import numpy as np
import pytest
from looking import artists, panels, words
from synthetic_runs import make_run, runs_in

from bnexp.analysis import paper
from bnexp.figures import dln_settings, fige6, figure, select
from bnexp.runs import TableWriter

SMALL = {"steps": 20, "every": 10}


@pytest.fixture(scope="module")
def phase(tmp_path_factory):
    root = tmp_path_factory.mktemp("phase")
    for norm in ("none", "bn"):
        for lr in (1e-7, 1e-6):
            for k in (2, 5):
                for d in (5, 10):
                    stop = 10 if (norm, lr, k) == ("none", 1e-6, 5) else None
                    size = {"model__k": k, "model__d": d, "data__d": d}
                    make_run(root, "dln", norm, lr, layers=k, stop=stop, **SMALL, **size)
    return runs_in(root)


def test_e6_has_a_cell_per_setting_and_crosses_where_runs_diverged(phase, draw):
    values = fige6.measured(select(figure("E6").needs, phase))
    assert len(values) == 16
    run = next(r for r in phase if (r.norm, r.lr) == ("bn", 1e-7) and "-2-5-5" in r.id)
    loss = run.table("train")["loss"].to_numpy()
    beta = run.table("smoothness")["beta"].iloc[1:].median() * 1e-7 / 2
    cos = run.table("gradient_shift").query("layer > 1 and step >= 10")["cos"].median()
    assert values["bn", 1e-7, 2, 5] == pytest.approx((loss[-1] / loss[0], beta, cos))
    axes = panels(draw("E6", of=phase))
    assert len(axes) == 3 * 2 * 2
    (crosses,) = artists(axes["final loss / first:none:10"][0], "diverged:")
    assert np.transpose(crosses.get_data()).tolist() == [[1, 1]]
    (shown,) = artists(axes["final loss / first:bn:5"][0], "map:")
    cell = shown.get_array()[0, 0]
    assert cell == pytest.approx(loss[-1] / loss[0], rel=1e-12)
    assert "Standard: 2 of 8 settings diverge" in words(draw("E6", of=phase))


def test_settings_are_ordered_by_their_distance_to_the_papers_curves(root, draw):
    """Runs that are the paper's curve times a factor lie |log10(factor)| from it."""
    for factor, law in ((2.0, "normal"), (1.1, "uniform")):
        for norm in ("none", "bn"):
            extra = {"data__A": law, "data__A_std": 1.0, "steps": 10_000, "every": 5000}
            path = make_run(root, "dln", norm, 1e-6, tables=["eval"], **extra)
            curve = paper.curve(3, "b", "train_loss", norm, 1e-6)
            writer = TableWriter(path / "tables")
            steps = np.arange(0, 10_001, 100)
            loss = factor * curve.at(steps.astype(float), log=True)[0]
            writer.add("train", {"step": steps, "loss": loss, "accuracy": np.nan * loss})
            writer.flush()
    runs = runs_in(root)
    table = dln_settings.scores(select(figure("dln_settings").needs, runs))
    assert [(s.setting, s.curves, s.inside) for s in table] == [
        ("A=uniform", 2, 0), ("A=normal", 2, 0),
    ]  # fmt: skip
    assert [s.distance for s in table] == pytest.approx([np.log10(1.1), np.log10(2)], rel=1e-3)
    assert "Nearest to the paper's curves: A=uniform (0.04 decades" in words(
        draw("dln_settings", of=runs)
    )
