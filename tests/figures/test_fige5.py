"""Figure E5: both sides of 4.1 and 4.2 from table theory, when asked for or when runs are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from looking import artists, line, panels
from synthetic_runs import make_run, runs_in

from bnexp.commands import figures
from bnexp.figures import draw_figures, figure, figure_ids
from bnexp.runs import Run, RunDirectory, TableWriter

PAPER = [number for number in figure_ids() if figure(number).of_paper]
STEPS = np.arange(0, 41, 2)


def add_theory(path: Path, layers: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A table theory of made-up numbers, one row per step and layer; returns those of layers[0]."""
    n = len(STEPS)
    one = {
        "plain": 3.0 + STEPS, "scaled": 2.0 + STEPS, "mean_term": 0.1 + 0 * STEPS,
        "yhat_term": np.full(n, 1e-30), "curv": -1.0 - STEPS, "curv_bound": -1.0 - STEPS,
        "curv_plain": 5.0 + STEPS, "curv_scaled": 4.0 + STEPS, "curv_term": 5.0 + 2 * STEPS,
    }  # fmt: skip
    one["bound"] = one["grad"] = one["scaled"] - one["mean_term"] - one["yhat_term"]
    writer = TableWriter(RunDirectory(path).tables_dir)
    for i, step in enumerate(STEPS):
        rows = {name: [values[i]] * len(layers) for name, values in one.items()}
        writer.add("theory", {"step": [step] * len(layers), "layer": list(layers), **rows})
    writer.flush()
    return one


@pytest.fixture
def theory_runs(root: Path) -> tuple[list[Run], dict[str, np.ndarray]]:
    one = add_theory(make_run(root, "vgg", "bn", 0.1), (5, 10))
    add_theory(make_run(root, "dln", "bn", 1e-6), (9, 17))
    return runs_in(root), one


def test_lines_are_the_sides_and_shares_of_the_table(draw, theory_runs) -> None:
    runs, one = theory_runs
    drawn = draw("E5", of=runs)
    by_label = {label: axes for label, (axes,) in panels(drawn).items()}
    assert len(by_label) == 12
    axes = by_label["a:4.1:layer5"]
    for key, column in (
        ("plain", "plain"),
        ("scaled", "scaled"),
        ("bound", "bound"),
        ("left", "grad"),
    ):
        np.testing.assert_allclose(line(axes, f"line:{key}")[1], one[column])
    axes = by_label["e:4.1, share:layer10"]
    np.testing.assert_allclose(line(axes, "line:mean")[1], 0.1 / one["scaled"])
    np.testing.assert_allclose(line(axes, "line:yhat")[1], 1e-8)
    axes = by_label["i:4.2:layer9"]
    np.testing.assert_allclose(line(axes, "line:left")[1], -one["curv"] / one["grad"])
    np.testing.assert_allclose(line(axes, "line:plain")[1], one["curv_plain"] / one["plain"])
    assert not artists(drawn, "paper:")


def test_a_layer_that_was_not_recorded_is_said(draw, root: Path) -> None:
    add_theory(make_run(root, "vgg", "bn", 0.1), (5,))
    texts = [t.get_text() for axes in draw("E5", of=runs_in(root)).axes for t in axes.texts]
    assert texts.count("these runs have no such layer") == 3
    assert texts.count("no runs") == 0, "the DLN has no runs and no panels"


def test_the_file_is_named_after_it(theory_runs, tmp_path: Path) -> None:
    (drawn,) = draw_figures(["E5"], theory_runs[0], tmp_path / "out", ["png"])
    assert [path.name for path in drawn.paths] == ["figE5.png"]


def test_figures_draws_it_when_asked_or_when_its_runs_are_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []

    def draw(ids: list[str], *rest: object, **more: object) -> int:
        drawn.append(ids)
        return len(ids)

    monkeypatch.setattr(figures, "draw", draw)
    make_run(root, "dln", "bn", 1e-6, tables=("train", "smoothness"))
    assert figures.chosen(["e5"]) == figures.chosen(["figE5"]) == ["E5"]
    assert figures.chosen([]) == PAPER
    arguments = {"runs": root, "out": root / "drawn", "formats": "png", "paper": False}
    figures.run([], **arguments)
    figures.run(["E5"], **arguments)
    add_theory(make_run(root, "dln", "bn", 1e-6, seed=1, tables=("train",)), (9, 17))
    figures.run([], **arguments)
    assert drawn == [PAPER, ["E5"], [*PAPER, "E5"]]
