"""Measuring leaves no trace: with probes on, off or hostile, training is the same bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor

from bnexp.models import Network
from bnexp.norms import Noise, at_step
from bnexp.objective import Objective
from bnexp.probes import Probe, Rows, Step
from bnexp.probes.base import leaving_no_trace
from bnexp.training.loop import Trainer
from tests.helpers import (
    LOSS,
    Draws,
    every_family,
    every_network,
    every_norm,
    every_probe,
    measured,
    network,
    probe,
    trainer,
)

STEPS = 4


def ravage(model: Network) -> None:
    """Everything a careless measurement does to a network."""
    family = "dln" if model.affine(1).weight.dim() == 2 else "vgg"
    batch = Draws(family, model.affine(1).weight.dtype).at(99)
    model.eval()
    model.norm(2).train()
    torch.randn(3)
    model(batch.inputs)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.mul_(2).add_(torch.rand_like(tensor))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.affine(1).weight.requires_grad_(False)
    model.train()
    model(batch.inputs)
    model.float().double()  # new storage for everything
    model.requires_grad_(True)
    double = Draws(family).at(98)
    model.evaluate(Objective(LOSS[family]), double.inputs, double.targets)
    model.affine(1).weight.requires_grad_(False)
    model.float().eval()
    at_step(model, 1234)
    for module in model.modules():
        for name, buffer in list(module._buffers.items()):
            setattr(module, name, torch.ones_like(buffer))


class Hostile(Probe):
    """Ravages the network on both sides of the update."""

    name = "hostile"
    wants_update = True

    def before_update(self, step: Step) -> Rows:
        ravage(self.setting.model)
        return {}

    after_update = before_update


def evaluation(split: str) -> Iterator[tuple[Tensor, Tensor]]:
    yield from map(Draws("vgg").at, (500, 501))


def state(made: Trainer) -> dict[str, Any]:
    """All that training goes on from."""
    model = made.setting.model
    return {
        "model": copy.deepcopy(model.state_dict()),
        "optimizer": copy.deepcopy(made.optimizer.state_dict()),
        "random": torch.get_rng_state(),
        "flags": [
            (module.training, getattr(module, "track_running_stats", None))
            for module in model.modules()
        ],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "noise": [(m.seed, m.step) for m in model.modules() if isinstance(m, Noise)],
    }


def same(a: Any, b: Any) -> bool:
    """Equality down to the bits of every tensor."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def build(family: str, norm: str, probes: Any, extra: Any = ()) -> Trainer:
    """A trainer with momentum and decay whose last step is the measured, undone one."""
    torch.manual_seed(0)
    return trainer(
        network(family, norm),
        Draws(family),
        probes,
        objective=Objective(LOSS[family], 0.01),
        momentum=0.9,
        steps=STEPS - 1,
        extra=extra,
        evaluation=evaluation if family == "vgg" else lambda split: iter(()),
    )


@every_network
@pytest.mark.parametrize("hostile", [False, True], ids=["all probes", "and a hostile one"])
def test_training_is_bitwise_the_same_with_and_without_probes(
    family: str, norm: str, hostile: bool
) -> None:
    plain, watched = (
        build(family, norm, {}),
        build(family, norm, every_probe(), (Hostile,) if hostile else ()),
    )
    for step in range(STEPS):
        torch.manual_seed(step)
        measured(plain, 1, first=step)
        expected = state(plain)
        torch.manual_seed(step)
        assert measured(watched, 1, first=step)
        after = state(watched)
        for name, value in expected.items():
            assert same(after[name], value), f"{name} differs after step {step}"
        assert all(grad is None for grad in after["grads"])


@pytest.mark.parametrize("norm", ["noisy_bn", "linf"])
@every_family
def test_a_probes_rows_are_the_same_alone_and_beside_a_hostile_one(family: str, norm: str) -> None:
    together = measured(build(family, norm, every_probe()), 2)
    beside = measured(build(family, norm, every_probe(), (Hostile,)), 2)
    for name in ("landscape", "gradient_shift", "moments", "curvature", "sharpness", "theory"):
        alone = measured(build(family, norm, probe(name)), 2)
        assert alone[name] == together[name] == beside[name]


@every_network
def test_the_guard_puts_everything_back_also_after_an_error(family: str, norm: str) -> None:
    made = build(family, norm, {})
    model = made.setting.model
    measured(made, 2)
    model.norm(3).eval()
    model.affine(4).weight.requires_grad_(False)
    before = state(made)
    with suppress(ZeroDivisionError), leaving_no_trace(model):
        ravage(model)
        raise ZeroDivisionError
    after = state(made)
    for name, value in before.items():
        assert same(after[name], value), name
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("family", ["vgg", "dln"])
def test_the_guard_keeps_the_parameters_the_same_objects_and_storage(family: str) -> None:
    """The optimiser holds on to them."""
    model = network(family, "bn")
    model.optimised(True)
    held = [(id(t), t.data_ptr()) for t in [*model.parameters(), *model.buffers()]]
    with leaving_no_trace(model):
        ravage(model)
    assert [(id(t), t.data_ptr()) for t in [*model.parameters(), *model.buffers()]] == held


def test_the_guard_puts_back_gradients_that_were_there_and_changed_in_place() -> None:
    model = network("dln", "bn")
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    with leaving_no_trace(model):
        for parameter in model.parameters():
            parameter.grad.mul_(2)
    assert all(bool((parameter.grad == 3).all()) for parameter in model.parameters())


@every_norm
def test_within_the_guard_training_passes_leave_running_statistics_be(norm: str) -> None:
    model = network("vgg", norm)
    buffers = [b.clone() for b in model.buffers()]
    with leaving_no_trace(model):
        model(Draws("vgg").at(0).inputs)
        assert all(torch.equal(a, b) for a, b in zip(model.buffers(), buffers, strict=True))
    model(Draws("vgg").at(0).inputs)
    assert not any(torch.equal(a, b) for a, b in zip(model.buffers(), buffers, strict=True))
