"""The verdict on a claim, from the runs that it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnexp.analysis.baselines import at_chance, paper_trains
from bnexp.analysis.scales import at_paper_scale
from bnexp.analysis.select import Need, select
from bnexp.claims.claim import Claim
from bnexp.claims.compare import Term
from bnexp.claims.source import MissingSeriesError, Source, of_paper, of_runs
from bnexp.claims.statistics import (
    DEAD,
    EXACT,
    HOLDS,
    OPEN,
    Effect,
    Estimate,
    combine,
    estimate,
    judge,
)
from bnexp.runs import Run, describe

MORE_SEEDS = 10
"""The number of seeds to ask for where the fewest with an exact interval leave it open."""


@dataclass(frozen=True)
class Part:
    """One part of a claim, judged; ``effects`` by seed, of which those of ``dead`` seeds have a
    baseline that stayed at chance or diverged; ``paper`` is the paper's number, NaN for none."""

    name: str
    effects: Mapping[int, Effect]
    dead: frozenset[int]
    paper: float
    estimate: Estimate
    verdict: str
    remark: str


@dataclass(frozen=True)
class Judgement:
    """A claim, judged.

    In words: what the runs are (``scale``), the ``missing`` runs, others that could have served and
    are ``left_out``, those that ``diverged`` and count as results; ``command`` makes the runs that
    lack, or more seeds.
    """

    claim: Claim
    parts: tuple[Part, ...]
    verdict: str
    scale: str
    paper_scale: bool
    missing: str
    left_out: str
    diverged: str
    command: str

    @property
    def paper(self) -> str:
        """What the paper's curves say: holds, contradicts, mixed; "" where they do not show it."""
        holds = self.claim.region.holds
        answers = {holds(part.paper) for part in self.parts if not math.isnan(part.paper)}
        if len(answers) != 1:
            return "mixed" if answers else ""
        return "holds" if answers.pop() else "contradicts"

    @property
    def inside(self) -> bool | None:
        """Whether every number so far lies where claimed; None where there is none.

        Those compared with a baseline at chance do not.
        """
        if not all(part.estimate.seeds for part in self.parts):
            return None
        holds = self.claim.region.holds
        return all(holds(part.estimate.value) and part.verdict != DEAD for part in self.parts)

    @property
    def where(self) -> str:
        """What is to be added to the verdict: which parts say what."""
        several = len({part.verdict for part in self.parts}) > 1
        if not several and len({part.remark for part in self.parts}) == 1:
            return self.parts[0].remark.replace("no runs", "")
        words = []
        for part in self.parts:
            if several:
                words.append(
                    f"{part.name}: {part.verdict}" + f" ({part.remark})" * bool(part.remark)
                )
            elif part.remark not in ("", "no runs"):
                words.append(f"{part.name}: {part.remark}")
        return "; ".join(dict.fromkeys(words))


def judge_claim(claim: Claim, runs: Sequence[Run], root: str) -> Judgement:
    """The verdict on a claim from those of ``runs`` that it needs, paired over seeds.

    Runs that share a seed share data, its order and, where shapes agree, initial weights. A seed
    counts once for every part that it has all runs of. ``root`` is the folder named in commands.
    """
    selection = select(claim.needs, runs)
    by_seed: dict[int, dict[Need, Run]] = {}
    for need, met in selection.matches.items():
        for run in met:
            by_seed.setdefault(run.seed, {})[need] = run
    seeds = dict(sorted(by_seed.items()))
    dead = frozenset(seed for seed, mine in seeds.items() if _baseline_is_dead(claim, mine))
    sources = {seed: of_runs(mine) for seed, mine in seeds.items()}
    parts = tuple(_judge_part(claim, name, sources, dead) for name in claim.parts)
    used = selection.of(claim.family)
    lost = sum(run.state == "diverged" for run in used)
    return Judgement(
        claim,
        parts,
        combine([part.verdict for part in parts]),
        describe(used[0]) if used else "",
        bool(used) and at_paper_scale(used[0]),
        selection.describe_missing(),
        selection.describe_left_out(),
        f"{lost} of {len(used)} runs diverged and count as results" if lost else "",
        _command(claim, runs, root, parts),
    )


def _judge_part(
    claim: Claim, name: str, sources: Mapping[int, Source], dead: frozenset[int]
) -> Part:
    """With half of the baselines dead: `DEAD`. With fewer it must hold without them, too."""
    terms = claim.parts[name]
    tried = {seed: _effect(claim, source, terms) for seed, source in sources.items()}
    effects = {seed: effect for seed, effect in tried.items() if effect is not None}
    dead &= effects.keys()
    whole = estimate(list(effects.values()), claim.region)
    verdict, remark = judge(whole, claim.region)
    remarks = [remark]
    lost = sum(math.isnan(effect.value) for effect in effects.values())
    if lost > len(dead):
        remarks.append(f"{lost} seeds give no number")
    if dead:
        live = [effect for seed, effect in effects.items() if seed not in dead]
        if 2 * len(dead) >= len(effects):
            verdict, remarks = DEAD, []
        elif verdict == HOLDS and judge(estimate(live, claim.region), claim.region)[0] != HOLDS:
            verdict = OPEN
        remarks.append(f"{claim.baseline} untrained in {len(dead)} of {len(effects)} seeds")
    if whole.censored:
        remarks.append(f"{whole.censored} of {whole.seeds} seeds are bounds only")
    paper = _effect(claim, of_paper(claim.family), terms) if claim.plotted else None
    number = math.nan if paper is None else paper.value
    return Part(name, effects, dead, number, whole, verdict, "; ".join(filter(None, remarks)))


def _effect(claim: Claim, source: Source, terms: Sequence[Term]) -> Effect | None:
    """The effect; None where the source lacks what it is made of."""
    try:
        number = claim.compare(source, terms)
    except MissingSeriesError:
        return None
    return number if isinstance(number, Effect) else Effect(number)


def _baseline_is_dead(claim: Claim, runs: Mapping[Need, Run]) -> bool:
    """Whether a baseline of the seed diverged or stayed at chance, though the paper's did not."""
    mine = {run.id: run for need, run in runs.items() if need.norm == claim.baseline}
    return any(
        run.state == "diverged" or (at_chance(run) and paper_trains(run)) for run in mine.values()
    )


def _command(claim: Claim, runs: Sequence[Run], root: str, parts: Sequence[Part]) -> str:
    undecided = [part.estimate.seeds for part in parts if part.verdict == OPEN]
    if not undecided:
        return ""
    presets = {str(run.config.get("preset", "none")) for run in runs if run.family == claim.family}
    preset = max(presets - {"none"}, default="quick")
    seeds = ",".join(map(str, range(EXACT if min(undecided) < EXACT else MORE_SEEDS)))
    return f"bnexp train -m experiment={claim.recipe} preset={preset} seed={seeds} out={root}"
