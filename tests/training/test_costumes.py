"""Li and Arora (2020): weight decay is a growing learning rate where the weights' scale is idle."""

from __future__ import annotations

import pytest
import torch

from bnexp.config import check, compose
from bnexp.config.expand import expand
from bnexp.errors import UserError
from bnexp.training.build import trainer_of
from tests.helpers import measured

STEPS = 6


def losses(*overrides: str) -> list[float]:
    small = ["preset=quick", "model.width=0.03125", "batch_size=8", "threads=1", "device=cpu"]
    config = check(next(expand([*overrides, *small])))
    trainer, _ = trainer_of(config, torch.device("cpu"))
    trainer.sync_every = 1
    found = measured(trainer, STEPS)["train"]["data_loss"]
    assert len(found) == STEPS
    return [float(loss) for loss in found]


@pytest.mark.parametrize("norm", ["bn_eps0", "none"])
def test_the_two_recipes_of_e11_are_one_run_with_bn_alone(norm: str) -> None:
    one, other, neither = (
        losses(f"experiment=figE11{recipe}", f"norm={norm}", f"optim.weight_decay={decay}")
        for recipe, decay in (("a", 0.05), ("b", 0.0), ("a", 0.0))
    )
    assert neither != pytest.approx(one, rel=1e-7)
    if norm == "none":
        assert other != pytest.approx(one, rel=1e-7)
    else:
        assert other == pytest.approx(one, rel=1e-11)


def test_what_is_frozen_stays_and_the_rest_trains() -> None:
    config = check(compose(["preset=quick", "probes=none", "model.depth=11", "batch_size=8",
                            "device=cpu",
                            'optim.frozen=["*.bias","stages.9.*"]']))  # fmt: skip
    trainer, _ = trainer_of(config, torch.device("cpu"))
    before = {name: p.detach().clone() for name, p in trainer.setting.model.own_params.items()}
    measured(trainer, 2)
    for name, parameter in trainer.setting.model.own_params.items():
        frozen = name.endswith(".bias") or name.startswith("stages.9.")
        assert torch.equal(parameter, before[name]) is frozen, name


@pytest.mark.parametrize("frozen", ['["*.wieght"]', '["*"]', "head", "[1]"])
def test_names_of_nothing_and_of_everything_are_refused(frozen: str) -> None:
    config = ["preset=quick", "probes=none", "batch_size=8", "device=cpu", f"optim.frozen={frozen}"]
    with pytest.raises(UserError, match=r"optim\.frozen: expected"):
        trainer_of(check(compose(config)), torch.device("cpu"))
