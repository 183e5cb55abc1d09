"""The numbers that claims compare, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bnexp.claims import CLAIMS, judged, measures
from bnexp.analysis import summaries
from bnexp.analysis.series import Trace
from tests.claims.worlds import Knobs, World, fill


def line(x: list[float], y: list[float], diverged: bool = False) -> Trace:
    return Trace(np.array(x), np.array(y), np.array(y), diverged)


class Lines:
    """A source with one line per quantity and normalisation."""

    def __init__(self, steps: int, **lines: Trace) -> None:
        self.steps, self._lines = steps, lines

    def trace(self, quantity: str, norm: str, lr: float, layer: int | None = None) -> Trace:
        return self._lines[f"{quantity}_{norm}"]


def test_thirds_and_halves() -> None:
    trace = line([0, 10, 20, 30, 40, 50, 60], [0, 1, 2, 3, 4, 5, 6])
    assert list(summaries.first_third(trace, 60).lo) == [0, 1, 2]
    assert list(summaries.last_third(trace, 60).lo) == [4, 5, 6]
    assert list(summaries.last_half(trace, 60).lo) == [3, 4, 5, 6]


def test_width_is_the_median_of_decades() -> None:
    band = Trace(np.arange(3.0), np.array([1.0, 1, 1]), np.array([10.0, 100, 1000]))
    assert summaries.width(band) == pytest.approx(2)
    assert summaries.top(band) == 100
    assert math.isnan(summaries.width(line([], [])))


@pytest.mark.parametrize(
    ("of", "over", "expected"),
    [(100.0, 1.0, 2.0), (1.0, 0.0, math.inf), (0.0, 1.0, -math.inf), (math.inf, 1.0, math.inf)],
)
def test_log_ratio(of: float, over: float, expected: float) -> None:
    assert summaries.log_ratio(of, over) == expected


@pytest.mark.parametrize(
    ("of", "over"), [(0.0, 0.0), (math.inf, math.inf), (math.nan, 1.0), (1.0, math.nan)]
)
def test_log_ratio_that_says_nothing(of: float, over: float) -> None:
    assert math.isnan(summaries.log_ratio(of, over))


def test_smoothing_is_a_mean_over_a_sixtieth_to_either_side() -> None:
    trace = line([float(i) for i in range(0, 601, 5)], [float(i % 2) for i in range(121)])
    smooth = measures.smooth(trace, 600)
    assert smooth.lo[60] == pytest.approx(np.mean([0, 1, 0, 1, 0]))  # steps 290 to 310
    assert smooth.lo[0] == pytest.approx(1 / 3)  # steps 0 to 10


def test_a_diverged_run_has_no_accuracy_after_its_end() -> None:
    trace = line([float(i) for i in range(0, 31)], [90.0] * 31, diverged=True)
    source = Lines(60, train_accuracy_none=trace)
    assert measures.final_accuracy(source, "none", 0.1) == 0
    assert measures.steps_to(source, 80, "none", 0.1) == 0


def test_speed_of_nets_that_never_get_there() -> None:
    x = [float(i) for i in range(0, 61)]
    fast = line(x, [100.0 if i >= 6 else 0.0 for i in range(61)])
    never = line(x, [10.0] * 61)
    source = Lines(60, train_accuracy_none=never, train_accuracy_bn=fast, train_accuracy_l1=never)
    reached = measures.steps_to(source, 80, "bn", 0.1)
    assert reached == 7  # two of three steps around step 6 are at 100 %
    assert measures.speed(source, 80, "none", "bn", 0.1) == pytest.approx(math.log10(60 / 7))
    assert math.isnan(measures.speed(source, 80, "none", "l1", 0.1))


def test_equal_loss_compares_at_the_same_height_not_the_same_step() -> None:
    """y = loss for none and loss/10 for BN, which falls twice as fast: the ratio is 10 anywhere."""
    x = np.arange(101.0)
    slow, fast = 10 ** (-x / 50), 10 ** (-x / 25)
    lines = Lines(
        100,
        train_loss_none=Trace(x, slow, slow),
        train_loss_bn=Trace(x, fast, fast),
        beta_0_none=Trace(x, slow, slow),
        beta_0_bn=Trace(x, fast / 10, fast / 10),
    )
    found = measures.at_equal_loss(lines, "beta_0", ("none", "bn"), 0.1)
    assert found == pytest.approx(1, abs=0.05)
    apart = Trace(x, slow * 1e9, slow * 1e9)
    lines = Lines(
        100, train_loss_none=apart, train_loss_bn=Trace(x, fast, fast),
        beta_0_none=apart, beta_0_bn=apart,
    )  # fmt: skip
    assert math.isnan(measures.at_equal_loss(lines, "beta_0", ("none", "bn"), 0.1))


def test_a_claim_asks_for_just_the_runs_that_it_says(world: World) -> None:
    """Without any one kind of run of its needs some part of a claim has no number."""
    usual: Knobs = {}
    for one in CLAIMS.values():
        world.runs.clear()
        fill(world, one, [0], lambda _: lambda norm, lr: usual)
        whole = list(world.runs)
        found = judged(one, whole, "there")
        assert all(part.found.seeds == 1 for part in found.parts), one.id
        for run in whole:
            lacking = judged(one, [other for other in whole if other is not run], "there")
            assert any(part.found.seeds == 0 for part in lacking.parts), (one.id, run.id)
