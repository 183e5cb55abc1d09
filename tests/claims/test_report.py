"""Runs to compare with that never trained, and what the summary and the last words say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bnexp.claims import Judgement, all_claims, judge_claim
from bnexp.claims.forest import PAGE, forest
from bnexp.claims.report import as_json, closing, markdown
from bnexp.claims.statistics import DEAD, HOLDS, OPEN
from tests.claims.worlds import Knobs, World, fill

CLAIMS = all_claims()


def judged(world: World, name: str, seeds: int, dead: int) -> Judgement:
    """The claim where the first ``dead`` seeds of its baseline are at chance."""
    claim, slow = CLAIMS[name], {"to_80": 0.7}

    def change(seed: int, norm: str) -> Knobs:
        if norm != claim.baseline:
            return {"to_80": 0.2}
        return {"accuracy": 0.1} if seed < dead else slow

    fill(world, claim, range(seeds), lambda seed: lambda norm, _: change(seed, norm))
    return judge_claim(claim, world.runs, "there")


@pytest.mark.parametrize("name", ["1.1", "1.2", "3.1", "5.1", "5.5", "E4.1"])
def test_nothing_holds_against_a_baseline_at_chance(name: str, world: World) -> None:
    judgement = judged(world, name, 3, 3)
    assert judgement.verdict == DEAD
    assert f"{CLAIMS[name].baseline} untrained in 3 of 3 seeds" in judgement.where
    assert judgement.inside is False
    assert judgement.command == ""


@pytest.mark.parametrize(("seeds", "verdict"), [(8, HOLDS), (3, OPEN)])
def test_one_dead_baseline_decides_nothing(seeds: int, verdict: str, world: World) -> None:
    """One of eight: it holds with the others as well. One of three: too few are left."""
    judgement = judged(world, "1.1", seeds, 1)
    assert judgement.verdict == verdict
    assert f"none untrained in 1 of {seeds} seeds" in judgement.where


def test_a_censored_net_that_is_not_at_chance_is_a_lower_bound(world: World) -> None:
    """It ends at 70 %: its steps to 80 % are at least all of the run, five times BN's."""
    knobs = {"none": {"accuracy": 0.7}, "bn": {"to_80": 0.2}}
    fill(world, CLAIMS["1.1"], range(3), lambda _: lambda norm, _: knobs[norm])
    judgement = judge_claim(CLAIMS["1.1"], world.runs, "there")
    assert judgement.verdict == HOLDS
    assert "3 of 3 seeds are bounds only" in judgement.where
    assert ">= 0.678 [0.678, inf]" in markdown([judgement])
    assert json.loads(json.dumps(as_json([judgement])))[0]["parts"][0]["bounds"]["0"] == "at least"


def test_diverged_runs_are_results_and_counted(world: World) -> None:
    """Seven seeds in which l1 is best, one in which it diverges: its loss is infinite."""
    for seed in range(8):
        for norm in ("bn", "l1", "l2", "linf"):
            state = "diverged" if (norm, seed) == ("l1", 0) else "done"
            loss = {"loss": 10.0 if norm == "l1" else 90.0}
            world.add("dln", norm, 1e-6, seed, loss, state=state)
    judgement = judge_claim(CLAIMS["5.4"], world.runs, "there")
    assert judgement.parts[0].effects[0].value == float("-inf")
    assert judgement.parts[0].estimate.share == pytest.approx(7 / 8)
    assert "1 of 32 runs diverged and count as results" in markdown([judgement])


def test_the_last_words_are_numbers_even_of_one_seed(world: World) -> None:
    """One seed of 1.1 inside, of 4.7 outside its range, and 2.5 without runs."""
    fill(world, CLAIMS["1.1"], [0], lambda _: lambda n, _: {"to_80": 0.6 if n == "none" else 0.2})
    fill(world, CLAIMS["4.7"], [0], lambda _: lambda n, _: {"loss_band": 1 + (n == "bn")})
    three = [judge_claim(CLAIMS[name], world.runs, "there") for name in ("1.1", "2.5", "4.7")]
    lines = closing(three, Path("there/report.html"))
    assert lines[0].startswith("Of 2 claims with numbers, 1 have every number where it is claimed")
    assert "1 have no runs" in lines[0]
    assert "1.1 BN trains faster" in lines[1]
    assert "where claimed so far" in lines[1]
    assert "from 1 seed (the paper 0.491" in lines[1]
    assert "not where claimed so far" in lines[2]
    assert lines[-1] == "The report: there/report.html"
    page = markdown(three).splitlines()
    assert page[2] == lines[0]
    assert page[4].startswith("- 1.1 BN trains faster")


def test_the_figure_has_words_and_fits_a_page(world: World) -> None:
    for claim in CLAIMS.values():
        fill(world, claim, [0], lambda _: lambda norm, lr: {})
    judged = [judge_claim(claim, world.runs, "there") for claim in CLAIMS.values()]
    shown = [judgement.claim for judgement in judged if judgement.numbers]
    assert len(shown) > len(CLAIMS) - 3  # a share of no gap is no number
    figure = forest(judged)
    assert (figure.get_size_inches() <= PAGE).all()
    figure.draw_without_rendering()
    labels = [tick for ax in figure.axes for tick in ax.get_yticklabels()]
    assert len(labels) == sum(len(claim.parts) for claim in shown)
    for claim in shown:
        assert any(label.get_text().startswith(f"{claim.id} {claim.short}") for label in labels)
    assert min(label.get_window_extent().x0 for label in labels) >= 0
