"""Dropout is replayed in every pass of a step, is off at test time, and leaves no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bnexp.config import check, compose
from bnexp.models import Network
from bnexp.models.base import Task, build_model
from bnexp.models.dropout import Dropout
from bnexp.norms import at_step
from bnexp.objective import Objective
from bnexp.training.build import trainer_of
from tests.helpers import CLASSES, LOSS, Draws, model_options, norm_options
from tests.training.runs import (
    DLN,
    EVERY,
    VGG,
    assert_same_state,
    assert_same_tables,
    cut_off,
    finished,
    job,
)

SHARE = 0.3
families = pytest.mark.parametrize("family", ["vgg", "dln", "resnet"])


def dropping(family: str) -> Network:
    options = model_options(family, dropout=SHARE)
    task = Task(classes=CLASSES)
    return build_model(family, options, "bn", norm_options("bn"), task, 0).double()


def test_a_share_is_dropped_and_the_rest_keeps_the_mean() -> None:
    drop, x = Dropout(SHARE, 1), torch.rand(64, 8, 5, 5) + 1
    out = drop(x)
    assert float((out == 0).double().mean()) == pytest.approx(SHARE, abs=0.02)
    stays = out != 0
    torch.testing.assert_close(out[stays], x[stays] / (1 - SHARE))
    assert torch.equal(drop(x), out)
    assert torch.equal(drop(x.double()) != 0, stays)
    at_step(drop, 5)
    assert not torch.equal(drop(x) != 0, stays)
    at_step(drop, 0)
    assert torch.equal(drop(x), out)
    assert not torch.equal(Dropout(SHARE, 2)(x) != 0, stays)
    assert drop.eval()(x) is x


@families
def test_the_inputs_of_each_layer_but_the_first_are_dropped(family: str) -> None:
    model, batch = dropping(family), Draws(family).at(0)
    inputs: dict[int, Any] = {}
    for number in model.layers:
        model.affine(number).register_forward_hook(
            lambda _, given, __, number=number: inputs.update({number: given[0].detach()})
        )
    model(batch.inputs)
    shares = [float((x == 0).double().mean()) for x in inputs.values()]
    model.eval()(batch.inputs)
    before = [float((x == 0).double().mean()) for x in inputs.values()]
    assert shares[0] == before[0] == 0
    if family == "dln":
        assert sum(before) == 0
        assert sum(shares) / (len(shares) - 1) == pytest.approx(SHARE, abs=0.1)
    assert sum(shares) > sum(before) + 0.5
    assert len({drop.seed for drop in model.dropouts.values()}) == len(model.layers) - 1


@pytest.mark.parametrize("family", ["vgg", "dln"])
def test_definition_2_1_meets_the_same_masks_in_a_chain(family: str) -> None:
    """The chain's short cut against the definition, and against autograd by hand."""
    model, batch, objective = dropping(family), Draws(family).at(0), Objective(LOSS[family])
    at_step(model, 3)
    here = model.evaluate(objective, *batch)
    new = {name: p.detach() - 0.1 * here.grads[name] for name, p in model.own_params.items()}
    points = objective, *batch, model.own_params, new, list(model.layers)
    chain, definition = model.mixed_gradients(*points), Network.mixed_gradients(model, *points)
    for number in model.layers:
        torch.testing.assert_close(chain[number], definition[number])
    loss = objective.data(model(batch.inputs), batch.targets)
    torch.testing.assert_close(here.loss, loss.detach())
    loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, here.grads[name])


def test_label_smoothing_is_a_mixture_of_two_cross_entropies() -> None:
    outputs, targets = torch.randn(7, 5, dtype=torch.float64), torch.arange(7) % 5
    logs = outputs.log_softmax(1)
    expected = -(0.8 * logs[range(7), targets] + 0.2 * logs.mean(1)).mean()
    smoothed = Objective("cross_entropy", label_smoothing=0.2).data(outputs, targets)
    torch.testing.assert_close(smoothed, expected)


def test_a_run_is_given_what_its_config_says_of_regularisation() -> None:
    config = check(compose([*VGG, "model.label_smoothing=0.2", "model.dropout=0.3", "device=cpu"]))
    trainer, _ = trainer_of(config, torch.device("cpu"))
    assert trainer.setting.objective.label_smoothing == 0.2
    assert {drop.share for drop in trainer.setting.model.dropouts.values()} == {0.3}


MODERN = (
    "model.dropout=0.2", "model.label_smoothing=0.1", "optim=adam", "optim.schedule=cosine",
    "optim.lr=1e-3", "steps=4",
)  # fmt: skip


def test_with_every_probe_and_resumed_training_is_the_same_to_the_bit(tmp_path: Path) -> None:
    plain = finished(tmp_path / "a", *VGG, *MODERN, "probes=none")
    probed = finished(tmp_path / "b", *VGG, *MODERN, *EVERY)
    assert_same_state(plain, probed)
    assert_same_tables(plain, probed, "train")
    parts = job(tmp_path / "c", *VGG, *MODERN, *EVERY)
    cut_off(parts, 3, saved_after=1)
    finished(tmp_path / "c", *VGG, *MODERN, *EVERY)
    assert_same_tables(probed, parts)


def test_the_dln_drops_too(tmp_path: Path) -> None:
    """On its samples, as masks are no function of their moments."""
    own = [*DLN, "model.dropout=0.2", "optim=adam", "optim.schedule=cosine", "steps=4"]
    plain = finished(tmp_path / "a", *own, "probes=none")
    probed = finished(tmp_path / "b", *own, *EVERY)
    assert_same_state(plain, probed)
