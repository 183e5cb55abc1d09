"""The numbers that a run computes in, its memory, and a GPU where there is one."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bnexp.errors import UserError
from bnexp.training import train
from bnexp.training.build import trainer_of
from bnexp.training.machine import set_up_cuda

from .runs import (
    DLN,
    EVERY,
    VGG,
    assert_same_state,
    assert_same_tables,
    cut_off,
    every_kind_and_norm,
    every_norm,
    finished,
    job,
    kinds,
    tables,
)

BF16 = (*VGG, "precision=bf16", "optim.momentum=0.9")
EPS = 2.0**-8
"""Half the distance between neighbouring bfloat16 numbers around 1."""


@every_norm
def test_bf16_multiplies_in_bfloat16_and_keeps_float32(tmp_path: Path, norm: str) -> None:
    steps, products = {}, set()
    for precision in ("float32", "bf16"):
        config = job(tmp_path, *VGG, f"norm={norm}", f"precision={precision}").config
        trainer, _ = trainer_of(config, torch.device("cpu"))
        model = trainer.setting.model
        for number in model.layers if precision == "bf16" else ():
            model.affine(number).register_forward_hook(lambda *io: products.add(io[2].dtype))
        steps[precision] = trainer.step(0, lambda rows: None)
        stored = [*model.parameters(), *model.buffers(), *steps[precision].grads.values()]
        stored += [steps[precision].loss, *steps[precision].activations.values()]
        assert {value.dtype for value in stored} == {torch.float32}
    assert products == {torch.bfloat16}
    exact, rounded = steps["float32"], steps["bf16"]
    assert 0 < abs(float(exact.loss) - float(rounded.loss)) < 4 * EPS * float(exact.loss)
    for number, expected in exact.activations.items():
        error = float((rounded.activations[number] - expected).norm() / expected.norm())
        assert error < 10 * EPS, number


@pytest.mark.parametrize("norm", ["noisy_bn", "l1"])
def test_nothing_changes_the_numbers_of_bf16_either(tmp_path: Path, norm: str) -> None:
    common = [*BF16, f"norm={norm}", "steps=3", "checkpoint_steps=2"]
    whole, broken = (job(tmp_path / name, *common, *EVERY) for name in "ab")
    train(whole)
    cut_off(broken, at=3)
    train(broken)
    assert_same_tables(whole, broken)
    assert_same_state(whole, broken)
    bare = finished(tmp_path, *common, "probes=none")
    assert_same_state(whole, bare)
    for name, table in tables(whole).items():
        assert np.isfinite(table.select_dtypes("number")).all(axis=None), name


def test_precisions_are_other_runs_and_bf16_is_refused_for_the_deep_linear_network(
    tmp_path: Path,
) -> None:
    plain = job(tmp_path, *VGG).id
    assert job(tmp_path, *VGG, "tf32=false", "precision=float32").id == plain
    others = {job(tmp_path, *VGG, option).id for option in ("tf32=true", "precision=bf16")}
    assert len({plain, *others}) == 3
    with pytest.raises(UserError, match="precision: expected float64 or float32"):
        job(tmp_path, *DLN, "precision=bf16")


@pytest.mark.parametrize("tf32", [False, True])
def test_tensor_float_32_is_off_unless_asked_for(tf32: bool) -> None:
    deterministic = torch.are_deterministic_algorithms_enabled()
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        set_up_cuda(tf32=tf32, deterministic=False)
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        assert torch.backends.cudnn.allow_tf32 is tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
        torch.use_deterministic_algorithms(deterministic)


# Memory

FAULTS = """
import resource, statistics, sys
import torch
from bnexp.training.machine import keep_freed_memory
if sys.argv[1:]:
    keep_freed_memory()
faults = []
for _ in range(11):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)  # larger than what glibc keeps of its own accord
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(statistics.median(faults))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_there_again_without_asking_the_system_for_pages() -> None:
    def faults(*keep: str) -> int:
        command = [sys.executable, "-c", FAULTS, *keep]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") * 10 < faults()


# On a CUDA device

gpu = pytest.mark.gpu
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@gpu
@cuda
@every_kind_and_norm
def test_a_run_on_the_gpu_is_the_cpus_and_repeats_itself(
    tmp_path: Path, kind: tuple[str, ...], norm: str
) -> None:
    common = [*kind, f"norm={norm}", "steps=3", "precision=float64", "probes=paper"]
    common += ["measure.every=1", "checkpoint_steps=2"]
    gpu, broken = (job(tmp_path / name, *common, "device=cuda") for name in "ab")
    train(gpu)
    cut_off(broken, at=3)
    train(broken)
    assert_same_tables(gpu, broken)
    assert_same_state(gpu, broken)
    assert_same_state(gpu, finished(tmp_path, *common, "probes=none", "device=cuda"))
    for name, expected in tables(finished(tmp_path, *common)).items():
        for column in expected.select_dtypes("number"):
            values = tables(gpu)[name][column]
            np.testing.assert_allclose(values, expected[column], rtol=1e-6, atol=1e-9)


@gpu
@cuda
@kinds
def test_between_two_syncs_the_host_does_not_wait(tmp_path: Path, kind: tuple[str, ...]) -> None:
    made = job(tmp_path, *kind, "norm=noisy_bn", "probes=none", "device=cuda")
    trainer, _ = trainer_of(made.config, made.device)
    trainer.probes = [probe for probe in trainer.probes if probe.name == "train"]
    rows: list[object] = []
    for number in range(5):
        trainer.step(number, rows.append)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(5, 15):
            trainer.step(number, rows.append)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    trainer.sync(rows.append)
    assert len(rows) == 15
