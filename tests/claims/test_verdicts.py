"""Every verdict of every claim, from tables in which the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bnexp.claims import Judgement, all_claims, judge_claim
from bnexp.claims.statistics import EXACT, FAILS, HOLDS, MIXED, OPEN
from tests.claims.worlds import Change, World, fill

CLAIMS = all_claims()


def by_norm(knob: str, **values: float) -> Change:
    """The knob by normalisation; ``other`` for those not named."""

    def change(norm: str, _: float) -> dict[str, float]:
        value = values.get(norm, values.get("other"))
        return {} if value is None else {knob: value}

    return change


def by_rate(knob: str, scale: float, power: float) -> Change:
    """The knob as a power of the learning rate: 2/lr is scale 2 and power -1."""
    return lambda norm, lr: {knob: scale * lr**power}


def lp(knob: str, usual: float, others: float) -> Change:
    """One value for l1, l2 and linf, one for none and BN."""
    return by_norm(knob, none=usual, bn=usual, other=others)


def both(*changes: Change) -> Change:
    """All of them."""
    return lambda norm, lr: {k: v for c in changes for k, v in c(norm, lr).items()}


FASTER = by_norm("to_80", none=0.6, bn=0.2, noisy_bn=0.25)
SLOWER = by_norm("to_80", none=0.2, bn=0.6, noisy_bn=0.5)
NARROW = both(by_norm("loss_band", none=1.0, bn=0.5), by_norm("late_loss_band", none=1.0, bn=0.6))
WIDE = both(by_norm("loss_band", none=0.5, bn=1.0), by_norm("late_loss_band", none=0.6, bn=1.0))
HEAVY = both(by_norm("beta_0", bn=1.0), by_norm("weights", bn=90.0))
STUCK = both(by_norm("accuracy@constant", none=0.1), by_norm("accuracy@warmup_constant", none=0.1))
BY_CLAIMS: dict[str, tuple[Change, Change]] = {
    "1.1": (FASTER, SLOWER),
    "1.2": (by_norm("test", none=0.7, bn=0.8), by_norm("test", none=0.8, bn=0.7)),
    "1.3": (by_norm("accuracy", bn=0.9), by_norm("accuracy", bn=0.1)),
    "1.4": (by_norm("accuracy", none=0.1), by_norm("accuracy", none=0.9)),
    "2.1": (by_norm("accuracy", noisy_bn=0.94), by_norm("accuracy", noisy_bn=0.5)),
    "2.2": (FASTER, SLOWER),
    "2.3": (by_norm("mean_shift", noisy_bn=0.1), by_norm("mean_shift", noisy_bn=0.001)),
    "2.4": (by_norm("var_shift", noisy_bn=0.1), by_norm("var_shift", noisy_bn=0.001)),
    "2.5": (by_norm("accuracy", noise_only=0.1), by_norm("accuracy", noise_only=0.9)),
    "3.1 3.3 3.5 3.7": (by_norm("l2", bn=2.0), by_norm("l2", bn=0.2)),
    "3.2 3.4 3.6 3.8": (by_norm("cos", bn=0.2), by_norm("cos", bn=0.9)),
    "3.9": (by_norm("cos", none=1.0), by_norm("cos", none=0.5)),
    "4.1 4.7 6.1 6.3": (NARROW, WIDE),
    "4.6": (NARROW, both(WIDE, by_norm("late_loss_band", none=1.0, bn=0.1))),
    "4.2 4.8": (by_norm("change", bn=2.0), by_norm("change", bn=50.0)),
    "4.3 4.9": (by_norm("change_band", bn=0.5), by_norm("change_band", bn=2.0)),
    "4.4 4.10 6.2 6.4": (by_norm("beta", bn=5.0), by_norm("beta", bn=40.0)),
    "4.5 4.11": (by_norm("peak", bn=30.0), by_norm("peak", bn=90.0)),
    "5.1": (lp("to_80", 0.2, 0.2), lp("to_80", 0.2, 0.7)),
    "5.2": (lp("accuracy", 0.95, 0.97), lp("accuracy", 0.95, 0.3)),
    "5.3": (lp("loss", 100.0, 100.0), lp("loss", 100.0, 2000.0)),
    "5.4": (by_norm("loss", l1=10.0), by_norm("loss", l1=500.0)),
    "5.5": (lp("mean_shift", 0.01, 0.1), lp("mean_shift", 0.01, 0.001)),
    "5.6 5.7": (lp("loss_band", 1.0, 0.3), lp("loss_band", 1.0, 3.0)),
    "E1.1": (by_rate("beta", 2.0, -1.0), by_rate("beta", 20.0, -1.0)),
    "E1.2": (by_rate("beta", 2.0, -1.0), by_rate("beta", 2.0, 0.0)),
    "E1.3": (by_norm("beta", other=7.0), by_norm("beta", none=7.0, other=20.0)),
    "E1.4": (by_rate("sharpness", 2.0, -1.0), by_rate("sharpness", 0.2, -1.0)),
    "E2.1": (by_norm("finer", other=4.0), by_norm("finer", other=1.0)),
    "E2.2": (by_norm("finer", other=1.0), by_norm("finer", other=4.0)),
    "E4.1 E4.3 E4.4 E4.6": (by_norm("beta_0", bn=1.0), by_norm("beta_0", bn=25.0)),
    "E4.2 E4.5": (by_norm("weights", bn=5.0), HEAVY),
    "E7.1": (by_norm("test", group=0.8, bn=0.7), by_norm("test", group=0.7, bn=0.8)),
    "E7.2": (by_norm("test", bn=0.8), by_norm("test", bn=0.7)),
    "E7.3": (by_norm("mode_gap@2", bn=5.0), by_norm("mode_gap@2", bn=1.1)),
    "E7.4": (by_norm("test", ghost=0.85), by_norm("test", ghost=0.7)),
    "E8.1 E8.3": (by_norm("gradients", none=9.0), by_norm("gradients", bn=9.0)),
    "E8.2": (by_norm("rank", bn=9.0), by_norm("rank", bn=2.2)),
    "E9.1 E9.3": (by_norm("accuracy", bn=0.9), by_norm("accuracy", bn=0.1)),
    "E9.2 E9.4": (by_norm("accuracy", none=0.1), by_norm("accuracy", none=0.9)),
    "E10.1": (by_norm("accuracy", none=0.9), by_norm("accuracy", none=0.1)),
    "E10.2": (both(STUCK, by_norm("accuracy@warmup_constant", none=0.9)), STUCK),
    "E10.3": (by_norm("accuracy", none=0.5), by_norm("accuracy", bn=0.5)),
    "E11.1": (by_norm("data_loss"), by_norm("data_loss@exponential", bn=1.5)),
    "E11.2": (by_norm("data_loss@exponential", none=1.5), by_norm("data_loss")),
    "E11.3": (by_norm("data_loss@0.05", bn=1.5), by_norm("data_loss")),
    "E12.1": (by_norm("update", bn=0.004**0.5), by_norm("update", bn=0.1)),
    "E12.2": (by_norm("first_spread", bn=9.0), by_norm("spread", bn=9.0)),
    "E12.3": (by_norm("spread", none=9.0, bn=2.0), by_norm("spread", none=2.0, bn=9.0)),
    "E14.1": (by_norm("gap", none=3.0), by_norm("gap", none=1.5)),
    "E14.2": (by_norm("gap@0.1", none=2.0), by_norm("gap@0.1", none=1.5)),
    "E13.1 E13.2": (by_rate("batch_sharpness", 2.0, -1.0), by_rate("batch_sharpness", 3.0, -1.0)),
}
TRUTHS = {name: truth for names, truth in BY_CLAIMS.items() for name in names.split()}
"""By claim, runs in which it is true and runs in which it is not."""

every_claim = pytest.mark.parametrize("name", TRUTHS)
of_each_kind = pytest.mark.parametrize(
    "name", ["1.1", "2.1", "2.3", "3.6", "4.6", "5.4", "E1.2", "E2.2", "E4.3", "E11.2", "E12.2"]
)


def judged(world: World, name: str, seeds: int, change: Callable[[int], Change]) -> Judgement:
    fill(world, CLAIMS[name], range(seeds), change)
    return judge_claim(CLAIMS[name], world.runs, "there")


def test_every_claim_is_tested() -> None:
    assert set(TRUTHS) == set(CLAIMS)


@every_claim
def test_what_is_true_holds(name: str, world: World) -> None:
    seeds = 3 if name.endswith("1") else EXACT
    found = judged(world, name, seeds, lambda _: TRUTHS[name][0])
    assert found.verdict == HOLDS
    assert {part.estimate.seeds for part in found.parts} == {seeds}
    assert found.missing == found.command == found.where == ""


@every_claim
def test_what_is_false_does_not_hold(name: str, world: World) -> None:
    assert judged(world, name, 3, lambda _: TRUTHS[name][1]).verdict == FAILS


@of_each_kind
def test_seeds_that_disagree_are_mixed(name: str, world: World) -> None:
    found = judged(world, name, 8, lambda seed: TRUTHS[name][seed % 2])
    assert found.verdict == MIXED
    assert "in 4 of 8 seeds" in found.where


@of_each_kind
def test_two_seeds_cannot_tell(name: str, world: World) -> None:
    found = judged(world, name, 2, lambda _: TRUTHS[name][0])
    assert found.verdict == OPEN
    assert "2 seeds" in found.where
    recipe = CLAIMS[name].recipe.split()[-1]
    assert f"experiment={recipe} preset=quick seed=0,1,2,3,4,5" in found.command
    assert found.command.endswith("out=there")


@of_each_kind
def test_a_missing_kind_of_run_is_named(name: str, world: World) -> None:
    claim = CLAIMS[name]
    fill(world, claim, range(4), lambda _: TRUTHS[name][0])
    lacking = claim.needs[-1]
    world.runs = [run for run in world.runs if (run.norm, run.lr) != (lacking.norm, lacking.lr)]
    found = judge_claim(claim, world.runs, "there")
    assert found.verdict == OPEN
    assert str(lacking) in found.missing


@of_each_kind
def test_shuffled_labels_do_not_hold(name: str, world: World) -> None:
    """Of every kind of run half, drawn by lot, come from the world in which the claim is false."""
    claim, seeds = CLAIMS[name], 16
    rng = np.random.default_rng(list(name.encode()))
    kinds = sorted({(need.norm, need.lr) for need in claim.needs})
    lots = {kind: rng.permutation(seeds) % 2 for kind in kinds}

    def drawn(seed: int) -> Change:
        return lambda norm, lr: TRUTHS[name][lots[norm, lr][seed]](norm, lr)

    assert judged(world, name, seeds, drawn).verdict != HOLDS
