"""The numbers that claims compare, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bnexp.analysis.series import Trace
from bnexp.claims import Effect, Region, Term, all_claims, from_row, judge_claim, register
from bnexp.claims.compare import at_equal_loss, smooth, speed
from bnexp.errors import UserError
from bnexp.registry import CLAIMS
from tests.claims.worlds import Knobs, World, fill


def line(x: list[float], y: list[float], diverged: bool = False) -> Trace:
    return Trace(np.array(x), np.array(y), np.array(y), diverged)


class Lines:
    """A source with one line per quantity and normalisation."""

    def __init__(self, steps: int, **lines: Trace) -> None:
        self.steps, self._lines = steps, lines

    def trace(self, quantity: str, norm: str, lr: float, layer: int | None = None) -> Trace:
        return self._lines[f"{quantity}_{norm}"]


def steps_to(norm: str) -> Term:
    return Term("train_accuracy", norm, 0.1, summary="steps")


def test_smoothing_is_a_mean_over_a_sixtieth_to_either_side() -> None:
    trace = line([float(i) for i in range(0, 601, 5)], [float(i % 2) for i in range(121)])
    smoothed = smooth(trace, 600)
    assert smoothed.lo[60] == pytest.approx(np.mean([0, 1, 0, 1, 0]))  # steps 290 to 310
    assert smoothed.lo[0] == pytest.approx(1 / 3)  # steps 0 to 10


def test_a_diverged_run_has_no_accuracy_after_its_end() -> None:
    trace = line([float(i) for i in range(0, 31)], [90.0] * 31, diverged=True)
    source = Lines(60, train_accuracy_none=trace)
    late = Term("train_accuracy", "none", 0.1, summary="mean", span="last third")
    assert late.value(source) == 0
    assert steps_to("none").value(source) == 0


@pytest.mark.parametrize(("quantity", "end"), [("test_accuracy", 0.0), ("train_loss", math.inf)])
def test_the_end_of_a_diverged_run_is_the_worst(quantity: str, end: float) -> None:
    source = Lines(2, **{f"{quantity}_bn": line([0, 1], [5, 7], diverged=True)})
    assert Term(quantity, "bn", 0.1, summary="final").value(source) == end


def test_speed_of_nets_that_never_get_there_is_a_bound() -> None:
    x = [float(i) for i in range(0, 61)]
    fast = line(x, [100.0 if i >= 6 else 0.0 for i in range(61)])
    never = line(x, [10.0] * 61)
    source = Lines(60, train_accuracy_none=never, train_accuracy_bn=fast, train_accuracy_l1=never)
    none, bn, l1 = map(steps_to, ("none", "bn", "l1"))
    assert bn.value(source) == 7  # two of three steps around step 6 are at 100 %
    ratio = pytest.approx(math.log10(60 / 7))
    assert speed(source, [none, bn]) == Effect(ratio, "at least")
    back = speed(source, [bn, none])
    assert (-back.value, back.bound) == (ratio, "at most")
    assert math.isnan(speed(source, [none, l1]).value)


def test_equal_loss_compares_at_the_same_height_not_the_same_step() -> None:
    """y = loss for none and loss/10 for BN, which falls twice as fast: the ratio is 10 anywhere."""
    x = np.arange(101.0)
    slow, fast = 10 ** (-x / 50), 10 ** (-x / 25)
    terms = [Term("beta_0", norm, 0.1) for norm in ("none", "bn")]
    lines = {
        "train_loss_none": Trace(x, slow, slow), "train_loss_bn": Trace(x, fast, fast),
        "beta_0_none": Trace(x, slow, slow), "beta_0_bn": Trace(x, fast / 10, fast / 10),
    }  # fmt: skip
    assert at_equal_loss(Lines(100, **lines), terms) == pytest.approx(1, abs=0.05)
    lines["train_loss_none"] = Trace(x, slow * 1e9, slow * 1e9)
    assert math.isnan(at_equal_loss(Lines(100, **lines), terms))


def test_a_claim_asks_for_just_the_runs_that_it_says(world: World) -> None:
    """Without any one kind of run of its needs some part of a claim has no number."""
    usual: Knobs = {}
    for claim in list(all_claims().values())[::3]:
        world.runs.clear()
        fill(world, claim, [0], lambda _: lambda norm, lr: usual)
        whole = list(world.runs)
        judgement = judge_claim(claim, whole, "there")
        assert all(part.estimate.seeds == 1 for part in judgement.parts), claim.id
        for run in whole:
            lacking = judge_claim(claim, [other for other in whole if other is not run], "there")
            assert any(part.estimate.seeds == 0 for part in lacking.parts), (claim.id, run.id)


# ------------------------------------------------------------------------------------ rows

ROW = {
    "id": "X1.1", "statement": "s", "short": "s", "criterion": "c", "source": "mine",
    "statistic": "t", "compare": "ratio", "range": {"above": 0.5},
    "terms": {"quantity": "l2_difference", "norm": ["none", "each"], "lr": [0.1, 0.2]},
    "parts": {"norm": ["bn", "l1"], "layer": "paper"},
    "runs": {"family": "vgg", "recipe": "mine"},
}  # fmt: skip


def test_a_row_is_expanded_over_its_parts() -> None:
    claim = from_row(ROW)
    assert list(claim.parts) == ["bn, layer 5", "bn, layer 10", "l1, layer 5", "l1, layer 10"]
    first, second = claim.parts["l1, layer 10"]
    assert first == Term("l2_difference", "none", 0.1, 10)
    assert second == Term("l2_difference", "l1", 0.2, 10)
    assert claim.region == Region(low=0.5)
    kinds = {(need.norm, need.lr, need.table) for need in claim.needs}
    assert kinds == {
        (n, lr, "gradient_shift") for n, lr in (("none", 0.1), ("bn", 0.2), ("l1", 0.2))
    }


@pytest.mark.parametrize("wrong", [{"compare": "guess"}, {"extra": 1}, {"runs": {"recipe": "x"}}])
def test_a_wrong_row_is_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"claim X1\.1: expected"):
        from_row({**ROW, **wrong})


def test_a_users_own_claim_is_judged_beside_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CLAIMS, "_entries", dict(CLAIMS["1.1"] and CLAIMS._entries))
    mine = replace(all_claims()["4.7"], id="mine.1", region=Region(high=0.0))
    register(mine)
    assert list(all_claims())[-1] == "mine.1"
    fill(world, mine, range(3), lambda _: lambda norm, lr: {"loss_band": 2.0 - (norm == "none")})
    assert judge_claim(all_claims()["mine.1"], world.runs, "there").verdict == "holds"
    with pytest.raises(UserError, match=r"two are called 'mine\.1'"):
        register(replace(mine, statement="another"))
