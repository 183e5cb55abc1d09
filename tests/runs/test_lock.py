"""One writer per run, whatever happens to it, to its machine's clock or to its directory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bnexp.runs import RunBusy, RunDirectory, lock

from .conftest import forked


def holder(path: Path, lease: float, pipe: Connection) -> None:
    """Holds the lock of the run at ``path``; writes when it is let, and says what came of it."""
    lock.LEASE = lease
    with RunDirectory(path).lock() as run:
        pipe.send("held")
        pipe.recv()
        try:
            run.write_status(state="running", step=1)
            pipe.send("written")
        except RunBusy as error:
            pipe.send(str(error))


@contextmanager
def held_elsewhere(path: Path, lease: float = 60) -> Iterator[tuple[int, Connection]]:
    """Another process, with this id and pipe, holds the lock of ``path`` until it is ended."""
    with forked(holder, path, lease) as (pid, pipe):
        assert pipe.recv() == "held"
        yield pid, pipe


def written(pipe: Connection) -> str:
    """What the holder says when it is let write."""
    pipe.send("go")
    return str(pipe.recv())


def claim(path: Path, host: str, lease: float = 60) -> Path:
    """The lock file of a run that a process on ``host`` holds."""
    file = RunDirectory(path).lock_file
    file.write_text(f"{host}\n{os.getpid()}\n{lock._started(os.getpid())}\n{lease}\ntoken")
    return file


def age(file: Path, seconds: float) -> None:
    renewed = time.time() - seconds
    os.utime(file, (renewed, renewed))


def test_one_process_writes_a_run(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    assert not directory.is_locked()
    with held_elsewhere(tmp_path) as (_, pipe):
        assert directory.is_locked()
        with pytest.raises(RunBusy, match=str(tmp_path)), directory.lock(wait=False):
            pass
        assert written(pipe) == "written"
        with directory.lock():  # waits until the other has ended
            assert directory.is_locked()
    assert not directory.is_locked()


def test_a_killed_holder_on_this_machine_holds_nothing_from_that_moment(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as (pid, _):
        os.kill(pid, signal.SIGKILL)
        start = time.monotonic()
        with RunDirectory(tmp_path).lock():
            assert time.monotonic() - start < 5


def test_a_holder_that_was_stopped_past_its_lease_writes_nothing_more(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with held_elsewhere(tmp_path, lease=0.5) as (pid, pipe):
        time.sleep(1)  # it renews
        assert directory.is_locked()
        os.kill(pid, signal.SIGSTOP)
        with directory.lock() as mine:
            mine.write_status(state="running", step=7)
            os.kill(pid, signal.SIGCONT)
            said = written(pipe)
            assert str(tmp_path) in said
            assert "took the run over" in said
            mine.check()  # and took nothing back
        assert directory.read_status()["step"] == 7


def test_the_lease_of_another_machine_is_waited_for_and_then_taken_over(tmp_path: Path) -> None:
    file = claim(tmp_path, "elsewhere")
    directory = RunDirectory(tmp_path)
    with pytest.raises(RunBusy), directory.lock(wait=False):
        pass
    age(file, 59)
    assert directory.is_locked()
    age(file, 61)
    assert not directory.is_locked()
    with directory.lock(wait=False):
        assert directory.is_locked()


def test_a_process_id_that_is_used_again_is_not_the_holder(tmp_path: Path) -> None:
    file = claim(tmp_path, lock._host())
    assert RunDirectory(tmp_path).is_locked()
    host, pid, _, *rest = file.read_text().split("\n")
    file.write_text("\n".join([host, pid, "1", *rest]))
    assert not RunDirectory(tmp_path).is_locked()


def test_a_clock_that_was_set_back_keeps_nobody_out_for_long(tmp_path: Path) -> None:
    age(claim(tmp_path, "elsewhere", lease=0.5), -1e6)
    start = time.monotonic()
    with RunDirectory(tmp_path).lock():
        assert 0.4 < time.monotonic() - start < 10


def test_time_is_the_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(tmp_path, "elsewhere")
    for wrong in (0, 4e9):
        monkeypatch.setattr(time, "time", lambda wrong=wrong: wrong)
        monkeypatch.setattr(time, "time_ns", lambda wrong=wrong: int(1e9 * wrong))
        assert RunDirectory(tmp_path).is_locked()


def test_a_taker_that_died_half_way_is_no_obstacle(tmp_path: Path) -> None:
    file = claim(tmp_path, "elsewhere")
    age(file, 1e4)
    state = lock._state(file)
    assert state is not None
    dead = lock.Lease(file)
    dead.content = dead.content.replace(lock._host(), "elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            dead._take_over(state)
    (left,) = tmp_path.glob(".lock.*.tmp")
    age(left, 1e4)
    with RunDirectory(tmp_path).lock():
        assert not left.exists()


def test_a_lock_is_released_by_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunDirectory(tmp_path).lock():
        _ = 1 / 0
    assert not RunDirectory(tmp_path).is_locked()
    assert not any(tmp_path.iterdir())
