"""What a claim is, and how it is judged from runs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bnexp.claims.source import NotThereError, PaperSource, RunSource, Source
from bnexp.claims.statistics import EXACT, OPEN, Estimate, Region, estimate, judge, together
from bnexp.analysis.select import Need, Selection, select
from bnexp.analysis.scales import at_paper_scale
from bnexp.runs import Run, describe

MORE_SEEDS = 10
"""How many to ask for where the fewest that have an exact interval leave it open."""

Effect = Callable[[Source, Any], float]
"""The number that decides a part of a claim, from one seed's runs (or the paper's curves)."""


@dataclass(frozen=True)
class Claim:
    """One statement, and what decides it.

    Attributes:
        id: the claim of the paper it belongs to, and its number there; E for our own.
        statement: what is claimed, one sentence.
        criterion: what must be for it to hold; written before any result was seen.
        place: where the paper says it.
        statistic: what the effect is, in words; its unit.
        region: where the effect lies if the statement holds.
        needs: the runs it is decided from, one of each per seed.
        parts: what the effect is taken for, by name: all must lie in the region.
        effect: the number, from one seed's runs or the paper's curves, for a part's value.
    """

    id: str
    statement: str
    criterion: str
    place: str
    statistic: str
    unit: str
    region: Region
    needs: tuple[Need, ...]
    parts: Mapping[str, Any]
    effect: Effect

    @property
    def family(self) -> str:
        """The networks it is about."""
        return self.needs[0].family

    @property
    def plotted(self) -> bool:
        """Whether the paper may have curves of it: it has none along random directions."""
        return all(need.direction == "gradient" for need in self.needs)


@dataclass(frozen=True)
class Part:
    """One part of a claim, judged: the effects by seed, the paper's own, and the verdict."""

    name: str
    effects: Mapping[int, float]
    paper: float
    found: Estimate
    verdict: str
    remark: str


@dataclass(frozen=True)
class Judgement:
    """A claim, judged.

    ``paper`` is ``holds``, ``contradicts`` or ``mixed``: what the paper's own curves say; ""
    where they do not show it. ``command`` makes the runs that lack, or more seeds.
    """

    claim: Claim
    parts: tuple[Part, ...]
    verdict: str
    scale: str
    paper_scale: bool
    missing: str
    command: str

    @property
    def paper(self) -> str:
        region = self.claim.region
        said = {region.holds(part.paper) for part in self.parts if not math.isnan(part.paper)}
        if not said:
            return ""
        return "mixed" if len(said) == 2 else ("holds" if said.pop() else "contradicts")

    @property
    def where(self) -> str:
        """What is to be added to the verdict: which parts say what."""
        several = len({part.verdict for part in self.parts}) > 1
        told = []
        for part in self.parts:
            name = part.name or self.claim.id
            if several:
                told.append(f"{name}: {part.verdict}" + (f" ({part.remark})" * bool(part.remark)))
            elif part.remark and part.remark != "no runs":
                told.append(f"{part.name}: {part.remark}" if part.name else part.remark)
        return "; ".join(dict.fromkeys(told))


CLAIMS: dict[str, Claim] = {}
"""Every claim by id, in the order in which their files register them."""

E = TypeVar("E", bound=Effect)


def claim(
    id: str,
    place: str,
    statistic: str,
    needs: tuple[Need, ...],
    region: Region,
    *,
    unit: str = "decades",
    parts: Mapping[str, Any] | None = None,
) -> Callable[[E], E]:
    """Decorator of the function that gives a claim's effect.

    Its docstring's first line is the statement, the rest the criterion.
    """

    def enter(effect: E) -> E:
        told = inspect.getdoc(effect) or ""
        statement, _, criterion = told.partition("\n")
        if id in CLAIMS or not criterion.strip():
            raise ValueError(f"claim {id}: expected a new id, a statement and a criterion")
        CLAIMS[id] = Claim(
            id,
            statement,
            " ".join(criterion.split()),
            place,
            statistic,
            unit,
            region,
            needs,
            {"": None} if parts is None else parts,
            effect,
        )
        return effect

    return enter


def judged(one: Claim, runs: Sequence[Run], root: str) -> Judgement:
    """The verdict on a claim from those of ``runs`` that it needs, paired over seeds.

    Runs that share a seed share data, its order and, where shapes agree, initial weights. A seed
    counts once for every part that it has all runs of. ``root`` is the folder named in commands.
    """
    selection = select(one.needs, runs)
    seeds = _seeds(selection)
    parts = []
    for name, value in one.parts.items():
        found = {seed: _effect(one, RunSource(mine), value) for seed, mine in seeds.items()}
        effects = {seed: effect for seed, effect in found.items() if effect is not None}
        whole = estimate(list(effects.values()), one.region)
        verdict, remark = judge(whole, one.region)
        lost = sum(map(math.isnan, effects.values()))
        if lost:
            remark = "; ".join(filter(None, [remark, f"{lost} seeds give no number"]))
        paper = _effect(one, PaperSource(one.family), value) if one.plotted else None
        paper = math.nan if paper is None else paper
        parts.append(Part(name, effects, paper, whole, verdict, remark))
    verdict = together([part.verdict for part in parts])
    drawn = selection.of(one.family)
    return Judgement(
        one,
        tuple(parts),
        verdict,
        describe(drawn[0]) if drawn else "",
        bool(drawn) and at_paper_scale(drawn[0]),
        selection.told_missing(),
        _command(one, runs, root, parts),
    )


def _effect(one: Claim, source: Source, value: Any) -> float | None:
    """The effect; None where the source lacks what it is made of."""
    try:
        return one.effect(source, value)
    except NotThereError:
        return None


def _seeds(selection: Selection) -> dict[int, dict[Need, Run]]:
    """By seed, the runs that there are of it: not every part needs all."""
    by_seed: dict[int, dict[Need, Run]] = {}
    for need, met in selection.found.items():
        for run in met:
            by_seed.setdefault(run.seed, {})[need] = run
    return dict(sorted(by_seed.items()))


def _command(one: Claim, runs: Sequence[Run], root: str, parts: Sequence[Part]) -> str:
    """The commands that make the runs that lack, and more seeds; "" where all can be told."""
    if OPEN not in {part.verdict for part in parts}:
        return ""
    mine = [run for run in runs if run.family == one.family]
    presets = {str(run.config.get("preset", "none")) for run in mine} - {"none"}
    preset = sorted(presets)[-1] if presets else "quick"
    seeds = min(part.found.seeds for part in parts if part.verdict == OPEN)
    wanted = ",".join(str(seed) for seed in range(EXACT if seeds < EXACT else MORE_SEEDS))
    recipes = dict.fromkeys(need.recipe for need in one.needs)
    return " && ".join(
        f"bnexp train -m experiment={recipe} preset={preset} seed={wanted} out={root}"
        for recipe in recipes
    )
