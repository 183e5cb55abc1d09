"""What launchers and the array script of ``reproduce --plan`` ask a cluster for, and do there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bnexp.commands import launch
from bnexp.commands.plan import script
from bnexp.config.compose import compose_hydra
from bnexp.training.interrupts import STOP_FILE, Stop

JOB = {"cpus": 4, "gpus": 1, "memory_gb": 16, "minutes": 240}


@pytest.mark.parametrize(
    ("overrides", "asked"),
    [
        (
            ["preset=paper", "hydra/launcher=submitit_slurm"],
            {"timeout_min": 240, "cpus_per_task": 4, "gpus_per_node": 1, "mem_gb": 16},
        ),
        (
            ["preset=quick", "sizes.job.minutes=5", "hydra/launcher=submitit_local"],
            {"timeout_min": 5, "cpus_per_task": 1, "gpus_per_node": None, "mem_gb": 2},
        ),
    ],
)
def test_a_launcher_asks_for_what_the_preset_says(
    overrides: list[str], asked: dict[str, object]
) -> None:
    launcher = compose_hydra(overrides).hydra.launcher
    assert {key: launcher[key] for key in asked} == asked


def test_rays_memory_is_in_bytes() -> None:
    remote = compose_hydra(["hydra/launcher=ray", "sizes.job.memory_gb=0.5"]).hydra.launcher.ray
    assert remote.remote.memory == 500_000_000


@pytest.mark.parametrize(("code", "requeued"), [(0, ""), (1, ""), (143, "requeue 17\n")])
def test_a_task_of_the_array_whose_time_was_up_is_queued_again(
    tmp_path: Path, code: int, requeued: str
) -> None:
    text = script(["reproduce", "out=a b"], 30, 8, JOB)
    for name, body in (("srun", f'echo "$@"; exit {code}'), ("scontrol", 'echo "$@" >requeued')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    options = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    done = subprocess.run(
        ["bash", "-c", text], cwd=tmp_path, env=options, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert done.stdout.endswith("-m bnexp.cli reproduce out=a b\n")
    assert ((tmp_path / "requeued").read_text() if requeued else "") == requeued
    assert "#SBATCH --array=1-8\n" in text
    assert "#SBATCH --gres=gpu:1\n" in text
    assert "gres" not in script([], 1, 1, {**JOB, "gpus": None})


def test_a_launchers_process_stops_with_its_sweep_or_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps = tmp_path / "stop"
    monkeypatch.setenv(STOP_FILE, str(sweeps))
    monkeypatch.setattr(launch, "PATIENCE", 0.01)
    with launch._alone(sweeps):
        Stop().ask(signal.SIGTERM)
        assert Stop().signum == signal.SIGTERM
    assert not sweeps.exists()
    assert Stop().signum is None, "the others' business goes on"
    with launch._alone(sweeps):
        sweeps.write_text("2")
        while Stop().signum is None:
            time.sleep(0.01)
    assert Stop().signum == signal.SIGINT


def test_submitits_handler_is_called_once_the_run_has_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps, called = tmp_path / "stop", list[bool]()
    monkeypatch.setenv(STOP_FILE, str(sweeps))
    before = signal.signal(signal.SIGUSR2, lambda *_: called.append(saved))
    try:
        saved = False
        with launch._alone(sweeps):
            signal.raise_signal(signal.SIGUSR2)
            assert Stop().signum == signal.SIGTERM
            saved = True
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert called == [True]
