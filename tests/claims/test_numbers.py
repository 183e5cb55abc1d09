"""The numbers that claims compare: by hand, and the paper's own as read off its plots by others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bnexp.analysis.series import Trace
from bnexp.claims import all_claims, judge_claim, register
from bnexp.claims.claim import from_row
from bnexp.claims.compare import Source, Term, at_equal_loss, smooth, speed
from bnexp.claims.statistics import Effect, Region
from bnexp.errors import UserError
from bnexp.registry import CLAIMS


def line(y: list[float], diverged: bool = False, every: int = 1) -> Trace:
    return Trace(np.arange(len(y)) * float(every), np.array(y), np.array(y), diverged)


def lines(steps: int, **traces: Trace) -> Source:
    """A source with one line per quantity and normalisation."""
    return Source(steps, lambda term: traces.get(f"{term.quantity}_{term.norm}"))


def steps_to(norm: str) -> Term:
    return Term("train_accuracy", norm, 0.1, summary="steps")


def test_smoothing_is_a_mean_over_a_sixtieth_to_either_side() -> None:
    smoothed = smooth(line([float(i % 2) for i in range(121)], every=5), 600)
    assert smoothed.lo[60] == pytest.approx(np.mean([0, 1, 0, 1, 0]))  # steps 290 to 310
    assert smoothed.lo[0] == pytest.approx(1 / 3)  # steps 0 to 10


def test_the_end_of_a_diverged_run_is_the_worst() -> None:
    source = lines(60, train_accuracy_bn=line([90.0] * 31, diverged=True))
    assert Term("train_accuracy", "bn", 0.1, summary="mean", span="last third").value(source) == 0
    for quantity, end in (("test_accuracy", 0.0), ("train_loss", math.inf)):
        source = lines(2, **{f"{quantity}_bn": line([5, 7], diverged=True)})
        assert Term(quantity, "bn", 0.1, summary="final").value(source) == end


def test_speed_of_nets_that_never_get_there_is_a_bound() -> None:
    fast, never = line([0.0] * 6 + [100.0] * 55), line([10.0] * 61)
    source = lines(60, train_accuracy_none=never, train_accuracy_bn=fast, train_accuracy_l1=never)
    none, bn, l1 = map(steps_to, ("none", "bn", "l1"))
    assert bn.value(source) == 7  # two of three steps around step 6 are at 100 %
    ratio = pytest.approx(math.log10(60 / 7))
    assert speed(source, [none, bn]) == Effect(ratio, "at least")
    back = speed(source, [bn, none])
    assert (-back.value, back.bound) == (ratio, "at most")
    assert math.isnan(speed(source, [none, l1]).value)


def test_equal_loss_compares_at_the_same_height_not_the_same_step() -> None:
    """y = loss for none and loss/10 for BN, which falls twice as fast: the ratio is 10 anywhere."""
    slow, fast = (line([10 ** (-x / scale) for x in range(101)]) for scale in (50, 25))
    names = ("beta_0", "train_loss")
    terms = [Term(name, norm, 0.1) for norm in ("none", "bn") for name in names]
    tenth = Trace(fast.x, fast.lo / 10, fast.hi / 10)
    traces = {
        "train_loss_none": slow, "train_loss_bn": fast, "beta_0_none": slow, "beta_0_bn": tenth
    }  # fmt: skip
    assert at_equal_loss(lines(100, **traces), terms) == pytest.approx(1, abs=0.05)
    traces["train_loss_none"] = Trace(slow.x, slow.lo * 1e9, slow.hi * 1e9)
    assert math.isnan(at_equal_loss(lines(100, **traces), terms))


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
    assert kinds == {(n, r, "gradient_shift") for n, r in (("none", 0.1), ("bn", 0.2), ("l1", 0.2))}


@pytest.mark.parametrize("wrong", [{"compare": "guess"}, {"extra": 1}, {"runs": {"recipe": "x"}}])
def test_a_wrong_row_is_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"claim X1\.1: expected"):
        from_row({**ROW, **wrong})


def test_a_users_own_claim_comes_last_and_takes_no_others_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claims = all_claims()
    monkeypatch.setattr(CLAIMS, "_entries", dict(CLAIMS._entries))
    mine = register(replace(claims["4.7"], id="mine.1", region=Region(high=0.0)))
    assert all_claims() == {**claims, "mine.1": mine}
    with pytest.raises(UserError, match=r"two are called 'mine\.1'"):
        register(replace(mine, statement="another"))


KNOWN: dict[str, tuple[float, list[float]]] = {  # tolerance, number of each part
    "1.1": (0.02, [math.log10(3100 / 1000)]),
    "1.2": (0.1, [82.9 - 80.0]),
    "1.3": (0.1, [96.1]),
    "1.4": (0.1, [9.8]),
    "2.1": (0.1, [98.1 - 98.8]),
    "2.2": (0.02, [math.log10(3100 / 1500)]),
    "2.3": (0.03, [math.log10(x) for x in (0.27 / 0.032, 0.27 / 0.065, 0.35 / 0.013)]),
    "3.2": (0.01, [0.56 - 0.51, 0.06 - 0.05]),
    "3.4": (0.01, [0.89 - 0.99, 0.50 - 0.94]),
    "3.6": (0.01, [0.93 - 0.90, -0.98 + 0.87]),
    "3.8": (0.01, [1.00 - 0.18, 1.00 + 0.37]),
    "3.9": (0.01, [1.0, 1.0]),
    "4.1": (0.001, [0.300 - 0.082, 0.222 - 0.069]),
    "4.3": (0.001, [0.744 - 0.249, 0.622 - 0.241]),
    "4.5": (0.002, [math.log10(45.6 / 25.3)]),
    "4.7": (0.01, [2.85 - 1.79, 0.87 - 1.47]),
    "4.9": (0.01, [5.01 - 3.06, 3.77 - 3.34]),
    "5.2": (0.1, [98.6 - 98.8, 98.7 - 98.8, 99.1 - 98.8]),
    "5.3": (0.005, [math.log10(479 / x) for x in (97, 481, 986)]),
    "5.4": (0.005, [math.log10(479 / 97)]),
}


def test_the_papers_values() -> None:
    """BN's ICS is not always the larger, and its DLN's loss band is the wider over the run."""
    judged = {name: judge_claim(claim, [], "there") for name, claim in all_claims().items()}
    for name, (tolerance, values) in KNOWN.items():
        papers = [part.paper for part in judged[name].parts]
        assert papers == pytest.approx(values, abs=tolerance), name
    for answer, names in (("contradicts", {"3.3", "3.4"}), ("mixed", {"3.6", "4.7"})):
        assert {name for name, found in judged.items() if found.paper == answer} == names
    assert all(judged[f"6.{i}"].paper == "" for i in range(1, 5))  # no curves of random directions
