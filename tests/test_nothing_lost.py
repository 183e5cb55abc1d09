"""Whatever happens to a run, it gives the same numbers or a clear refusal."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnexp.cli import main
from bnexp.runs import RunDirectory
from bnexp.training.loop import Trainer
from tests import faults

TINY = (
    *("model=dln", "model.k=3", "model.d=2", "data.samples=8", "steps=12", "probes=paper"),
    *("device=cpu", "threads=1", "progress=false", "checkpoint_steps=1"),
)
slow = pytest.mark.slow


def train(out: Path, *more: str) -> int:
    return main(["train", *TINY, f"out={out}", *more])


def only_run(out: Path) -> RunDirectory:
    (path,) = (out / "runs").iterdir()
    return RunDirectory(path)


@contextmanager
def failing(seed: int, at: int, error: Exception) -> Iterator[None]:
    """Within it runs with this seed raise ``error`` in step ``at``."""
    step = Trainer.step

    def fail(self: Trainer, number: int, record: Any) -> Any:
        if self.setting.seed == seed and number == at:
            raise error
        return step(self, number, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", fail)
        yield


def cut_off(out: Path, at: int = 7) -> RunDirectory:
    """The run, failed in step ``at``, with checkpoints to go on with ``at`` and ``at`` - 1."""
    with failing(0, at, RuntimeError("cut off")):
        assert train(out) == 1
    return only_run(out)


def assert_same_numbers(one: RunDirectory, other: RunDirectory) -> None:
    assert faults.differing(faults.numbers(one), faults.numbers(other)) == 0


def results(folder: Path) -> dict[str, bytes]:
    """The files in ``folder`` that hold results."""
    passing = ("log.txt", "status.json", "lock")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in passing)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was just said on stderr: one line."""
    (line,) = capsys.readouterr().err.splitlines()
    assert "Traceback" not in line
    return str(line)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The run as it comes out in peace."""
    out = tmp_path_factory.mktemp("whole")
    assert train(out) == 0
    return only_run(out)


@pytest.fixture
def copy(tmp_path: Path, whole: RunDirectory) -> RunDirectory:
    """A copy of it."""
    shutil.copytree(whole.path, tmp_path / "runs" / whole.path.name)
    return only_run(tmp_path)


# Faults at random moments, in processes of their own (tests/faults.py)

STOPS = [name for name in faults.FAULTS if name.startswith("SIG")]
OTHERS = [name for name in faults.FAULTS if name not in STOPS]


@pytest.mark.parametrize(
    ("kind", "norm", "names"),
    [
        ("dln", "noisy_bn", STOPS),
        pytest.param("dln", "bn", OTHERS, marks=slow),
        pytest.param("vgg", "l2", STOPS, marks=slow),
    ],
    ids=["dln, stopped", "dln, other faults", "vgg, stopped"],
)
def test_faults_at_random_moments_change_no_number(
    tmp_path: Path, kind: str, norm: str, names: list[str]
) -> None:
    happened, rng = Counter[str](), random.Random(1)
    for attempt in range(6):  # a quick machine is at the end before some faults can happen
        case = faults.make(
            tmp_path / str(attempt), *faults.KINDS[kind], *faults.COMMON, f"norm={norm}"
        )
        met, values, differing = faults.soak(case, names, rng)
        assert values > 5_000
        assert differing == 0
        happened += met
        if happened.total() >= 2:
            return
    pytest.fail(f"too few faults met: {happened}")


def test_the_soak_sees_a_value_that_differs_in_one_bit(whole: RunDirectory) -> None:
    numbers = faults.numbers(whole)
    assert faults.differing(numbers, dict(numbers)) == 0
    for name, values in [*numbers.items()][::50]:
        other = np.array(values)
        other.reshape(-1).view("uint8")[-1] ^= 1
        assert faults.differing(numbers, numbers | {name: other}) == values.size, name
        assert faults.differing({}, {name: values}) == values.size


# Damage

FILES = ("config.yaml", "env.json", "status.json", "checkpoint.pt", "tables/smoothness/*.parquet")
READS = {"train": FILES, "runs": ("config.yaml", "status.json"), "compact": (FILES[0], *FILES[2:])}
"""Which of them each command reads."""


def command(name: str, out: Path) -> int:
    if name == "train":
        return train(out)
    more = ["--out", str(out / "copy")] if name == "compact" else []
    return main([name, "--runs", str(out), *more])


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.split("/")[0])
@pytest.mark.parametrize("how", [lambda d: d[: len(d) // 2], lambda d: b""], ids=["half", "empty"])
def test_a_damaged_file_is_named_by_each_command_that_reads_it(
    tmp_path: Path,
    copy: RunDirectory,
    capsys: pytest.CaptureFixture[str],
    name: str,
    file: str,
    how: Callable[[bytes], bytes],
) -> None:
    if name == "train":  # has nothing to do where a run is finished
        shutil.rmtree(copy.path)
        cut_off(tmp_path)
    damaged = sorted(copy.path.glob(file))[0]
    damaged.write_bytes(how(damaged.read_bytes()))
    before = results(tmp_path)
    capsys.readouterr()
    code = command(name, tmp_path)
    if file == "checkpoint.pt":  # the one before it serves, and that is said
        assert code == 0
        assert name != "train" or str(damaged) in one_line(capsys)
    elif file in READS[name] or (name == "runs" and "tables" in file):
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert damaged.name in err or "damaged" in out
        assert code == 2 or name == "runs"
        assert results(tmp_path) == before


@pytest.mark.parametrize("text", ['{"state": 3}', '{"state": "dome"}', "{}", "[" * 100_000])
@pytest.mark.parametrize("name", READS)
def test_a_status_of_another_kind_is_named(
    tmp_path: Path, copy: RunDirectory, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    copy.status_file.write_text(text)
    assert command(name, tmp_path) == 2
    assert str(copy.status_file) in one_line(capsys)


def test_a_sweep_says_which_run_is_damaged_and_makes_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = cut_off(tmp_path)
    run.config_file.write_bytes(b"")
    assert train(tmp_path, "-m", "seed=0,1") == 1
    err = capsys.readouterr().err
    assert str(run.config_file) in err
    assert "1 failed, 1 done" in err
    assert train(tmp_path / "other", "-m", "seed=0,1") == 0
    first = only_part(next(iter((tmp_path / "other" / "runs").iterdir())))
    first.unlink()
    assert train(tmp_path / "other", "-m", "seed=0,1") == 1
    assert f"part {first.name} is missing" in capsys.readouterr().err


def only_part(run: Path) -> Path:
    return sorted(run.glob("tables/train/*.parquet"))[0]


# Several at once


def test_of_two_processes_asked_for_the_same_run_one_makes_it_and_one_waits(
    tmp_path: Path, whole: RunDirectory
) -> None:
    with faults.Command("train", *TINY, f"out={tmp_path}") as first:
        assert first.until(lambda: list(tmp_path.glob("runs/*/status.json")))
        first.signal(signal.SIGSTOP)
        with faults.Command("train", *TINY, f"out={tmp_path}") as second:
            assert second.until(lambda: "waiting for another process" in second.output)
            first.signal(signal.SIGCONT)
            assert (first.code(), second.code()) == (0, 0)
    run = only_run(tmp_path)
    assert run.log_file.read_text().count("started at step 0") == 1
    assert_same_numbers(run, whole)


def test_two_sweeps_over_overlapping_runs_share_them(tmp_path: Path) -> None:
    both, alone = tmp_path / "both", tmp_path / "alone"
    with (
        faults.Command("train", "-m", *TINY, "seed=0,1,2", f"out={both}") as one,
        faults.Command("train", "-m", *TINY, "seed=2,1,3", f"out={both}") as other,
    ):
        assert train(alone, "-m", "seed=range(4)") == 0
        assert (one.code(), other.code()) == (0, 0), one.output + other.output
    made = sorted(path.name for path in (both / "runs").iterdir())
    assert made == sorted(path.name for path in (alone / "runs").iterdir())
    for name in made:
        run = RunDirectory(both / "runs" / name)
        assert run.log_file.read_text().count("started at step 0") == 1
        assert_same_numbers(run, RunDirectory(alone / "runs" / name))


def states(out: Path) -> dict[int, str]:
    """The state of each run, by seed."""
    runs = (RunDirectory(path) for path in (out / "runs").iterdir())
    return {run.read_config()["seed"]: run.read_status()["state"] for run in runs}


@pytest.mark.parametrize("fail_fast", [True, False])
@pytest.mark.parametrize("error", [RuntimeError("out of luck"), MemoryError()], ids=repr)
def test_a_run_that_fails_is_recorded_and_the_same_command_makes_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, fail_fast: bool
) -> None:
    sweep = ("-m", "seed=0,1,2,3", f"fail_fast={fail_fast}")
    with failing(1, 5, error):
        assert train(tmp_path, *sweep) == 1
    err = capsys.readouterr().err
    assert type(error).__name__ in err
    assert f"see {tmp_path}" in err
    if fail_fast:
        assert "1 done, 1 failed, 2 not started" in err
        assert states(tmp_path) == {0: "done", 1: "failed"}
    else:
        assert states(tmp_path) == {0: "done", 1: "failed", 2: "done", 3: "done"}
    assert train(tmp_path, *sweep) == 0
    assert "skipped" in capsys.readouterr().err
    assert states(tmp_path) == dict.fromkeys(range(4), "done")


@slow
def test_a_worker_killed_at_each_try_fails_its_run_only(tmp_path: Path) -> None:
    sweep = ("-m", "seed=0,1,2", f"out={tmp_path / 'sweep'}", "steps=60")
    side_by_side = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert train(tmp_path / "named", "steps=60") == 0
    named = only_run(tmp_path / "named")
    victim = RunDirectory(tmp_path / "sweep" / "runs" / named.path.name)
    killed: set[int] = set()
    over = threading.Event()

    def hunt() -> None:
        while not over.wait(0.005):
            if victim.status_file.exists() and victim.lock_file.exists():
                holder = victim.lock_file.read_text().split("\n")[1:2]
                if holder and int(holder[0]) != sweeping.pid:
                    with suppress(ProcessLookupError):
                        os.kill(int(holder[0]), signal.SIGKILL)
                        killed.add(int(holder[0]))

    with faults.Command("train", *TINY, *sweep, *side_by_side) as sweeping:
        hunter = threading.Thread(target=hunt)
        hunter.start()
        try:
            assert sweeping.code() == 1, sweeping.output
        finally:
            over.set()
            hunter.join()
        assert "1 failed, 2 done" in sweeping.output
    assert len(killed) >= 2, "also when it was tried again, alone"
    assert "killed" in victim.read_status()["reason"]
    assert train(tmp_path, *sweep) == 0
    assert_same_numbers(victim, named)


# Disks


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "bnexp-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 1, 3, 6])
def test_a_full_disk_leaves_what_was_there_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str], free: int
) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    with mounted(tmp_path / "disk", "size=2m") as disk:
        run = cut_off(disk)
        before = {name: data for name, data in results(disk).items() if "tables" in name}
        space = os.statvfs(disk)
        with (disk / "filler").open("wb") as filler:
            filler.write(bytes(max(0, space.f_bavail * space.f_frsize - free * page)))
        capsys.readouterr()
        assert train(disk) == 1
        assert "No space left on device" in one_line(capsys)
        assert before.items() <= results(disk).items()
        (disk / "filler").unlink()
        assert train(disk) == 0
        assert "resumed at step 0" not in run.log_file.read_text()
        assert_same_numbers(run, whole)


@pytest.mark.parametrize("limit", [0, 100, 2000, 4000])
def test_files_that_may_not_grow_so_large_leave_what_was_there(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str], limit: int
) -> None:
    run = cut_off(tmp_path)
    before = {name: data for name, data in results(tmp_path).items() if "tables" in name}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        code = train(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1
    assert "File too large" in one_line(capsys)
    assert before.items() <= results(tmp_path).items()
    assert train(tmp_path) == 0
    assert_same_numbers(run, whole)


def test_an_output_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "runs").touch()
    for out in (tmp_path / "file", tmp_path / "out", Path("/proc/bnexp")):
        assert train(out) == 2
        line = one_line(capsys)
        assert "out:" in line
        assert str(out) in line


def test_a_disk_that_may_only_be_read_is_refused_and_can_be_read_from(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", "size=4m") as disk:
        cut_off(disk / "half")
        shutil.copytree(whole.path, disk / "all" / "runs" / whole.path.name)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        capsys.readouterr()
        assert train(disk / "half") == 2
        assert "read-only" in one_line(capsys).lower()
        assert train(disk / "all") == 0, "there is nothing to do"
        assert main(["runs", "--runs", str(disk / "all")]) == 0
