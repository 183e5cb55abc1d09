"""Steps made by graphs, with a stand-in for CUDA's: the same numbers as steps made one by one.

What CUDA itself does is tested in test_gpu.py, where there is a device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bnexp.config import check, compose
from bnexp.errors import UserError
from bnexp.objective import Pass
from bnexp.training import graphs, train
from bnexp.training import run as run_module
from bnexp.training.loop import Trainer
from tests.helpers import network
from tests.training.test_run import (
    DLN,
    VGG,
    assert_same_network,
    assert_same_tables,
    job,
    tables,
)

CUDA = torch.device("cuda")
KINDS = pytest.mark.parametrize("kind", [VGG, DLN], ids=["vgg", "dln"])


def tensors(results: Any) -> Iterator[Tensor]:
    """Every tensor in what a captured function returned."""
    if isinstance(results, Tensor):
        yield results
    elif isinstance(results, tuple | list):
        for one in results:
            yield from tensors(one)
    elif isinstance(results, dict):
        yield from tensors(list(results.values()))
    elif isinstance(results, Pass):
        yield from tensors(list(vars(results).values()))


class StandIn:
    """Captures as CUDA does: nothing is run, results lie where they lie, replaying makes them."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0
        self.trainer: Trainer | None = None

    def state(self) -> list[Tensor]:
        assert self.trainer is not None
        model, optimizer = self.trainer.setting.model, self.trainer.optimizer
        return [*model.state_dict().values(), *tensors(list(optimizer.state.values()))]

    def __call__(
        self, device: torch.device, work: Callable[[], Any]
    ) -> tuple[Any, Callable[[], None]]:
        self.captured += 1
        before = copy.deepcopy(self.state())
        results = work()
        with torch.no_grad():
            for value, old in zip(self.state(), before, strict=True):
                value.copy_(old)
            for value in tensors(results):
                value.fill_(torch.nan)

        def replay() -> None:
            self.replayed += 1
            for there, value in zip(tensors(results), tensors(work()), strict=True):
                there.copy_(value)

        return results, replay


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Every run from now on is made by graphs."""
    used, trainer_of = StandIn(), run_module.trainer_of

    def noted(job: Any) -> Any:
        made = trainer_of(job)
        used.trainer = made[0]
        return made

    monkeypatch.setattr(graphs, "on_cuda", used)
    monkeypatch.setattr(graphs, "wanted", lambda *given, **more: True)
    monkeypatch.setattr(run_module, "trainer_of", noted)
    return used


@KINDS
@pytest.mark.parametrize("norm", ["none", "bn", "l1"])
@pytest.mark.parametrize("probes", ["paper", "none"])
@pytest.mark.parametrize("looks", [1, 4])
def test_the_numbers_are_those_of_single_steps(
    tmp_path: Path,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    kind: list[str],
    norm: str,
    probes: str,
    looks: int,
) -> None:
    common = [*kind, f"norm={norm}", f"probes={probes}", "steps=11", "measure.every=5"]
    common += ["optim.momentum=0.9", "measure.eval_every=4", "together=false"]
    one, other = (job(tmp_path / name, *common) for name in ("graphs", "single"))
    monkeypatch.setitem(run_module.LOOK_EVERY, "cpu", looks)
    train(one)
    assert stand_in.captured == 2
    single = {"paper": {0, 5, 10}, "none": set()}[probes] | {11}
    passes = 12 - len(single) - graphs.WARM_UP
    assert passes <= stand_in.replayed <= 2 * passes
    with monkeypatch.context() as patch:
        patch.setattr(graphs, "wanted", lambda *given, **more: False)
        train(other)
    assert stand_in.captured == 2
    assert_same_tables(one, other)
    assert_same_network(one, other)


@KINDS
def test_a_resumed_run_gives_the_same_numbers(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, kind: list[str]
) -> None:
    common = [*kind, "steps=12", "probes=none", "optim.momentum=0.9", "checkpoint_steps=6"]
    whole, broken = job(tmp_path / "a", *common), job(tmp_path / "b", *common)
    train(whole)
    original = Trainer.step

    def cut_off(self: Trainer, number: int, record: Any) -> Any:
        if number == 9:
            raise RuntimeError("cut off")
        return original(self, number, record)

    monkeypatch.setattr(Trainer, "step", cut_off)
    with pytest.raises(RuntimeError):
        train(broken)
    monkeypatch.setattr(Trainer, "step", original)
    assert train(broken) == "done"
    assert_same_tables(whole, broken)
    assert_same_network(whole, broken)


@pytest.mark.usefixtures("stand_in")
def test_a_diverging_run_ends_where_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [*DLN, "norm=none", "optim.lr=0.02", "probes=none", "steps=60", "together=false"]
    one, other = (job(tmp_path / name, *common) for name in ("graphs", "single"))
    monkeypatch.setitem(run_module.LOOK_EVERY, "cpu", 100)
    assert train(one) == "diverged"
    monkeypatch.setattr(graphs, "wanted", lambda *given, **more: False)
    monkeypatch.setitem(run_module.LOOK_EVERY, "cpu", 1)
    assert train(other) == "diverged"
    assert_same_tables(one, other)
    assert len(tables(one)["train"]) > graphs.WARM_UP + 1, "or no graph took part"


def test_auto_is_for_small_kernels_and_noise_is_never_captured() -> None:
    model, noisy = network("dln", "bn"), network("dln", "noisy_bn")
    cpu = torch.device("cpu")
    assert graphs.wanted("auto", model, CUDA, small=True)
    assert not graphs.wanted("auto", model, CUDA, small=False)
    assert graphs.wanted(True, model, CUDA, small=False)
    assert not graphs.wanted(False, model, CUDA, small=True)
    assert not any(graphs.wanted(True, noisy, d, small=True) for d in (CUDA, cpu))
    assert not graphs.wanted(True, model, cpu, small=True)


@pytest.mark.parametrize("value", ["sometimes", "1", "null"])
def test_cuda_graphs_is_auto_true_or_false(value: str) -> None:
    with pytest.raises(UserError, match=r"^cuda_graphs: expected auto, true or false; got"):
        check(compose(["model=dln", f"cuda_graphs={value}"]))


def test_graphs_are_not_part_of_the_id(tmp_path: Path) -> None:
    assert len({job(tmp_path, *DLN, f"cuda_graphs={v}").id for v in ("auto", "true")}) == 1
