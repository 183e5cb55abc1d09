"""``bnexp export``: every format holds what `load_runs` gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from bnexp.cli import main
from bnexp.runs import RunDirectory, TableWriter, load_runs
from tests.runs.conftest import VGG, changed

LABEL = 'a "b", c\n$\\frac{1$ \x1b[2J'
VALUES = [0.1, 1e-300, 1 / 3, float("nan"), float("inf"), -7.0]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, one with a table and a setting that the other lacks."""
    for seed in (0, 1):
        directory = RunDirectory(tmp_path / "made" / "runs" / f"r{seed}")
        more = {"batch_size": None} if seed else {"data__label": LABEL, "extra": [1, "x"]}
        directory.create(changed(VGG, seed=seed, **more), {})
        writer = TableWriter(directory.tables_dir)
        writer.add("train", {"step": list(range(6)), "loss": VALUES})
        if seed:
            split = ["test", "train"]
            rows = {"step": [0, 0], "layer": [1, 2], "split": split, "values": [[0.5, 1.5], [2.0]]}
            writer.add("activations", rows)
        directory.write_status(state="done", step=5, steps=5, tables=writer.flush())
    return tmp_path / "made"


def read(folder: Path, kind: str, name: str) -> pd.DataFrame:
    if kind == "duckdb":
        with duckdb.connect(str(folder / "bnexp.duckdb"), read_only=True) as database:
            return database.execute(f"SELECT * FROM {name}").df()
    file = folder / f"{name}.{kind}"
    if kind == "json":
        return pd.DataFrame(json.loads(file.read_text()))
    return pd.read_csv(file) if kind == "csv" else pd.read_parquet(file)


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "duckdb"])
def test_each_format_holds_what_load_runs_gives(runs: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    assert main(["export", "--format", kind, "--runs", str(runs), "--out", str(out)]) == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    frames = load_runs(runs)
    names = ["bnexp.duckdb"] if kind == "duckdb" else [f"{name}.{kind}" for name in frames]
    assert sorted(path.name for path in out.iterdir()) == names
    for name, expected in frames.items():
        got = read(out, kind, name)
        assert [*got] == [*expected]
        assert len(got) == len(expected)
        for column in expected.select_dtypes("number"):
            want = expected[column].astype(float)
            if kind == "json":
                want = want.where(np.isfinite(want))
            np.testing.assert_allclose(got[column].astype(float), want, rtol=1e-14, atol=1e-320)
        for column in ("run", "norm", "data", "data.label", "optim.name"):
            assert got[column].tolist() == expected[column].tolist()
    lists = read(out, kind, "activations")["values"]
    plain = lists.map(json.loads) if kind == "csv" else lists.map(list)
    assert plain.tolist() == [[0.5, 1.5], [2.0]]


def test_where_chooses_runs(runs: Path, tmp_path: Path) -> None:
    command = ["export", "--runs", str(runs), "--out", str(tmp_path / "out"), "--where", "seed=1"]
    assert main(command) == 0
    assert set(read(tmp_path / "out", "parquet", "train")["seed"]) == {1}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--format", "xlsx"], "--format"),
        (["--where", "seed=9"], "--where"),
        (["--out", "{}/full"], "--out: expected a new or empty folder"),
        (["--out", "{}/full/file"], "--out: expected a new or empty folder"),
        (["--runs", "{}/nowhere"], "nowhere"),
        (["--runs", "{}/full"], "runs with tables"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], named: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    given = [part.format(tmp_path) for part in more]
    assert main(["export", "--runs", str(runs), "--out", str(tmp_path / "out"), *given]) == 2
    err = capsys.readouterr().err
    assert named in err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_table_that_cannot_be_read_leaves_nothing_half_written(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (part,) = (runs / "runs" / "r1" / "tables" / "train").iterdir()
    part.write_bytes(part.read_bytes()[:-20])
    command = ["export", "--format", "duckdb", "--runs", str(runs), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert part.name in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]


def test_without_duckdb_the_extra_is_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    command = ["export", "--format", "duckdb", "--runs", str(runs), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "bnexp[duckdb]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
