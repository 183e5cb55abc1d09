"""Runs for all figures, and drawing without writing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from synthetic_runs import make_run, runs_in

from bnexp.analysis.select import select
from bnexp.figures import figure
from bnexp.runs import Run

Draw = Callable[..., Figure]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """One seed of every run that a figure needs; the VGG without BN diverges at lr 0.5."""
    root = tmp_path_factory.mktemp("all")
    for norm in ("none", "bn", "l1", "l2", "linf"):
        make_run(root, "vgg", norm, 0.1)
        make_run(root, "dln", norm, 1e-6, steps=60)
    make_run(root, "vgg", "noisy_bn", 0.1)
    for norm in ("none", "bn"):
        make_run(root, "vgg", norm, 0.5, stop=16 if norm == "none" else None)
        make_run(root, "vgg", norm, 0.01)
        make_run(root, "dln", norm, 1e-7, steps=60)
    return runs_in(root)


@pytest.fixture(scope="session")
def draw(runs: list[Run]) -> Draw:
    """Draws one figure from the runs above (each once), or from others; without the layout."""
    drawn: dict[tuple[str, bool], Figure] = {}

    def draw(number: str, paper: bool = True, of: list[Run] | None = None) -> Figure:
        if of is None and (number, paper) in drawn:
            return drawn[number, paper]
        recipe = figure(number)
        with pytest.MonkeyPatch.context() as patch:
            # Most of the time goes there.
            patch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)
            result = recipe.page(select(recipe.needs, runs if of is None else of), paper).figure
        if of is None:
            drawn[number, paper] = result
        return result

    return draw


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder for a test's own runs."""
    return tmp_path
