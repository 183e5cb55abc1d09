"""Loss and accuracy on the test split, by hand; schedules."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from bnexp.norms import at_step
from bnexp.objective import Objective
from bnexp.probes import Probe, Schedule
from bnexp.training.loop import Trainer
from tests.helpers import Draws, Table, every_norm, measured, network, probe, trainer

SIZES = (8, 8, 3)
"""Batches of the test split, the last one smaller."""


def test_split(split: str) -> Iterator[tuple[Tensor, Tensor]]:
    assert split == "test"
    for number, size in enumerate(SIZES):
        yield Draws("vgg", size=size).at(500 + number)


test_split.__test__ = False  # type: ignore[attr-defined]


def evaluated(norm: str) -> Trainer:
    return trainer(
        network("vgg", norm),
        Draws("vgg"),
        probe("eval"),
        objective=Objective("cross_entropy", 0.5),
        evaluation=test_split,
    )


@every_norm
def test_eval_is_the_mean_over_the_split_with_running_statistics_and_no_noise(norm: str) -> None:
    """One sample at a time, so that no statistic of a batch can come in; no L2 term.

    Parameters are theta_t; the running statistics have seen the batch of step t, too.
    """
    made = evaluated(norm)
    model = made.setting.model
    plain = network("vgg", {"noisy_bn": "bn", "noise_only": "none"}.get(norm, norm)).eval()
    for step in range(3):
        state = {name: p.detach().clone() for name, p in model.named_parameters()}
        row = measured(made, 1, first=step)["eval"]
        state |= dict(model.named_buffers())
        plain.load_state_dict({k.replace("norm.0.", "norm."): v for k, v in state.items()})
        losses, hits = [], []
        with torch.no_grad():
            for inputs, targets in test_split("test"):
                for x, y in zip(inputs, targets, strict=True):
                    logits = plain(x[None])[0]
                    losses.append(float(logits.logsumexp(0) - logits[y]))
                    hits.append(bool(logits.argmax() == y))
        assert (row["step"], row["split"]) == ([step], ["test"])
        assert row["loss"] == pytest.approx([sum(losses) / 19], rel=1e-12)
        assert row["accuracy"] == pytest.approx([sum(hits) / 19], rel=1e-12)


def test_each_split_asked_for_has_its_row() -> None:
    """Split train is here the first two batches of split test."""

    def splits(split: str) -> Iterator[tuple[Tensor, Tensor]]:
        batches = list(test_split("test"))
        yield from batches[:2] if split == "train" else batches

    model, objective = network("vgg", "bn"), Objective("cross_entropy")
    made = trainer(
        model,
        Draws("vgg"),
        probe("eval", splits=["test", "train"]),
        objective=objective,
        evaluation=splits,
    )
    before = copy.deepcopy(model)
    found = measured(made, 1)["eval"]
    assert found["split"] == ["test", "train"]
    before.load_state_dict({**model.state_dict(), **dict(before.named_parameters())})
    before.eval()
    for split, loss in zip(found["split"], found["loss"], strict=True):
        x, y = (torch.cat(column) for column in zip(*splits(split), strict=True))
        assert loss == pytest.approx(float(objective.data(before(x), y).detach()), rel=1e-12)


def test_no_rows_where_there_is_no_test_split() -> None:
    made = trainer(network("dln", "bn"), Draws("dln"), probe("eval"))
    assert measured(made, 2) == {}


def schedule(steps: int, **options: int) -> Table:
    made = trainer(network("dln", "bn"), Draws("dln"), probe("train", **options), steps=steps)
    return measured(made, steps + 1)["train"]


@pytest.mark.parametrize(
    ("steps", "options", "expected"),
    [
        (12, {"every": 4}, [0, 4, 8, 12]),
        (10, {"every": 4}, [0, 4, 8]),
        (5, {"every": 100}, [0]),
        (6, {"every": 3, "dense": 2}, [0, 1, 3, 6]),
        (3, {"every": 1}, [0, 1, 2, 3]),
    ],
)
def test_a_schedule_has_both_ends(steps: int, options: dict[str, int], expected: list[int]) -> None:
    assert schedule(steps, **options)["step"] == expected


class Diverging(Probe):
    """Not passive: it must not measure where the loss is not finite."""

    name = "diverging"

    def before_update(self, step: object) -> dict[str, dict[str, list[int]]]:
        return {"measured": {"step": [step.number]}}  # type: ignore[attr-defined]


def test_a_step_that_is_not_finite_is_recorded_but_not_taken() -> None:
    model = network("dln", "none")
    made = trainer(model, Draws("dln"), probe("train"), lr=1e300)
    made.probes = [*made.probes, Diverging(Schedule(1, 0), made.setting)]
    found = measured(made, 1)
    before = [p.clone() for p in model.parameters()]
    last = measured(made, 1, first=1)
    assert found["measured"]["step"] == [0]
    assert "measured" not in last
    assert not torch.tensor(last["train"]["loss"]).isfinite().any()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_train_rows_are_at_theta_t_on_the_batch_of_step_t() -> None:
    model, other, batches = network("vgg", "noisy_bn"), network("vgg", "noisy_bn"), Draws("vgg")
    objective = Objective("cross_entropy", 0.01)
    made = trainer(model, batches, probe("train"), objective=objective, lr=0.1)
    for step in range(3):
        other.load_state_dict(model.state_dict())
        at_step(other, step)
        batch = batches.at(step)
        alone = other.evaluate(objective, *batch)
        other.load_state_dict(model.state_dict())
        hits = (other(batch.inputs).argmax(1) == batch.targets).tolist()
        row = measured(made, 1, first=step)["train"]
        assert row["step"] == [step]
        assert row["accuracy"] == [sum(hits) / len(hits)]
        for name in ("loss", "data_loss", "grad_norm"):
            assert row[name] == [pytest.approx(float(getattr(alone, name)), rel=1e-12)]
