"""Whatever happens to a run, it gives the same numbers or a clear refusal."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from bnexp.cli import main
from bnexp.data import store
from bnexp.runs import RunDirectory
from bnexp.runs.files import read_json
from bnexp.training.checkpoint import Checkpoints
from bnexp.training.loop import Trainer
from scripts import soak

TINY = (
    *("model=dln", "model.k=3", "model.d=2", "data.samples=8", "steps=12"),
    *("probes=every", "device=cpu", "threads=1", "progress=false", "checkpoint_minutes=1e-9"),
)


def train(out: Path, *more: str) -> int:
    return main(["train", *TINY, f"out={out}", *more])


def only_run(out: Path) -> RunDirectory:
    (path,) = (out / "runs").iterdir()
    return RunDirectory(path)


def cut_off(out: Path, at: int = 7, error: Exception | None = None) -> RunDirectory:
    """The run, failed in step ``at``, with checkpoints to go on with ``at`` and ``at`` - 1."""
    step = Trainer.step

    def failing(self: Trainer, number: int, record: Any) -> Any:
        if number == at:
            raise error or RuntimeError("cut off")
        return step(self, number, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", failing)
        assert train(out) == 1
    return only_run(out)


def assert_same_numbers(one: RunDirectory, other: RunDirectory) -> None:
    left, right = soak.numbers(one), soak.numbers(other)
    assert left.keys() == right.keys()
    assert sum(soak.differing(left[name], right[name]) for name in left) == 0


def content(folder: Path) -> dict[str, bytes]:
    """The files in ``folder`` that hold results."""
    passing = ("log.txt", "status.json", "lock")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in passing)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was just said on stderr: one line."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    (line,) = err.splitlines()
    return str(line)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The run as it comes out in peace."""
    out = tmp_path_factory.mktemp("whole")
    assert train(out) == 0
    return only_run(out)


# Kills


@pytest.mark.parametrize(("kind", "norm"), [("dln", "noisy_bn"), ("vgg", "l2")])
def test_a_run_that_is_killed_again_and_again_gives_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, norm: str
) -> None:
    monkeypatch.setattr(soak, "SECONDS", 0.1)  # well before the run is done
    figures = soak.soak(soak.cases(tmp_path, kind, [norm]), kills=2, seed=1)
    assert (figures.runs, figures.differing) == (1, 0)
    assert 1 <= figures.kills.total() <= 2, "a quick run may be done before the second"
    assert figures.values > 10_000


def test_the_soak_sees_a_value_that_differs_in_one_bit(whole: RunDirectory) -> None:
    for name, values in soak.numbers(whole).items():
        other = values.copy()
        if values.dtype == object:
            other.reshape(-1)[-1] = "other"
        else:
            other.reshape(-1, 1).view("uint8")[-1, 0] ^= 1
        assert soak.differing(values, values) == 0, name
        assert soak.differing(values, other) == 1, name
        assert soak.differing(values, None) == max(1, values.size)


# Damaged checkpoints

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "one bit flipped": lambda data: flipped(data, len(data) // 2),
    "of zeros": lambda data: bytes(len(data)),
    "no checkpoint": lambda data: b"hello",
}


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << place % 8
    return bytes(changed)


def damage(path: Path, how: str) -> None:
    path.write_bytes(DAMAGE[how](path.read_bytes()))


@pytest.mark.parametrize("how", DAMAGE)
def test_where_the_last_checkpoint_is_damaged_the_one_before_is_used_and_that_is_said(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    run = cut_off(tmp_path)
    last, _ = Checkpoints(run.path, run.id).files
    damage(last, how)
    capsys.readouterr()
    assert train(tmp_path) == 0
    said = one_line(capsys)
    assert str(last) in said
    assert "going on from the one before" in said
    assert "resumed at step 6" in run.log_file.read_text()
    assert_same_numbers(run, whole)


def test_what_a_probe_remembers_goes_back_with_the_checkpoint_that_is_used(tmp_path: Path) -> None:
    """The one before the damaged last one; few iterations show where the sharpness started."""
    remembering = ("probes=sharpness", "probes.sharpness.max_iterations=3", "measure.every=1")

    def made(out: Path) -> int:
        return train(out, *remembering)

    assert made(tmp_path / "whole") == 0
    step = Trainer.step

    def failing(self: Trainer, number: int, record: Any) -> Any:
        if number == 7:
            raise RuntimeError("cut off")
        return step(self, number, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", failing)
        assert made(tmp_path / "cut") == 1
    run = only_run(tmp_path / "cut")
    damage(Checkpoints(run.path, run.id).files[0], "truncated")
    assert made(tmp_path / "cut") == 0
    assert "resumed at step 6" in run.log_file.read_text()
    assert_same_numbers(run, only_run(tmp_path / "whole"))


def test_a_checkpoint_that_was_being_replaced_is_not_missed(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    run = cut_off(tmp_path)
    Checkpoints(run.path, run.id).files[0].unlink()
    assert train(tmp_path) == 0
    assert "resumed at step 6" in run.log_file.read_text()
    assert_same_numbers(run, whole)


@pytest.mark.parametrize("how", DAMAGE)
def test_two_damaged_checkpoints_are_refused_and_left_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    run = cut_off(tmp_path)
    for path in Checkpoints(run.path, run.id).files:
        damage(path, how)
    before = content(tmp_path)
    capsys.readouterr()
    assert train(tmp_path) == 2
    said = one_line(capsys)
    assert all(str(path) in said for path in Checkpoints(run.path, run.id).files)
    assert content(tmp_path) == before


# Other damaged files

FILES = ("config.yaml", "env.json", "status.json", "tables/smoothness/000000003-000000003.parquet")
READS = {
    "train": FILES,
    "runs": ("config.yaml", "status.json"),
    "figures": ("config.yaml", "status.json", FILES[-1]),
    "compact": FILES,
}
"""Which of them each command reads."""


def command(name: str, out: Path) -> int:
    if name == "train":
        return train(out)
    more = {"figures": ["8", "10", "--format", "png"], "compact": ["--out", str(out / "copy")]}
    return main([name, "--runs", str(out), *more.get(name, [])])


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.split("/")[0])
@pytest.mark.parametrize("how", ["truncated", "empty", "of zeros"])
def test_a_damaged_file_is_named_by_each_command_that_reads_it(
    tmp_path: Path,
    whole: RunDirectory,
    capsys: pytest.CaptureFixture[str],
    name: str,
    file: str,
    how: str,
) -> None:
    if name == "train":  # has nothing to do where a run is finished
        run = cut_off(tmp_path)
    else:
        run = RunDirectory(tmp_path / "runs" / whole.path.name)
        shutil.copytree(whole.path, run.path)
    damage(run.path / file, how)
    before = content(tmp_path)
    capsys.readouterr()
    code = command(name, tmp_path)
    if file in READS[name]:
        assert str(run.path / file) in one_line(capsys)
        assert code == 2
        assert content(tmp_path) == before
    else:
        assert "Traceback" not in capsys.readouterr().err
        assert code in (0, 1)


@pytest.mark.parametrize(
    "text",
    [
        '{"state": 3}',
        '{"state": "dome", "step": 3}',
        '{"state": "running", "step": "many"}',
        '{"state": "running", "seconds": [1]}',
        "{}",
        "[" * 100_000,
        '{"state": "running", "step": ' + "9" * 5000 + "}",
    ],
    ids=lambda text: text[:30],
)
@pytest.mark.parametrize("name", ["train", "runs", "figures"])
def test_a_status_of_another_kind_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    run = cut_off(tmp_path)
    run.status_file.write_text(text)
    capsys.readouterr()
    assert command(name, tmp_path) == 2
    assert str(run.status_file) in one_line(capsys)


def test_a_sweep_tells_of_a_damaged_run_and_makes_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = cut_off(tmp_path)
    damage(run.config_file, "empty")
    assert train(tmp_path, "-m", "seed=0,1") == 1
    err = capsys.readouterr().err
    assert str(run.config_file) in err
    assert "1 failed, 1 done" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "change",
    [
        {"model": 3},
        {"norm": ["bn"]},
        {"optim": {"name": "sgd", "lr": "fast"}},
        {"steps": "many"},
        {"steps": float("inf")},
        {"batch_size": [1]},
        {"seed": None},
        {"seed": "today"},
        {"probes": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["runs", "figures", "compact"])
def test_a_config_of_another_kind_is_refused_in_one_line(
    tmp_path: Path,
    whole: RunDirectory,
    capsys: pytest.CaptureFixture[str],
    name: str,
    change: dict[str, Any],
) -> None:
    run = RunDirectory(tmp_path / "runs" / whole.path.name)
    shutil.copytree(whole.path, run.path)
    run.config_file.write_text(yaml.safe_dump({**run.read_config(), **change}))
    assert command(name, tmp_path) == 2
    said = one_line(capsys)
    assert str(run.config_file) in said
    assert next(iter(change)) in said


@pytest.mark.parametrize("name", ["runs", "figures", "compact", "train"])
def test_a_run_of_a_newer_version_with_more_keys_is_read(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = RunDirectory(tmp_path / "runs" / whole.path.name)
    shutil.copytree(whole.path, run.path)
    config = run.read_config()
    config |= {"sharpness": {"every": 3}, "norm": {**config["norm"], "groups": 4}}
    config["probes"]["hessian"] = {"every": 10}
    run.config_file.write_text(yaml.safe_dump(config))
    assert command(name, tmp_path) in (0, 1)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert run.path.name in out or name in ("figures", "compact")


def test_folders_of_other_tools_are_passed_over(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole.path, tmp_path / "runs" / whole.path.name)
    other = tmp_path / "runs" / "lightning" / "version_0"
    other.mkdir(parents=True)
    for folder in (other, other.parent):
        (folder / "config.yaml").write_text("model: !!python/object:x.Y {}\n")
        (folder / "metrics.csv").write_text("step,loss\n")
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["runs", "--runs", str(other)]) == 2
    assert str(other / "config.yaml") in one_line(capsys)


# Two at once


@contextmanager
def bnexp(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``bnexp train`` in a process of its own, which does not outlive the block."""
    process = soak.bnexp(*TINY, *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_of_two_processes_asked_for_the_same_run_one_makes_it_and_one_waits(
    tmp_path: Path, whole: RunDirectory
) -> None:
    with bnexp(f"out={tmp_path}") as first:
        wait_for(lambda: list(tmp_path.glob("runs/*/status.json")))
        first.send_signal(signal.SIGSTOP)
        with bnexp(f"out={tmp_path}") as second:
            assert second.stderr is not None
            assert "waiting for another process" in second.stderr.readline()
            first.send_signal(signal.SIGCONT)
            _, err = second.communicate(timeout=120)
            assert (second.returncode, err) == (0, "")
        assert first.wait(timeout=120) == 0
    run = only_run(tmp_path)
    assert run.log_file.read_text().count("started at step 0") == 1
    assert_same_numbers(run, whole)


def test_two_sweeps_over_overlapping_runs_at_once_give_what_one_gives(tmp_path: Path) -> None:
    both, alone = tmp_path / "both", tmp_path / "alone"
    with (
        bnexp("-m", "seed=0,1,2", f"out={both}") as one,
        bnexp("-m", "seed=2,1,3", f"out={both}") as other,
    ):
        assert train(alone, "-m", "seed=range(4)") == 0
        assert (one.wait(timeout=120), other.wait(timeout=120)) == (0, 0)
    made = sorted((both / "runs").iterdir())
    assert [path.name for path in made] == sorted(path.name for path in (alone / "runs").iterdir())
    for path in made:
        run = RunDirectory(path)
        assert run.log_file.read_text().count("started at step 0") == 1
        assert_same_numbers(run, RunDirectory(alone / "runs" / path.name))


# Sweeps


def failing_for(monkeypatch: pytest.MonkeyPatch, seed: int, error: Exception) -> None:
    """Runs with this seed raise ``error`` in step 5."""
    step = Trainer.step

    def failing(self: Trainer, number: int, record: Any) -> Any:
        if self.setting.seed == seed and number == 5:
            raise error
        return step(self, number, record)

    monkeypatch.setattr(Trainer, "step", failing)


def states(out: Path) -> dict[int, str]:
    """The state of each run, by seed."""
    found = (RunDirectory(path) for path in (out / "runs").iterdir())
    return {run.read_config()["seed"]: run.read_status()["state"] for run in found}


def test_fail_fast_starts_nothing_further_and_the_same_command_makes_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ("-m", "seed=0,1,2,3", "fail_fast=true")
    with monkeypatch.context() as patch:
        failing_for(patch, 1, RuntimeError("out of luck"))
        assert train(tmp_path, *sweep) == 1
    err = capsys.readouterr().err
    assert "1 done, 1 failed, 2 not started" in err
    assert "out of luck" in err
    assert states(tmp_path) == {0: "done", 1: "failed"}
    assert train(tmp_path, *sweep) == 0
    err = capsys.readouterr().err
    assert "4 runs: 1 skipped, 3 done" in err
    assert "done before" in err
    assert states(tmp_path) == dict.fromkeys(range(4), "done")


def test_a_run_out_of_memory_is_recorded_and_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        failing_for(patch, 0, MemoryError())
        assert train(tmp_path, "-m", "seed=0,1") == 1
    err = capsys.readouterr().err
    log = next(tmp_path.glob("runs/*/log.txt"))
    assert "MemoryError; see " in err
    assert "1 failed, 1 done" in err
    assert log.is_file()
    assert states(tmp_path) == {0: "failed", 1: "done"}
    assert train(tmp_path, "-m", "seed=0,1") == 0


def test_a_network_that_memory_cannot_hold_fails_alone_with_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, "-m", "model.d=2,10000000") == 1
    err = capsys.readouterr().err
    assert "1 done, 1 failed" in err
    assert "Traceback" not in err
    (line,) = (line for line in err.splitlines() if line.startswith("  failed"))
    assert "memory" in line
    assert "memory" in Path(line.rpartition("see ")[2]).read_text()


def holders(lock: Path) -> list[int]:
    """The processes that have ``lock`` open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink() == lock:
                found.append(int(link.parts[2]))
        except OSError:
            continue
    return found


def test_a_worker_killed_at_each_try_fails_its_run_only(tmp_path: Path) -> None:
    side_by_side = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    sweep = ("-m", "seed=0,1,2,3", f"out={tmp_path}", "steps=40")
    assert train(tmp_path / "named", "steps=40") == 0
    victim = RunDirectory(tmp_path / "runs" / only_run(tmp_path / "named").path.name)
    killed: list[int] = []
    over = threading.Event()

    def hunt() -> None:
        while not over.wait(0.01):
            if victim.status_file.exists():
                for pid in holders(victim.lock_file):
                    if pid not in (os.getpid(), sweeping.pid):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)

    with bnexp(*sweep, *side_by_side) as sweeping:
        hunter = threading.Thread(target=hunt)
        hunter.start()
        try:
            _, err = sweeping.communicate(timeout=240)
        finally:
            over.set()
            hunter.join()
    assert sweeping.returncode == 1, err
    assert len(set(killed)) >= 2, "also when it was tried again, alone"
    assert "1 failed, 3 done" in err
    assert "killed" in victim.read_status()["reason"]
    assert states(tmp_path) == {0: "failed", 1: "done", 2: "done", 3: "done"}
    assert train(tmp_path, *sweep) == 0
    assert_same_numbers(victim, only_run(tmp_path / "named"))


# Disks


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "bnexp-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
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
        before = {name: data for name, data in content(disk).items() if "tables" in name}
        space = os.statvfs(disk)
        with (disk / "filler").open("wb") as filler:
            filler.write(bytes(space.f_bavail * space.f_frsize - free * page))
        capsys.readouterr()
        assert train(disk) == 1
        assert "No space left on device" in one_line(capsys)
        assert before.items() <= content(disk).items()
        (disk / "filler").unlink()
        assert train(disk) == 0
        assert "resumed at step 0" not in run.log_file.read_text()
        assert_same_numbers(run, whole)


@pytest.mark.parametrize("limit", [0, 100, 2000, 4000])
def test_files_that_may_not_grow_so_large_leave_what_was_there(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str], limit: int
) -> None:
    run = cut_off(tmp_path)
    before = {name: data for name, data in content(tmp_path).items() if "tables" in name}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        code = train(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1
    assert "File too large" in one_line(capsys)
    assert before.items() <= content(tmp_path).items()
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
        said = one_line(capsys)
        assert "out:" in said
        assert str(out) in said
    assert (tmp_path / "file").is_file()


def test_a_disk_that_may_only_be_read_is_refused_and_can_be_drawn_from(
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
        drawn = ["figures", "10", "--runs", str(disk / "all"), "--out", str(tmp_path / "drawn")]
        assert main([*drawn, "--format", "png"]) == 0


# What a stranger may have put there


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_checkpoint_cannot_run_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old_format: bool
) -> None:
    run, sprung = cut_off(tmp_path), tmp_path / "sprung"
    for path in Checkpoints(run.path, run.id).files:
        state = torch.load(path, weights_only=True)
        for key in ("step", "model", "optimizer", "random", "more"):
            trapped = {**state, key: Trap(sprung)}
            torch.save(trapped, path, _use_new_zipfile_serialization=not old_format)
            capsys.readouterr()
            code = train(tmp_path)
            assert not sprung.exists()
            said = one_line(capsys)
            assert str(path) in said
            assert code in (0, 2)
            if code == 0:  # the one before was good
                return
    raise AssertionError("no checkpoint was good")


YAML = [
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{0}']]",
    "!!python/object/apply:os.system ['touch {0}']",
    "model: !!python/object/apply:os.system ['touch {0}']",
    "model: !!python/name:os.system",
]


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("text", YAML, ids=range(len(YAML)))
def test_a_config_cannot_run_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    run, sprung = cut_off(tmp_path), tmp_path / "sprung"
    run.config_file.write_text(text.format(sprung))
    capsys.readouterr()
    assert command(name, tmp_path) == 2
    assert str(run.config_file) in one_line(capsys)
    assert not sprung.exists()


def test_a_config_cannot_fill_the_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = cut_off(tmp_path)
    lines = [
        "a0: &a0 [x]",
        *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)),
    ]
    for text in ("\n".join(lines), "model: &a [*a]", "[" * 5_000):
        run.config_file.write_text(text)
        capsys.readouterr()
        assert main(["runs", "--runs", str(tmp_path)]) == 2
        assert str(run.config_file) in one_line(capsys)


def forged(path: Path, how: str, sprung: Path) -> None:
    """A table part with other contents than bnexp writes."""
    rows = pq.read_table(path)
    if how == "a pickled type":
        extension = b"arrow.py_extension_type"
        metadata = {
            b"ARROW:extension:name": extension,
            b"ARROW:extension:metadata": pickle.dumps(Trap(sprung)),
        }
        field = pa.field("step", pa.int64(), metadata=metadata)
        rows = rows.set_column(0, field, rows.column(0))
    elif how == "no step":
        rows = rows.drop_columns(["step"])
    elif how == "text for steps":
        rows = rows.set_column(0, "step", rows.column(0).cast(pa.string()))
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    data = sink.getvalue().to_pybytes()
    if how == "no table":
        data = b"PAR1" + b"\0" * 100 + (50).to_bytes(4, "little") + b"PAR1"
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["train", "figures", "compact"])
@pytest.mark.parametrize("how", ["a pickled type", "no step", "text for steps", "no table"])
def test_a_forged_table_cannot_run_anything_and_is_named(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    run, sprung = RunDirectory(tmp_path / "runs" / whole.path.name), tmp_path / "sprung"
    shutil.copytree(whole.path, run.path)
    if name == "train":
        run.write_status(state="running", step=9)
        Checkpoints(run.path, run.id).files[0].unlink()
    part = run.path / FILES[-1]
    forged(part, how, sprung)
    capsys.readouterr()
    code = command(name, tmp_path)
    assert not sprung.exists()
    if how == "a pickled type":
        assert "Traceback" not in capsys.readouterr().err
    else:
        assert str(part) in one_line(capsys)
        assert code == 2


def test_a_data_cache_cannot_run_anything(tmp_path: Path) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "images-1-x.npz"
    np.savez(path, names=np.array([Trap(sprung)], dtype=object))
    assert store.read(path, "x") is None
    np.save(path.with_suffix(""), np.array([Trap(sprung)], dtype=object), allow_pickle=True)
    path.with_suffix(".npy").rename(path)
    assert store.read(path, "x") is None
    path.write_bytes(pickle.dumps(Trap(sprung)))
    assert store.read(path, "x") is None
    assert not sprung.exists()


# The same config, the same numbers


@pytest.mark.parametrize(
    "name", ["größe", "with space", "it's", "a(b)", "試", "a,b", "a=b", "x#y", "$HOME", "100%"]
)
def test_any_path_will_do(
    tmp_path: Path, whole: RunDirectory, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / name
    value = f"'{out}'" if "," in name else out  # a comma unquoted is a sweep
    assert main(["train", *TINY, f"out={value}"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(out / "runs" / whole.path.name)]
    assert main(["train", *TINY, f"out={value}", "-m", "seed=0,1"]) == 0
    assert len(list((out / "runs").iterdir())) == 2
    assert main(["runs", "--runs", str(out)]) == 0
    assert main(["compact", "--runs", str(out), "--out", str(out / "copy")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert_same_numbers(RunDirectory(out / "runs" / whole.path.name), whole)


@pytest.mark.parametrize("kind", soak.KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_config_gives_the_same_numbers_with_as_many_threads(
    tmp_path: Path, kind: str, threads: int
) -> None:
    options = (*soak.KINDS[kind], *soak.COMMON, "steps=3", f"threads={threads}", "norm=noisy_bn")
    before = torch.get_num_threads()
    try:
        for name in "ab":
            assert main(["train", *options, f"out={tmp_path / name}"]) == 0
    finally:
        torch.set_num_threads(before)
    one, other = (only_run(tmp_path / name) for name in "ab")
    assert read_json(one.env_file)["threads"] == threads
    assert_same_numbers(one, other)


def test_checkpoints_are_written_on_a_schedule_of_steps_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    real = Checkpoints.save

    def save(self: Checkpoints, step: int, *rest: Any) -> None:
        saved.append(step)
        real(self, step, *rest)

    monkeypatch.setattr(Checkpoints, "save", save)
    by_steps = ("steps=10", "checkpoint_minutes=60", "checkpoint_steps=4")
    assert train(tmp_path, *by_steps) == 0
    assert saved == [4, 8, 11]  # the last one, when the run is done
