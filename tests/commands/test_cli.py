"""The command line: what it prints where, its exit codes, and what it refuses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bnexp.cli import main
from bnexp.runs import find_runs
from bnexp.runs.files import read_json

QUICK = ["device=cpu", "threads=1", "progress=false"]
TINY = [*QUICK, "model=dln", "model.k=3", "model.d=2", "data.samples=8", "steps=4"]
TINY += ["measure.every=2"]
TINY_VGG = [*QUICK, "model.depth=11", "model.width=0.015625", "data=digits", "batch_size=4"]
TINY_VGG += ["steps=2", "probes=none"]
SIDE_BY_SIDE = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.launcher.batch_size=1"]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_train_prints_the_run_directory_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *TINY, f"out={tmp_path}"]) == 0
    out, err = capsys.readouterr()
    directory = Path(out.splitlines()[-1])
    assert directory.parent == tmp_path / "runs"
    assert (directory / "config.yaml").is_file()
    assert err == ""
    assert main(["train", *TINY, f"out={tmp_path}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(directory)


def test_a_sweep_makes_every_run_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["train", "-m", *TINY, "norm=none,bn", "seed=0,1", f"out={tmp_path}"]
    assert main(sweep) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(set(printed)) == 4
    configs = [yaml.safe_load((Path(line) / "config.yaml").read_text()) for line in printed]
    assert {(c["norm"]["name"], c["seed"]) for c in configs} == {
        (norm, seed) for norm in ("none", "bn") for seed in (0, 1)
    }
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}, "a sweep leaves nothing else"


def test_runs_of_a_sweep_can_be_made_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ["train", "-m", *TINY_VGG, "seed=0,1"]
    assert main([*sweep, f"out={tmp_path / 'a'}", *SIDE_BY_SIDE]) == 0
    assert main([*sweep, f"out={tmp_path / 'b'}"]) == 0
    tables = {path for path in files(tmp_path / "a") if path.endswith(".parquet")}
    assert tables == {path for path in files(tmp_path / "b") if path.endswith(".parquet")} != set()
    for table in tables:
        assert (tmp_path / "a" / table).read_bytes() == (tmp_path / "b" / table).read_bytes()


def test_a_failing_run_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bnexp.training.loop import Trainer

    original = Trainer.step

    def failing(self: Trainer, number: int, record: object) -> object:
        if self.setting.seed == 0:
            raise RuntimeError("out of luck")
        return original(self, number, record)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "step", failing)
    sweep = ["train", "-m", *TINY, "seed=0,1", f"out={tmp_path}"]
    assert main(sweep) == 1
    err = capsys.readouterr().err
    assert "out of luck" in err
    assert "1 failed, 1 done" in err
    monkeypatch.undo()
    assert main(sweep) == 0, "the same command makes what is left"


def test_runs_lists_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", *TINY, f"out={tmp_path}"])
    run = Path(capsys.readouterr().out.strip())
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "model", "norm", "data", "lr", "seed", "state", "step"]
    assert line.split() == [run.name, "dln", "bn", "Gaussian", "1e-06", "0", "done", "4/4"]
    for number, there in {"fig10": 1, "3.5": 1, "fig4": 0}.items():
        assert main(["runs", "--runs", str(tmp_path), "--of", number]) == 0
        header, *lines = capsys.readouterr().out.splitlines()
        revision = read_json(run / "env.json")["git_revision"]
        assert [line.split()[::8] for line in lines] == [[run.name, str(revision)]] * there
    assert main(["runs", "--runs", str(tmp_path), "--of", "fig99"]) == 2
    assert "--of: expected one of 1, 2" in capsys.readouterr().err


def test_runs_that_are_to_be_compared_or_removed_must_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in (["diff", "a", "b"], ["rm", "a", "--yes"]):
        assert main(["runs", *action, "--runs", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert said == f"bnexp: --runs: expected a folder with runs; got '{tmp_path}'\n"


def test_a_diverged_run_is_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diverging = [*TINY, "norm=none", "optim.lr=1e6", "steps=300"]
    assert main(["train", *diverging, f"out={tmp_path}"]) == 0
    out, err = capsys.readouterr()
    assert "diverged at step" in err
    assert Path(out.strip()).is_dir()


def test_help_answers_at_once() -> None:
    code = (
        "import sys; from bnexp.cli import main; main(['--help']); main([]);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'pandas', 'matplotlib', 'hydra')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("bnexp reproduce preset=quick", "bnexp train preset=quick", "bnexp figures"):
        assert command in done.stdout


def test_help_of_train_lists_groups_with_the_users_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "mine.yaml").write_text("name: bn\neps: 1\nmomentum: 1\n")
    assert main(["train", "--help", "--config-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "|linf|mine|noise_only|" in out
    assert "preset=cpu|none|paper|quick" in out


ENDLESS = [*TINY_VGG, "steps=100000000"]


def started(tmp_path: Path, *more: str, runs: int = 1) -> subprocess.Popen[str]:
    """``bnexp train`` in a process group of its own, once ``runs`` of its runs are under way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bnexp.cli", "train", *ENDLESS, f"out={tmp_path}", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("runs/*/status.json"))) < runs and time.monotonic() < deadline:
        time.sleep(0.1)
    return process


def test_a_signal_stops_a_run_which_has_saved(tmp_path: Path) -> None:
    process = started(tmp_path)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "goes on from there" in err
    assert "Traceback" not in err
    assert list(tmp_path.glob("runs/*/checkpoint*"))


@pytest.mark.parametrize(("launcher", "to_all"), [([], False), (SIDE_BY_SIDE, True)])
def test_a_signal_stops_a_whole_sweep_which_has_saved(
    tmp_path: Path, launcher: list[str], to_all: bool
) -> None:
    at_once = 2 if launcher else 1
    process = started(tmp_path, "-m", "seed=0,1,2,3", *launcher, runs=at_once)
    if to_all:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "goes on from there" in err
    assert "Traceback" not in err
    made = list(tmp_path.glob("runs/*"))
    assert len(made) == at_once, "no further run is started"
    assert all(list(run.glob("checkpoint*")) for run in made)


JOBLIB = [*TINY, "seed=0,1", "hydra/launcher=joblib"]

BAD_LINES = """
train foo | train +optim.foo=1 -> optim.foo | train --foo | train model=vgg17 -> did you mean vgg
train model.depth=12 | train model.width=1e9 | train model=dln model.k=1000000
train threads=99999999999 | train batch_size=1e8 | train optim=null | train model=null
train probes=null | train =1 -> KEY=VALUE | train stale=maybe
train plugins=[no_such_module] -> no_such_module | train plugins=3 | train --config-dir /nowhere
train -cn mine -> -cn | train --info | train -sc install=bash -> -sc
train hydra/sweeper=optuna | train hydra.verbose=true | train hydra.job.name=x
train hydra/launcher=joblib -> -m | train -m seed=range(1000000000) -> 100000 runs
train -m hydra.launcher._target_=os.system -> _target_ | train norm=batch -> batch
train norm=none,bn | train data=imagenet -> imagenet | train data=images -> data.path
train data=images data.path=/nowhere/x.tar -> /nowhere/x.tar | train steps=-1 | train steps=0
train steps=many | train steps=1.5 | train seed=-1 | train seed=null | train batch_size=0
train optim.lr=nan | train optim.lr=inf | train optim.lr=0 | train optim.lr=fast
train optim.momentum=1 | train optim.weight_decay=-1 | train optim.decay=some | train model.width=0
train model.head=[0] | train model.head=deep | train model.init=he | train model.loss=sum_squares
train model=dln model.k=0 | train model=dln data.samples=0 | train model=dln data.A_std=0
train model=dln data=digits | train data=gaussian -> data.d | train model=dln data.d=5
train experiment=fig10 -> -m | train probes=none probes.landscape.every=2 -> probes.landscape
train model=dln data.augment=true | train norm.eps=-1 | train device=gpu | train device=cuda:99
train precision=float16 | train precision=bf16 model=dln -> precision | train threads=0
train probes=some -> some | train +probes.foo.every=1 -> probes.foo | train probes.landscape=1
train probes.landscape.every=0 | train probes.landscape.dense=-1 | train probes.landscape.etas=[]
train probes.landscape.etas=[0,1] | train probes.landscape.etas=[1,1]
train probes.landscape.direction=up | train probes.gradient_shift.layers=[99]
train probes.gradient_shift.layers=[0] | train probes.gradient_shift.layers=[]
train probes.moments.units=0 | train probes.activations.unit=-1
train probes.activations.unit=99 model.width=0.0625 -> probes.activations.unit
train probes.activations.samples=0 | train probes=curvature probes.curvature.every=0
train probes=sharpness probes.sharpness.tolerance=0
train probes=sharpness probes.sharpness.max_iterations=0 -> max_iterations | train -m steps=5,-5
train -m seed=0,1 hydra/launcher=rocket -> rocket | reproduce preset=huge | reproduce figures=7
reproduce figures=4,4 | reproduce figures=4 --format gif -> --format | reproduce --foo
reproduce figures=4 optim.foo=1 | reproduce figures=4 model=resnet -> figure 4 draws none
figures 7 | figures four | figures --runs /nowhere | figures 4 --format gif -> --format
runs --runs /nowhere | runs --foo | dance | reproduce --format
"""
"""Commands, separated by bars; after an arrow what the refusal names, if not the last key."""

CASES = [case.split(" -> ") for line in BAD_LINES.split("\n")[1:-1] for case in line.split(" | ")]
BAD = [(case[0].split(), case[-1].split()[-1].partition("=")[0]) for case in CASES]
BAD += [
    (["train", "seed=" + "9" * 400], "seed"),
    (["train", "device=cuda:" + "9" * 50], "device"),
    (["train", "out=" + "a" * 300], "out"),
    (["train", "out=" + "a/" * 1500], "out"),
    (["train", "out=" + 20 * ("/" + "a" * 200)], "out"),
    (["train", "-m", "seed=" + "1," * 10**4 + "1"], "seed"),
    (["train", "-m", *JOBLIB, "hydra.launcher.n_jobs=0"], "n_jobs"),
    (["train", "-m", *JOBLIB, "hydra.launcher.foo=1"], "foo"),
    (["train", *TINY, "out=/proc/none"], "out"),
]


@pytest.mark.parametrize(("command", "named"), BAD, ids=lambda value: " ".join(value)[:60])
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(command)
    except SystemExit as left:
        code = int(left.code or 0)
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.strip()]
    assert code == 2
    assert out == ""
    assert len(lines) == 1, err
    assert named in lines[0]
    assert "Traceback" not in err
    assert files(tmp_path) == set()


def test_figures_of_an_empty_folder_name_the_command_that_makes_the_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", "4", "--runs", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "bnexp reproduce preset=quick|cpu|paper figures=4" in err
    assert files(tmp_path) == set()


def test_reproduce_makes_only_what_is_missing_and_shares_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    tiny = ["preset=quick", "model.k=20", "model.d=2", "data.samples=8", "steps=20", "seed=0"]
    command = ["reproduce", "figures=10", *tiny, f"out={out}", "--format", "png"]
    assert main([*command, "--dry-run"]) == 0
    assert "2 runs, 2 to be made" in capsys.readouterr().err
    assert files(tmp_path) == set()
    assert main(command) == 0
    assert (out / "figures" / "fig10.png").is_file()
    err = capsys.readouterr().err
    assert "A verdict takes 3 seeds" in err
    assert err.splitlines()[-1] == f"The report: {out / 'report.html'}"
    assert main([*command[:1], "figures=9,10", *command[2:]]) == 0
    assert "2 runs, 0 to be made" in capsys.readouterr().err
    assert {path.name for path in (out / "figures").iterdir()} == {"fig09.png", "fig10.png"}
    assert {path.name for path in out.iterdir()} == {"runs", "figures", "claims", "report.html"}


def test_reproduce_draws_the_norms_and_rates_that_it_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["preset=quick", "model.k=20", "model.d=2", "data.samples=8", "steps=20", "threads=1"]
    other = ["optim.lr=5e-6", "norm=l2", "hydra/launcher=basic", "--format", "png"]
    assert main(["reproduce", "figures=10", *tiny, *other, f"out={tmp_path}"]) == 0
    assert (tmp_path / "figures" / "fig10.png").is_file()
    assert "not drawn" not in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folders_that_may_not_be_read_are_named_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    main(["runs", "--runs", str(folder)])  # imports what the other user may not be able to
    (folder / "config.yaml").touch()
    for closed in (folder, folder.parent):
        closed.chmod(0o700)
        pid = os.fork()
        if pid == 0:
            sys.stderr = (tmp_path / "err").open("w")
            os.setuid(65534)
            code = main(["runs", "--runs", str(folder.parent)])
            sys.stderr.close()
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
        err = (tmp_path / "err").read_text()
        assert "Permission denied" in err
        assert len(err.splitlines()) == 1


def test_compact_copies_draw_the_same_figures_and_sum_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, copy = tmp_path / "here", tmp_path / "copy"
    sweep = ["train", "-m", *TINY, "norm=none,bn", "probes.activations.samples=8"]
    assert main([*sweep, f"out={here}"]) == 0
    command = ["compact", "--runs", str(here), "--out"]
    for bad in (["--samples", "0"], ["--layers", "999"], ["--layers", "a"]):
        capsys.readouterr()
        assert main([*command, str(copy), *bad]) == 2
        err = capsys.readouterr().err
        assert bad[0] in err
        assert len(err.splitlines()) == 1
        assert not copy.exists()
    (tmp_path / "file").touch()
    assert main([*command, str(tmp_path / "file")]) == 2
    assert main([*command, str(copy), "--samples", "3"]) == 0
    assert {len(v) for run in find_runs(copy) for v in run.table("activations")["values"]} == {3}
    assert main([*command, str(copy)]) == 2, "never overwrites"
    shutil.rmtree(copy)
    for _ in range(2):  # the same command again finds all done
        assert main([*command, str(copy)]) == 0
    for folder in (here, copy):
        assert main(["figures", "10", "--runs", str(folder), "--format", "png"]) == 0
    drawn = [(folder / "figures" / "fig10.png").read_bytes() for folder in (here, copy)]
    assert drawn[0] == drawn[1]
    text = (copy / "SUMMARY.md").read_text()
    assert "2 runs: " in text
    assert "| none | 1e-06 | 0 | 1 done |" in text
    configs = list((copy / "runs").glob("*/config.yaml"))
    assert len(configs) == 2
    assert not any(str(here.parent) in path.read_text() for path in configs), "no places kept"
    assert {path.name for path in copy.iterdir()} == {"runs", "figures", "SUMMARY.md"}


def test_some_runs_are_compacted_after_others_and_all_are_summed_up(tmp_path: Path) -> None:
    here, copy = tmp_path / "here", tmp_path / "copy"
    assert main(["train", "-m", *TINY, "seed=0,1,2", f"out={here}"]) == 0
    into = ["compact", "--runs", str(here), "--out", str(copy), "--samples"]
    assert main([*into, "5", "--where", "seed=0"]) == 0
    assert main([*into, "2", "--where", "seed=1,2"]) == 0
    sizes = {run.seed: len(run.table("activations")["values"][0]) for run in find_runs(copy)}
    assert sizes == {0: 5, 1: 2, 2: 2}
    assert "| 0, 1, 2 |" in (copy / "SUMMARY.md").read_text()
    assert main([*into, "2", "--where", "seed=3"]) == 2


def test_a_summary_counts_each_training_once_and_tells_landscapes_apart(tmp_path: Path) -> None:
    here, copy = tmp_path / "here", tmp_path / "copy"
    sweep = ["train", "-m", *TINY, "seed=0,1", f"out={here}"]
    for more in ([], ["~probes.moments"], ["probes.landscape.direction=random"]):
        assert main([*sweep, *more]) == 0
    assert main([*sweep, "probes.landscape.etas=[0.25,1]"]) == 0
    assert main(["compact", "--runs", str(here), "--out", str(copy)]) == 0
    rows = [line for line in (copy / "SUMMARY.md").read_text().splitlines() if "| bn |" in line]
    assert [line.split("|")[4].strip() for line in rows] == ["0, 1"] * 3
    assert sum("; random directions |" in line for line in rows) == 1
    assert sum("; eta from 0.25 lr |" in line for line in rows) == 1
