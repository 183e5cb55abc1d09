"""However many processes make the runs of a sweep, by whatever launcher: one process's numbers."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bnexp.cli import main
from bnexp.runs import RunDirectory
from tests import faults

ROOT = Path(__file__).resolve().parents[2]


def cluster(test: Callable[..., None]) -> Callable[..., None]:
    """Run when it is asked for; it may take long."""
    return pytest.mark.cluster(pytest.mark.timeout(3000)(test))


SEEDS = 3
SWEEP = (
    *("model=dln", "model.k=4", "model.d=3", "data.samples=20", "optim.lr=1e-3", "norm=bn"),
    *("probes=paper", "measure.every=2", "steps=60", "device=cpu", "threads=1", "progress=false"),
    *("checkpoint_minutes=0.003", "plugins=[tests.cluster.pause]", f"seed=range({SEEDS})"),
    "+probes.pause={every:1,dense:0}",
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs as one process makes them."""
    out = tmp_path_factory.mktemp("alone")
    assert main(["train", "-m", *SWEEP, f"out={out}"]) == 0
    return out


@pytest.fixture(autouse=True)
def slowly(monkeypatch: pytest.MonkeyPatch, alone: Path) -> None:
    """Of all processes that are started from here."""
    monkeypatch.setenv("BNEXP_TEST_PAUSE", "0.05")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(ROOT)


def runs(out: Path) -> dict[str, RunDirectory]:
    return {path.name: RunDirectory(path) for path in (out / "runs").glob("*-*")}


def assert_the_same(out: Path, alone: Path) -> None:
    """All runs are done, each value bit for bit as one process has it."""
    ours, theirs = runs(out), runs(alone)
    assert ours.keys() == theirs.keys()
    for name, run in ours.items():
        assert run.read_status()["state"] == "done"
        values = faults.numbers(run)
        assert sum(value.size for value in values.values()) > 1000
        assert faults.differing(values, faults.numbers(theirs[name])) == 0


def until(happened: Callable[[], object], seconds: float = 1500) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def under_way(out: Path) -> list[RunDirectory]:
    """The runs that have made steps and are not done."""
    states = [(run, run.read_status()) for run in runs(out).values()]
    return [run for run, s in states if s.get("state") == "running" and s["step"] > 3]


def resumed(out: Path) -> int:
    """How often a run was gone on with."""
    return sum(run.log_file.read_text().count("resumed at step") for run in runs(out).values())


def test_plain_processes_that_are_killed_at_random_share_the_runs_out(
    tmp_path: Path, alone: Path
) -> None:
    rng, command = random.Random(0), ("train", "-m", *SWEEP, f"out={tmp_path}")
    workers = [faults.Command(*command).__enter__() for _ in range(2)]
    try:
        for _ in range(3):
            until(lambda: under_way(tmp_path) or len(runs(tmp_path)) == SEEDS)
            time.sleep(rng.uniform(0, 0.5))
            victim = rng.randrange(2)
            workers[victim].signal(signal.SIGKILL)
            workers[victim].__exit__()
            workers[victim] = faults.Command(*command).__enter__()
        assert [worker.code() for worker in workers] == [0, 0], workers[0].output
    finally:
        for worker in workers:
            worker.__exit__()
    assert resumed(tmp_path) >= 1
    assert_the_same(tmp_path, alone)


@cluster
def test_submitits_jobs_on_this_machine_also_where_one_is_killed(
    tmp_path: Path, alone: Path
) -> None:
    pytest.importorskip("submitit", reason="pip install bnexp[submitit]")
    killed = threading.Thread(target=kill_a_job, args=(tmp_path,))
    killed.start()
    assert main(["train", "-m", *SWEEP, "hydra/launcher=submitit_local", f"out={tmp_path}"]) == 0
    killed.join()
    assert resumed(tmp_path) >= 1
    assert_the_same(tmp_path, alone)
    assert not list(tmp_path.glob(".stop-*"))


def kill_a_job(out: Path) -> None:
    until(lambda: under_way(out))
    holder = under_way(out)[0].lock_file.read_text().split("\n")[1]
    os.kill(int(holder), signal.SIGKILL)


@cluster
def test_ray_where_a_node_is_lost_in_mid_sweep(tmp_path: Path, alone: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("no ray: pip install bnexp[ray]")
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    try:
        others = [nodes.add_node(num_cpus=1) for _ in range(2)]
        nodes.wait_for_nodes()
        ray.init(address=nodes.address)

        def lose() -> None:
            until(lambda: len(under_way(tmp_path)) == 3)
            nodes.remove_node(others[0], allow_graceful=False)

        losing = threading.Thread(target=lose)
        losing.start()
        more = ["hydra/launcher=ray", "sizes.job.memory_gb=1"]
        assert main(["train", "-m", *SWEEP, *more, f"out={tmp_path}"]) == 0
        losing.join()
        assert sum(node["Alive"] for node in ray.nodes()) == 2
    finally:
        ray.shutdown()
        nodes.shutdown()
    assert resumed(tmp_path) >= 1
    assert_the_same(tmp_path, alone)


# Slurm


def slurm_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    script = ["bash", str(Path(__file__).with_name("slurm.sh")), *map(str, arguments)]
    return subprocess.run(script, text=True, stdout=subprocess.PIPE, check=False)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("slurm")
    started = slurm_script("start", folder)
    try:
        if started.returncode == 77:
            pytest.skip(started.stdout.strip())
        assert started.returncode == 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
            patch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
            yield
    finally:
        slurm_script("stop", folder)


def said(*command: str) -> str:
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout


SLURM = ("hydra/launcher=submitit_slurm", "sizes.job.memory_gb=1")


@cluster
def test_slurms_jobs_whose_time_is_up_are_queued_again(
    tmp_path: Path, alone: Path, slurm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BNEXP_TEST_PAUSE", "4")
    # Slurm sends its signal up to a minute earlier than it is asked to.
    time_out = ("sizes.job.minutes=3", "hydra.launcher.signal_delay_s=20")
    assert main(["train", "-m", *SWEEP, *SLURM, *time_out, f"out={tmp_path}"]) == 0
    assert resumed(tmp_path) >= SEEDS, "each takes four minutes, and has less than three"
    assert_the_same(tmp_path, alone)


@cluster
def test_slurms_jobs_that_are_killed_or_queued_again_by_an_operator(
    tmp_path: Path, alone: Path, slurm: None
) -> None:
    def meddle() -> None:
        until(lambda: len(under_way(tmp_path)) > 1)
        first, second, *_ = said("squeue", "-h", "-r", "-t", "running", "-o", "%A").split()
        said("scontrol", "requeue", first)
        said("scancel", "--signal=KILL", second)

    meddling = threading.Thread(target=meddle)
    meddling.start()
    assert main(["train", "-m", *SWEEP, *SLURM, f"out={tmp_path}"]) == 0
    meddling.join()
    assert resumed(tmp_path) >= 2
    assert_the_same(tmp_path, alone)


@cluster
def test_the_array_script_that_plan_prints(
    tmp_path: Path, slurm: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BNEXP_TEST_PAUSE", "0")
    small = ("preset=quick", "figures=3", "seed=0", "steps=6", "measure.every=3", "threads=1")
    small += ("model.k=3", "model.depth=11", "measure.layers=[1]", "device=cpu")
    assert main(["reproduce", *small, f"out={tmp_path / 'array'}", "--plan", "3"]) == 0
    out, err = capsys.readouterr()
    count = err.count("to be made") - 1
    assert count >= 8
    script = tmp_path / "array.sh"
    script.write_text(out)
    said("sbatch", "--wait", f"--chdir={tmp_path}", f"--export=ALL,PWD={tmp_path}", str(script))
    assert len(runs(tmp_path / "array")) == count
    started = [
        r.log_file.read_text().count("started at") for r in runs(tmp_path / "array").values()
    ]
    assert set(started) == {1}, "each run was made by one task"
    assert main(["reproduce", *small, f"out={tmp_path / 'alone'}"]) == 0
    assert_the_same(tmp_path / "array", tmp_path / "alone")
    assert sys.executable in out
