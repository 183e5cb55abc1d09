"""The verdict on a claim, from the runs that it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnexp.analysis.quantities import stuck_at_chance
from bnexp.analysis.scales import EXPERIMENTS, at_paper_scale
from bnexp.analysis.select import Need, select
from bnexp.claims import statistics as st
from bnexp.claims.claim import Claim
from bnexp.claims.compare import MissingSeriesError, Source, Term, of_paper, of_runs
from bnexp.claims.statistics import DEAD, HOLDS, OPEN, Effect, Estimate
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
        return {(True,): "holds", (False,): "contradicts", (): ""}.get(tuple(answers), "mixed")

    @property
    def numbers(self) -> bool:
        """Whether there is any number."""
        return any(part.estimate.seeds for part in self.parts)

    @property
    def inside(self) -> bool | None:
        """Whether every number so far lies where claimed, none with a baseline at chance.

        None where there is no number.
        """
        if not all(part.estimate.seeds for part in self.parts):
            return None
        holds = self.claim.region.holds
        return all(holds(part.estimate.value) and part.verdict != DEAD for part in self.parts)

    @property
    def where(self) -> str:
        """What is to be added to the verdict: which parts say what."""
        alike = len({part.verdict for part in self.parts}) == 1
        said = {}
        for part in self.parts:
            words = f"{part.verdict}" + f" ({part.remark})" * bool(part.remark)
            said[part.name] = part.remark.removeprefix("no runs") if alike else words
        if len(set(said.values())) == 1:
            return said[self.parts[0].name]
        return "; ".join(f"{name}: {words}" for name, words in said.items() if words)


def judge_claim(claim: Claim, runs: Sequence[Run], root: str) -> Judgement:
    """The verdict on a claim from those of ``runs`` that it needs, paired over seeds.

    Runs that share a seed share data, its order and, where shapes agree, initial weights. A seed
    counts once for every part that it has all runs of. ``root`` is the folder named in commands.
    """
    selection = select(claim.needs, runs)
    by_seed: dict[tuple[int, ...], dict[Need, Run]] = {}
    for need, met in selection.matches.items():
        for run in met:
            by_seed.setdefault(run.seeds, {})[need] = run
    one_each = len({seed for seed, *_ in by_seed}) == len(by_seed)
    seeds = {
        key[0] if one_each else place: by_seed[key] for place, key in enumerate(sorted(by_seed))
    }
    dead = {seed for seed, mine in seeds.items() if _baseline_is_dead(claim, mine)}
    sources = {seed: of_runs(mine) for seed, mine in seeds.items()}
    parts = tuple(_judge_part(claim, name, sources, dead) for name in claim.parts)
    used = selection.of(claim.family)
    lost = sum(run.state == "diverged" for run in used)
    return Judgement(
        claim,
        parts,
        st.combine([part.verdict for part in parts]),
        describe(used[0]) if used else "",
        bool(used) and at_paper_scale(used[0]),
        selection.describe_missing(),
        selection.describe_left_out(),
        f"{lost} of {len(used)} runs diverged and count as results" if lost else "",
        _command(claim, runs, root, parts),
    )


def _judge_part(claim: Claim, name: str, sources: Mapping[int, Source], dead: set[int]) -> Part:
    """With half of the baselines dead: `DEAD`. With fewer it must hold without them, too."""
    terms, region = claim.parts[name], claim.region
    tried = {seed: _effect(claim, source, terms) for seed, source in sources.items()}
    effects = {seed: effect for seed, effect in tried.items() if effect is not None}
    untrained = frozenset(dead & effects.keys())
    whole = st.estimate(list(effects.values()), region)
    verdict, remark = st.judge(whole, region)
    remarks = [remark]
    lost = sum(math.isnan(effect.value) for effect in effects.values())
    if lost > len(untrained):
        remarks.append(f"{lost} seeds give no number")
    if untrained:
        live = [effect for seed, effect in effects.items() if seed not in untrained]
        if 2 * len(untrained) >= len(effects):
            verdict, remarks = DEAD, []
        elif verdict == HOLDS and st.judge(st.estimate(live, region), region)[0] != HOLDS:
            verdict = OPEN
        remarks.append(f"{claim.baseline} untrained in {len(untrained)} of {len(effects)} seeds")
    if whole.censored:
        remarks.append(f"{whole.censored} of {whole.seeds} seeds are bounds only")
    # the paper has no curves along random directions
    plotted = claim.direction == "gradient" and claim.family in EXPERIMENTS
    paper = _effect(claim, of_paper(claim.family), terms) if plotted else None
    number = math.nan if paper is None else paper.value
    return Part(name, effects, untrained, number, whole, verdict, "; ".join(filter(None, remarks)))


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
    return any(run.state == "diverged" or stuck_at_chance(run) for run in mine.values())


def _command(claim: Claim, runs: Sequence[Run], root: str, parts: Sequence[Part]) -> str:
    undecided = [part.estimate.seeds for part in parts if part.verdict == OPEN]
    if not undecided:
        return ""
    presets = {str(run.config.get("preset", "none")) for run in runs if run.family == claim.family}
    preset = max(presets - {"none"}, default="quick")
    seeds = ",".join(map(str, range(st.EXACT if min(undecided) < st.EXACT else MORE_SEEDS)))
    more = f"preset={preset} seed={seeds} out={root}"
    recipes = claim.recipe.split()
    return " && ".join(f"bnexp train -m experiment={name} {more}" for name in recipes)
