from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bnexp.errors import UserError
from bnexp.runs import Run, RunDirectory, TableWriter, compact, find_runs


@pytest.fixture
def run(make_run: Callable[..., RunDirectory]) -> Run:
    """A run with tables by step, by layer and of the landscape."""
    directory = make_run("a", data__path="/home/me/data", out="/home/me/out")
    writer = TableWriter(directory.tables_dir)
    for step in range(161):
        writer.add("train", {"step": step, "loss": 1 / (step + 1)})
        if step % 4 == 0:
            layers = {"step": step, "layer": [1, 2, 3]}
            writer.add("smoothness", {"step": step, "beta": step})
            writer.add("landscape", {"step": step, "eta": [1.0, 2.0], "loss": [0.1, step]})
            writer.add("gradient_shift", {**layers, "l2": [0.0, 1.0, step]})
            writer.add("activations", {**layers, "unit": [4, 5, 6], "values": np.ones((3, 50)) / 3})
            for unit in (4, 5, 6):
                writer.add("moments", {**layers, "unit": unit, "mean": step})
    directory.write_status(state="done", step=160, steps=160, tables=writer.flush())
    (found,) = find_runs(directory.path)
    return found


def test_a_copy_is_small_and_whole_where_figures_draw_from(run: Run, tmp_path: Path) -> None:
    path = compact(run, tmp_path / "copy" / "runs", layers=(1, 3), samples=7)
    (copy,) = find_runs(tmp_path / "copy")
    assert (copy.id, copy.state, copy.verify(), path) == (run.id, "done", [], copy.path)
    for name in ("smoothness", "landscape"):
        pd.testing.assert_frame_equal(copy.table(name), run.table(name), rtol=1e-7)
    kept = [(step, 1 / (step + 1)) for step in range(0, 161, 4)]
    train = copy.table("train")
    assert [*zip(train["step"], train["loss"], strict=True)] == kept, "to the last bit"
    for name in ("activations", "moments", "gradient_shift"):
        assert set(copy.table(name)["layer"]) == {1, 3}
    assert copy.table("activations")["step"].drop_duplicates().tolist() == [*range(0, 161, 8)]
    values = np.stack(copy.table("activations")["values"].tolist())
    assert values.tolist() == np.full((42, 7), np.float64(np.float32(1 / 3))).tolist()
    moments = copy.table("moments").drop_duplicates("layer")
    assert dict(zip(moments["layer"], moments["unit"], strict=True)) == {1: 4, 3: 6}
    assert (copy.option("data.path"), copy.option("out")) == ("data", "out")


def test_losses_are_thinned_where_no_landscape_was_measured(
    make_run: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    directory = make_run("a")
    writer = TableWriter(directory.tables_dir)
    writer.add("train", {"step": range(10_001), "loss": np.arange(10_001.0)})
    directory.write_status(state="done", step=10_000, steps=10_000, tables=writer.flush())
    (run,) = find_runs(directory.path)
    compact(run, tmp_path / "copy")
    kept = find_runs(tmp_path / "copy")[0].table("train")
    wanted = sorted({*range(0, 10_001, 50), *range(1, 10_001, 50)})
    assert kept["step"].tolist() == wanted == kept["loss"].tolist()


def test_layers_that_a_table_has_none_of_are_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--layers: expected some of 1, 2, 3.* got 999"):
        compact(run, tmp_path / "copy", layers=[999])
    assert not (tmp_path / "copy").exists()


def test_a_copy_that_was_cut_off_is_made_anew_and_a_whole_one_is_left(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    calls = ((TableWriter, "flush"), (RunDirectory, "write_status"), (RunDirectory, "create"))
    for kind, call in calls:
        with monkeypatch.context() as patch:
            patch.setattr(kind, call, killed)
            with pytest.raises(KeyboardInterrupt):
                compact(run, tmp_path / "copy", samples=7)
        assert not (tmp_path / "copy").exists() or find_runs(tmp_path / "copy") == []
    path = compact(run, tmp_path / "copy", samples=7)
    assert [file.name for file in path.parent.iterdir()] == ["a"]
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert compact(run, tmp_path / "copy", samples=7) == path
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before
    with pytest.raises(UserError, match="expected no run there yet"):
        compact(run, tmp_path / "copy", samples=8)
