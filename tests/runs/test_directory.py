from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from bnexp.errors import UserError
from bnexp.runs import RunBusy, RunDirectory

from .conftest import VGG


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the lock of the run at ``path`` until it is ended."""
    code = """
import sys
from pathlib import Path
from bnexp.runs import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_config_round_trips(make_run: Callable[..., RunDirectory]) -> None:
    odd = {"text": "1e-6", "yes": "on", "tiny": 1e-6, "no": None, "many": [1, 2.5], "é": "ü: #"}
    directory = make_run("a", norm=odd)
    config = directory.read_config()
    assert config == {**VGG, "norm": odd}
    assert [*config] == [*VGG]  # in the order in which it was given, to be read by people


def test_creating_again_keeps_what_is_there(make_run: Callable[..., RunDirectory]) -> None:
    directory = make_run("a")
    make_run("a", threads=7)
    assert directory.read_config()["threads"] == VGG["threads"]


def test_a_status_is_replaced_whole(make_run: Callable[..., RunDirectory]) -> None:
    directory = make_run("a")
    assert directory.read_status() == {}
    directory.write_status(state="failed", step=3, error="x")
    directory.write_status(state="running", step=4)
    assert directory.read_status() == {"state": "running", "step": 4}


@pytest.mark.parametrize("content", [b"", b"a: [", b"- 1", b"\xff\xfe\x00", b"a: 2020-99-99"])
def test_a_damaged_config_is_named_in_one_line(
    make_run: Callable[..., RunDirectory], content: bytes
) -> None:
    directory = make_run("a")
    directory.config_file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        directory.read_config()
    assert str(directory.config_file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_process_writes_a_run(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    assert not directory.is_locked()
    with held_elsewhere(tmp_path):
        assert directory.is_locked()
        with pytest.raises(RunBusy, match=str(tmp_path)), directory.lock(wait=False):
            pass
    assert not directory.is_locked()


def test_a_killed_owner_holds_no_lock(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with RunDirectory(tmp_path).lock(wait=False):
            pass


def test_who_waits_goes_when_the_owner_ends(tmp_path: Path) -> None:
    order = []
    with held_elsewhere(tmp_path) as process:

        def end() -> None:
            order.append("end")
            process.kill()

        timer = threading.Timer(0.2, end)
        timer.start()
        with RunDirectory(tmp_path).lock():
            order.append("mine")
        timer.join()
    assert order == ["end", "mine"]


def test_a_lock_is_released_by_an_error_inside(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with pytest.raises(ZeroDivisionError), directory.lock():
        _ = 1 / 0
    assert not directory.is_locked()


def test_a_look_at_the_lock_does_not_turn_a_writer_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = fcntl.flock, []

    def flock(file: BinaryIO, operation: int) -> None:
        if operation == fcntl.LOCK_EX | fcntl.LOCK_NB and len(refused) < 2:
            refused.append(file)
            raise BlockingIOError  # somebody is in `is_locked` right now
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    directory = RunDirectory(tmp_path)
    with directory.lock(wait=False):
        assert directory.is_locked()
    assert len(refused) == 2


def test_the_next_owner_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    folder = directory.tables_dir / "train"
    folder.mkdir(parents=True)
    left = [tmp_path / ".status.json.0a.tmp", folder / ".000000000-000000001.parquet.0a.tmp"]
    for path in left:
        path.touch()
    with directory.lock():
        assert not any(path.exists() for path in left)
