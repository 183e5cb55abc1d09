"""The examples run, are short, and print what they promise."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from bnexp import registry
from bnexp.runs import find_runs

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
REGISTRIES = [r for r in vars(registry).values() if isinstance(r, registry.Registry)]


@pytest.fixture(autouse=True)
def _registries() -> Iterator[None]:
    before = [dict(r._entries) for r in REGISTRIES if r.names()]
    yield
    for each, entries in zip(REGISTRIES, before, strict=True):
        each._entries = entries


def run(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    path = EXAMPLES / name
    assert len(path.read_text().splitlines()) < 60
    runpy.run_path(str(path), run_name="__main__")


def test_own_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("own_loop.py", monkeypatch, str(tmp_path))
    (own,) = find_runs(tmp_path)
    assert (own.state, own.steps) == ("done", 40)
    losses, rates = own.table("train").loss, own.table("train").lr
    assert losses.iloc[-1] < 0.7 * losses[0]
    assert (rates.diff()[1:] < 0).all(), "cosine annealing"
    assert "accuracy" in capsys.readouterr().out


def test_own_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("own_model.py", monkeypatch)
    printed = capsys.readouterr().out
    assert "encoder.layers.1.linear2" in printed
    assert "sharpness_scaled" in printed


def test_own_probe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("own_probe.py", monkeypatch)
    small, large = capsys.readouterr().out.splitlines()
    assert "'update': 1.0" in small or "'update': 0.99999" in small, "gradient descent"
    assert float(small.rpartition(" ")[2][:-2]) > 0.999 > float(large.rpartition(" ")[2][:-2])


def test_own_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("own_claim.py", monkeypatch, str(tmp_path))
    assert len(find_runs(tmp_path)) == 8
    verdict = capsys.readouterr().out.splitlines()[0]
    assert verdict in ("holds", "mixed", "contradicts", "cannot tell")


def test_the_notebook_runs_and_is_kept_without_large_outputs() -> None:
    path = EXAMPLES / "own_network.ipynb"
    assert path.stat().st_size < 100_000
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    (beta,) = [c for c in notebook.cells if "fill_between" in c.source]
    assert any("image/png" in output.get("data", {}) for output in beta.outputs)
