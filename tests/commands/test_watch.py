"""What is seen of runs under way: bars, lines, and ``bnexp runs --watch``."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnexp.cli import main
from bnexp.commands.watch import ordered, refreshed, row
from bnexp.runs import RunDirectory, find_runs
from bnexp.training import bar
from tests.commands.test_cli import TINY


@pytest.mark.parametrize("seconds", [0, 1000])
def test_lines_where_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    monkeypatch.setattr(bar, "LINE_SECONDS", seconds)
    with bar.bar(50, desc="run") as shown:
        for number in range(50):
            shown.set_postfix(loss=f"{1 / (number + 1):.3f}", refresh=False)
            shown.update()
    out, err = capsys.readouterr()
    assert out == ""
    assert "\r" not in err
    lines = err.splitlines()
    assert len(lines) == (2 if seconds else 52), "at the start, at each interval, at the end"
    assert re.match(r"run: +100% 50/50 \[\d+:\d+<00:00, .*step.*, loss=0.020\]$", lines[-1])
    with bar.bar(50, disable=True) as shown:
        shown.update()
    assert capsys.readouterr().err == ""


def test_what_is_shown_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", *TINY, "seed=0,1", f"out={tmp_path}"]) == 0
    runs = find_runs(tmp_path)
    first = RunDirectory(runs[0].path)
    status = first.read_status()
    loss = runs[0].table("train")["loss"].iloc[-1]
    assert status["loss"] == loss
    with first.lock() as held:
        pace = {"seconds": {"training": 1.5, "landscape": 0.5}, "step": 1, "steps": 7201}
        held.write_status(**{**status, "state": "running", **pace})
        shown = [row(run) for run in ordered(find_runs(tmp_path))]
        assert shown[0][3:] == ("running", "1/7201", "0.5", "4:00:00", f"{loss:.4g}")
        assert shown[1][3:5] == ("done", "4/4")
        assert shown[1][6] == "", "nothing is left of it"
        assert [run.id for run in refreshed(runs, tmp_path)] == [run.id for run in runs]
        capsys.readouterr()
        assert main(["runs", "--watch", "--runs", str(tmp_path)]) == 0
        head, *lines = capsys.readouterr().out.splitlines()
        assert head.split()[-5:] == ["step", "steps/s", "time", "left", "loss"]
        assert [line.split()[0] for line in lines] == [row[0] for row in shown]


def test_a_terminal_is_refreshed_until_ctrl_c(tmp_path: Path) -> None:
    assert main(["train", *TINY, f"out={tmp_path}"]) == 0
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bnexp.cli", "runs", "--watch", "--runs", str(tmp_path)]
    options = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}

    def heard() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a suite in the background ignores

    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, env=options, preexec_fn=heard
    ) as process:
        os.close(theirs)
        seen, deadline = "", time.monotonic() + 120
        while seen.count("1 done") < 2 and time.monotonic() < deadline:
            if select.select([ours], [], [], 1.0)[0]:
                seen += os.read(ours, 65536).decode()
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(60)
        finally:
            process.kill()
    assert code == 0
    os.close(ours)
    assert seen.count("1 done") >= 2, seen
    assert "4/4" in seen
