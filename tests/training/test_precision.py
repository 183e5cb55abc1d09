"""precision=bf16: the same run with products in bfloat16, measured by the same probes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnexp.config import check, compose
from bnexp.errors import UserError
from bnexp.models import Network
from bnexp.norms import NORMS
from bnexp.training import run as run_module
from bnexp.training import train
from bnexp.training.loop import Trainer
from bnexp.training.precision import set_up_cuda
from tests.training.test_run import (
    VGG,
    assert_same_network,
    assert_same_tables,
    job,
    saved,
    tables,
)

BF16 = [*VGG, "precision=bf16", "optim.momentum=0.9"]
EPS = 2.0**-8
"""Half the distance between neighbouring bfloat16 numbers around 1."""

every_norm = pytest.mark.parametrize("norm", list(NORMS))


def made(tmp_path: Path, *overrides: str) -> Trainer:
    return run_module.trainer_of(job(tmp_path, *overrides))[0]


@every_norm
def test_products_are_bfloat16_and_all_that_is_kept_is_float32(tmp_path: Path, norm: str) -> None:
    trainer = made(tmp_path, *BF16, f"norm={norm}")
    model = trainer.setting.model
    products: list[torch.dtype] = []

    def see(module: nn.Module, inputs: object, output: Tensor) -> None:
        products.append(output.dtype)

    for layer in model.layers:
        layer.affine.register_forward_hook(see)
    seen = trainer.step(0, lambda rows: None)
    assert set(products) == {torch.bfloat16}
    kept = [
        *(seen.loss, seen.data_loss, seen.outputs, seen.grad_norm),
        *seen.grads.values(),
        *seen.activations.values(),
        *model.parameters(),
        *model.buffers(),
        *(value["momentum_buffer"] for value in trainer.optimizer.state.values()),
    ]
    assert {value.dtype for value in kept} == {torch.float32}


@every_norm
def test_a_pass_is_that_of_float32_but_for_rounding(tmp_path: Path, norm: str) -> None:
    exact, rounded = (
        made(tmp_path, *VGG, f"norm={norm}", f"precision={p}").step(0, lambda rows: None)
        for p in ("float32", "bf16")
    )
    difference = abs(float(exact.loss) - float(rounded.loss))
    assert 0 < difference < 4 * EPS * float(exact.loss)
    for number, expected in exact.activations.items():
        error = float((rounded.activations[number] - expected).norm() / expected.norm())
        assert error < 10 * EPS, number


def by_hand(model: Network, params: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network with every rounding to bfloat16 written out."""
    for number, layer in zip(model.layers.numbers(), model.layers, strict=True):
        own = {name: params[f"layers.{number}.{name}"] for name, _ in layer.named_parameters()}
        weight, bias = own["affine.weight"].bfloat16(), own["affine.bias"].bfloat16()
        if isinstance(layer.affine, nn.Conv2d):
            x = F.conv2d(x.bfloat16(), weight, bias, padding=1)
        else:
            x = F.linear(x.flatten(1).bfloat16(), weight, bias)
        if "norm.weight" in own:
            wide = x.float()
            mean, var = wide.mean((0, 2, 3)), wide.var((0, 2, 3), unbiased=False)
            gain = own["norm.weight"] / (var + 1e-5).sqrt()
            shift = own["norm.bias"] - mean * gain
            x = (wide * gain[:, None, None] + shift[:, None, None]).bfloat16()
        x = layer.pool(layer.activation(x))
    return x.float()


@pytest.mark.parametrize("norm", ["none", "bn"])
def test_a_pass_is_that_with_the_roundings_written_out(tmp_path: Path, norm: str) -> None:
    trainer = made(tmp_path, *BF16, f"norm={norm}")
    model, batch = trainer.setting.model, trainer.batches.at(0)
    params = {name: p.detach().requires_grad_() for name, p in model.named_parameters()}
    outputs = by_hand(model, params, batch.inputs)
    decay = trainer.setting.objective.weight_decay / 2
    squares = sum(params[name].square().sum() for name in model.weight_names())
    loss = F.cross_entropy(outputs, batch.targets) + decay * squares
    grads = torch.autograd.grad(loss, list(params.values()))
    seen = trainer.step(0, lambda rows: None)
    # what rounds alike is alike; with bn, sums in another order round a few numbers otherwise
    assert float(seen.loss) == pytest.approx(loss.item(), rel=1e-6 if norm == "none" else EPS)
    for name, grad in zip(params, grads, strict=True):
        if norm == "none" or name.startswith("layers.9."):
            error = float((seen.grads[name] - grad).norm() / grad.norm())
            assert error < (1e-5 if norm == "none" else 4 * EPS), name


@every_norm
def test_probes_leave_no_trace(tmp_path: Path, norm: str) -> None:
    common = [*BF16, f"norm={norm}", "steps=3"]
    on, off = (job(tmp_path, *common, f"probes={p}") for p in ("every", "none"))
    train(on)
    train(off)
    assert_same_network(on, off)
    pd.testing.assert_frame_equal(tables(on)["train"], tables(off)["train"], check_exact=True)
    for name, table in tables(on).items():
        numbers = table.select_dtypes("number")
        assert np.isfinite(numbers).all(axis=None), name


@pytest.mark.parametrize("norm", ["bn", "noisy_bn", "l1"])
def test_a_resumed_run_gives_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: str
) -> None:
    common = [*BF16, f"norm={norm}", "steps=5", "checkpoint_steps=2"]
    whole, broken = job(tmp_path / "a", *common), job(tmp_path / "b", *common)
    train(whole)
    original = Trainer.step

    def cut_off(self: Trainer, number: int, record: object) -> object:
        if number == 3:
            raise RuntimeError("cut off")
        return original(self, number, record)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "step", cut_off)
    with pytest.raises(RuntimeError):
        train(broken)
    monkeypatch.setattr(Trainer, "step", original)
    assert train(broken) == "done"
    assert_same_tables(whole, broken)
    assert_same_network(whole, broken)


def test_it_trains_as_float32_does(tmp_path: Path) -> None:
    last = {}
    for precision in ("float32", "bf16"):
        options = ["batch_size=64", "optim.lr=0.01", "steps=30", "probes=none"]
        done = job(tmp_path, *VGG, *options, f"precision={precision}")
        train(done)
        last[precision] = tables(done)["train"]["loss"]
    for losses in last.values():
        assert losses[20:].mean() < 0.7 * losses[:5].mean()
    assert last["bf16"].mean() == pytest.approx(last["float32"].mean(), rel=0.1)


def test_parameters_move_by_less_than_a_bfloat16_can_tell(tmp_path: Path) -> None:
    """They are float32: an update that bfloat16 parameters would lose is kept."""
    done = job(tmp_path, *VGG, "norm=bn", "precision=bf16", "optim.lr=1e-4", "steps=1")
    start = {
        name: p.detach().clone()
        for name, p in run_module.trainer_of(done)[0].setting.model.named_parameters()
    }
    train(done)
    name = "layers.1.norm.weight"
    end = saved(done)["model"][name]
    assert not torch.equal(end, start[name])
    assert torch.equal(end.bfloat16(), start[name].bfloat16())


def test_the_deep_linear_network_is_refused() -> None:
    with pytest.raises(UserError, match=r"precision: expected float64 or float32 .* 'bf16'"):
        check(compose(["model=dln", "precision=bf16"]))


@pytest.mark.parametrize("asked", [False, True])
def test_tensor_float_32_is_off_unless_asked_for(asked: bool) -> None:
    deterministic = torch.are_deterministic_algorithms_enabled()
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        set_up_cuda(tf32=asked, deterministic=False)
        assert torch.backends.cuda.matmul.allow_tf32 is asked
        assert torch.backends.cudnn.allow_tf32 is asked
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
        torch.use_deterministic_algorithms(deterministic)


def test_precision_and_tf32_are_in_the_id_where_they_differ(tmp_path: Path) -> None:
    plain = job(tmp_path, *VGG).id
    assert job(tmp_path, *VGG, "tf32=false", "precision=float32").id == plain
    others = {job(tmp_path, *VGG, one).id for one in ("tf32=true", "precision=bf16")}
    assert len({plain, *others}) == 3
