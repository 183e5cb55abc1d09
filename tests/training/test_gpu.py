"""On a CUDA device: measuring leaves no trace, runs repeat, and the numbers are the CPU's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bnexp.norms import NORMS
from bnexp.training import train
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
