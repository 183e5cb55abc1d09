"""``bnexp runs``: what tells runs apart, which are shown, two compared, some removed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bnexp.cli import main
from bnexp.runs import RunDirectory, find_runs
from tests.runs.conftest import DLN, VGG, changed

HOSTILE = "$\\frac{1$ \x1b[2J\u202e| `x` <b>\n# head"


def make(root: Path, name: str, base: dict[str, Any] = VGG, **options: Any) -> RunDirectory:
    directory = RunDirectory(root / "runs" / name)
    directory.create(changed(base, **options), {"torch": "2", "git_revision": f"of-{name}"})
    directory.write_status(state="done", step=400, steps=400, tables={})
    return directory


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Batch sizes 16, 64, None with two norms and two seeds each, which follow seed_init."""
    for batch in (16, 64, None):
        for norm in ("none", "bn"):
            for seed in (0, 1):
                more = {"batch_size": batch, "norm": {"name": norm, "eps": 1e-5 * (norm == "bn")}}
                make(tmp_path, f"{norm}-{batch}-{seed}", seed=seed, threads=seed + 1, **more)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> pd.DataFrame:
    assert main(["runs", *map(str, arguments)]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    return pd.DataFrame(rows, columns=head)


def test_the_columns_are_those_in_which_runs_differ(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["id", "model", "norm", "data", "lr", "seed", "state", "step"]
    frame = shown(capsys, "--runs", sweep)
    assert [*frame] == [*usual[:6], "batch_size", *usual[6:]], "threads decide nothing"
    for run in frame.itertuples():
        assert run.id == f"{run.norm}-{run.batch_size.replace('null', 'None')}-{run.seed}"
    make(sweep, "dln", DLN)
    frame = shown(capsys, "--runs", sweep)
    assert [*frame][6:-2] == ["batch_size"], "what follows from the model is no column"
    make(sweep, "other", norm={"name": "bn", "eps": 1e-3})
    assert [*shown(capsys, "--runs", sweep)][6:-2] == ["norm.eps", "batch_size"]
    assert [*shown(capsys, "--runs", sweep, "--where", "batch_size=16")] == usual


@pytest.mark.parametrize(
    ("where", "query"),
    [
        (["norm=bn"], "norm == 'bn'"),
        (["norm=bn,none", "batch_size=64,16"], "batch_size > 0"),
        (["batch_size=null"], "batch_size != batch_size"),
        (["batch_size=64.0", "seed=1"], "batch_size == 64 and seed == 1"),
        (["model=vgg", "norm.eps=0.00001"], "norm == 'bn'"),
        (["model=vgg16", "probes.landscape.etas=[0.5,1,2,4]"], "seed >= 0"),
        (["state=done", "step=400", "optim.lr=1e-1"], "seed >= 0"),
    ],
)
def test_where_chooses_as_pandas_does(
    sweep: Path, capsys: pytest.CaptureFixture[str], where: list[str], query: str
) -> None:
    configs = [
        {"id": f"{norm}-{batch}-{seed}", "norm": norm, "batch_size": batch, "seed": seed}
        for norm in ("none", "bn")
        for batch in (16, 64, None)
        for seed in (0, 1)
    ]
    wanted = pd.DataFrame(configs).query(query)["id"]
    given = [part for condition in where for part in ("--where", condition)]
    assert sorted(shown(capsys, "--runs", sweep, *given)["id"]) == sorted(wanted)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--where", "nrm=bn"], "did you mean norm?"),
        (["--where", "batch_size=65"], "expected one of batch_size=16, 64, null"),
        (["--where", "batch_size"], "KEY=VALUE"),
        (["--where", "=1"], "KEY=VALUE"),
        (["--sort", "batchsize"], "did you mean batch_size?"),
        (["drop", "a"], "expected one of list, diff, rm"),
        (["diff", "bn-16-0"], "runs, by their ids"),
        (["diff", "bn-16-0", "bn-16"], "expected the beginning of one id"),
        (["rm"], "runs, by their ids"),
        (["rm", "", "--yes"], "RUN"),
        (["rm", "bn-17", "--yes"], "RUN: expected one of bn-16-0"),
        (["rm", "bn-16-0"], "--yes where nobody can be asked"),
    ],
)
def test_bad_input_is_one_line_and_removes_nothing(
    sweep: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert main(["runs", *arguments, "--runs", str(sweep)]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert named in err
    assert out == ""
    assert len(find_runs(sweep)) == 12


def test_sorting_is_by_number_and_what_lacks_the_key_comes_last(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(sweep, "hundred", batch_size=100)
    for sign, sizes in (("", [16, 64, 100]), ("-", [100, 64, 16])):
        frame = shown(capsys, "--runs", sweep, f"--sort={sign}batch_size")
        assert [*dict.fromkeys(frame["batch_size"])] == [*map(str, sizes), "null"]


def test_json_has_every_setting(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(sweep, "odd", optim__lr=0.5, data__label=HOSTILE)
    assert main(["runs", "--json", "--runs", str(sweep), "--sort", "optim.lr"]) == 0
    *_, last = json.loads(capsys.readouterr().out)
    assert (last["id"], last["state"], last["step"], last["steps"]) == ("odd", "done", 400, 400)
    assert last["revision"] == "of-odd"
    assert last["settings"]["data.label"] == HOSTILE
    assert last["settings"]["optim.lr"] == 0.5
    assert RunDirectory(Path(last["path"])).config_file.is_file()


def test_diff_says_in_what_two_runs_differ(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = "bn-16-0", sweep / "runs" / "none-64-1"
    frame = shown(capsys, "diff", one, other, "--runs", sweep)
    assert [*frame] == ["run", one, other.name]
    rows = {row[0]: tuple(row[1:]) for row in frame.to_numpy().tolist()}
    assert rows["batch_size"] == ("16", "64")
    assert rows["threads"] == ("1", "2")
    assert rows["norm.eps"] == ("1e-05", "0")
    assert "env.git_revision" in rows
    assert not {"optim.lr", "steps", "state"} & rows.keys()


def test_rm_removes_those_named_and_no_other(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {run.id for run in find_runs(sweep)}
    assert main(["runs", "rm", "bn-16-0", "none-N", "--runs", str(sweep), "--yes"]) == 2
    assert main(["runs", "rm", "bn-16-0", "none-64-1", "--runs", str(sweep), "--yes"]) == 0
    assert {run.id for run in find_runs(sweep)} == before - {"bn-16-0", "none-64-1"}
    assert not [path for path in (sweep / "runs").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(("answer", "gone"), [("y\n", 1), ("\n", 0), ("", 0), ("no\n", 0)])
def test_rm_asks(sweep: Path, monkeypatch: pytest.MonkeyPatch, answer: str, gone: int) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert main(["runs", "rm", "bn-16-0", "--runs", str(sweep)]) == 1 - gone
    assert len(find_runs(sweep)) == 12 - gone


def test_rm_refuses_all_where_one_is_being_made(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = RunDirectory(sweep / "runs" / "bn-16-1")
    with held.lock():
        assert main(["runs", "rm", "bn-16-0", "bn-16-1", "--runs", str(sweep), "--yes"]) == 2
    assert "bn-16-1" in capsys.readouterr().err
    assert len(find_runs(sweep)) == 12


def test_rm_cut_off_anywhere_leaves_no_run_and_the_next_one_clears_up(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        next(Path(path).glob("*.json")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        assert main(["runs", "rm", "bn-16-0", "--runs", str(sweep), "--yes"]) == 130
    assert len([*(sweep / "runs").iterdir()]) == 12, "the rest of it is still there"
    assert len(find_runs(sweep)) == 11
    assert main(["runs", "rm", "bn-16-1", "--runs", str(sweep), "--yes"]) == 0
    assert len([*(sweep / "runs").iterdir()]) == 10


def test_rm_of_a_link_leaves_what_it_points_to(sweep: Path, tmp_path: Path) -> None:
    real = sweep / "runs" / "bn-16-0"
    real.rename(tmp_path / "bn-16-0")
    real.symlink_to(tmp_path / "bn-16-0")
    assert main(["runs", "rm", "bn-16-0", "--runs", str(sweep), "--yes"]) == 0
    assert not real.is_symlink()
    assert (tmp_path / "bn-16-0" / "config.yaml").is_file()


def test_nothing_in_a_label_reaches_the_terminal(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(sweep, "odd", data__label=HOSTILE, optim__name="\x1b[31m")
    for more in ([], ["diff", "odd", "bn-16-0"], ["--where", "data=x"]):
        main(["runs", *more, "--runs", str(sweep)])
        out, err = capsys.readouterr()
        assert all(c.isprintable() for c in "".join((out + err).splitlines()))
        assert ("[2J" in out + err) or more
