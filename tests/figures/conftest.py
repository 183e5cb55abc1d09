"""Runs for all figures, and drawing without writing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from synthetic_runs import make_run, runs_in

from bnexp.figures import figure, select
from bnexp.figures.style import style
from bnexp.runs import Run

Draw = Callable[..., Figure]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """One seed of every run that a figure needs; the VGG without BN diverges at lr 0.5."""
    root = tmp_path_factory.mktemp("all")
    for norm in ("none", "bn", "noisy_bn", "l1", "l2", "linf"):
        make_run(root, "vgg", norm, 0.1)
        if norm != "noisy_bn":
            make_run(root, "dln", norm, 1e-6, steps=60)
    for norm in ("none", "bn"):
        make_run(root, "vgg", norm, 0.5, stop=16 if norm == "none" else None)
        make_run(root, "vgg", norm, 0.01)
        make_run(root, "dln", norm, 1e-7, steps=60)
    return runs_in(root)


@pytest.fixture(scope="session")
def draw(runs: list[Run]) -> Draw:
    """Draws one figure from the runs above (each once), or from others; without the layout."""
    drawn: dict[tuple[str, bool], Figure] = {}

    def fresh(number: str, paper: bool, of: list[Run], layout: bool) -> Figure:
        recipe = figure(number)
        with style(), pytest.MonkeyPatch.context() as patch:
            if not layout:  # most of the time goes there
                patch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)
            return recipe.draw(select(recipe.needs, of), paper)

    def draw(
        number: str, paper: bool = True, of: list[Run] | None = None, layout: bool = False
    ) -> Figure:
        if of is not None or layout:
            return fresh(number, paper, runs if of is None else of, layout)
        if (number, paper) not in drawn:
            drawn[number, paper] = fresh(number, paper, runs, layout=False)
        return drawn[number, paper]

    return draw


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Three seeds of the DLN, none and BN."""
    root = tmp_path_factory.mktemp("seeds")
    for seed in range(3):
        for norm in ("none", "bn"):
            make_run(root, "dln", norm, 1e-6, seed=seed, steps=60)
    return runs_in(root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder for a test's own runs."""
    return tmp_path
