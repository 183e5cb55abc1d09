"""Optimisers and schedules: torch's own numbers, the same whether cut off or not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import MISSING, fields
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import lr_scheduler as torchs

from bnexp.analysis.read import beta, points
from bnexp.config import check, compose
from bnexp.errors import UserError
from bnexp.optim import SCHEDULES, SgdOptions, schedule
from bnexp.registry import DATASETS, MODELS, OPTIMISERS, PROBES
from bnexp.runs import find_runs
from bnexp.runs.identity import NEUTRAL, run_id
from bnexp.training.build import trainer_of
from tests.training.runs import (
    DLN,
    VGG,
    assert_same_state,
    assert_same_tables,
    cut_off,
    finished,
    job,
    kinds,
    tables,
)

NAMES = ("sgd", "adam", "adamw", "rmsprop")
LR, LAMBDA = 1e-2, 0.3
OWN = {
    "sgd": ["optim.momentum=0.9", "optim.nesterov=true"],
    "adam": ["optim.betas=[0.8,0.95]", "optim.eps=1e-4"],
    "adamw": ["optim.betas=[0.8,0.95]", "optim.eps=1e-4"],
    "rmsprop": ["optim.alpha=0.9", "optim.momentum=0.5", "optim.eps=1e-4"],
}
Update = Callable[[Tensor, Tensor, int, dict[str, Tensor]], Tensor]


def _sgd(w: Tensor, g: Tensor, t: int, s: dict[str, Tensor]) -> Tensor:
    s["v"] = 0.9 * s["v"] + g if t else g
    return w - LR * (g + 0.9 * s["v"])


def _adam(w: Tensor, g: Tensor, t: int, s: dict[str, Tensor]) -> Tensor:
    s["m"] = 0.8 * s.get("m", 0 * g) + 0.2 * g
    s["v"] = 0.95 * s.get("v", 0 * g) + 0.05 * g**2
    mean, square = s["m"] / (1 - 0.8 ** (t + 1)), s["v"] / (1 - 0.95 ** (t + 1))
    return w - LR * mean / (square.sqrt() + 1e-4)


def _rmsprop(w: Tensor, g: Tensor, t: int, s: dict[str, Tensor]) -> Tensor:
    s["v"] = 0.9 * s.get("v", 0 * g) + 0.1 * g**2
    s["b"] = 0.5 * s.get("b", 0 * g) + g / (s["v"].sqrt() + 1e-4)
    return w - LR * s["b"]


UPDATES: dict[str, Update] = {"sgd": _sgd, "adam": _adam, "adamw": _adam, "rmsprop": _rmsprop}


@pytest.mark.parametrize("decay", ["weights", "all"])
@pytest.mark.parametrize("name", NAMES)
@kinds
def test_each_update_is_that_of_its_paper(kind: Any, name: str, decay: str) -> None:
    """By hand, from the gradients that were measured; on the DLN's own path, too."""
    own = [f"optim={name}", *OWN[name], f"optim.weight_decay={LAMBDA}", f"optim.decay={decay}"]
    common = ["precision=float64", "probes=none", "steps=4", "device=cpu", f"optim.lr={LR}"]
    # which sees the update, so that the gradients are what they were before it
    common += ["+probes.gradient_shift={every:1,dense:0,layers:[1]}"]
    trainer, _ = trainer_of(check(compose([*kind, *own, *common])), torch.device("cpu"))
    model = trainer.setting.model
    weights, states = set(model.weight_names()), {key: {} for key in model.own_params}
    for number in range(4):
        before = {key: p.detach().clone() for key, p in model.own_params.items()}
        step = trainer.step(number, lambda _: None)
        penalty = sum(
            LAMBDA / 2 * float(p.square().sum())
            for key, p in before.items()
            if decay == "all" or key in weights
        )
        expected = 0.0 if name == "adamw" else penalty
        assert float(step.loss - step.data_loss) == pytest.approx(expected, rel=1e-9)
        for key, w in before.items():
            decays = name == "adamw" and (decay == "all" or key in weights)
            start = w * (1 - LR * LAMBDA) if decays else w
            after = UPDATES[name](start, step.grads[key], number, states[key])
            torch.testing.assert_close(model.own_params[key].detach(), after, rtol=1e-9, atol=1e-12)


def _rates(made: torchs.LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(made.get_last_lr()[0])
        made.optimizer.step()
        made.step()
    return rates


def _options(**changes: Any) -> SgdOptions:
    return SgdOptions(lr=0.5, momentum=0.0, weight_decay=0.0, decay="weights", **changes)


def _optimizer() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)


CLOSED: dict[str, Callable[[int, int], float]] = {
    "constant": lambda t, n: 0.5,
    "step": lambda t, n: 0.5 * 0.2 ** ((t >= n * 0.25) + (t >= n * 0.5)),
    "exponential": lambda t, n: 0.5 * 0.2 ** (t / n),
    "cosine": lambda t, n: 0.01 + (0.5 - 0.01) * (1 + np.cos(np.pi * t / n)) / 2,
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_have_their_closed_forms_also_after_a_warm_up(name: str) -> None:
    more = {"gamma": 0.2, "milestones": [0.25, 0.5], "final": 0.02, "warmup": 0.2}
    made = schedule(_optimizer(), _options(schedule=name, **more), 40)
    plain = [0.5] * 40 if made is None else _rates(made, 40)
    assert plain == pytest.approx([CLOSED[name](t, 40) for t in range(40)], rel=1e-9)
    assert (made is None) == (name == "constant")
    warm = schedule(_optimizer(), _options(schedule=f"warmup_{name}", **more), 40)
    assert warm is not None
    rising = [0.5 * (t + 1) / 8 for t in range(8)]
    after = [CLOSED[name](t, 32) for t in range(32)]
    assert _rates(warm, 40) == pytest.approx(rising + after, rel=1e-9)


def test_lr_and_etas_of_a_run_follow_the_schedule(tmp_path: Path) -> None:
    """The last, undone update has the rate of the last real one."""
    own = ["optim.schedule=warmup_cosine", "optim.warmup=0.3", "steps=10", "measure.every=5"]
    made = finished(tmp_path, *DLN, *own)
    train, landscape = tables(made)["train"], tables(made)["landscape"]
    cosine = [(1 + np.cos(np.pi * t / 7)) / 2 for t in range(7)]
    rates = np.array([1 / 3, 2 / 3, 1, *cosine, cosine[-1]]) * 1e-3
    assert train.lr.to_numpy() == pytest.approx(rates, rel=1e-9)
    for step, rows in landscape.groupby("step"):
        multiples = made.config.plain["measure"]["etas"]
        assert rows.eta.to_numpy() == pytest.approx(np.array(multiples) * rates[step], rel=1e-9)
    (run,) = find_runs(tmp_path)
    steps, etas, values = points(run, "beta", [0.1, 10])
    assert etas == pytest.approx(np.outer(rates[steps.astype(int)], [0.1, 10]), rel=1e-9)
    assert (values.max(axis=1) <= tables(made)["smoothness"].beta * (1 + 1e-9)).all()
    assert beta(run).lo == pytest.approx(tables(made)["smoothness"].beta, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
@kinds
def test_cut_off_and_resumed_it_is_the_same_run(tmp_path: Path, kind: Any, name: str) -> None:
    schedules = {"sgd": "warmup_step", "adam": "warmup_cosine", "adamw": "cosine"}
    own = [f"optim={name}", *OWN[name], f"optim.schedule={schedules.get(name, 'exponential')}"]
    common = [*kind, *own, "optim.lr=1e-3", "optim.warmup=0.4", "steps=8", "probes=none"]
    whole = finished(tmp_path / "whole", *common)
    parts = job(tmp_path / "parts", *common)
    cut_off(parts, 6, saved_after=2)
    finished(tmp_path / "parts", *common)
    assert_same_tables(whole, parts)
    assert_same_state(whole, parts)
    assert len(set(tables(whole)["train"].lr)) > 2


BAD = [
    ("optim.nesterov=true", "optim.nesterov: expected false"),
    ("optim.schedule=cosin", "optim.schedule: expected one of .* did you mean cosine"),
    ("optim.milestones=[2]", "optim.milestones: expected a list of numbers in"),
    ("optim.warmup=1", "optim.warmup: expected a number in"),
    ("optim.gamma=0", "optim.gamma: expected a positive number"),
    ("optim.final=2", "optim.final: expected a number in"),
    ("optim=adma", "optim: expected one of .* did you mean adam"),
    ("optim=adam optim.betas=[1]", "optim.betas: expected two numbers in"),
    ("optim=rmsprop optim.alpha=1", "optim.alpha: expected a number in"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD)
def test_what_is_wrong_is_said_in_one_line(overrides: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check(compose(overrides.split()))
    assert "\n" not in str(caught.value)


def test_an_optimiser_of_ones_own_is_registered_as_any_other(monkeypatch: Any) -> None:
    """L-BFGS, which needs a closure, is refused; one that is not elementwise gets the tensors."""
    monkeypatch.setattr(OPTIMISERS, "_entries", dict(OPTIMISERS._entries))
    given = []

    @OPTIMISERS.register("mine", SgdOptions)
    def mine(groups: Any, o: SgdOptions) -> torch.optim.Optimizer:
        given.extend(groups)
        return torch.optim.SGD(groups, lr=o.lr)

    OPTIMISERS.register("lbfgs", SgdOptions)(lambda groups, _: torch.optim.LBFGS(groups))
    common = [*DLN, "probes=none", "device=cpu"]
    trainer, _ = trainer_of(check(compose([*common, "optim.name=mine"])), torch.device("cpu"))
    assert [p.shape for p in given[0]["params"]] == [
        p.shape for p in trainer.setting.model.parameters()
    ]
    with pytest.raises(UserError, match="optim: expected an optimiser whose step needs no closure"):
        trainer_of(check(compose([*common, "optim.name=lbfgs"])), torch.device("cpu"))


def test_a_run_from_before_an_option_came_is_the_same_run() -> None:
    """Its config lacks the option, is still taken, and has the same id as at the default."""
    kinds = {"optim": OPTIMISERS, "model": MODELS, "data": DATASETS, "probes": PROBES}
    plain = compose(list(VGG))
    old = deepcopy(dict(plain))
    for key, value in NEUTRAL.items():
        group, *probe, option = key.split(".")
        for name in probe or kinds[group].names():
            own = {field.name: field for field in fields(kinds[group][name].options)}
            if option in own:
                made = own[option].default_factory
                assert (own[option].default if made is MISSING else made()) == value, key
        holder = reduce(getitem, [group, *probe], old)
        assert holder.pop(option, value) == value, key
    assert check(old).plain == check(plain).plain
    assert run_id(old, "", "0000") == run_id(plain, "", "0000")
