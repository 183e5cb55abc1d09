"""On a CUDA device: measuring leaves no trace, runs repeat, and the numbers are the CPU's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bnexp.bench.timing import device_seconds, host_seconds, side_by_side
from bnexp.norms import NORMS
from bnexp.training import graphs, train
from bnexp.training import run as run_module
from tests.training.test_run import DLN, VGG, assert_same_network, assert_same_tables, job, tables

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

KINDS = pytest.mark.parametrize("kind", [VGG, DLN], ids=["vgg", "dln"])


@KINDS
@pytest.mark.parametrize("norm", list(NORMS))
def test_probes_leave_no_trace(tmp_path: Path, kind: list[str], norm: str) -> None:
    common = [*kind, f"norm={norm}", "steps=4", "optim.momentum=0.9", "device=cuda"]
    on, off = (job(tmp_path, *common, f"probes={p}") for p in ("every", "none"))
    train(on)
    train(off)
    assert_same_network(on, off)
    pd.testing.assert_frame_equal(tables(on)["train"], tables(off)["train"], check_exact=True)


@KINDS
def test_the_same_config_gives_the_same_numbers(tmp_path: Path, kind: list[str]) -> None:
    one, other = (job(tmp_path / name, *kind, "steps=3", "device=cuda") for name in "ab")
    train(one)
    train(other)
    assert_same_tables(one, other)


@KINDS
@pytest.mark.parametrize("norm", ["none", "bn", "l1", "l2", "linf"])
def test_the_numbers_are_the_cpus(tmp_path: Path, kind: list[str], norm: str) -> None:
    common = [*kind, f"norm={norm}", "steps=2", "precision=float64"]
    cpu, gpu = (job(tmp_path, *common, f"device={device}") for device in ("cpu", "cuda"))
    train(cpu)
    train(gpu)
    for name, expected in tables(cpu).items():
        found = tables(gpu)[name]
        for column in expected.select_dtypes("number"):
            np.testing.assert_allclose(found[column], expected[column], rtol=1e-6, atol=1e-9)


def assert_close(one: Path, other: Path, *overrides: str, rtol: float = 0.0) -> None:
    """The tables of the same run below two folders."""
    left, right = (tables(job(folder, *overrides)) for folder in (one, other))
    assert left.keys() == right.keys()
    for name, expected in left.items():
        for column in expected.select_dtypes("number"):
            np.testing.assert_allclose(right[name][column], expected[column], rtol=rtol)


@contextmanager
def no_waiting() -> Iterator[None]:
    """Within it, what makes the host wait for the device is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("asked", ["false", "true"])
@pytest.mark.parametrize("norm", list(NORMS))
@pytest.mark.parametrize(
    "kind",
    [DLN, [*VGG, "data.augment=true"], [*VGG, "precision=bf16"]],
    ids=["dln", "vgg, augmented", "vgg, bf16"],
)
def test_the_host_does_not_wait_in_a_step_without_measurements(
    tmp_path: Path, kind: list[str], norm: str, asked: str
) -> None:
    options = [*kind, f"norm={norm}", "optim.momentum=0.9", f"cuda_graphs={asked}"]
    trainer, _ = run_module.trainer_of(job(tmp_path, *options, "probes=none", "device=cuda"))
    trainer.probes = [probe for probe in trainer.probes if probe.name == "train"]
    rows: list[object] = []
    for number in range(5):  # step 0 is looked at; graphs are made
        trainer.step(number, rows.append)
    with no_waiting():
        for number in range(5, 15):
            trainer.step(number, rows.append)
    assert len(rows) == 1
    trainer.look(rows.append)
    assert len(rows) == 15


@pytest.mark.parametrize(
    "kind",
    [
        [*DLN, "norm=none", "optim.lr=0.02", "measure.every=13"],
        [*VGG, "norm=none", "optim.lr=300.0", "measure.every=13"],
    ],
    ids=["dln", "vgg"],
)
@pytest.mark.parametrize("looks", [3, 100])
def test_a_run_that_diverges_ends_where_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: list[str], looks: int
) -> None:
    options = [*kind, "steps=60", "device=cuda"]
    for name, every in (("a", 1), ("b", looks)):
        monkeypatch.setitem(run_module.LOOK_EVERY, "cuda", every)
        assert train(job(tmp_path / name, *options)) == "diverged"
    assert_same_tables(job(tmp_path / "a", *options), job(tmp_path / "b", *options))


@KINDS
@pytest.mark.parametrize("norm", ["none", "bn", "l1", "l2", "linf"])
@pytest.mark.parametrize("probes", ["paper", "none"])
def test_graphs_give_the_numbers_of_single_steps(
    tmp_path: Path, kind: list[str], norm: str, probes: str
) -> None:
    options = [*kind, f"norm={norm}", f"probes={probes}", "precision=float64", "device=cuda"]
    options += ["optim.momentum=0.9", "steps=20", "measure.every=7"]
    for asked in ("true", "false"):
        train(job(tmp_path / asked, *options, f"cuda_graphs={asked}"))
    assert_close(tmp_path / "true", tmp_path / "false", *options, rtol=1e-9)


@pytest.mark.parametrize("asked", ["auto", "true", "false"])
def test_graphs_are_used_where_they_are_asked_for(tmp_path: Path, asked: str) -> None:
    for kind, auto in ((VGG, False), (DLN, True)):
        options = [*kind, "norm=bn", "probes=none", "device=cuda", f"cuda_graphs={asked}"]
        trainer, _ = run_module.trainer_of(job(tmp_path, *options))
        assert trainer.graphs is {"auto": auto, "true": True, "false": False}[asked]
        for number in range(1, graphs.WARM_UP + 3):
            trainer.step(number, lambda rows: None)
        if trainer.graphs:
            assert trainer._graphed._kept is not None
            assert trainer._graphed._replay_update is not None


@pytest.mark.parametrize("norm", list(NORMS))
def test_bf16_is_float32_but_for_rounding(tmp_path: Path, norm: str) -> None:
    seen = {
        precision: run_module.trainer_of(
            job(tmp_path, *VGG, f"norm={norm}", f"precision={precision}", "device=cuda")
        )[0].step(0, lambda rows: None)
        for precision in ("float32", "bf16")
    }
    loss = {name: float(one.loss) for name, one in seen.items()}
    assert loss["bf16"] != loss["float32"]
    assert loss["bf16"] == pytest.approx(loss["float32"], rel=2.0**-6)
    for number, expected in seen["float32"].activations.items():
        found = seen["bf16"].activations[number]
        assert found.dtype == torch.float32
        assert float((found - expected).norm() / expected.norm()) < 10 * 2.0**-8


@pytest.mark.parametrize("extra", ["precision=bf16", "tf32=true"])
def test_probes_leave_no_trace_in_lower_precision(tmp_path: Path, extra: str) -> None:
    common = [*VGG, "norm=bn", "steps=4", extra, "device=cuda"]
    on, off = (job(tmp_path, *common, f"probes={p}") for p in ("every", "none"))
    train(on)
    train(off)
    assert_same_network(on, off)


def test_tf32_is_float32_but_for_rounding(tmp_path: Path) -> None:
    options = [*VGG, "norm=bn", "steps=1", "probes=none", "device=cuda"]
    exact, rounded = (job(tmp_path, *options, f"tf32={value}") for value in ("false", "true"))
    train(rounded)
    train(exact)  # last: it is the process's setting
    losses = [tables(one)["train"]["loss"][0] for one in (exact, rounded)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_the_devices_clock_times_the_device_and_the_host() -> None:
    side = torch.ones(4096, 4096, device="cuda")

    def products(count: int) -> None:
        for _ in range(count):
            side @ side

    products(3)
    one, ten = device_seconds(lambda: products(10)), device_seconds(lambda: products(100))
    assert 5 < ten / one < 20
    torch.cuda.synchronize()
    assert host_seconds(lambda: products(100)) < ten, "the host only asks for them"
    assert device_seconds(lambda: time.sleep(0.05)) == pytest.approx(0.05, rel=0.2)
    found = side_by_side({"ten": lambda: products(100)}, seconds=0.2)
    assert found["ten"] == pytest.approx(ten, rel=0.5)


@KINDS
@pytest.mark.parametrize("norm", ["none", "bn", "noisy_bn", "l1", "l2", "linf"])
def test_curvature_and_sharpness_leave_no_trace_and_repeat(
    tmp_path: Path, kind: list[str], norm: str
) -> None:
    common = [*kind, f"norm={norm}", "steps=4", "device=cuda"]
    one, other = (job(tmp_path / name, *common, "probes=sharpness") for name in "ab")
    off = job(tmp_path, *common, "probes=none")
    for each in (one, other, off):
        train(each)
    assert_same_tables(one, other)
    assert_same_network(one, off)


@KINDS
@pytest.mark.parametrize("norm", ["none", "bn", "l1", "l2", "linf"])
def test_curvature_and_sharpness_are_the_cpus(tmp_path: Path, kind: list[str], norm: str) -> None:
    """The sharpness to its tolerance: a random start is another one on another device."""
    common = [*kind, f"norm={norm}", "steps=2", "precision=float64", "probes=sharpness"]
    common += ["probes.sharpness.tolerance=1e-7", "probes.sharpness.max_iterations=1000"]
    cpu, gpu = (job(tmp_path, *common, f"device={device}") for device in ("cpu", "cuda"))
    train(cpu)
    train(gpu)
    for column in ("curvature", "beta_0"):
        found, expected = (tables(run)["curvature"][column] for run in (gpu, cpu))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    found, expected = (tables(run)["sharpness"] for run in (gpu, cpu))
    assert found["converged"].all()
    np.testing.assert_allclose(found["sharpness"], expected["sharpness"], rtol=1e-6)
